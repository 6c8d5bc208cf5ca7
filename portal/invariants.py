"""What must always hold of the books, checked by looking at the database alone (`portal check`).

Each check is one statement, so it sees one moment. None of these can happen through the product while the database's
own rules stand; they are looked for because rules get dropped, files get restored, and people write SQL.
(I2 needs the gateway: see reconciliation. Here it is checked as far as the database alone can tell: what was refunded
and what was reversed are booked, or awaited, exactly once.)
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Select,
    Subquery,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.orm import Session

from portal.audit import check_chain
from portal.clock import now
from portal.db import Database, Utc
from portal.invoices.books import Status
from portal.invoices.sums import differing_days, wrong_sums
from portal.invoices.tables import UNCONFIRMED, UNNUMBERED, Adjustment, Invoice, InvoiceLine, LineTax
from portal.payments.states import LIVE, State
from portal.payments.tables import Case, Payment, PaymentAttempt, Refund
from portal.programs.states import TAKES_PLACE, Place
from portal.programs.tables import Program, PromoCode, Registration
from portal.settings import unreadable_rows
from portal.tables import Base

# The worker looks every 15 seconds; a request may hold an attempt for 45, and a busy gateway is asked again after 30.
ONE_SWEEP = timedelta(minutes=2)
MOST_IDS = 20
STILL_OPEN = Case.amount_cents - Case.matched_cents
"""What a case still covers: the rest of it has come to pass."""


@dataclass(frozen=True)
class Finding:
    """A rule that is broken, in words, and where: at most the first twenty ids."""

    rule: str
    what: str
    ids: tuple[str, ...]


class Check(NamedTuple):
    """A statement that gives the ids of whatever breaks a rule."""

    rule: str
    what: str
    statement: Select[Any]


def broken_invariants(database: Database) -> list[Finding]:
    """Everything that does not hold just now; an empty list is what one hopes for."""
    with database.read() as connection:
        return [
            *missing_triggers(connection),
            *broken_books(connection),
            *amounts_in_parts(connection),
            *broken_sums(connection),
            *unusable_settings(connection),
            *broken_chain(database),
        ]


def broken_books(connection: Connection) -> Iterator[Finding]:
    """What the rows themselves say."""
    for rule, what, statement in checks():
        ids = connection.scalars(statement).all()
        if ids:
            yield Finding(rule, what, tuple(str(each) for each in ids))


@cache
def checks() -> tuple[Check, ...]:
    """I1 to I6, I8 and I9 as statements, made once: making them takes longer than most clinics' answers."""
    every = [
        Check("I1", "the invoice's owed amount is not its lines, taxes and adjustments", _owed_differs()),
        Check("I1", "the invoice's paid amount is not its payments", _paid_differs()),
        Check("I1", "the invoice does not stand as its books say", _stands_otherwise()),
        Check("I1", "the day's sums of Invoice Search are not its invoices", differing_days()),
        Check("I1", "the line's tax stands on another invoice than the line", _stray_taxes()),
        Check("I1", "the payment is in another currency than its invoice", _foreign_payments()),
        Check(
            "I2", "the reversals of the charge are not what its refund case awaits and has met", _expected_differs()
        ),
        Check("I2", "the refunds of the charge are not what is booked of them", _refunds_not_booked()),
        Check("I3", "the invoice has more than one live attempt", _several_live_attempts()),
        Check("I3", "the attempt posted more than one payment", _several_successes()),
        Check("I3", "the attempt succeeded, but no payment is posted for it", _success_not_posted()),
        Check("I4", "the invoice is overpaid by another sum than its open cases say", _uncovered_overpayment()),
        Check("I5", "more went back than the charge took", _charge_below_zero()),
        Check("I5", "more was refunded and disputed than the charge took", _more_back_than_taken()),
        Check(
            "I5", "more was given back by hand than refunds of the charge have failed", _more_by_hand_than_failed()
        ),
        Check("I5", "more was reversed than the payment was", _payment_reversed_twice()),
        Check("I6", "the program's places or its waitlist are not what is counted", _places_differ()),
        Check("I6", "the promo code's uses are not what is counted", _uses_differ()),
        Check("I6", "the place is confirmed, yet its invoice has no number", _confirmed_without_number()),
        Check("I6", "it is paid for, without a place and without an open case about that", _paid_without_place()),
        Check("I8", "the attempt is long past its deadline, and nobody was asked to look", _stuck_attempts()),
        Check("I9", "the invoice is void, yet somebody is paying it", _void_but_being_paid()),
        Check("I9", "the invoice is void, yet holds money that no open case covers", _void_but_holding_money()),
    ]
    return tuple(each._replace(statement=each.statement.limit(MOST_IDS)) for each in every)


