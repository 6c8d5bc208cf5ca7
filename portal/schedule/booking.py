"""Book, move, cancel and complete visits.

A visit takes quarter hours of its practitioner (`booked_quarters`), and the key of that table is what makes double
booking impossible. The verbs look first, so that they can say who is there; should two get past the look at once, the
key stops one of them, and it looks again.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TypeVar

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clinic import Location, Practitioner, Service
from portal.clock import now
from portal.db import Database
from portal.invoices.reading.words import weekday, with_credentials
from portal.invoices.tables import Invoice
from portal.people import Patient
from portal.schedule import refusals
from portal.schedule.tables import BOOKED, CANCELLED, COMPLETED, Appointment, BookedQuarter
from portal.schedule.times import clock, day_of, edge_at, minute_of, moment_at, quarters, span

LONGEST_NOTE = 200


@dataclass(frozen=True)
class Slot:
    """Where, with whom, on which day, and at which minute since midnight there."""

    location_id: int
    practitioner_id: int
    day: date
    minute: int


@dataclass(frozen=True)
class Wish:
    """A visit to be. `key` is made with the form: a form that is sent twice books once."""

    key: str
    patient_id: int
    service_id: int
    slot: Slot
    note: str = ""


# --- the verbs ------------------------------------------------------------------------------------------------------


def book(database: Database, wish: Wish, by: int) -> Appointment:
    """Book a visit.

    Raises TimeTaken, OutsideHours, NotAvailable, PatientNotFound, FormUsed, NotOnAQuarter or TimeDoesNotExist.
    """
    return database.looking_again(lambda session: book_in(session, wish, by))


def move(database: Database, key: str, version: int, slot: Slot, by: int) -> Appointment:
    """Move a visit to another time, practitioner or place; its old quarters are free in the same transaction.

    `version` is the one that the form showed. Raises what `book` raises, VisitNotFound, VisitChanged, VisitIsOver and
    VisitIsInvoiced.
    """
    return database.looking_again(lambda session: _move(session, key, version, slot, by))


def cancel(database: Database, key: str, version: int, by: int) -> Appointment:
    """Call a visit off; its time is free at once. Twice is the same as once.

    Raises VisitNotFound, VisitChanged, VisitIsOver and VisitIsInvoiced.
    """
    with database.transaction() as session:
        visit = locked_visit(session, key)
        if visit.status == CANCELLED:
            return visit
        _check_can_change(session, visit, version)
        if number := invoice_number(session, visit.id):
            raise refusals.VisitIsInvoiced(number=number)
        visit.status, visit.cancelled_at = CANCELLED, now()
        visit.version += 1
        _free(session, visit)
        _record(session, "visit.cancelled", visit, by, before=_words(session, visit), after="cancelled")
        return visit


def complete(database: Database, key: str, by: int) -> Appointment:
    """Say that a visit took place. Twice is the same as once. Raises VisitNotFound and VisitIsOver."""
    with database.transaction() as session:
        visit = locked_visit(session, key)
        complete_in(session, visit, by)
        return visit


# --- within a transaction of somebody's -----------------------------------------------------------------------------


def book_in(session: Session, wish: Wish, by: int | None) -> Appointment:
    """As `book`, in the caller's transaction, which the key of the quarters may break with an IntegrityError."""
    # Held before anything is looked at: what a press just before this one booked can be seen then.
    practitioner = _held(session, wish.slot.practitioner_id)
    known = session.scalars(select(Appointment).where(Appointment.public_id == wish.key)).first()
    if known is not None:
        return _same_again(session, known, wish)
    patient = session.get(Patient, wish.patient_id)
    if patient is None:
        raise refusals.PatientNotFound
    service = _available(session, Service, wish.service_id)
    if service.is_product or service.duration_minutes <= 0:
        raise refusals.NotAvailable(name=service.name)
    location, starts_at, ends_at = _fitting(session, wish.slot, service.duration_minutes)
    _check_free(session, practitioner, location, starts_at, ends_at)
    visit = Appointment(
        public_id=wish.key,
        location_id=location.id,
        practitioner_id=practitioner.id,
        patient_id=patient.id,
        service_id=service.id,
        starts_at=starts_at,
        ends_at=ends_at,
        status=BOOKED,
        note=wish.note[:LONGEST_NOTE],
        booked_by=by,
        booked_at=now(),
    )
    session.add(visit)
    session.flush()
    _take(session, visit)
    _record(session, "visit.booked", visit, by, after=_words(session, visit))
    return visit


