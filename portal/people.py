"""People: patients, who pays for whom, the accounts they sign in with, and the loaders that authorise."""

import re
import unicodedata
from datetime import date, datetime
from typing import Any
from uuid import UUID

from flask_security.core import UserMixin
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Connection,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    Uuid,
    delete,
    event,
    false,
    insert,
    inspect,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Utc

PATIENT = "patient"
STAFF_ROLES = ("front_desk", "billing", "practitioner", "administrator")
ROLES = (PATIENT, *STAFF_ROLES)


class Patient(Base):
    """A person on the clinic's file: someone treated, or someone who pays for them."""

    __tablename__ = "patients"
    __table_args__ = (
        Index("uq_patients_reference", "reference", unique=True),
        Index("uq_patients_request", "request_id", unique=True),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    given_name: Mapped[str] = mapped_column(String(80))
    family_name: Mapped[str] = mapped_column(String(80))
    email: Mapped[str] = mapped_column(String(254), default="", index=True)
    phone: Mapped[str] = mapped_column(String(40), default="")
    birth_date: Mapped[date | None]
    address: Mapped[str] = mapped_column(Text, default="", server_default="")
    # The clinic's own number for them, from the system it had before; imports find people by it.
    reference: Mapped[str | None] = mapped_column(String(40))
    # "lindqvist maya": what a search by name looks through. Kept in step with the names whenever they are saved.
    search_key: Mapped[str] = mapped_column(String(170), default="", server_default="", index=True)
    # The form that made them: pressed twice, it makes one person.
    request_id: Mapped[UUID | None] = mapped_column(Uuid)
    created_at: Mapped[datetime] = mapped_column(Utc)
    # They want no reminders; and: they agreed to get receipts as a PDF by mail, health details and all.
    reminders_off_at: Mapped[datetime | None] = mapped_column(Utc)
    receipt_pdf_allowed_at: Mapped[datetime | None] = mapped_column(Utc)

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}"

    @property
    def list_name(self) -> str:
        """ "Lindqvist, Maya", as the office sorts people."""
        return f"{self.family_name}, {self.given_name}" if self.given_name else self.family_name


def folded(text: str) -> str:
    """Letters without accents and case, so that "etienne" finds Étienne."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(mark for mark in decomposed if not unicodedata.combining(mark)).split())


class PatientWord(Base):
    """A word by whose beginning a person is found: of their names, email and telephone, or their old number.

    Kept in step whenever a patient is saved. "C" collation, so that a beginning is a range of the key everywhere.
    """

    __tablename__ = "patient_words"
    __table_args__ = (Index("ix_patient_words_person", "patient_id", "word"),)

    word: Mapped[str] = mapped_column(
        String(64).with_variant(String(64, collation="C"), "postgresql"), primary_key=True
    )
    patient_id: Mapped[int] = mapped_column(ForeignKey(Patient.id), primary_key=True)


LONGEST_WORD = 64
WORD = re.compile(r"[^\W_]+")
"""A word, in folded text: letters and digits."""


def national(phone: str) -> str:
    """The digits of a telephone number, without North America's leading 1 and any extension."""
    digits = "".join(mark for mark in re.split("[ex]", phone.lower())[0] if mark in "0123456789")
    return digits[1:] if len(digits) == 11 and digits[0] == "1" else digits


def words_of(given_name: str, family_name: str, email: str, phone: str, reference: str | None) -> set[str]:
    """The words that find a person. "O'Brien" is found by "o'br" and by "obr", a telephone by its last digits too."""
    found: set[str] = set()
    for chunk in folded(f"{family_name} {given_name} {reference or ''}").split():
        parts = WORD.findall(chunk)
        found.update(parts)
        found.add("".join(parts))
    email = folded(email)
    found.update(WORD.findall(email))
    digits = national(phone)
    found.update((email, digits, digits[-7:], digits[-4:]))
    return {word[:LONGEST_WORD] for word in found} - {""}