# --- I1: the stored sums are the books ------------------------------------------------------------------------------


def _sums(column: Any, table: type[Base]) -> Subquery:
    """What is appended to each invoice, added up. (Joined: twice as fast as looking each invoice's sum up.)"""
    invoice_id = table.__table__.c.invoice_id
    return select(invoice_id, func.sum(column).label("cents")).group_by(invoice_id).subquery()


def _differs(stored: Any, *sums: Subquery) -> Select[Any]:
    statement = select(Invoice.id)
    for each in sums:
        statement = statement.outerjoin(each, each.c.invoice_id == Invoice.id)
    return statement.where(stored != sum(func.coalesce(each.c.cents, 0) for each in sums))


def _owed_differs() -> Select[Any]:
    return _differs(
        Invoice.owed_cents,
        _sums(InvoiceLine.net_cents, InvoiceLine),
        _sums(LineTax.amount_cents, LineTax),
        _sums(Adjustment.amount_cents, Adjustment),
    )


def _paid_differs() -> Select[Any]:
    return _differs(Invoice.paid_cents, _sums(Payment.amount_cents, Payment))


def _stands_otherwise() -> Select[Any]:
    stands = case(
        (Invoice.number.startswith(UNNUMBERED, autoescape=True), UNCONFIRMED),
        (Invoice.voided_at.is_not(None), Status.VOID),
        (Invoice.balance_cents <= 0, Status.PAID),
        (Invoice.paid_cents > 0, Status.PARTLY_PAID),
        else_=Status.RECEIVABLE,
    )
    return select(Invoice.id).where(Invoice.standing != stands)


def broken_sums(connection: Connection) -> Iterator[Finding]:
    """Sums of Invoice Search that are not what their parts add up to."""
    wrong = tuple(wrong_sums(connection))
    if wrong:
        yield Finding("I1", "the sum of Invoice Search is not the sum of its parts", wrong[:MOST_IDS])


def _stray_taxes() -> Select[Any]:
    return select(LineTax.line_id).join(InvoiceLine).where(LineTax.invoice_id != InvoiceLine.invoice_id)


def _foreign_payments() -> Select[Any]:
    return select(Payment.id).join(Invoice).where(Payment.currency != Invoice.currency)


# --- I2: what went back at the gateway is booked once ---------------------------------------------------------------

GONE_BACK = ("pending", "succeeded")


def _per_payment(column: Any, payment_id: Any, *where: Any) -> Any:
    """A sum over the rows that name a payment, to be compared in a statement over payments."""
    total = select(func.coalesce(func.sum(column), 0)).where(payment_id == Payment.id, *where)
    return total.correlate(Payment).scalar_subquery()


_against = Payment.__table__.alias("against")
_taken = and_(Payment.nature == "payment", Payment.charge_id.is_not(None))


def _booked(*natures: str) -> Any:
    return _per_payment(_against.c.amount_cents, _against.c.reverses_id, _against.c.nature.in_(natures))