def complete_in(session: Session, visit: Appointment, by: int) -> None:
    """As `complete`, for a visit that the caller holds."""
    if visit.status == COMPLETED:
        return
    if visit.status == CANCELLED:
        raise refusals.VisitIsOver(status=visit.status)
    visit.status, visit.completed_at = COMPLETED, now()
    visit.version += 1
    session.flush()
    _record(session, "visit.completed", visit, by, before=BOOKED, after=COMPLETED)


def locked_visit(session: Session, key: str) -> Appointment:
    """The visit as it stands now, held until the transaction ends. Raises VisitNotFound."""
    found = session.scalars(
        select(Appointment)
        .where(Appointment.public_id == key)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).first()
    if found is None:
        raise refusals.VisitNotFound
    return found


def invoice_number(session: Session, appointment_id: int) -> str | None:
    """The number of a visit's invoice, if it has one that is not void."""
    return session.scalar(
        select(Invoice.number).where(Invoice.appointment_id == appointment_id, Invoice.voided_at.is_(None))
    )


def _move(session: Session, key: str, version: int, slot: Slot, by: int) -> Appointment:
    # Practitioners are held before the visit, in the order of their numbers: two moves that swap times don't wait
    # for each other for ever.
    before = session.scalars(select(Appointment.practitioner_id).where(Appointment.public_id == key)).first()
    both = sorted({slot.practitioner_id, before or slot.practitioner_id})
    held = {one: _held(session, one, also_inactive=one != slot.practitioner_id) for one in both}
    visit = locked_visit(session, key)
    if visit.status == BOOKED and _stands_at(session, visit) == slot:
        return visit  # pressed twice
    _check_can_change(session, visit, version)
    was = _words(session, visit)
    location, starts_at, ends_at = _fitting(session, slot, _minutes(visit))
    if number := invoice_number(session, visit.id):
        _check_says_the_same(_stands_at(session, visit), slot, number)
    _free(session, visit)
    _check_free(session, held[slot.practitioner_id], location, starts_at, ends_at)
    visit.location_id, visit.practitioner_id = location.id, slot.practitioner_id
    visit.starts_at, visit.ends_at = starts_at, ends_at
    visit.version += 1
    session.flush()
    _take(session, visit)
    _record(session, "visit.moved", visit, by, before=was, after=_words(session, visit))
    return visit


# --- rules ----------------------------------------------------------------------------------------------------------

Kind = TypeVar("Kind", Location, Service)


def _available(session: Session, kind: type[Kind], number: int) -> Kind:
    found = session.get(kind, number)
    if found is None or not found.active:
        raise refusals.NotAvailable(name=found.name if found else "This choice")
    return found


def _held(session: Session, practitioner_id: int, *, also_inactive: bool = False) -> Practitioner:
    """The practitioner, held until the transaction ends, so that bookings with them queue."""
    found = session.get(Practitioner, practitioner_id, with_for_update={"key_share": True})
    if found is None or not (found.active or also_inactive):
        raise refusals.NotAvailable(name=found.name if found else "This choice")
    return found


def _fitting(session: Session, slot: Slot, minutes: int) -> tuple[Location, datetime, datetime]:
    """The place, the beginning and the end of a visit that lies within the opening hours."""
    location = _available(session, Location, slot.location_id)
    starts_at = moment_at(slot.day, slot.minute, location.timezone)
    ends_at = starts_at + timedelta(minutes=minutes)
    opens = edge_at(slot.day, location.opens_minute, location.timezone)
    closes = edge_at(slot.day, location.closes_minute, location.timezone)
    if not opens <= starts_at < ends_at <= closes:
        raise refusals.OutsideHours(
            location=location.name,
            opens=clock(location.opens_minute),
            closes=clock(location.closes_minute),
            span=span(slot.minute, minute_of(ends_at, location.timezone)),
        )
    return location, starts_at, ends_at


