"""The waitlist: join it, and see how the line stands.

Offers are made by `seats.offer_next`, taken up by `registering.register`, and declined by `ending.let_place_go`.
"""

import secrets
from uuid import UUID

from sqlalchemy import Connection, func, or_, select
from sqlalchemy.orm import Session

from portal.clock import now
from portal.parts import Parts
from portal.people import Patient
from portal.programs.online import check_can_be_paid_online, check_programs_are_open
from portal.programs.pricing import price_now, priced, taxes_of
from portal.programs.refusals import FormSentBefore, PlacesLeft, ProgramNotFound, RegisteredAlready, WaitlistFull
from portal.programs.registering import Holder, check_open
from portal.programs.seats import WAITLISTED, locked_program, note, tell
from portal.programs.states import LIVE, Place
from portal.programs.tables import Program, Registration


def join(parts: Parts, program_public_id: str, request_id: UUID, holder: Holder) -> str:
    """Get in line for the next place that comes free; gives the registration's public id. Asked again, the same one.

    Raises ProgramNotFound, NotOpenYet, RegistrationClosed, PlacesLeft, WaitlistFull or RegisteredAlready.
    """
    return parts.database.looking_again(lambda session: _join(session, program_public_id, request_id, holder))


def join_online(parts: Parts, program_public_id: str, request_id: UUID, holder: Holder) -> str:
    """Get in line by oneself, in the portal: closed where a place could not be paid for there either (O4).

    Raises ProgramsClosed, RegisterAtTheDesk, and what `join` raises.
    """
    with Session(parts.database.reading) as session:
        check_programs_are_open(session)
        program = session.scalars(select(Program).where(Program.public_id == program_public_id)).first()
        if program is None:
            raise ProgramNotFound
        total = priced(price_now(session, program), 0, taxes_of(session, program.id)).total_cents
        check_can_be_paid_online(parts, session, program.location_id, total)
    return join(parts, program_public_id, request_id, holder)


def place_in_line(source: Session | Connection, registration_id: int) -> int:
    """Whose turn somebody who waits is: 1 for the next."""
    mine = select(Registration.program_id, Registration.waiting_since).where(Registration.id == registration_id)
    program_id, since = source.execute(mine).one()
    earlier = or_(
        Registration.waiting_since < since,
        (Registration.waiting_since == since) & (Registration.id < registration_id),
    )
    found = select(func.count()).where(
        Registration.program_id == program_id, Registration.state == Place.WAITING, earlier
    )
    return 1 + (source.scalar(found) or 0)


def _join(session: Session, program_public_id: str, request_id: UUID, holder: Holder) -> str:
    assert holder.patient_id is not None, "who waits is known"
    program_id = session.scalar(select(Program.id).where(Program.public_id == program_public_id))
    if program_id is None:
        raise ProgramNotFound
    program = locked_program(session, program_id)
    there = session.scalars(
        select(Registration).where(
            Registration.program_id == program.id,
            Registration.patient_id == holder.patient_id,
            Registration.state.in_(LIVE),
        )
    ).first()
    if there is not None:
        if there.state == Place.CONFIRMED:
            raise RegisteredAlready(person=session.get_one(Patient, holder.patient_id).name, name=program.name)
        return there.public_id
    of_press = session.scalars(select(Registration).where(Registration.request_id == request_id)).first()
    if of_press is not None:
        if (of_press.program_id, of_press.patient_id) != (program.id, holder.patient_id):
            raise FormSentBefore
        return of_press.public_id
    check_open(session, program, holder.channel)
    if program.taken < program.capacity and program.waiting == 0:
        raise PlacesLeft(name=program.name)
    if program.waiting >= program.waitlist_size:
        raise WaitlistFull(name=program.name)
    moment = now()
    registration = Registration(
        public_id=secrets.token_urlsafe(12),
        program_id=program.id,
        patient_id=holder.patient_id,
        user_id=holder.user_id,
        channel=holder.channel,
        request_id=request_id,
        state=Place.WAITING,
        waiting_since=moment,
        price_cents=price_now(session, program),
        created_at=moment,
    )
    session.add(registration)
    session.flush()
    note(session, registration, "waiting", holder.user_id)
    tell(session, registration, WAITLISTED)
    return registration.public_id