def _expected_differs() -> Select[Any]:
    """A reversal of money that the gateway took awaits its refund; what came back has met it, and so has what was
    given back by hand instead. (More than that came back where it went back twice.)"""
    expected = Case.kind == "refund_expected"
    met = _per_payment(Refund.matched_cents, Refund.payment_id, Refund.state.in_(GONE_BACK)) + _per_payment(
        Case.matched_cents, Case.payment_id, Case.kind == "dispute"
    )
    given_up = _per_payment(
        _against.c.amount_cents,
        _against.c.reverses_id,
        _against.c.nature == "refund failed",
        _against.c.refund_id.is_(None),
    )
    met_at_most = case((met + given_up > -_booked("reversal"), -_booked("reversal")), else_=met + given_up)
    awaits = _per_payment(Case.amount_cents, Case.payment_id, expected)
    has_met = _per_payment(Case.matched_cents, Case.payment_id, expected)
    return select(Payment.id).where(_taken, or_(awaits != -_booked("reversal"), has_met != met_at_most))


def _refunds_not_booked() -> Select[Any]:
    unmet = _per_payment(Refund.amount_cents - Refund.matched_cents, Refund.payment_id, Refund.state.in_(GONE_BACK))
    rows = _per_payment(
        _against.c.amount_cents,
        _against.c.reverses_id,
        _against.c.nature.in_(("refund", "refund failed")),
        _against.c.refund_id.is_not(None),
    )
    return select(Payment.id).where(_taken, rows != -unmet)


# --- I3, I8: attempts -----------------------------------------------------------------------------------------------


def _several_live_attempts() -> Select[Any]:
    live = select(PaymentAttempt.invoice_id).where(PaymentAttempt.state.in_(LIVE))
    return live.group_by(PaymentAttempt.invoice_id).having(func.count() > 1)


def _several_successes() -> Select[Any]:
    posted = select(Payment.attempt_id).where(Payment.attempt_id.is_not(None))
    return posted.group_by(Payment.attempt_id).having(func.count() > 1)


def _success_not_posted() -> Select[Any]:
    posted = exists().where(Payment.attempt_id == PaymentAttempt.id)
    return select(PaymentAttempt.id).where(PaymentAttempt.state == State.SUCCEEDED, ~posted)


def _stuck_attempts() -> Select[Any]:
    return select(PaymentAttempt.id).where(
        PaymentAttempt.state.in_(LIVE),
        PaymentAttempt.deadline_at < bindparam("long_past", callable_=lambda: now() - ONE_SWEEP, type_=Utc()),
        PaymentAttempt.needs_person.is_(None),
    )


# --- I4, I5, I9: money that is too much -----------------------------------------------------------------------------


def _uncovered_overpayment() -> Select[Any]:
    """Also the other way round: an open case of an invoice that is not overpaid. Void invoices are I9's."""
    cases = (
        select(Case.invoice_id, func.sum(STILL_OPEN).label("cents"))
        .where(Case.kind == "overpaid", Case.closed_at.is_(None))
        .group_by(Case.invoice_id)
        .subquery()
    )
    too_much = case((Invoice.balance_cents < 0, -Invoice.balance_cents), else_=0)
    return (
        select(Invoice.id)
        .outerjoin(cases, cases.c.invoice_id == Invoice.id)
        .where(Invoice.voided_at.is_(None), too_much != func.coalesce(cases.c.cents, 0))
    )


def _charge_below_zero() -> Select[Any]:
    of_charge = select(Payment.charge_id).where(Payment.charge_id.is_not(None))
    return of_charge.group_by(Payment.gateway_id, Payment.charge_id).having(func.sum(Payment.amount_cents) < 0)


def _more_back_than_taken() -> Select[Any]:
    """Refunds that were asked for count too: they may be on their way."""
    refunds = _per_payment(Refund.amount_cents, Refund.payment_id, Refund.state.in_(("asked", *GONE_BACK)))
    disputes = _per_payment(Case.matched_cents, Case.payment_id, Case.kind == "dispute") - _booked(
        "dispute", "reinstatement"
    )
    return select(Payment.id).where(_taken, refunds + disputes > Payment.amount_cents)


