"""To whom mail about a registration goes."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.letters.addressing import addressee
from portal.people import User
from portal.programs.tables import Registration


def address_of(session: Session, registration: Registration) -> str | None:
    """Whoever's account registered a patient; else the patient, or who pays for them. None where nobody has one."""
    if registration.user_id is not None and registration.channel == "portal":
        own = session.scalar(select(User.email).where(User.id == registration.user_id, User.active))
        if own:
            return own
    if registration.patient_id is None:
        return None
    found = addressee(session, registration.patient_id)
    return found.email if found else None
