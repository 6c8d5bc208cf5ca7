"""Places: who has one, who is next. The verbs here run in the caller's transaction, with the program locked.

The database counts places (`tables.py`); the lock only makes everybody wait their turn, so that a place that comes
free is offered to whoever waited longest, in the very transaction in which it does.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.clinic import Location
from portal.clock import now
from portal.invoices.books import give_number
from portal.invoices.tables import Invoice
from portal.letters.queueing import beside
from portal.outbox import About, queue_unwritten
from portal.programs.addressing import address_of
from portal.programs.offering import offer_until
from portal.programs.states import COMES_FROM, ENDED, ON_A_CLOCK, Place, Why
from portal.programs.tables import Program, ProgramSession, Registration
from portal.settings import read_settings

CONFIRMED, OFFERED, LAPSED, CANCELLED, NO_PLACE, WAITLISTED, CHANGED = (
    "registration", "place_offered", "place_lapsed", "registration_cancelled", "no_place", "waitlisted",
    "program_changed",
)  # fmt: skip
"""The kinds of mail about a registration (templates/email/<kind>)."""


def locked_program(session: Session, program_id: int) -> Program:
    """The program as it stands now, held until the transaction ends. Who needs an invoice too takes that first."""
    return session.get_one(Program, program_id, with_for_update=True, populate_existing=True)


def locked_registration(session: Session, registration_id: int) -> Registration:
    """A registration as it stands now; its program is locked already."""
    return session.get_one(Registration, registration_id, with_for_update=True, populate_existing=True)


def step(session: Session, registration: Registration, to: Place, **also: Any) -> bool:
    """Take one legal step of a locked registration; False when it can't be taken from where it stands.

    Raises IntegrityError where the database has no place left.
    """
    if registration.state not in COMES_FROM[to]:
        return False
    moment = now()
    values: dict[str, Any] = {"state": to, "version": registration.version + 1, "why": Why.NONE, **also}
    if to not in ON_A_CLOCK:
        values["held_until"] = None
    if to in ENDED:
        values["ended_at"] = moment
    if to == Place.CONFIRMED:
        values |= {"confirmed_at": moment, "ended_at": None}
    for name, value in values.items():
        setattr(registration, name, value)
    session.flush()
    return True


# --- confirmed ------------------------------------------------------------------------------------------------------


def confirm(session: Session, registration: Registration, by: int | None) -> None:
    """The place is theirs: its invoice takes its number, and they get a mail."""
    if not step(session, registration, Place.CONFIRMED, kept_cents=0, give_back_cents=0, give_back_asked_at=None):
        return
    if registration.invoice_id is not None:
        give_number(session, session.get_one(Invoice, registration.invoice_id))
    note(session, registration, "confirmed", by)
    tell(session, registration, CONFIRMED)


# --- a place comes free ---------------------------------------------------------------------------------------------


def give_up(
    session: Session, registration: Registration, to: Place, why: Why, by: int | None = None, **also: Any
) -> bool:
    """Take the place from a locked registration, and offer it to the next in line; False where it has none."""
    if not step(session, registration, to, why=why, ended_by=by, **also):
        return False
    note(session, registration, str(to), by, why)
    offer_next(session, locked_program(session, registration.program_id))
    return True


def are_called(session: Session, program: Program) -> bool:
    """Whether those who wait are offered places still: until registration is over."""
    end = ends_registration(session, program)
    return end is not None and now() < end


def offer_next(session: Session, program: Program) -> int:
    """Offer the free places of a locked program to those who wait, in order; gives how many were offered.

    None while registration is over: who waits then is not called for a group that has begun.
    """
    offered = 0
    settings = read_settings(session)
    session.refresh(program)
    while program.waiting > 0 and program.taken < program.capacity and settings.yes("module_programs"):
        until = _offer_ends(session, program, settings.number("program_offer_hours"))
        following = _longest_waiting(session, program.id) if until else None
        if following is None or until is None:
            break
        step(session, following, Place.OFFERED, held_until=until, first_until=until, offers=following.offers + 1)
        note(session, following, "offered", None)
        tell(session, following, OFFERED)
        session.refresh(program)
        offered += 1
    return offered


def _longest_waiting(session: Session, program_id: int) -> Registration | None:
    return session.scalars(
        select(Registration)
        .where(Registration.program_id == program_id, Registration.state == Place.WAITING)
        .order_by(Registration.waiting_since, Registration.id)
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).first()


def _offer_ends(session: Session, program: Program, hours: int) -> datetime | None:
    """Until when an offer made now holds; None where it is too late for one."""
    moment = now()
    end = ends_registration(session, program)
    if end is None or end <= moment:
        return None
    zone = session.get_one(Location, program.location_id).timezone
    return min(offer_until(moment, hours, zone), end)


def starts_at(session: Session, program_id: int) -> datetime | None:
    """When the program's first session starts."""
    found = select(ProgramSession.starts_at).where(ProgramSession.program_id == program_id)
    return session.scalar(found.order_by(ProgramSession.starts_at).limit(1))


def ends_registration(session: Session, program: Program) -> datetime | None:
    """When nobody can take a place by themselves any more: the clinic's day, else when the program begins."""
    return program.closes_at or starts_at(session, program.id)


# --- telling --------------------------------------------------------------------------------------------------------


def tell(session: Session, registration: Registration, kind: str) -> None:
    """Queue the mail about this step of a registration; it is written when it is sent, with what is true then. What
    that trips over never stops the step, nor the money that made it.
    """
    session.flush()
    _queue(session, registration, kind, registration.version)


def tell_everybody(session: Session, program: Program, by: int | None) -> int:
    """Queue a mail about this version of a locked program to each confirmed place; gives how many were queued. Where
    nobody has an address, there is none.
    """
    confirmed = _confirmed_of(Registration, program.id).order_by(Registration.id)
    told = [_queue(session, each, CHANGED, program.version, by) for each in session.scalars(confirmed).all()]
    return sum(told)


def confirmed_count(source: Session | Connection, program_id: int) -> int:
    """How many confirmed places a program has."""
    return source.scalar(_confirmed_of(func.count(), program_id)) or 0


def _confirmed_of(what: Any, program_id: int) -> Select[Any]:
    return select(what).where(Registration.program_id == program_id, Registration.state == Place.CONFIRMED)


def _queue(session: Session, registration: Registration, kind: str, version: int, by: int | None = None) -> bool:
    with beside(session, kind):
        to = address_of(session, registration)
        return to is not None and queue_unwritten(
            session,
            kind,
            f"{kind}:{registration.id}:{version}",
            to,
            about=About(registration.invoice_id, registration.patient_id, by),
            registration_id=registration.id,
        )
    return False


def note(session: Session, registration: Registration, what: str, by: int | None, why: str = "") -> None:
    """Write down in the audit log what became of a registration."""
    name = session.scalar(select(Program.name).where(Program.id == registration.program_id))
    audit.record(
        session,
        f"registration.{what}",
        f"registration {registration.public_id} for {name}",
        by=by,
        after=why or None,
        patient_id=registration.patient_id,
    )
