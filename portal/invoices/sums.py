"""What invoices come to, added up beforehand, so that the totals of a search cost the same however many there are.

The first change of an invoice since it was last counted notes, by a trigger, how it was counted (`invoice_changes`).
`fold_sums` replaces in `invoice_sums` what was counted by what is: for each day and each month, and within them for
every mix of location, practitioner and standing, or any. So a search's totals are a few dozen rows: the months
inside its dates, the days at their edges, and the invoices that have changed since. See docs/decisions/009.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import product
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    ForeignKey,
    Integer,
    Select,
    String,
    case,
    cast,
    delete,
    func,
    inspect,
    select,
    union_all,
)  # fmt: skip
from sqlalchemy.orm import Mapped, Session, mapped_column

from portal.db import Base, Database, insert_into
from portal.invoices.tables import UNCONFIRMED, Invoice

ANY, NOBODY = 0, -1
"""In the keys of the sums: any location or practitioner, and no practitioner at all."""

ANY_STANDING = ""
DAY, MONTH = "day", "month"
AT_ONCE = 5_000
_FOLDING = 0x5D75
"""PostgreSQL's lock for whoever folds."""


class InvoiceSum(Base):
    """How many invoices a day or month has, and what they come to; void ones count, but come to nothing."""

    __tablename__ = "invoice_sums"

    span: Mapped[str] = mapped_column(String(5), primary_key=True)
    location_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    practitioner_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    standing: Mapped[str] = mapped_column(String(11), primary_key=True)
    starts_on: Mapped[date] = mapped_column(primary_key=True)
    currency: Mapped[str] = mapped_column(String(3), primary_key=True)
    invoices: Mapped[int]
    owed_cents: Mapped[int] = mapped_column(BigInteger)
    paid_cents: Mapped[int] = mapped_column(BigInteger)


class InvoiceChange(Base):
    """An invoice that has changed since the sums counted it, and how they did (`invoices` 0: not yet at all).

    Written by the database itself, in the transaction of the first change.
    """

    __tablename__ = "invoice_changes"

    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id), primary_key=True, autoincrement=False)
    service_on: Mapped[date]
    location_id: Mapped[int]
    practitioner_id: Mapped[int | None]
    standing: Mapped[str] = mapped_column(String(11))
    currency: Mapped[str] = mapped_column(String(3))
    invoices: Mapped[int]
    owed_cents: Mapped[int]
    paid_cents: Mapped[int]


class _Place(NamedTuple):
    """What is counted together: the finest grain."""

    service_on: date
    location_id: int
    practitioner_id: int
    standing: str
    currency: str


_Key = tuple[str, int, int, str, date, str]
_was, _is = InvoiceChange.__table__.c, Invoice.__table__.c


def counted(column: Any) -> ColumnElement[int]:
    """An amount of an invoice as the sums count it: void ones come to nothing."""
    return case((_is.voided_at.is_(None), column), else_=0)


def fold_sums(database: Database) -> int:
    """Count every invoice that has changed; gives how many that were. The worker calls this."""
    folded = 0
    while _something_changed(database):
        with database.transaction() as session:
            done = fold_some(session)
        if not done:
            break  # they are being changed just now, or another worker is at it
        folded += done
    return folded


def _something_changed(database: Database) -> bool:
    with database.read() as connection:
        return connection.scalar(select(_was.invoice_id).limit(1)) is not None


