"""One page of the invoices that a search finds, the newest first, walked by key.

What is looked for is asked for in parts that each walk one index and stop: one for each standing, or what a number, a
patient or an open case names. So a page costs the same however many invoices lie before it, behind it or between.
"""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

from flask_babel import gettext as _
from sqlalchemy import (
    ColumnElement,
    Connection,
    Date,
    Integer,
    Select,
    bindparam,
    func,
    literal_column,
    select,
    tuple_,
    union_all,
)  # fmt: skip

from portal.clinic import Location, Practitioner
from portal.invoices.books import Status
from portal.invoices.reading import Key, plain_day, short_day
from portal.invoices.reading.columns import (
    IS_CLOSED,
    IS_OPEN,
    LIVE,
    Found,
    attempts,
    invoices,
    locations,
    patients,
    payments,
    practitioners,
)  # fmt: skip
from portal.invoices.reading.lists import written_key
from portal.invoices.reading.words import CHECKED, Tag, Today, money
from portal.invoices.search.narrowing import REFUND_PENDING, Narrowing
from portal.invoices.tables import Invoice
from portal.letters.addressing import email_columns, email_in_row
from portal.payments.tables import Case, PaymentAttempt
from portal.people import Patient, PayerLink

PAGE = 50
_cases, _links = Case.__table__.c, PayerLink.__table__.c


class Shape(NamedTuple):
    """What a search's statement depends on; its values are bound."""

    standings: tuple[str, ...]
    location: bool
    practitioner: bool
    by: str  # "", "number", "patients", "cases"
    pending: bool
    after: bool


def shape_of(search: Narrowing, after: Key | None = None) -> Shape:
    pending = search.status == REFUND_PENDING
    by = "number" if search.number else "patients" if search.patients is not None else "cases" if pending else ""
    located, practised = search.location_id is not None, search.practitioner_id is not None
    return Shape(search.standings, located, practised, by, pending, after is not None)


def values_of(search: Narrowing, after: Key | None = None) -> dict[str, object]:
    """What is bound in the statements of a search."""
    return {
        "since": search.since,
        # A place in the list bounds the dates, too: SQLite begins its walk at this bound, not at the pair of values.
        "until": min(search.until, after.day) if after else search.until,
        "location": search.location_id,
        "practitioner": search.practitioner_id,
        "numbers": [search.number, search.number.upper()],
        "patients": list(search.patients or ()),
        "day": after.day if after else None,
        "id": after.id if after else None,
    }


# --- what is looked for ---------------------------------------------------------------------------------------------


def conditions(shape: Shape) -> list[list[ColumnElement[bool]]]:
    """The parts of a search: each a list of conditions, and together every invoice once."""
    shared = _shared(shape)
    if not shape.by:
        return [[invoices.standing == literal_column(f"'{standing}'"), *shared] for standing in shape.standings]
    # Not by the index of the standings: a name or a number finds fewer.
    standing = invoices.standing + literal_column("''")
    shared.append(standing.in_([literal_column(f"'{each}'") for each in shape.standings]))
    if shape.pending:
        shared.append(invoices.id.in_(_pending_ids()))
    if shape.by == "number":
        return [[invoices.number.in_(bindparam("numbers", expanding=True)), *shared]]
    if shape.by == "patients":
        whose = invoices.patient_id.in_(bindparam("patients", expanding=True))
        return [[whose, IS_OPEN, *shared], [whose, IS_CLOSED, *shared]]  # the two indexes by patient
    return [shared]


def _shared(shape: Shape) -> list[ColumnElement[bool]]:
    found = [
        invoices.service_on >= bindparam("since", type_=Date()),
        invoices.service_on <= bindparam("until", type_=Date()),
    ]
    if shape.location:
        found.append(invoices.location_id == bindparam("location", type_=Integer()))
    if shape.practitioner:
        found.append(invoices.practitioner_id == bindparam("practitioner", type_=Integer()))
    if shape.after:
        reached = tuple_(bindparam("day", type_=Date()), bindparam("id", type_=Integer()))
        found.append(tuple_(invoices.service_on, invoices.id) < reached)
    return found


def _pending_ids() -> Select[Any]:
    is_open = (_cases.kind == literal_column("'refund_pending'")) & _cases.closed_at.is_(None)
    return select(_cases.invoice_id).where(is_open)


# --- one page -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def statement_of(shape: Shape, most: int, emails: bool = False) -> Select[Any]:
    """The newest invoices of a search, at most so many, with what stands in their rows; and the addresses that mails
    about them go to, where those are asked for."""
    limit = literal_column(str(most), Integer)
    parts = [
        select(invoices.service_on, invoices.id)
        .where(*wanted)
        .order_by(invoices.service_on.desc(), invoices.id.desc())
        .limit(limit)
        .subquery()
        for wanted in conditions(shape)
    ]
    together = union_all(*(select(part) for part in parts)).subquery() if len(parts) > 1 else parts[0]
    newest = select(together).order_by(together.c.service_on.desc(), together.c.id.desc()).limit(limit)
    statement = _with_names(newest.subquery("page").c)
    return statement.add_columns(patients.birth_date, *email_columns(invoices.patient_id)) if emails else statement


