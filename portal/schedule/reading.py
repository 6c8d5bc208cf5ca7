"""The schedule as the office sees it: days, in each a lane per practitioner, in each its visits.

Three statements, however many practitioners there are: places, people, and the visits of the days shown with their
patients and invoices.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, select

from portal.clinic import Location, Practitioner, Service
from portal.clock import now
from portal.invoices.reading.words import with_credentials
from portal.invoices.tables import Invoice
from portal.people import Patient
from portal.schedule.tables import BOOKED, CANCELLED, COMPLETED, Appointment
from portal.schedule.times import DAY_MINUTES, MINUTES, clock, day_of, days_from, edge_at, minute_of, span

MOST_LANES = 10
"""More practitioners than this don't fit side by side: those with visits are shown, and a list chooses any other."""

_visits, _patients, _services = Appointment.__table__.c, Patient.__table__.c, Service.__table__.c
_locations, _practitioners, _invoices = Location.__table__.c, Practitioner.__table__.c, Invoice.__table__.c


class Place(NamedTuple):
    """A location and its hours."""

    id: int
    name: str
    zone: str
    currency: str
    opens: int
    closes: int


class Healer(NamedTuple):
    """A practitioner: the whole name with credentials, and the family name for a narrow head."""

    id: int
    name: str
    short: str
    active: bool


class Treatment(NamedTuple):
    """A service that can be booked."""

    id: int
    name: str
    minutes: int


@dataclass(frozen=True)
class Block:
    """One visit in a lane. `quarter` counts from the hour at which the grid begins, `length` in quarter hours."""

    id: int
    key: str
    patient_id: int
    patient: str
    service: str
    status: str
    note: str
    invoice: str | None
    minute: int
    starts: str
    span: str
    quarter: int
    length: int
    elsewhere: str = ""

    @property
    def is_done(self) -> bool:
        return self.status == COMPLETED or self.invoice is not None

    @property
    def state(self) -> str:
        """What its look says, in words."""
        words = [word for word, true in (("completed", self.status == COMPLETED), ("invoiced", self.invoice)) if true]
        return " and ".join(words)


@dataclass
class Lane:
    """A practitioner's day."""

    healer: Healer
    look: int
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Day:
    """One day of the grid."""

    on: date
    is_today: bool
    lanes: list[Lane]


@dataclass(frozen=True)
class Grid:
    """The days shown, from which hour to which."""

    days: list[Day]
    healers: list[Healer]
    everyone: list[Healer]
    hours: range
    left_out: int


# --- places, people, treatments -------------------------------------------------------------------------------------

_PLACES = (
    select(
        _locations.id, _locations.name, _locations.timezone, _locations.currency,
        _locations.opens_minute, _locations.closes_minute,
    )
    .where(_locations.active.is_(True))
    .order_by(_locations.id)
)  # fmt: skip
_HEALERS = select(_practitioners.id, _practitioners.name, _practitioners.credentials, _practitioners.active).order_by(
    _practitioners.name, _practitioners.id
)
_TREATMENTS = (
    select(_services.id, _services.name, _services.duration_minutes)
    .where(_services.active.is_(True), _services.is_product.is_(False), _services.duration_minutes > 0)
    .order_by(_services.name)
)


def places(connection: Connection) -> list[Place]:
    """The clinic's locations that are open, the first one first."""
    return [Place(*row) for row in connection.execute(_PLACES)]


def healers(connection: Connection) -> list[Healer]:
    """All practitioners, by name; also those who treat nobody any more, for their past visits."""
    return [
        Healer(row.id, with_credentials(row.name, row.credentials), row.name.split(" ")[-1], row.active)
        for row in connection.execute(_HEALERS)
    ]


def treatments(connection: Connection) -> list[Treatment]:
    """What can be booked."""
    return [Treatment(*row) for row in connection.execute(_TREATMENTS)]


# --- visits ---------------------------------------------------------------------------------------------------------