def fold_some(session: Session, most: int = AT_ONCE) -> int:
    """Count up to `most` of the changed invoices, in the caller's transaction.

    Whoever changes an invoice holds its row: it is left for the next round, and while it is counted here, it can't
    change. One folds at a time, so that the few sums in which everybody's changes end are never waited for crosswise.
    """
    if session.get_bind().dialect.name != "sqlite" and not session.scalar(
        select(func.pg_try_advisory_xact_lock(_FOLDING))
    ):
        return 0
    changed = session.execute(
        select(
            _was.invoice_id,
            *(_was[name] for name in _Place._fields), _was.invoices, _was.owed_cents, _was.paid_cents,
            *(_is[name] for name in _Place._fields), counted(_is.owed_cents), counted(_is.paid_cents),
        )
        .join_from(InvoiceChange.__table__, Invoice.__table__, _is.id == _was.invoice_id)
        .order_by(_was.invoice_id)
        .limit(most)
        .with_for_update(of=Invoice.__table__, skip_locked=True)
    ).all()  # fmt: skip
    if not changed:
        return 0
    sums: dict[_Place, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in changed:
        _add(sums[_place(row[1:6])], row[6:9], -1)
        _add(sums[_place(row[9:14])], (1, *row[14:]), +1)
    _write(session, sums)
    session.execute(
        delete(InvoiceChange)
        .where(_was.invoice_id.in_([row[0] for row in changed]))
        .execution_options(synchronize_session=False)
    )
    return len(changed)


def _place(values: Sequence[Any]) -> _Place:
    day, location, practitioner, standing, currency = values
    return _Place(day, location, NOBODY if practitioner is None else practitioner, standing, currency)


def _add(to: list[int], amounts: Sequence[int], sign: int = 1) -> None:
    for position, amount in enumerate(amounts):
        to[position] += sign * amount


def _write(session: Session, sums: dict[_Place, list[int]]) -> None:
    rows: dict[_Key, list[int]] = defaultdict(lambda: [0, 0, 0])
    for place, amounts in sums.items():
        if any(amounts):
            for key in _keys(place):
                _add(rows[key], amounts)
    if not rows:
        return
    insert = insert_into(session, InvoiceSum)
    names = [column.name for column in inspect(InvoiceSum).primary_key]
    added = {
        name: getattr(InvoiceSum, name) + insert.excluded[name] for name in ("invoices", "owed_cents", "paid_cents")
    }
    session.execute(
        insert.on_conflict_do_update(index_elements=names, set_=added),
        [
            dict(zip(names, key, strict=True)) | {"invoices": number, "owed_cents": owed, "paid_cents": paid}
            for key, (number, owed, paid) in sorted(rows.items())
        ],
    )


def _keys(place: _Place) -> Iterator[_Key]:
    """Every sum that an invoice belongs to: of its day and its month, by each of its sides or any. One that is not
    confirmed belongs to none."""
    if place.standing == UNCONFIRMED:
        return
    for (span, day), location, practitioner, standing in product(
        ((DAY, place.service_on), (MONTH, place.service_on.replace(day=1))),
        (place.location_id, ANY),
        (place.practitioner_id, ANY),
        (place.standing, ANY_STANDING),
    ):
        yield span, location, practitioner, standing, day, place.currency


# --- are they right? ------------------------------------------------------------------------------------------------


def differing_days() -> Select[Any]:
    """The days whose sums, corrected by what has changed since, are not their invoices: none, one hopes."""
    sums = InvoiceSum.__table__.c
    is_finest = (sums.location_id != ANY) & (sums.practitioner_id != ANY) & (sums.standing != ANY_STANDING)
    here = tuple(_is[name] for name in _Place._fields)
    now_counted = (counted(_is.owed_cents), counted(_is.paid_cents))
    changed = InvoiceChange.__table__.join(Invoice.__table__, _is.id == _was.invoice_id)
    parts = union_all(
        _part(here, 1, *now_counted),
        _part(
            (sums.starts_on, *(sums[name] for name in _Place._fields[1:])),
            -sums.invoices, -sums.owed_cents, -sums.paid_cents,
        ).where(sums.span == DAY, is_finest),
        _part(tuple(_was[name] for name in _Place._fields), _was.invoices, _was.owed_cents, _was.paid_cents),
        _part(here, -1, *(-each for each in now_counted)).select_from(changed),
    ).subquery().c  # fmt: skip
    place = (parts.service_on, parts.location_id, parts.practitioner_id, parts.standing, parts.currency)
    differs = (func.sum(parts.invoices) != 0) | (func.sum(parts.owed) != 0) | (func.sum(parts.paid) != 0)
    return select(parts.service_on).group_by(*place).having(differs)


def _part(place: Sequence[Any], invoices: Any, owed: Any, paid: Any) -> Select[Any]:
    day, location, practitioner, standing, currency = place
    return select(
        day.label("service_on"),
        location.label("location_id"),
        func.coalesce(practitioner, NOBODY).label("practitioner_id"),
        standing.label("standing"),
        currency.label("currency"),
        cast(invoices, Integer).label("invoices"),
        cast(owed, BigInteger).label("owed"),
        cast(paid, BigInteger).label("paid"),
    ).where(standing != UNCONFIRMED)


def wrong_sums(connection: Connection) -> Iterator[str]:
    """The sums over a month or over any location, practitioner or standing that are not what their parts come to."""
    rows: dict[_Key, list[int]] = defaultdict(lambda: [0, 0, 0])
    finest = []
    for span, location, practitioner, standing, day, currency, *amounts in connection.execute(
        select(InvoiceSum.__table__)
    ):
        _add(rows[span, location, practitioner, standing, day, currency], amounts)
        if span == DAY and location != ANY and practitioner != ANY and standing != ANY_STANDING:
            finest.append((_Place(day, location, practitioner, standing, currency), amounts))
    for place, amounts in finest:
        for key in _keys(place):
            _add(rows[key], amounts, -1)
    for (span, location, practitioner, standing, day, _currency), left in rows.items():
        if any(left):
            yield f"{span} {day} location {location} practitioner {practitioner} {standing}".rstrip()
