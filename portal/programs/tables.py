"""Programs, their sessions and questions, who registered, and promo codes.

`taken` and `waiting` of a program, and `used` of a promo code, are kept by triggers of the database from the
registrations (see migration 0004), and CHECKs hold them to what there is. So more places than that can't be given
away, whoever writes.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, Uuid, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from portal.clinic import Location, Practitioner, Tax
from portal.db import Base, Utc
from portal.invoices.tables import Invoice
from portal.people import Patient, User
from portal.programs.states import LIVE, ON_A_CLOCK, Place, Why

QUESTION_KINDS = TEXT, CHOICE, CONSENT = ("text", "choice", "consent")


def one_of(column: str, values: Any) -> str:
    """A condition for the database: the column holds one of these words."""
    return "{} IN ({})".format(column, ", ".join(f"'{value}'" for value in sorted(values)))


class Program(Base):
    """A group that people register for: what, where, by whom, for how many, at which price, under which rules."""

    __tablename__ = "programs"
    __table_args__ = (
        CheckConstraint("capacity BETWEEN 1 AND 10000", name="capacity_is_a_group"),
        CheckConstraint("taken BETWEEN 0 AND capacity", name="places_are_enough"),
        CheckConstraint("waitlist_size BETWEEN 0 AND 1000", name="waitlist_is_a_list"),
        CheckConstraint("waiting >= 0", name="waiting_is_a_number"),
        CheckConstraint("price_cents >= 0 AND (early_price_cents IS NULL OR early_price_cents >= 0)",
                        name="price_is_not_negative"),
        CheckConstraint("(early_price_cents IS NULL) = (early_until IS NULL)", name="early_price_has_its_day"),
        CheckConstraint("refund_days BETWEEN 0 AND 365", name="refund_days_are_days"),
        CheckConstraint("late_share_percent BETWEEN 0 AND 100", name="late_share_is_a_share"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    # What stands in its address, to be shared.
    public_id: Mapped[str] = mapped_column(String(24), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    description: Mapped[str] = mapped_column(Text, default="", server_default="")
    location_id: Mapped[int] = mapped_column(ForeignKey(Location.id))
    practitioner_id: Mapped[int | None] = mapped_column(ForeignKey(Practitioner.id))
    price_cents: Mapped[int]
    # The price until the end of that day, by the location's clock.
    early_price_cents: Mapped[int | None]
    early_until: Mapped[date | None]
    capacity: Mapped[int]
    waitlist_size: Mapped[int] = mapped_column(default=0, server_default="0")
    opens_at: Mapped[datetime | None] = mapped_column(Utc)
    closes_at: Mapped[datetime | None] = mapped_column(Utc)
    visible: Mapped[bool] = mapped_column(default=False, server_default=false())
    # Whoever cancels until so many days before the first session gets all of it back; later, this share.
    refund_days: Mapped[int] = mapped_column(default=7, server_default="7")
    late_share_percent: Mapped[int] = mapped_column(default=0, server_default="0")
    # Kept by triggers from the registrations; never write them.
    taken: Mapped[int] = mapped_column(default=0, server_default="0")
    waiting: Mapped[int] = mapped_column(default=0, server_default="0")
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    request_id: Mapped[UUID | None] = mapped_column(Uuid, unique=True)
    created_at: Mapped[datetime] = mapped_column(Utc)
    created_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))


class ProgramTax(Base):
    """Which taxes a program's price bears."""

    __tablename__ = "program_taxes"

    program_id: Mapped[int] = mapped_column(ForeignKey(Program.id), primary_key=True)
    tax_id: Mapped[int] = mapped_column(ForeignKey(Tax.id), primary_key=True)