def _check_free(
    session: Session, practitioner: Practitioner, here: Location, starts_at: datetime, ends_at: datetime
) -> None:
    taken = quarters(starts_at, ends_at)
    other = session.scalars(
        select(Appointment)
        .join(BookedQuarter, BookedQuarter.appointment_id == Appointment.id)
        .where(
            BookedQuarter.practitioner_id == practitioner.id,
            BookedQuarter.quarter.between(taken.start, taken.stop - 1),
        )
        .order_by(BookedQuarter.quarter)
        .limit(1)
    ).first()
    if other is not None:
        raise refusals.TimeTaken(
            practitioner=practitioner.name,
            patient=session.get_one(Patient, other.patient_id).name,
            **_when(other, here.timezone),
        )


def _check_can_change(session: Session, visit: Appointment, version: int) -> None:
    if visit.status != BOOKED:
        raise refusals.VisitIsOver(status=visit.status)
    if visit.version != version:
        location = session.get_one(Location, visit.location_id)
        practitioner = session.get_one(Practitioner, visit.practitioner_id)
        raise refusals.VisitChanged(practitioner=practitioner.name, **_when(visit, location.timezone))


def _check_says_the_same(now_at: Slot, then: Slot, number: str) -> None:
    """An invoice names the day, the place and the practitioner: those stay while it stands."""
    if replace(now_at, minute=then.minute) != then:
        raise refusals.VisitIsInvoiced(number=number)


def _stands_at(session: Session, visit: Appointment) -> Slot:
    zone = session.get_one(Location, visit.location_id).timezone
    starts = (day_of(visit.starts_at, zone), minute_of(visit.starts_at, zone))
    return Slot(visit.location_id, visit.practitioner_id, *starts)


def _same_again(session: Session, known: Appointment, wish: Wish) -> Appointment:
    """The visit that this form booked before, if it asks for the same again."""
    asked = (wish.patient_id, wish.service_id, wish.slot)
    if (known.patient_id, known.service_id, _stands_at(session, known)) == asked:
        return known
    patient = session.get_one(Patient, known.patient_id)
    location = session.get_one(Location, known.location_id)
    raise refusals.FormUsed(patient=patient.name, **_when(known, location.timezone))


# --- quarters, and words for the audit log --------------------------------------------------------------------------


def _take(session: Session, visit: Appointment) -> None:
    session.add_all(
        BookedQuarter(practitioner_id=visit.practitioner_id, quarter=quarter, appointment_id=visit.id)
        for quarter in quarters(visit.starts_at, visit.ends_at)
    )
    session.flush()


def _free(session: Session, visit: Appointment) -> None:
    session.execute(delete(BookedQuarter).where(BookedQuarter.appointment_id == visit.id))


def _minutes(visit: Appointment) -> int:
    return int((visit.ends_at - visit.starts_at).total_seconds()) // 60


def _when(visit: Appointment, zone: str) -> dict[str, str]:
    times = span(minute_of(visit.starts_at, zone), minute_of(visit.ends_at, zone))
    return {"day": weekday(day_of(visit.starts_at, zone)), "span": times}


def _words(session: Session, visit: Appointment) -> str:
    location = session.get_one(Location, visit.location_id)
    practitioner = session.get_one(Practitioner, visit.practitioner_id)
    service = session.get_one(Service, visit.service_id)
    when = _when(visit, location.timezone)
    who = with_credentials(practitioner.name, practitioner.credentials)
    return f"{when['day']}, {when['span']}, {service.name}, {who}, {location.name}"


def _record(
    session: Session, action: str, visit: Appointment, by: int | None, *, before: str = "", after: str = ""
) -> None:
    patient = session.get_one(Patient, visit.patient_id)
    subject = f"visit of {patient.name}"
    record(session, action, subject, by=by, before=before, after=after, patient_id=patient.id)