def _more_by_hand_than_failed() -> Select[Any]:
    """Money of a card goes back to that card, as long as a refund can reach it. (What was given back before the
    product knew refunds was not asked for by a form; that was anybody's choice.)"""
    by_hand = -_per_payment(
        _against.c.amount_cents,
        _against.c.reverses_id,
        _against.c.nature == "refund",
        _against.c.refund_id.is_(None),
        _against.c.request_id.is_not(None),
    )
    failed = _per_payment(
        Refund.amount_cents, Refund.payment_id, Refund.state == "failed", Refund.refund_id.is_not(None)
    )
    return select(Payment.id).where(_taken, by_hand > failed)


def _payment_reversed_twice() -> Select[Any]:
    reversals = (
        select(Payment.reverses_id, func.sum(Payment.amount_cents).label("cents"))
        .where(Payment.reverses_id.is_not(None))
        .group_by(Payment.reverses_id)
        .subquery()
    )
    whole = reversals.c.reverses_id == Payment.id
    return select(Payment.id).join(reversals, whole).where(Payment.amount_cents + reversals.c.cents < 0)


def _void_but_being_paid() -> Select[Any]:
    live = and_(PaymentAttempt.invoice_id == Invoice.id, PaymentAttempt.state.in_(LIVE))
    return select(Invoice.id).join(PaymentAttempt, live).where(Invoice.voided_at.is_not(None))


def _void_but_holding_money() -> Select[Any]:
    # A payment can have a case of either kind; both ask for the same money.
    per_payment = (
        select(Case.invoice_id, func.max(STILL_OPEN).label("cents"))
        .where(Case.closed_at.is_(None), Case.kind.in_(("overpaid", "refund_due", "refund_pending")))
        .group_by(Case.invoice_id, Case.payment_id)
        .subquery()
    )
    covered = (
        select(func.coalesce(func.sum(per_payment.c.cents), 0))
        .where(per_payment.c.invoice_id == Invoice.id)
        .scalar_subquery()
    )
    holding = and_(Invoice.voided_at.is_not(None), Invoice.paid_cents != 0)
    return select(Invoice.id).where(holding, Invoice.paid_cents != covered)


# --- I6: places -----------------------------------------------------------------------------------------------------


def _counted(place: Any, key: Any, states: Iterable[str]) -> Any:
    return select(func.count()).where(key == place, Registration.state.in_(sorted(states))).scalar_subquery()


def _places_differ() -> Select[Any]:
    taken = _counted(Program.id, Registration.program_id, TAKES_PLACE)
    waiting = _counted(Program.id, Registration.program_id, {Place.WAITING})
    return select(Program.id).where(
        or_(Program.taken > Program.capacity, Program.taken != taken, Program.waiting != waiting)
    )


def _uses_differ() -> Select[Any]:
    used = _counted(PromoCode.id, Registration.promo_code_id, TAKES_PLACE)
    return select(PromoCode.id).where(or_(PromoCode.used > PromoCode.uses, PromoCode.used != used))


def _confirmed_without_number() -> Select[Any]:
    return (
        select(Registration.id)
        .join(Invoice, Invoice.id == Registration.invoice_id)
        .where(Registration.state == Place.CONFIRMED, Invoice.standing == UNCONFIRMED)
    )


def _paid_without_place() -> Select[Any]:
    """Money that is there beyond what a cancelled place still owes goes back, and an open case says so. (A place that
    was never confirmed owes nothing at all.)"""
    per_payment = (
        select(Case.invoice_id, func.max(STILL_OPEN).label("cents"))
        .where(Case.closed_at.is_(None), Case.kind.in_(("overpaid", "refund_due", "refund_pending")))
        .group_by(Case.invoice_id, Case.payment_id)
        .subquery()
    )
    covered = (
        select(func.coalesce(func.sum(per_payment.c.cents), 0))
        .where(per_payment.c.invoice_id == Invoice.id)
        .scalar_subquery()
    )
    without = or_(Registration.id.is_(None), Registration.state.not_in(sorted(TAKES_PLACE)))
    keeps = case((Registration.state == Place.CANCELLED, Invoice.owed_cents), else_=0)
    return (
        select(Invoice.id)
        .outerjoin(Registration, Registration.invoice_id == Invoice.id)
        .where(
            Invoice.program_id.is_not(None),
            without,
            Invoice.paid_cents - keeps > covered,
        )
    )


