"""What a search is narrowed to, read from the address of its page. What can't be read is named, the rest holds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, Integer, literal_column, select, union_all

from portal.clinic import Location, Practitioner
from portal.clock import now
from portal.invoices.books import Status
from portal.invoices.reading.words import local_day, with_credentials
from portal.invoices.search.patients import TooManyPatients, patients_named

ANY_STATUS, REFUND_PENDING = "", "refund pending"
STATUSES = (
    (ANY_STATUS, _l("Any")),
    (Status.RECEIVABLE.value, _l("Receivable")),
    (Status.PARTLY_PAID.value, _l("Partly paid")),
    (Status.PAID.value, _l("Paid")),
    (Status.VOID.value, _l("Void")),
    (REFUND_PENDING, _l("Void, refund pending")),
)
"""What the status can be narrowed to. Void ones whose refund is pending are void, too."""

FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2999, 12, 31)
LONGEST = 200
_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./ -]{0,23}")


class Choice(NamedTuple):
    """A location or practitioner to choose."""

    id: int
    name: str


class Choices(NamedTuple):
    """What there is to choose from, and what day it is there."""

    locations: Sequence[Choice]
    practitioners: Sequence[Choice]
    zones: Mapping[int, str]

    def today(self, location_id: int | None) -> date:
        """The day it is at a location; at the first one unless it is known which."""
        zone = self.zones.get(location_id or 0) or next(iter(self.zones.values()), "UTC")
        return local_day(now(), zone)


_CHOICES = union_all(
    select(literal_column("1", Integer).label("part"), Location.id, Location.name, Location.timezone),
    select(literal_column("2", Integer), Practitioner.id, Practitioner.name, Practitioner.credentials),
).order_by("part", "name")


def choices(connection: Connection) -> Choices:
    """The clinic's locations and practitioners, also those no longer active: their invoices are still there."""
    rows = connection.execute(_CHOICES).all()
    return Choices(
        [Choice(id_, name) for part, id_, name, _zone in rows if part == 1],
        [Choice(id_, with_credentials(name, more)) for part, id_, name, more in rows if part == 2],
        {id_: zone for part, id_, _name, zone in rows if part == 1},
    )


@dataclass
class Narrowing:
    """What a search is narrowed to. `typed` is what stands in the fields, `errors` says why a field can't be read.

    A number finds its invoice whatever its date. `patients` are ids; None where no name was given.
    """

    typed: dict[str, str]
    since: date = FIRST_DAY
    until: date = LAST_DAY
    number: str = ""
    status: str = ANY_STATUS
    location_id: int | None = None
    practitioner_id: int | None = None
    patients: tuple[int, ...] | None = None
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def names_few(self) -> bool:
        """Whether a number, a patient or an open case names the invoices: few, and found without the sums."""
        return bool(self.number) or self.patients is not None or self.status == REFUND_PENDING

    @property
    def standings(self) -> tuple[str, ...]:
        """The standings that are looked for."""
        if self.status == ANY_STATUS:
            return tuple(status.value for status in Status)
        return (Status.VOID.value,) if self.status == REFUND_PENDING else (self.status,)


_FIELDS = ("number", "patient", "from", "until", "status", "location", "practitioner")


def narrowed(connection: Connection, address: Mapping[str, str], known: Choices) -> Narrowing:
    """Read a search from the address of its page. Without dates: from the first of this month on.

    No last day, because a visit of next week may be invoiced today, and its invoice has the day of the visit.

    What can't be read gets its sentence, and the search goes on as if it had not been typed.
    """
    search = Narrowing({name: _plain(address[name]) for name in _FIELDS if name in address})
    search.location_id = _one_of(search, "location", known.locations, _("Please choose one of the locations."))
    search.practitioner_id = _one_of(
        search, "practitioner", known.practitioners, _("Please choose one of the practitioners.")
    )
    _read_status(search)
    _read_dates(search, known.today(search.location_id))
    _read_number(search)
    _read_patient(connection, search)
    return search


def _plain(text: str) -> str:
    """What was typed, in one line."""
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text[:LONGEST]).split())


def _one_of(search: Narrowing, name: str, known: Sequence[Choice], error: str) -> int | None:
    text = search.typed.get(name, "")
    chosen = next((choice.id for choice in known if str(choice.id) == text), None)
    if text and chosen is None:
        search.errors[name] = error
    return chosen


def _read_status(search: Narrowing) -> None:
    text = search.typed.get("status", ANY_STATUS)
    if text in dict(STATUSES):
        search.status = text
    else:
        search.errors["status"] = _("Please choose one of the statuses.")


def _read_dates(search: Narrowing, today: date) -> None:
    search.since = _day(search, "from", today.replace(day=1), FIRST_DAY)
    search.until = _day(search, "until", LAST_DAY, LAST_DAY)
    if search.since > search.until and not search.errors.keys() & {"from", "until"}:
        search.errors["from"] = _("This day is after the last one; nothing can lie between them.")


def _day(search: Narrowing, name: str, usual: date, open_end: date) -> date:
    """The day in a field: the usual one where the address has none, no bound where the field was emptied."""
    text = search.typed.setdefault(name, "" if usual == open_end else usual.isoformat())
    if not text:
        return open_end
    try:
        return min(max(date.fromisoformat(text), FIRST_DAY), LAST_DAY)
    except ValueError:
        search.errors[name] = _("Please give the day as year, month and day, such as %(day)s.", day="2026-11-24")
        return usual


def _read_number(search: Narrowing) -> None:
    text = search.typed.get("number", "").lstrip("#")
    if not text:
        return
    if _NUMBER.fullmatch(text):
        search.number = text
        search.since, search.until = FIRST_DAY, LAST_DAY
    else:
        search.errors["number"] = _("An invoice number has letters and digits, and at most 24 of them.")


def _read_patient(connection: Connection, search: Narrowing) -> None:
    text = search.typed.get("patient", "")
    if not text:
        return
    try:
        search.patients = patients_named(connection, text)
    except TooManyPatients as refusal:
        search.errors["patient"] = refusal.text
        search.patients = ()