_VISITS = (
    select(
        _visits.id, _visits.public_id, _visits.location_id, _visits.practitioner_id, _visits.patient_id,
        _visits.starts_at, _visits.ends_at, _visits.status, _visits.note, _visits.version,
        _patients.given_name, _patients.family_name,
        _services.name.label("service"),
        _locations.name.label("location"), _locations.timezone, _locations.currency,
        _invoices.number,
    )
    .select_from(Appointment.__table__)
    .join(Patient.__table__, _patients.id == _visits.patient_id)
    .join(Service.__table__, _services.id == _visits.service_id)
    .join(Location.__table__, _locations.id == _visits.location_id)
    .outerjoin(Invoice.__table__, and_(_invoices.appointment_id == _visits.id, _invoices.voided_at.is_(None)))
)  # fmt: skip


def grid(
    connection: Connection, place: Place, first: date, count: int, *, today: date, keep: date, only: int | None = None
) -> Grid:
    """The days from `first` on. A weekend day is there when it has visits here, or is the day asked for (`keep`)."""
    everyone = healers(connection)
    rows = _between(connection, place, first, count, only)
    lanes, left_out = _lanes(everyone, {row.practitioner_id for row in rows if row.location_id == place.id}, only)
    shown = {healer.id for healer in lanes}
    rows = [row for row in rows if row.practitioner_id in shown]
    hours = _hours(place, rows)
    days = [
        Day(on, on == today, [Lane(healer, look) for look, healer in enumerate(lanes, start=1)])
        for on in days_from(first, count)
    ]
    found = {(day.on, lane.healer.id): lane for day in days for lane in day.lanes}
    for row in rows:
        lane = found.get((day_of(row.starts_at, place.zone), row.practitioner_id))
        if lane is not None:
            lane.blocks.append(_block(row, place, hours))
    kept = [day for day in days if count == 1 or day.on.weekday() < 5 or day.on == keep or _has_visits(day)]
    return Grid(kept, lanes, everyone, hours, left_out)


def _between(connection: Connection, place: Place, first: date, count: int, only: int | None) -> Sequence[Any]:
    last = list(days_from(first, count))[-1]
    statement = _VISITS.where(
        _visits.starts_at >= edge_at(first, 0, place.zone),
        _visits.starts_at < edge_at(last, DAY_MINUTES, place.zone),
        _visits.status != CANCELLED,
    ).order_by(_visits.starts_at, _visits.id)
    if only is not None:
        statement = statement.where(_visits.practitioner_id == only)
    return connection.execute(statement).all()


def _lanes(everyone: Iterable[Healer], busy: set[int], only: int | None) -> tuple[list[Healer], int]:
    """Who is shown, and how many there was no room for."""
    if only is not None:
        return [healer for healer in everyone if healer.id == only], 0
    wanted = [healer for healer in everyone if healer.active or healer.id in busy]
    if len(wanted) > MOST_LANES:
        first = sorted(wanted, key=lambda healer: (healer.id not in busy, not healer.active))[:MOST_LANES]
        return [healer for healer in wanted if healer in first], len(wanted) - MOST_LANES
    return wanted, 0


