"""To whom mail about a registration goes."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from portal.letters.addressing import addressee
from portal.payments.tables import PORTAL
from portal.people import Patient, User
from portal.programs.tables import Registration


class Reader(NamedTuple):
    """Whoever gets the mail. `patient_id`: who they are on file; None for an account without a file."""

    patient_id: int | None
    name: str
    email: str


def reader_of(source: Session | Connection, registration: Registration | Any) -> Reader | None:
    """Whoever's account registered a patient; else the patient, or who pays for them. None where nobody has an
    address.
    """
    if registration.user_id is not None and registration.channel == PORTAL:
        own = source.execute(
            select(User.email, User.patient_id, User.name, Patient.given_name)
            .outerjoin(Patient, Patient.id == User.patient_id)
            .where(User.id == registration.user_id, User.active)
        ).first()
        if own is not None and own.email:
            return Reader(own.patient_id, own.given_name or own.name or "", own.email)
    if registration.patient_id is None:
        return None
    found = addressee(source, registration.patient_id)
    return Reader(found.patient_id, found.given_name, found.email) if found else None


def address_of(session: Session, registration: Registration) -> str | None:
    """The address of whoever gets the mail; None where nobody has one."""
    reader = reader_of(session, registration)
    return reader.email if reader else None
