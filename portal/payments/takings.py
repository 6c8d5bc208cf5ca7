"""The day sheet: the money that was taken on one day, each location's day by its own clock.

A day is what the clock there shows: 23 hours long in spring, 25 in autumn. Reversals and refunds count on the day
they were made, as negative amounts; so the sum of a day is what its drawer and its card batch must show.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from flask_babel import gettext as _
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    and_,
    cast,
    func,
    literal_column,
    or_,
    select,
    union_all,
)  # fmt: skip

from portal.clinic import Location, Practitioner
from portal.invoices.reading.columns import Found, invoices, patients, payments, practitioners
from portal.invoices.reading.words import means_words
from portal.invoices.search import Narrowing, found_by
from portal.invoices.tables import Invoice
from portal.money import format_money
from portal.payments.tables import Payment
from portal.people import Patient, User
from portal.schedule import CANCELLED, Appointment
from portal.schedule.times import edge_at

CHART_DAYS = 30


class Place(NamedTuple):
    """A location, and by which clock its days go."""

    id: int
    name: str
    zone: str
    currency: str


class Entry(NamedTuple):
    """One payment of the list, in words. Only money that came in has a receipt's page: `has_receipt`."""

    time: str
    receipt: str
    invoice: str
    patient: str
    practitioner: str
    means: str
    where: str
    amount: str
    goes_back: bool
    patient_id: int
    has_receipt: bool


class Part(NamedTuple):
    """A part of what was taken: by kind, or by who took it."""

    name: str
    amount: str


@dataclass(frozen=True)
class Bar:
    """What one day of the chart came to."""

    day: date
    cents: int
    amount: str


@dataclass
class Takings:
    """What was taken in one currency."""

    currency: str
    received_cents: int = 0
    invoiced_cents: int = 0
    receivable_cents: int = 0
    online_cents: int = 0
    cash_cents: int = 0
    kinds: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    people: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    bars: list[Bar] = field(default_factory=list)

    def money(self, cents: int) -> str:
        return format_money(cents, self.currency)

    @property
    def by_kind(self) -> list[Part]:
        return [Part(name, self.money(cents)) for name, cents in self.kinds.items()]

    @property
    def by_person(self) -> list[Part]:
        return [Part(name, self.money(cents)) for name, cents in self.people.items()]


@dataclass(frozen=True)
class Sheet:
    """One day at one location, or at all of them."""

    entries: list[Entry]
    takings: list[Takings]
    visits: int


_LOCATIONS = select(Location.id, Location.name, Location.timezone, Location.currency).order_by(Location.id)


def places(connection: Connection) -> list[Place]:
    """Every location; also one that is no longer open, for its past days."""
    return [Place(*row) for row in connection.execute(_LOCATIONS)]


def sheet_of(connection: Connection, day: date, where: Sequence[Place]) -> Sheet:
    """The day sheet of some locations."""
    rows = connection.execute(_ROWS.where(_falls_on(day, where, payments.received_at, invoices.location_id))).all()
    zones = {place.id: ZoneInfo(place.zone) for place in where}
    takings = {currency: Takings(currency) for currency in sorted({place.currency for place in where})}
    for row in rows:
        _count(takings.setdefault(row.currency, Takings(row.currency)), row)
    _invoiced(connection, day, where, takings)
    _chart(connection, day, where, takings)
    return Sheet([_entry(row, zones[row.location_id]) for row in rows], list(takings.values()),
                 _visits(connection, day, where))  # fmt: skip


# --- whose day it is ------------------------------------------------------------------------------------------------


def _falls_on(day: date, where: Sequence[Place], moment: Any, location: Any) -> ColumnElement[bool]:
    """Whether a moment falls on the day of its location. The widest bounds come first: they walk the index."""
    zones: dict[str, list[int]] = defaultdict(list)
    for place in where:
        zones[place.zone].append(place.id)
    spans = {zone: (edge_at(day, 0, zone), edge_at(day + timedelta(1), 0, zone)) for zone in zones}
    wide = and_(
        moment >= min(begins for begins, _ends in spans.values()),
        moment < max(ends for _begins, ends in spans.values()),
    )
    narrow = [
        and_(location.in_(ids), moment >= spans[zone][0], moment < spans[zone][1]) for zone, ids in zones.items()
    ]
    return and_(wide, or_(*narrow))


# --- the payments of the day ----------------------------------------------------------------------------------------

_reversed = Payment.__table__.alias("reversed")
_users = User.__table__.c