def _hours(place: Place, rows: Iterable[Any]) -> range:
    """From which hour to which: the opening hours, and whatever is booked outside of them."""
    starts = [minute_of(row.starts_at, place.zone) for row in rows]
    ends = [start + _minutes(row) for start, row in zip(starts, rows, strict=True)]
    opens, closes = min([place.opens, *starts]), min(max([place.closes, *ends]), DAY_MINUTES)
    return range(opens // 60, -(-closes // 60))


def _minutes(row: Any) -> int:
    return int((row.ends_at - row.starts_at).total_seconds()) // 60


def _block(row: Any, place: Place, hours: range) -> Block:
    minute = minute_of(row.starts_at, place.zone)
    quarter = (minute - hours.start * 60) // MINUTES
    length = -(-_minutes(row) // MINUTES)
    return Block(
        id=row.id,
        key=row.public_id,
        patient_id=row.patient_id,
        patient=f"{row.family_name}, {row.given_name}" if row.given_name else row.family_name,
        service=row.service,
        status=row.status,
        note=row.note,
        invoice=row.number,
        minute=minute,
        starts=clock(minute, half=False),
        span=span(minute, minute_of(row.ends_at, place.zone)),
        quarter=quarter,
        length=max(1, min(length, len(hours) * 60 // MINUTES - quarter)),
        elsewhere="" if row.location_id == place.id else row.location,
    )


def _has_visits(day: Day) -> bool:
    return any(not block.elsewhere for lane in day.lanes for block in lane.blocks)


# --- one visit, and the times of one day ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Visit:
    """One visit, for its own page and its checkout."""

    id: int
    key: str
    version: int
    patient_id: int
    patient: str
    patient_email: str
    service_id: int
    service: str
    practitioner_id: int
    practitioner: str
    location_id: int
    location: str
    zone: str
    currency: str
    starts_at: datetime
    ends_at: datetime
    status: str
    note: str
    invoice: str | None

    @property
    def day(self) -> date:
        return day_of(self.starts_at, self.zone)

    @property
    def is_on_a_later_day(self) -> bool:
        """Whether its day is still to come, where it takes place."""
        return self.day > day_of(now(), self.zone)

    @property
    def minute(self) -> int:
        return minute_of(self.starts_at, self.zone)

    @property
    def minutes(self) -> int:
        return int((self.ends_at - self.starts_at).total_seconds()) // 60

    @property
    def span(self) -> str:
        return span(self.minute, minute_of(self.ends_at, self.zone))

    @property
    def is_booked(self) -> bool:
        return self.status == BOOKED

    @property
    def is_cancelled(self) -> bool:
        return self.status == CANCELLED


_ONE = _VISITS.join(Practitioner.__table__, _practitioners.id == _visits.practitioner_id).add_columns(
    _visits.service_id, _patients.email, _practitioners.name.label("healer"), _practitioners.credentials
)


def visit(connection: Connection, key: str) -> Visit | None:
    """One visit by its key; None when there is none."""
    row = connection.execute(_ONE.where(_visits.public_id == key)).first()
    if row is None:
        return None
    return Visit(
        id=row.id,
        key=row.public_id,
        version=row.version,
        patient_id=row.patient_id,
        patient=f"{row.given_name} {row.family_name}".strip(),
        patient_email=row.email,
        service_id=row.service_id,
        service=row.service,
        practitioner_id=row.practitioner_id,
        practitioner=with_credentials(row.healer, row.credentials),
        location_id=row.location_id,
        location=row.location,
        zone=row.timezone,
        currency=row.currency,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        status=row.status,
        note=row.note,
        invoice=row.number,
    )


def at_the_same_time(connection: Connection, one: Visit) -> list[str]:
    """The patient's other visits that overlap with this one, in words: not forbidden, but somebody should know."""
    rows = connection.execute(
        _ONE.where(
            _visits.patient_id == one.patient_id,
            _visits.id != one.id,
            _visits.status != CANCELLED,
            _visits.starts_at < one.ends_at,
            _visits.ends_at > one.starts_at,
        ).order_by(_visits.starts_at)
    )
    return [
        f"{span(minute_of(row.starts_at, one.zone), minute_of(row.ends_at, one.zone))}, "
        f"{with_credentials(row.healer, row.credentials)}, {row.location}"
        for row in rows
    ]


class Time(NamedTuple):
    """A time of a day at which a visit could begin, and who stands in the way."""

    minute: int
    words: str
    taken_by: str


def times(
    connection: Connection, place: Place, practitioner_id: int, day: date, minutes: int, but: int = 0
) -> list[Time]:
    """The times at which a visit of so many minutes could begin that day; a taken one says by whom.

    `but` is a visit that is to be moved: it stands in nobody's way.
    """
    rows = [row for row in _between(connection, place, day, 1, practitioner_id) if row.id != but]
    found = []
    for minute in range(place.opens, place.closes - minutes + 1, MINUTES):
        starts = edge_at(day, minute, place.zone)
        if minute_of(starts, place.zone) != minute:
            continue  # the clocks skip it
        ends_s = starts.timestamp() + minutes * 60
        other = next((r for r in rows if r.starts_at.timestamp() < ends_s and r.ends_at > starts), None)
        found.append(Time(minute, clock(minute), f"{other.given_name} {other.family_name}".strip() if other else ""))
    return found
