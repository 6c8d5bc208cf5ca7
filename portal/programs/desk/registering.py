"""Register somebody at the desk: the place is held and the invoice made in one go, to be paid there or later."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.parts import Parts
from portal.payments.tables import DESK
from portal.people import Patient
from portal.programs.refusals import WaitsAlready
from portal.programs.registering import Details, Holder, confirm_unpaid, hold, register
from portal.programs.states import Place
from portal.programs.tables import Program, Registration
from portal.programs.waiting import join


def take_place(
    parts: Parts, program_public_id: str, request_id: UUID, details: Details, by: int, *, unpaid: bool = False
) -> Registration:
    """A place for a patient, whether registration is open or not; to be paid now, or confirmed `unpaid`.

    A place that they hold or are offered already is taken up. The same press again changes nothing. Raises what
    `hold`, `register` and `confirm_unpaid` do, and WaitsAlready.
    """
    public_id = hold(parts, program_public_id, request_id, Holder(by, details.patient_id, channel=DESK))
    _check_does_not_wait(parts, public_id)
    registration = register(parts, public_id, details, by)
    if unpaid and registration.state != Place.CONFIRMED:
        registration = confirm_unpaid(parts, public_id, by)
    return registration


def _check_does_not_wait(parts: Parts, public_id: str) -> None:
    with Session(parts.database.reading) as session:
        row = session.execute(
            select(Registration.state, Patient, Program.name)
            .join(Patient, Patient.id == Registration.patient_id)
            .join(Program, Program.id == Registration.program_id)
            .where(Registration.public_id == public_id)
        ).first()
        if row is not None and row.state == Place.WAITING:
            raise WaitsAlready(person=row.Patient.name, name=row.name)


def put_in_line(parts: Parts, program_public_id: str, request_id: UUID, patient_id: int, by: int) -> str:
    """Put a patient on the waitlist. Raises what `join` does."""
    return join(parts, program_public_id, request_id, Holder(by, patient_id, channel=DESK))
