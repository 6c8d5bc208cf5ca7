"""What all invoices of a search come to, whatever page of them is shown: by the sums, which are exact at any moment.

Where a number, a patient or an open case names the invoices, they are few, and added up as they are.
"""

from datetime import date, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    Date,
    Integer,
    Select,
    String,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    union_all,
)

from portal.invoices.reading.columns import invoices
from portal.invoices.search.narrowing import ANY_STATUS, Narrowing
from portal.invoices.search.rows import Shape, conditions, shape_of, values_of
from portal.invoices.sums import ANY, ANY_STANDING, DAY, MONTH, InvoiceChange, InvoiceSum, counted
from portal.invoices.tables import UNCONFIRMED, Invoice
from portal.money import format_money


class Total(NamedTuple):
    """What the invoices of one currency come to; void ones come to nothing."""

    currency: str
    owed_cents: int
    paid_cents: int

    @property
    def owed(self) -> str:
        return format_money(self.owed_cents, self.currency)

    @property
    def paid(self) -> str:
        return format_money(self.paid_cents, self.currency)

    @property
    def balance(self) -> str:
        return format_money(self.owed_cents - self.paid_cents, self.currency)


class Found(NamedTuple):
    """How many invoices there are, void ones too, and what they come to in each currency."""

    number: int
    totals: list[Total]


def found_by(connection: Connection, search: Narrowing) -> Found:
    """How many invoices a search finds, and what they come to."""
    if search.names_few:
        rows = connection.execute(_counted_out(shape_of(search)), values_of(search)).all()
    else:
        rows = connection.execute(_summed(shape_of(search)), _sum_values(search)).all()
    totals = [Total(currency, owed, paid) for currency, count, owed, paid in rows if count]
    return Found(sum(row[1] for row in rows), totals)


def _added(parts: list[Select[Any]]) -> Select[Any]:
    found = union_all(*parts).subquery()
    currency, *amounts = found.c
    sums = (cast(func.sum(each), BigInteger) for each in amounts)
    return select(currency, *sums).group_by(currency).order_by(currency)


@lru_cache(maxsize=128)
def _counted_out(shape: Shape) -> Select[Any]:
    one = cast(1, Integer)
    amounts = (counted(invoices.owed_cents), counted(invoices.paid_cents))
    return _added([select(invoices.currency, one, *amounts).where(*wanted) for wanted in conditions(shape)])


# --- by the sums ----------------------------------------------------------------------------------------------------

_sums, _was = InvoiceSum.__table__.c, InvoiceChange.__table__.c


@lru_cache(maxsize=64)
def _summed(shape: Shape) -> Select[Any]:
    return _added(
        [
            _stretch(MONTH, "first_month", "last_month"),
            _stretch(DAY, "since", "days_before"),
            _stretch(DAY, "days_after", "until"),
            _changed(_was, shape, select(_was.currency, -_was.invoices, -_was.owed_cents, -_was.paid_cents)),
            _changed(
                invoices,
                shape,
                select(
                    invoices.currency, cast(1, Integer), counted(invoices.owed_cents), counted(invoices.paid_cents)
                ).join_from(InvoiceChange.__table__, Invoice.__table__, invoices.id == _few(_was.invoice_id)),
            ),
        ]
    )


def _few(column: Any) -> Any:
    """The side of a join to begin with: SQLite knows nothing of an empty table, and would walk all invoices."""
    return column + literal_column("0", Integer)


def _stretch(span: str, first: str, last: str) -> Select[Any]:
    return select(_sums.currency, _sums.invoices, _sums.owed_cents, _sums.paid_cents).where(
        _sums.span == span,
        _sums.location_id == bindparam("location", type_=Integer()),
        _sums.practitioner_id == bindparam("practitioner", type_=Integer()),
        _sums.standing == bindparam("standing", type_=String()),
        _sums.starts_on >= bindparam(first, type_=Date()),
        _sums.starts_on <= bindparam(last, type_=Date()),
    )


def _changed(table: Any, shape: Shape, statement: Select[Any]) -> Select[Any]:
    """Of the invoices that have changed since they were counted, those that the search finds."""
    statement = statement.where(
        table.service_on >= bindparam("since", type_=Date()), table.service_on <= bindparam("until", type_=Date())
    )
    if shape.location:
        statement = statement.where(table.location_id == bindparam("location", type_=Integer()))
    if shape.practitioner:
        statement = statement.where(table.practitioner_id == bindparam("practitioner", type_=Integer()))
    if len(shape.standings) == 1:
        # Not by the index of the standings: the changes are few, the invoices many.
        return statement.where(table.standing + "" == bindparam("standing", type_=String()))
    return statement.where(table.standing + "" != UNCONFIRMED)


def _sum_values(search: Narrowing) -> dict[str, object]:
    first, last = whole_months(search.since, search.until)
    return {
        "since": search.since,
        "until": search.until,
        "first_month": first,
        "last_month": last,
        "days_before": first - timedelta(1) if first <= last else search.until,
        "days_after": last + timedelta(1) if first <= last else search.until + timedelta(1),
        "location": search.location_id or ANY,
        "practitioner": search.practitioner_id or ANY,
        "standing": ANY_STANDING if search.status == ANY_STATUS else search.status,
    }


def whole_months(since: date, until: date) -> tuple[date, date]:
    """The first day of the first whole month inside these days, and the last day of the last one.

    Where no whole month lies inside, the first comes after the last.
    """
    first = since if since.day == 1 else _next_month(since)
    is_month_end = (until + timedelta(1)).day == 1
    last = until if is_month_end else until.replace(day=1) - timedelta(1)
    return first, last


def _next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(4)).replace(day=1)