_payers = Patient.__table__.alias("payers")
_ONE = literal_column("1", Integer)


def _with_names(page: Any) -> Select[Any]:
    """The payer: whoever paid last, else who is down as paying for the patient, else the patient."""
    paid_last = (
        select(payments.payer_id)
        .where(payments.invoice_id == invoices.id, payments.payer_id.is_not(None))
        .order_by(payments.id.desc()).limit(_ONE).scalar_subquery()
    )  # fmt: skip
    pays = (
        select(_links.payer_id)
        .where(_links.patient_id == invoices.patient_id)
        .order_by(_links.created_at, _links.payer_id).limit(_ONE).scalar_subquery()
    )  # fmt: skip
    source = (
        page.id.table.join(Invoice.__table__, invoices.id == page.id)
        .join(Patient.__table__, patients.id == invoices.patient_id)
        .join(Location.__table__, locations.id == invoices.location_id)
        .outerjoin(Practitioner.__table__, practitioners.id == invoices.practitioner_id)
        .outerjoin(PaymentAttempt.__table__, (attempts.invoice_id == invoices.id) & LIVE)
        .outerjoin(_payers, _payers.c.id == func.coalesce(paid_last, pays, invoices.patient_id))
    )
    return (
        select(
            invoices.id, invoices.number, invoices.patient_id, invoices.service_on, invoices.due_on,
            invoices.standing, invoices.currency,
            invoices.owed_cents, invoices.paid_cents, invoices.balance_cents,
            patients.given_name, patients.family_name,
            _payers.c.given_name.label("payer_given_name"), _payers.c.family_name.label("payer_family_name"),
            practitioners.name.label("practitioner"), locations.name.label("location"), locations.timezone,
            attempts.state.label("attempt_state"),
            invoices.id.in_(_pending_ids()).label("refund_pending"),
        )
        .select_from(source)
        .order_by(page.service_on.desc(), page.id.desc())
    )  # fmt: skip


class Row(NamedTuple):
    """One invoice of the table, in words."""

    number: str
    day: str
    patient: str
    payer: str
    practitioner: str
    location: str
    tag: Tag
    total: str
    paid: str
    balance: str
    balance_cents: int
    is_void: bool
    refund_pending: bool
    patient_id: int
    email: str


class Page(NamedTuple):
    """One page of what was found; `following` asks for the next one, and is empty on the last."""

    rows: list[Row]
    following: str


def page_of(connection: Connection, search: Narrowing, after: Key | None = None, *, emails: bool = False) -> Page:
    """One page of a search, the newest first; with `emails`, also to whom mails about each invoice go."""
    found = connection.execute(
        statement_of(shape_of(search, after), PAGE + 1, emails), values_of(search, after)
    ).all()
    today = Today()
    following = written_key(found[PAGE - 1].service_on, found[PAGE - 1].id) if len(found) > PAGE else ""
    return Page([_row(row, today, emails) for row in found[:PAGE]], following)


def rows_of(connection: Connection, search: Narrowing, most: int, after: Key | None = None) -> Sequence[Found]:
    """At most so many invoices of a search, the newest first, after a place in it."""
    statement = statement_of(shape_of(search, after), most)
    return connection.execute(statement, values_of(search, after)).all()


def _row(row: Found, today: Today, emails: bool) -> Row:
    here = today.at(row.timezone)
    return Row(
        row.number,
        short_day(row.service_on) if row.service_on.year == here.year else plain_day(row.service_on),
        list_name(row.given_name, row.family_name),
        list_name(row.payer_given_name, row.payer_family_name),
        (row.practitioner or "").rpartition(" ")[2],
        row.location,
        tag_of(row, here),
        money(row.owed_cents, row.currency),
        money(row.paid_cents, row.currency),
        money(row.balance_cents, row.currency),
        row.balance_cents,
        row.standing == Status.VOID,
        row.refund_pending,
        row.patient_id,
        email_in_row(row, here) if emails else "",
    )


def list_name(given_name: str, family_name: str) -> str:
    """ "Lindqvist, Maya" """
    return f"{family_name}, {given_name}" if given_name else family_name


def tag_of(row: Found, today: date) -> Tag:
    """Where an invoice stands, as the office says it."""
    if row.standing == Status.VOID:
        return Tag("late", _("Void, refund pending")) if row.refund_pending else Tag("void", _("Void"))
    if row.attempt_state in CHECKED:
        return Tag("new", _("Checking"))
    if row.standing == Status.PAID:
        return Tag("late", _("Paid too much")) if row.balance_cents < 0 else Tag("paid", _("Paid"))
    part = row.standing == Status.PARTLY_PAID
    if row.due_on < today:
        return Tag("late", _("Partly paid, overdue") if part else _("Overdue"))
    return Tag("part", _("Partly paid")) if part else Tag("due", _("Receivable"))