def word_rows(
    patient_id: int, given_name: str, family_name: str, email: str = "", phone: str = "", reference: str | None = None
) -> list[dict[str, Any]]:
    """The rows of `patient_words` for one person, for whoever writes many people past the session."""
    words = words_of(given_name, family_name, email, phone, reference)
    return [{"word": word, "patient_id": patient_id} for word in sorted(words)]


_FOUND_BY = ("given_name", "family_name", "email", "phone", "reference")


@event.listens_for(Patient, "before_insert")
@event.listens_for(Patient, "before_update")
def _keep_search_key(_mapper: Any, _connection: Any, patient: Patient) -> None:
    patient.search_key = folded(f"{patient.family_name} {patient.given_name}")[:170]


@event.listens_for(Patient, "after_insert")
def _write_words(_mapper: Any, connection: Connection, patient: Patient) -> None:
    rows = word_rows(patient.id, *(getattr(patient, name) or "" for name in _FOUND_BY))
    if rows:
        connection.execute(insert(PatientWord), rows)


@event.listens_for(Patient, "after_update")
def _write_words_again(mapper: Any, connection: Connection, patient: Patient) -> None:
    if any(inspect(patient).attrs[name].history.has_changes() for name in _FOUND_BY):
        connection.execute(delete(PatientWord).where(PatientWord.patient_id == patient.id))
        _write_words(mapper, connection, patient)


class PayerLink(Base):
    """One person pays for another. The payer sees amounts; lines only where `sees_lines` says so (P9)."""

    __tablename__ = "payer_links"
    __table_args__ = (CheckConstraint("payer_id <> patient_id", name="not_oneself"),)

    payer_id: Mapped[int] = mapped_column(ForeignKey(Patient.id), primary_key=True)
    patient_id: Mapped[int] = mapped_column(ForeignKey(Patient.id), primary_key=True, index=True)
    sees_lines: Mapped[bool] = mapped_column(default=False)
    # Staff may allow it for a minor; that holds until the patient is of age, and then they decide themselves.
    allowed_by_staff: Mapped[bool] = mapped_column(default=False, server_default=false())
    relation: Mapped[str] = mapped_column(String(40), default="", server_default="")
    created_at: Mapped[datetime] = mapped_column(Utc)


OF_AGE = 18


def is_minor(birth_date: date | None, today: date) -> bool:
    """Whether somebody is surely under 18 on that day. Who was born on 29 February is of age on 1 March."""
    if birth_date is None or birth_date > today:
        return False
    birthdays = today.year - birth_date.year - ((today.month, today.day) < (birth_date.month, birth_date.day))
    return birthdays < OF_AGE


def lines_shown(sees_lines: bool, allowed_by_staff: bool, birth_date: date | None, today: date) -> bool:
    """Whether a link shows lines on that day: what staff allowed for a minor ends when the patient is of age."""
    return sees_lines and (not allowed_by_staff or is_minor(birth_date, today))


def pays_for(payer_id: ColumnElement[int] | int, patient_id: Any) -> ColumnElement[bool]:
    """Whether a payer may see and pay this patient's invoices: their own, and those of the people they pay for."""
    link = select(PayerLink.patient_id).where(PayerLink.payer_id == payer_id, PayerLink.patient_id == patient_id)
    return or_(patient_id == payer_id, link.exists())


class User(Base, UserMixin):
    """An account that signs in. A patient's account belongs to one patient; a staff account to none."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("email = lower(email)", name="email_is_lower_case"),
        CheckConstraint("(role = 'patient') = (patient_id IS NOT NULL)", name="patients_alone_have_a_patient"),
        CheckConstraint(f"role IN {ROLES}", name="role_is_known"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password: Mapped[str | None] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(160))
    role: Mapped[str] = mapped_column(String(20))
    active: Mapped[bool] = mapped_column(default=True)
    fs_uniquifier: Mapped[str] = mapped_column(String(64), unique=True)
    patient_id: Mapped[int | None] = mapped_column(ForeignKey(Patient.id), unique=True)
    created_at: Mapped[datetime] = mapped_column(Utc)
    # The second factor: a shared key for six-digit codes, sealed, and the last time step whose code was used up.
    totp_sealed: Mapped[str | None] = mapped_column(Text)
    totp_set_up_at: Mapped[datetime | None] = mapped_column(Utc)
    totp_last_step: Mapped[int | None] = mapped_column(BigInteger)

    @property
    def roles(self) -> list[Any]:  # type: ignore[override]  # a list there, a view of `role` here
        """For Flask-Security; the product's own rules look at `role`."""
        return [self.role]

    @property
    def is_staff(self) -> bool:
        return self.role != PATIENT