_ROWS = (
    select(
        payments.id, payments.receipt_number, payments.nature, payments.channel, payments.kind,
        payments.amount_cents, payments.currency, payments.gateway_id, payments.brand, payments.last4,
        payments.received_at, _reversed.c.receipt_number.label("reverses"),
        invoices.number, invoices.location_id, invoices.patient_id, patients.given_name, patients.family_name,
        practitioners.name.label("practitioner"), _users.name.label("taken_by"), _users.role,
    )
    .select_from(Payment.__table__)
    .join(Invoice.__table__, invoices.id == payments.invoice_id)
    .join(Patient.__table__, patients.id == invoices.patient_id)
    .outerjoin(Practitioner.__table__, practitioners.id == invoices.practitioner_id)
    .outerjoin(User.__table__, _users.id == payments.recorded_by)
    .outerjoin(_reversed, _reversed.c.id == payments.reverses_id)
    .order_by(payments.received_at, payments.id)
)  # fmt: skip


def _entry(row: Found, zone: ZoneInfo) -> Entry:
    return Entry(
        f"{row.received_at.astimezone(zone):%H:%M}",
        row.receipt_number or "",
        row.number,
        f"{row.family_name}, {row.given_name}" if row.given_name else row.family_name,
        (row.practitioner or "").rpartition(" ")[2],
        _means(row),
        {"portal": _("Portal"), "link": _("Pay link")}.get(row.channel) or _("Desk"),
        format_money(row.amount_cents, row.currency),
        row.amount_cents < 0,
        row.patient_id,
        row.nature == "payment" and row.receipt_number is not None,
    )


def _means(row: Found) -> str:
    """ "Visa ending 4242", "Visa, not processed", "Reverses R-20919" """
    if row.nature == "reversal" and row.reverses:
        return str(_("Reverses %(name)s", name=row.reverses))
    means = means_words(row.kind, row.brand, row.last4)
    if row.nature == "payment":
        unprocessed = row.kind == "card" and row.gateway_id is None
        return str(_("%(means)s, not processed", means=_kind(row)) if unprocessed else means)
    words = {
        "refund": _("Refund to %(means)s", means=means),
        "refund failed": _("Refund to %(means)s failed", means=means),
        "dispute": _("Disputed, %(means)s", means=means),
        "reinstatement": _("Dispute won, %(means)s", means=means),
    }
    return str(words.get(row.nature) or means)


def _kind(row: Found) -> str:
    """The kind under which an amount is counted: the card's brand, or what else it was paid with."""
    return means_words(row.kind, row.brand, None)


def _person(row: Found) -> str:
    """Who took it: somebody of the staff, or nobody, because the patient paid online or Stripe told us."""
    if row.channel != "desk":
        return str(_("Patients, online"))
    if row.taken_by:
        return str(row.taken_by)
    return str(_("Stripe") if row.gateway_id else _("Not recorded"))


def _count(takings: Takings, row: Found) -> None:
    cents = row.amount_cents
    takings.received_cents += cents
    takings.kinds[_kind(row)] += cents
    takings.people[_person(row)] += cents
    if row.gateway_id is not None:
        takings.online_cents += cents
    if row.kind == "cash":
        takings.cash_cents += cents


# --- what else there is to know of the day --------------------------------------------------------------------------


def _invoiced(connection: Connection, day: date, where: Sequence[Place], takings: dict[str, Takings]) -> None:
    """What the visits of the day were invoiced at, and how much of that is still open."""
    total = connection.scalar(select(func.count()).select_from(Location.__table__))
    searches: Iterable[Narrowing] = (Narrowing({}, day, day, location_id=place.id) for place in where)
    if len(where) == total:
        searches = [Narrowing({}, day, day)]
    for search in searches:
        for each in found_by(connection, search).totals:
            taken = takings.setdefault(each.currency, Takings(each.currency))
            taken.invoiced_cents += each.owed_cents
            taken.receivable_cents += each.owed_cents - each.paid_cents


def _visits(connection: Connection, day: date, where: Sequence[Place]) -> int:
    appointments = Appointment.__table__.c
    return (
        connection.scalar(
            select(func.count())
            .select_from(Appointment.__table__)
            .where(
                _falls_on(day, where, appointments.starts_at, appointments.location_id),
                appointments.status != CANCELLED,
            )
        )
        or 0
    )


# --- the last thirty days -------------------------------------------------------------------------------------------


def _chart(connection: Connection, day: date, where: Sequence[Place], takings: dict[str, Takings]) -> None:
    days = [day - timedelta(ago) for ago in reversed(range(CHART_DAYS))]
    found = connection.execute(
        union_all(
            *(
                select(
                    literal_column(str(turn), Integer).label("turn"),
                    payments.currency,
                    cast(func.sum(payments.amount_cents), BigInteger),
                )
                .join_from(Payment.__table__, Invoice.__table__, invoices.id == payments.invoice_id)
                .where(_falls_on(each, where, payments.received_at, invoices.location_id))
                .group_by(payments.currency)
                for turn, each in enumerate(days)
            )
        )
    )
    sums = {(turn, currency): cents for turn, currency, cents in found}
    for currency, taken in takings.items():
        taken.bars = [
            Bar(each, cents := sums.get((turn, currency), 0), taken.money(cents)) for turn, each in enumerate(days)
        ]