# --- I7, I10: the rules that the database itself keeps --------------------------------------------------------------


ONLY_GROW = (
    "invoice_lines", "line_taxes", "adjustments", "payments", "audit_entries", "audit_chain", "access_log",
)  # fmt: skip
KEEP_THE_SUMS = (
    "invoice_lines_are_owed", "line_taxes_are_owed", "adjustments_are_owed", "payments_are_paid",
    "invoices_are_noted_new", "invoices_are_noted_changed",
)  # fmt: skip
KEEP_PLACES = ("registrations_are_counted_in", "registrations_are_counted_moved", "registrations_are_counted_out")
KEEP_ATTEMPTS = ("payment_attempts_stay_what_they_are", "gateway_credentials_keep_their_account")

# A trigger that is there but disabled keeps no rule.
POSTGRESQL_TRIGGERS = """
    SELECT tgname FROM pg_trigger
    WHERE NOT tgisinternal AND tgenabled IN ('O', 'A') AND pg_table_is_visible(tgrelid)
"""
SQLITE_TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger'"


def missing_triggers(connection: Connection) -> Iterator[Finding]:
    """The database's own rules that are not in force."""
    on_sqlite = connection.dialect.name == "sqlite"
    there = set(connection.scalars(text(SQLITE_TRIGGERS if on_sqlite else POSTGRESQL_TRIGGERS)))
    endings = ("_only_grow_update", "_only_grow_delete") if on_sqlite else ("_only_grow", "_only_grow_whole")
    standing = ("invoices_stand_insert", "invoices_stand_update") if on_sqlite else ("invoices_stand",)
    wanted = [
        ("I1", "the trigger that keeps an invoice's sums is missing", (*KEEP_THE_SUMS, *standing)),
        ("I6", "the trigger that counts a program's places is missing", KEEP_PLACES),
        ("I7", "the trigger that lets a table only grow is missing", [t + end for t in ONLY_GROW for end in endings]),
        ("I10", "the trigger that keeps an attempt what it is is missing", KEEP_ATTEMPTS),
    ]
    for rule, what, names in wanted:
        missing = tuple(name for name in names if name not in there)
        if missing:
            yield Finding(rule, what, missing)


def amounts_in_parts(connection: Connection) -> Iterator[Finding]:
    """Amounts that are not whole minor units. PostgreSQL's columns can't hold one as long as they are integers;
    SQLite's hold anything, so every row is looked at."""
    statement = _sqlite_parts() if connection.dialect.name == "sqlite" else text(POSTGRESQL_PARTS)
    where = tuple(connection.scalars(statement))[:MOST_IDS]
    if where:
        yield Finding("I7", "the amount is not in whole minor units", where)


POSTGRESQL_PARTS = """
    SELECT table_name || '.' || column_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND column_name LIKE '%\\_cents' AND data_type NOT IN ('integer', 'bigint')
"""


@cache
def _sqlite_parts() -> Select[Any]:
    looks = [
        select((literal(f"{column} ") + literal_column("rowid")).label("place")).where(
            func.typeof(column).not_in(("integer", "null"))
        ).select_from(table)
        for table in Base.metadata.sorted_tables
        for column in table.c
        if column.name.endswith("_cents")
    ]  # fmt: skip
    return select(union_all(*looks).subquery().c.place).limit(MOST_IDS)


def broken_chain(database: Database) -> Iterator[Finding]:
    """The first link of the audit log's chain that does not fit: an entry was altered, taken out or put in there."""
    with Session(database.reading) as session:
        state = check_chain(session)
    if state.broken_at is not None:
        yield Finding("I7", "the audit log's chain is broken at this position", (str(state.broken_at),))


def unusable_settings(connection: Connection) -> Iterator[Finding]:
    """Rows of the settings table that nothing can be made of; a switch among them counts as off."""
    keys = tuple(unreadable_rows(connection))
    if keys:
        yield Finding("settings", "the setting can't be read, so the safe value holds", keys)