class ProgramSession(Base):
    """One meeting of a program: from when to when, and in which room."""

    __tablename__ = "program_sessions"
    __table_args__ = (
        CheckConstraint("ends_at > starts_at", name="ends_after_it_starts"),
        Index("ix_program_sessions_program", "program_id", "starts_at"),
        Index("ix_program_sessions_starts", "starts_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    program_id: Mapped[int] = mapped_column(ForeignKey(Program.id))
    starts_at: Mapped[datetime] = mapped_column(Utc)
    ends_at: Mapped[datetime] = mapped_column(Utc)
    room: Mapped[str] = mapped_column(String(80), default="", server_default="")


class ProgramQuestion(Base):
    """Something that whoever registers is asked. `choices`: one a line. One taken out stays for its answers' sake."""

    __tablename__ = "program_questions"
    __table_args__ = (
        CheckConstraint(one_of("kind", QUESTION_KINDS), name="kind_is_known"),
        Index("ix_program_questions_program", "program_id", "position"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    program_id: Mapped[int] = mapped_column(ForeignKey(Program.id))
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(String(10))
    text: Mapped[str] = mapped_column(String(500))
    choices: Mapped[str] = mapped_column(Text, default="", server_default="")
    required: Mapped[bool] = mapped_column(default=True, server_default=true())
    active: Mapped[bool] = mapped_column(default=True, server_default=true())


class PromoCode(Base):
    """A code for a lower price: an amount, or a share in percent. `uses` None: as often as you like."""

    __tablename__ = "promo_codes"
    __table_args__ = (
        CheckConstraint("code = upper(code)", name="code_is_upper_case"),
        CheckConstraint("(percent IS NULL) <> (amount_cents IS NULL)", name="takes_off_an_amount_or_a_share"),
        CheckConstraint("percent BETWEEN 1 AND 100", name="percent_is_a_share"),
        CheckConstraint("amount_cents > 0", name="amount_is_positive"),
        CheckConstraint("used >= 0 AND (uses IS NULL OR used <= uses)", name="uses_are_enough"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(40), unique=True)
    percent: Mapped[int | None]
    amount_cents: Mapped[int | None]
    # Of an amount: in which currency. Programs in another one don't take it.
    currency: Mapped[str | None] = mapped_column(String(3))
    # Nothing: for every program.
    program_id: Mapped[int | None] = mapped_column(ForeignKey(Program.id), index=True)
    starts_at: Mapped[datetime | None] = mapped_column(Utc)
    ends_at: Mapped[datetime | None] = mapped_column(Utc)
    uses: Mapped[int | None]
    # Kept by triggers from the registrations that have a place; never write it.
    used: Mapped[int] = mapped_column(default=0, server_default="0")
    active: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[datetime] = mapped_column(Utc)
    created_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))


_LIVE, _ON_A_CLOCK = one_of("state", LIVE), one_of("state", ON_A_CLOCK)
_WAITING = f"state = '{Place.WAITING}'"


class Registration(Base):
    """One person's place in a program, or their wish for one. At most one that is live per person and program.

    Somebody who has not signed in yet holds a place too, by the secret in their browser's cookie (`holder_hash`).
    """

    __tablename__ = "registrations"
    __table_args__ = (
        CheckConstraint(one_of("state", Place), name="state_is_known"),
        CheckConstraint(f"({_ON_A_CLOCK}) = (held_until IS NOT NULL)", name="who_holds_has_a_clock"),
        CheckConstraint("state <> 'confirmed' OR patient_id IS NOT NULL", name="who_is_confirmed_is_known"),
        CheckConstraint("discount_cents BETWEEN 0 AND price_cents", name="discount_is_part_of_the_price"),
        CheckConstraint("give_back_cents >= 0 AND kept_cents >= 0", name="amounts_are_not_negative"),
        Index("uq_registrations_person", "program_id", "patient_id", unique=True,
              sqlite_where=text(_LIVE), postgresql_where=text(_LIVE)),
        Index("ix_registrations_waiting", "program_id", "waiting_since", "id",
              sqlite_where=text(_WAITING), postgresql_where=text(_WAITING)),
        Index("ix_registrations_clock", "held_until",
              sqlite_where=text("held_until IS NOT NULL"), postgresql_where=text("held_until IS NOT NULL")),
        Index("ix_registrations_program", "program_id", "state"),
        Index("ix_registrations_patient", "patient_id"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(24), unique=True)
    program_id: Mapped[int] = mapped_column(ForeignKey(Program.id))
    patient_id: Mapped[int | None] = mapped_column(ForeignKey(Patient.id))
    # Whose account holds it; and, before anybody has signed in, whose browser.
    user_id: Mapped[int | None] = mapped_column(ForeignKey(User.id), index=True)
    holder_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    channel: Mapped[str] = mapped_column(String(10))
    request_id: Mapped[UUID | None] = mapped_column(Uuid, unique=True)
    state: Mapped[str] = mapped_column(String(10))
    held_until: Mapped[datetime | None] = mapped_column(Utc)
    # When the hold or offer would have ended without any press on Pay.
    first_until: Mapped[datetime | None] = mapped_column(Utc)
    waiting_since: Mapped[datetime | None] = mapped_column(Utc)
    offers: Mapped[int] = mapped_column(default=0, server_default="0")
    # The price at which the place was taken, without taxes, and what a promo code takes off it.
    price_cents: Mapped[int]
    discount_cents: Mapped[int] = mapped_column(default=0, server_default="0")
    promo_code_id: Mapped[int | None] = mapped_column(ForeignKey(PromoCode.id), index=True)
    invoice_id: Mapped[int | None] = mapped_column(ForeignKey(Invoice.id), unique=True)
    # Of what the invoice takes in: the clinic keeps this, and gives that back.
    kept_cents: Mapped[int] = mapped_column(default=0, server_default="0")
    give_back_cents: Mapped[int] = mapped_column(default=0, server_default="0")
    give_back_asked_at: Mapped[datetime | None] = mapped_column(Utc)
    created_at: Mapped[datetime] = mapped_column(Utc)
    confirmed_at: Mapped[datetime | None] = mapped_column(Utc)
    ended_at: Mapped[datetime | None] = mapped_column(Utc)
    ended_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))
    why: Mapped[str] = mapped_column(String(40), default=Why.NONE, server_default="")
    # Counts its steps: what a mail tells of each has a name of its own.
    version: Mapped[int] = mapped_column(default=1, server_default="1")


class RegistrationAnswer(Base):
    """What somebody answered, with the question as it was asked."""

    __tablename__ = "registration_answers"

    registration_id: Mapped[int] = mapped_column(ForeignKey(Registration.id), primary_key=True)
    question_id: Mapped[int] = mapped_column(ForeignKey(ProgramQuestion.id), primary_key=True)
    question: Mapped[str] = mapped_column(String(500))
    answer: Mapped[str] = mapped_column(Text)
    answered_at: Mapped[datetime] = mapped_column(Utc)


class Attendance(Base):
    """Whether somebody came to a session."""

    __tablename__ = "attendance"

    session_id: Mapped[int] = mapped_column(ForeignKey(ProgramSession.id), primary_key=True)
    registration_id: Mapped[int] = mapped_column(ForeignKey(Registration.id), primary_key=True)
    present: Mapped[bool]
    noted_at: Mapped[datetime] = mapped_column(Utc)
    noted_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))
