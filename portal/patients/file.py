"""A person's file: put a new person on it, change what it says, and say who else might be the same person."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from hashlib import sha256
from uuid import UUID

from flask_babel import lazy_gettext as _l
from sqlalchemy import Select, and_, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clock import now
from portal.db import Database
from portal.errors import Refusal
from portal.patients.finding import Found, number_of
from portal.people import LONGEST_WORD, Patient, PatientWord, folded, national


class ChangedMeanwhile(Refusal):
    """Somebody else saved this file after the form was shown."""

    title = _l("Somebody else changed this file meanwhile. Nothing was saved.")
    message = _l("Look at what it says now, and change it again where you still need to.")


class LooksLikeSomebody(Refusal):
    """Somebody on file has the same name and birth date, the same email or the same telephone."""

    title = _l("This may be somebody who is on file already. Nothing was saved.")
    message = _l("Open the file of the person below, or tell us that this is another person.")

    def __init__(self, people: Sequence[Found]) -> None:
        super().__init__()
        self.people = people


@dataclass(frozen=True)
class Details:
    """What a file says of a person."""

    given_name: str
    family_name: str
    birth_date: date | None = None
    email: str = ""
    phone: str = ""
    address: str = ""

    @property
    def print(self) -> str:
        """A short mark of all of it: a form carries it, to tell whether the file has changed since."""
        return sha256(repr(asdict(self)).encode()).hexdigest()[:16]


def details_of(patient: Patient) -> Details:
    """What the file says now."""
    return Details(**{name: getattr(patient, name) for name in Details.__dataclass_fields__})


FIELD_NAMES = {
    "given_name": "given name",
    "family_name": "family name",
    "birth_date": "birth date",
    "email": "email",
    "phone": "phone",
    "address": "address",
}


def add_patient(
    database: Database, details: Details, *, request_id: UUID, by: int | None, another_person: bool = False
) -> int:
    """Put a person on file; gives their id. Raises LooksLikeSomebody unless it is said to be `another_person`.

    The same form pressed twice makes one person.
    """
    try:
        with database.transaction() as session:
            made = session.scalar(_made_by(request_id))
            return made if made is not None else _add(session, details, request_id, by, another_person)
    except (IntegrityError, LooksLikeSomebody):
        # The same press at the same moment may have put them on file just now: then that is who they look like.
        with database.read() as connection:
            made = connection.scalar(_made_by(request_id))
        if made is None:
            raise
        return made


def _made_by(request_id: UUID) -> Select[int]:
    return select(Patient.id).where(Patient.request_id == request_id)


def _add(session: Session, details: Details, request_id: UUID, by: int | None, another_person: bool) -> int:
    alike = [] if another_person else people_alike(session, details)
    if alike:
        raise LooksLikeSomebody(alike)
    person = Patient(**asdict(details), request_id=request_id, created_at=now())
    session.add(person)
    session.flush()
    record(
        session, "patient.added", f"{person.name}, {number_of(person.id)}", by=by, after=person.name,
        patient_id=person.id,
    )  # fmt: skip
    return person.id


def people_alike(session: Session, details: Details, but: int | None = None) -> list[Found]:
    """Who on file might be this person: same name and birth date, same email, or same telephone; or the same given
    name and birth date, since a family name is misspelt or changes.

    A birth date that one of the two does not say tells nobody apart.
    """
    key, phone = folded(f"{details.family_name} {details.given_name}")[:170], national(details.phone)
    words = {folded(details.email)[:LONGEST_WORD], phone[:LONGEST_WORD]} - {""}
    having = select(PatientWord.patient_id).where(PatientWord.word.in_(words))
    given = folded(details.given_name)
    called = select(PatientWord.patient_id).where(PatientWord.word.in_(given.split()))
    born_alike = and_(Patient.birth_date == details.birth_date, Patient.id.in_(called))
    candidates = session.scalars(
        select(Patient)
        .where(or_(Patient.search_key == key, Patient.id.in_(having), born_alike), Patient.id != (but or 0))
        .order_by(Patient.id)
        .limit(50)
    )

    def is_alike(person: Patient) -> bool:
        dates = {person.birth_date, details.birth_date} - {None}
        return (
            (person.search_key == key and len(dates) < 2)
            or (bool(details.email) and folded(person.email) == folded(details.email))
            or (bool(phone) and national(person.phone) == phone)
            or (len(dates) == 1 and person.birth_date == details.birth_date and folded(person.given_name) == given)
        )

    return [
        Found(each.id, each.given_name, each.family_name, each.birth_date, each.email, each.phone)
        for each in candidates
        if is_alike(each)
    ][:5]


def change_patient(database: Database, patient_id: int, details: Details, *, shown: str, by: int | None) -> bool:
    """Change a file; False where there was nothing to change. Each changed field is in the audit log.

    `shown` is the mark of the details that the form showed. Raises ChangedMeanwhile.
    """
    with database.transaction() as session:
        person = session.scalars(select(Patient).where(Patient.id == patient_id).with_for_update()).one()
        before = details_of(person)
        if before == details:
            return False  # the same press again
        if before.print != shown:
            raise ChangedMeanwhile
        subject = f"{before.given_name} {before.family_name}, {number_of(person.id)}"
        for name, words in FIELD_NAMES.items():
            old, new = getattr(before, name), getattr(details, name)
            if old == new:
                continue
            setattr(person, name, new)
            record(
                session, "patient.changed", f"{words} of {subject}",
                by=by, before=old or "", after=new or "", patient_id=person.id,
            )  # fmt: skip
        return True


# --- what may be typed ----------------------------------------------------------------------------------------------

_PHONE = re.compile(r"[+()\d][\d\s().+/-]*(x\s?\d{1,6})?")


def is_phone(text: str) -> bool:
    """Whether this can be a telephone number, with an extension at most."""
    return bool(_PHONE.fullmatch(text)) and 7 <= sum(mark.isdecimal() for mark in text) <= 21