class SignIn(Base):
    """One sign-in of one browser. Signing out ends it on the server too, so that a copied cookie opens nothing."""

    __tablename__ = "sign_ins"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), index=True)
    started_at: Mapped[datetime] = mapped_column(Utc)
    expires_at: Mapped[datetime] = mapped_column(Utc)
    ended_at: Mapped[datetime | None] = mapped_column(Utc)
    # When the second factor was given in this sign-in, and when the password was last typed in it.
    factor_at: Mapped[datetime | None] = mapped_column(Utc)
    confirmed_at: Mapped[datetime | None] = mapped_column(Utc)
    # What a passkey of this sign-in has to answer; gone with the first answer.
    challenge: Mapped[str | None] = mapped_column(String(64))
    challenge_at: Mapped[datetime | None] = mapped_column(Utc)


class RecoveryCode(Base):
    """A code that stands in once for the second factor, kept as a hash."""

    __tablename__ = "recovery_codes"
    __table_args__ = (Index("uq_recovery_codes_code", "user_id", "code_hash", unique=True),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    code_hash: Mapped[str] = mapped_column(String(64))
    made_at: Mapped[datetime] = mapped_column(Utc)
    used_at: Mapped[datetime | None] = mapped_column(Utc)


class Passkey(Base):
    """A passkey (WebAuthn) of an account: its public half."""

    __tablename__ = "passkeys"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), index=True)
    name: Mapped[str] = mapped_column(String(80))
    credential_id: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(BigInteger, default=0)
    made_at: Mapped[datetime] = mapped_column(Utc)
    last_used_at: Mapped[datetime | None] = mapped_column(Utc)


_OPEN = "used_at IS NULL AND revoked_at IS NULL"


class Invitation(Base):
    """A single-use link with which one person makes their account: a patient on file, or a member of staff.

    The link's token is kept as a hash. At most one invitation to an address is open.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        Index("uq_invitations_open", "email", unique=True, sqlite_where=text(_OPEN), postgresql_where=text(_OPEN)),
        CheckConstraint(f"role IN {ROLES}", name="role_is_known"),
        CheckConstraint("(role = 'patient') = (patient_id IS NOT NULL)", name="patients_alone_have_a_patient"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    email: Mapped[str] = mapped_column(String(254), index=True)
    name: Mapped[str] = mapped_column(String(160))
    role: Mapped[str] = mapped_column(String(20))
    patient_id: Mapped[int | None] = mapped_column(ForeignKey(Patient.id), index=True)
    invited_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))
    invited_at: Mapped[datetime] = mapped_column(Utc)
    expires_at: Mapped[datetime] = mapped_column(Utc)
    used_at: Mapped[datetime | None] = mapped_column(Utc)
    revoked_at: Mapped[datetime | None] = mapped_column(Utc)


class SignUp(Base):
    """Somebody who asked for an account. It attaches to no patient by name or typed email alone (P1)."""

    __tablename__ = "sign_ups"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    email: Mapped[str] = mapped_column(String(254), index=True)
    given_name: Mapped[str] = mapped_column(String(80))
    family_name: Mapped[str] = mapped_column(String(80))
    birth_date: Mapped[date | None]
    phone: Mapped[str] = mapped_column(String(40), default="")
    asked_at: Mapped[datetime] = mapped_column(Utc)
    expires_at: Mapped[datetime] = mapped_column(Utc)
    proved_at: Mapped[datetime | None] = mapped_column(Utc)
    password: Mapped[str | None] = mapped_column(String(255))
    decided_at: Mapped[datetime | None] = mapped_column(Utc)
    decided_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))
    patient_id: Mapped[int | None] = mapped_column(ForeignKey(Patient.id))
