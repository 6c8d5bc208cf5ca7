"""The two lists of a patient's invoices, what is open and what is done, and how many there are.

Lists are walked by key, never by offset, and counts stop at a bound: a page costs the same however long the file is.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Select,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    tuple_,
    union_all,
)  # fmt: skip

from portal.clinic import Location, Practitioner
from portal.gateway.configured import ConfiguredGateway, chosen_gateway
from portal.invoices.reading.columns import (
    IS_CLOSED,
    IS_OPEN,
    LIVE,
    Found,
    attempts,
    gateways,
    invoices,
    locations,
    payments,
    practitioners,
)  # fmt: skip
from portal.invoices.reading.payers import Payee, Payer
from portal.invoices.reading.words import (
    BOUND,
    CHECKED,
    Phrases,
    Today,
    bounded,
    closed_tag,
    href,
    money,
    open_tag,
    phrases_here,
    short_day,
    weekday,
    with_credentials,
)  # fmt: skip
from portal.money import format_money, is_chargeable
from portal.payments.tables import PaymentAttempt

PAGE = 20

Modes = Collection[str]
"""The modes of gateways that may take payments here and now: none of them while a switch is off."""


class Key(NamedTuple):
    """Where a page of a list goes on: after this day and id."""

    day: date
    id: int


class OpenRow(NamedTuple):
    """One open invoice, as the list shows it; the template takes it in this order. `act`: "pay", "see" or nothing."""

    number: str
    href: str
    about: str
    amount: str
    due: str
    look: str
    state: str
    act: str


class ClosedRow(NamedTuple):
    """One paid or void invoice, as the list shows it. The template takes it in this order."""

    number: str
    href: str
    about: str
    amount: str
    look: str
    state: str
    receipt: str


class Page(NamedTuple):
    """One page of a list; `following` asks for the next one, and is empty on the last."""

    rows: list[Any]
    following: str
    blocked: bool = False


_SHOWN = (
    invoices.id, invoices.number, invoices.patient_id, invoices.location_id, invoices.practitioner_id,
    invoices.service_on, invoices.due_on, invoices.currency, invoices.owed_cents, invoices.paid_cents,
    invoices.balance_cents, invoices.voided_at, invoices.last_paid_at,
)  # fmt: skip

_RECEIPT = (
    select(payments.receipt_number)
    .where(payments.invoice_id == literal_column("page.id"), payments.nature == literal_column("'payment'"))
    .order_by(payments.id.desc())
    .limit(literal_column("1"))
    .scalar_subquery()
)


EACH = 40
"""For so many patients at most, each has a part of the statement that walks the index and stops. An employer may pay
for hundreds: theirs are read together, for a database takes only so many parts."""


def _whose(patients: int) -> list[ColumnElement[bool]]:
    """Whose invoices each part of a statement for so many patients reads."""
    if patients > EACH:
        return [invoices.patient_id.in_(bindparam("patients", expanding=True, type_=Integer))]
    return [invoices.patient_id == bindparam(f"patient_{place}", type_=Integer) for place in range(patients)]


def _values(payer: Payer) -> dict[str, object]:
    if len(payer.patients) > EACH:
        return {"patients": payer.patients}
    return {f"patient_{place}": patient for place, patient in enumerate(payer.patients)}


@lru_cache(maxsize=2 * 2 * (EACH + 1))
def _list_statement(closed: bool, patients: int, after: bool) -> Select[Any]:
    """The statement for one page of a list of so many patients."""
    day = invoices.service_on if closed else invoices.due_on
    parts = []
    for whose in _whose(patients):
        part = select(*_SHOWN).where(whose, IS_CLOSED if closed else IS_OPEN)
        if after:
            reached = tuple_(bindparam("day", type_=day.type), bindparam("id", type_=Integer))
            here = tuple_(day, invoices.id)
            part = part.where(here < reached if closed else here > reached)
        order = (day.desc(), invoices.id.desc()) if closed else (day, invoices.id)
        parts.append(part.order_by(*order).limit(literal_column(str(PAGE + 1))))
    if len(parts) == 1:
        page = parts[0].subquery("page")
    else:
        together = union_all(*(select(part.subquery()) for part in parts)).subquery()
        merged = together.c.service_on if closed else together.c.due_on
        order = (merged.desc(), together.c.id.desc()) if closed else (merged, together.c.id)
        page = select(together).order_by(*order).limit(literal_column(str(PAGE + 1))).subquery("page")
    return _with_names(page, closed).limit(literal_column(str(PAGE + 1)))


def _with_names(page: Any, closed: bool) -> Select[Any]:
    shown = page.c
    day = shown.service_on if closed else shown.due_on
    columns = [
        shown.id, shown.number, shown.patient_id, shown.service_on, shown.due_on, shown.currency, shown.paid_cents,
        practitioners.name, practitioners.credentials, locations.timezone,
    ]  # fmt: skip
    source = page.join(Location.__table__, locations.id == shown.location_id).outerjoin(
        Practitioner.__table__, practitioners.id == shown.practitioner_id
    )
    if closed:
        columns += [shown.owed_cents, shown.voided_at.is_not(None), shown.last_paid_at, _RECEIPT]
    else:
        source = source.outerjoin(PaymentAttempt.__table__, (attempts.invoice_id == shown.id) & LIVE)
        source = source.outerjoin(ConfiguredGateway.__table__, gateways.id == chosen_gateway(shown.location_id))
        columns += [shown.balance_cents, attempts.state, gateways.mode]
    order = (day.desc(), shown.id.desc()) if closed else (day, shown.id)
    return select(*columns).select_from(source).order_by(*order)


def open_invoices(connection: Connection, payer: Payer, modes: Modes, after: Key | None = None) -> Page:
    """A page of what is left to pay, the earliest due first. `modes`: of gateways that may take payments now."""
    rows = _list(connection, payer, after, closed=False)
    phrases, today = phrases_here(), Today()
    shown = [_open_row(row, payer, modes, phrases, today) for row in rows[:PAGE]]
    following = written_key(rows[PAGE - 1].due_on, rows[PAGE - 1].id) if len(rows) > PAGE else ""
    return Page(shown, following, blocked=any(row.mode not in modes for row in rows[:PAGE]))


def closed_invoices(connection: Connection, payer: Payer, after: Key | None = None) -> Page:
    """A page of what is paid or void, the newest first."""
    rows = _list(connection, payer, after, closed=True)
    phrases = phrases_here()
    shown = [_closed_row(row, payer, phrases) for row in rows[:PAGE]]
    following = written_key(rows[PAGE - 1].service_on, rows[PAGE - 1].id) if len(rows) > PAGE else ""
    return Page(shown, following)


def _list(connection: Connection, payer: Payer, after: Key | None, closed: bool) -> Sequence[Found]:
    statement = _list_statement(closed, min(len(payer.patients), EACH + 1), after is not None)
    values = _values(payer)
    if after is not None:
        values |= {"day": after.day, "id": after.id}
    return connection.execute(statement, values).all()


def _open_row(row: Found, payer: Payer, modes: Modes, phrases: Phrases, today: Today) -> OpenRow:
    _id, number, patient_id, service_on, due_on, currency, paid, name, credentials, zone, balance, state, mode = row
    act = ""
    if state in CHECKED:
        act = "see"
    elif mode in modes and is_chargeable(balance, currency):
        act = "pay"
    return OpenRow(
        number,
        href(number),
        _about(service_on, name, credentials, payer.payee(patient_id), phrases),
        money(balance, currency),
        phrases.due % short_day(due_on),
        *open_tag(state, paid, due_on, zone, phrases, today),
        act,
    )


def _closed_row(row: Found, payer: Payer, phrases: Phrases) -> ClosedRow:
    (_id, number, patient_id, service_on, _due, currency, paid, name, credentials, zone, owed, voided, last_paid_at,
     receipt) = row  # fmt: skip
    return ClosedRow(
        number,
        href(number),
        _about(service_on, name, credentials, payer.payee(patient_id), phrases),
        money(owed, currency),
        *closed_tag(voided, last_paid_at, owed, paid, zone, phrases),
        quote(receipt, safe="") if receipt else "",
    )


def _about(service_on: date, name: str | None, credentials: str | None, payee: Payee | None, phrases: Phrases) -> str:
    words = weekday(service_on)
    if name and (payee is None or payee.sees_lines):
        words += ", " + with_credentials(name, credentials)
    return words + ", " + phrases.payee % payee.name if payee else words


# --- how many there are ---------------------------------------------------------------------------------------------


class Totals(NamedTuple):
    """What stands above the lists. Counting stops at a bound; a sum is shown only when all of it was counted."""

    open_count: str
    closed_count: str
    open_exactly: int | None
    closed_exactly: int | None
    open_sum: str
    zone: str | None

    @property
    def opening(self) -> str:
        """ "You have three open invoices" """
        return phrases_here().opening(self.open_exactly)


@lru_cache(maxsize=EACH + 1)
def _totals_statement(patients: int) -> Select[Any]:
    def bounded(condition: Any, *columns: Any) -> Any:
        parts = [
            select(*columns).where(whose, condition).limit(literal_column(str(BOUND))).subquery()
            for whose in _whose(patients)
        ]
        return parts[0] if len(parts) == 1 else union_all(*(select(part) for part in parts)).subquery()

    still_open = bounded(IS_OPEN, invoices.balance_cents, invoices.currency)
    done = bounded(IS_CLOSED, invoices.id)
    return select(
        func.count(),
        cast(func.sum(still_open.c.balance_cents), BigInteger),
        func.min(still_open.c.currency),
        func.max(still_open.c.currency),
        select(func.count()).select_from(done).scalar_subquery(),
        select(locations.timezone).order_by(locations.id).limit(literal_column("1")).scalar_subquery(),
    ).select_from(still_open)


def totals(connection: Connection, payer: Payer) -> Totals:
    """How many invoices are open and closed, up to the bound, and what the open ones come to."""
    statement = _totals_statement(min(len(payer.patients), EACH + 1))
    counted, cents, lowest, highest, done, zone = connection.execute(statement, _values(payer)).one()
    whole = counted < BOUND
    return Totals(
        bounded(counted),
        bounded(done),
        counted if whole else None,
        done if done < BOUND else None,
        format_money(cents, lowest) if whole and counted and lowest == highest else "",
        zone,
    )


# --- where a page goes on -------------------------------------------------------------------------------------------

_KEY = re.compile(r"(\d{8})\.(\d{1,10})", re.ASCII)
LARGEST_ID = 2**31 - 1  # what a row's id can be; PostgreSQL refuses to compare with more


def written_key(day: date, row_id: int) -> str:
    """A place in a list as a link names it; `read_key` reads it."""
    return urlsafe_b64encode(f"{day:%Y%m%d}.{row_id}".encode()).decode().rstrip("=")


def read_key(text: str) -> Key | None:
    """The place in a list that a link names; None for one that no page of ours wrote, which starts at the top."""
    try:
        found = _KEY.fullmatch(urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii"))
        if found is None or int(found[2]) > LARGEST_ID:
            return None
        return Key(datetime.strptime(found[1], "%Y%m%d").date(), int(found[2]))  # noqa: DTZ007  a day has no zone
    except ValueError:
        return None
