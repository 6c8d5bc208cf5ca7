"""To whom a mail about an invoice goes: the patient, or for a child whoever pays for them."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import now
from portal.people import Patient, PayerLink, User, is_minor


@dataclass(frozen=True)
class Addressee:
    """Somebody on file with an address."""

    patient_id: int
    given_name: str
    email: str


def addressee(session: Session, patient_id: int, payer_id: int | None = None) -> Addressee | None:
    """Who gets a mail about this patient's invoice; None where nobody on file has an address.

    Who paid gets what is about their payment. Else an adult gets their own mail, and for a child, or somebody without
    an address, it goes to whoever has paid for them longest.
    """
    if payer_id is not None:
        return _reachable(session, payer_id) or _reachable(session, patient_id)
    patient = session.get_one(Patient, patient_id)
    payers = session.scalars(
        select(PayerLink.payer_id)
        .where(PayerLink.patient_id == patient_id)
        .order_by(PayerLink.created_at, PayerLink.payer_id)
    )
    candidates = [patient_id, *payers]
    if is_minor(patient.birth_date, now().date()):
        candidates = [*candidates[1:], patient_id]
    return next((found for one in candidates if (found := _reachable(session, one))), None)


def _reachable(session: Session, patient_id: int) -> Addressee | None:
    """The address on file; where there is none, the one they sign in with."""
    row = session.execute(
        select(Patient.given_name, Patient.family_name, Patient.email, User.email.label("account"))
        .outerjoin(User, (User.patient_id == Patient.id) & User.active)
        .where(Patient.id == patient_id)
    ).one()
    email = row.email or row.account
    return Addressee(patient_id, row.given_name or row.family_name, email) if email else None
