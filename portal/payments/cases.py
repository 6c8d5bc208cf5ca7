"""Cases: what about an invoice's money a person must still put right, worked out from its books.

Whoever appends to the books of an invoice calls `follow_books` in the same transaction, with the invoice locked. It
opens, changes, closes and reopens cases so that they cover exactly what the books leave open: doing it again changes
nothing. (A dispute's case follows the gateway, in `portal/refunds/following.py`.)
"""

import logging
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from portal.clock import now
from portal.invoices.tables import Invoice
from portal.payments.tables import Case, Payment, Refund
from portal.programs.following import follow_places

GOES_BACK = ("pending", "succeeded")
"""The states of a refund whose money counts as given back; one that fails later is booked back."""

GIVEN_UP: ColumnElement[bool] = and_(Payment.nature == "refund failed", Payment.refund_id.is_(None))
"""A row that takes a reversal back, because the refund that it awaited has failed and will not be tried again."""

WHY = {
    "overpaid": "more was paid than is owed",
    "refund_due": "the card is not one that is accepted",
    "refund_pending": "the invoice is void; the money goes back",
    "refund_expected": "reversed in the books; its refund is still to come",
}

log = logging.getLogger(__name__)


def follow_books(session: Session, invoice: Invoice) -> None:
    """Bring the place that the invoice is for, and the invoice's cases, in line with its books."""
    session.flush()
    session.refresh(invoice)
    follow_places(session, invoice)
    payments = _received(session, invoice.id)
    left = left_of(session, invoice.id)
    over = max(-invoice.balance_cents, 0) if invoice.voided_at is None else 0
    for payment in payments:
        there = max(left[payment.id], 0)
        share = min(there, over)
        over -= share
        cover(session, payment, "overpaid", share)
        cover(session, payment, "refund_pending", there if invoice.voided_at is not None else 0)
        _follow_refund_due(session, payment, there)
        _follow_expected(session, payment)
    session.flush()


def _received(session: Session, invoice_id: int) -> list[Payment]:
    """The payments of an invoice, newest first: what is too much is what came last."""
    received = select(Payment).where(Payment.invoice_id == invoice_id, Payment.nature == "payment")
    return list(session.scalars(received.order_by(Payment.id.desc())))


def left_of(session: Session, invoice_id: int) -> dict[int, int]:
    """What is left of each payment of an invoice: its amount, and all that was booked against it since."""
    received = select(Payment.id, Payment.amount_cents).where(
        Payment.invoice_id == invoice_id, Payment.nature == "payment"
    )
    left = dict(session.execute(received).all())
    against = (
        select(Payment.reverses_id, func.sum(Payment.amount_cents))
        .where(Payment.invoice_id == invoice_id, Payment.reverses_id.is_not(None))
        .group_by(Payment.reverses_id)
    )
    for payment_id, cents in session.execute(against):
        if payment_id in left:
            left[payment_id] += int(cents)
    return left


# --- one case -------------------------------------------------------------------------------------------------------


def case_of(session: Session, payment_id: int, kind: str) -> Case | None:
    """The case of this kind about a payment, open or closed; there is never more than one."""
    return session.scalars(select(Case).where(Case.kind == kind, Case.payment_id == payment_id)).first()


def cover(session: Session, payment: Payment, kind: str, open_cents: int) -> None:
    """Let the case of this kind cover exactly this much of the payment: open it, change it, close it, reopen it."""
    case = case_of(session, payment.id, kind)
    if case is None:
        if open_cents > 0:
            open_case(session, kind, payment, open_cents, WHY[kind])
        return
    case.amount_cents = max(case.amount_cents, open_cents)
    case.matched_cents = case.amount_cents - open_cents
    _open_or_close(case)


def open_case(session: Session, kind: str, payment: Payment, amount_cents: int, reason: str) -> Case:
    """A case that was not there before."""
    log.error("case %s: payment %s of invoice id %s: %s", kind, payment.id, payment.invoice_id, reason)
    case = Case(
        kind=kind,
        invoice_id=payment.invoice_id,
        payment_id=payment.id,
        amount_cents=amount_cents,
        matched_cents=0,
        reason=reason,
        opened_at=now(),
    )
    session.add(case)
    session.flush()
    return case


def _open_or_close(case: Case) -> None:
    if case.matched_cents < case.amount_cents:
        case.closed_at = None
    elif case.closed_at is None:
        case.closed_at = now()


def _follow_refund_due(session: Session, payment: Payment, left_cents: int) -> None:
    case = case_of(session, payment.id, "refund_due")
    if case is not None:
        cover(session, payment, "refund_due", min(case.amount_cents, left_cents))


# --- reversed here, refunded there (O14) ----------------------------------------------------------------------------


def _follow_expected(session: Session, payment: Payment) -> None:
    """A reversal of money that the gateway took expects a refund there; what came back meets it first."""
    if payment.charge_id is None:
        return
    reversed_cents = -_against(session, payment.id, Payment.nature == "reversal")
    if reversed_cents == 0:
        return
    case = case_of(session, payment.id, "refund_expected") or open_case(
        session, "refund_expected", payment, reversed_cents, WHY["refund_expected"]
    )
    case.amount_cents = reversed_cents
    case.matched_cents = reversed_cents - max(awaited_cents(session, payment), 0)
    _open_or_close(case)


def _against(session: Session, payment_id: int, *which: ColumnElement[bool]) -> int:
    """What was booked against a payment by such rows; negative where money was taken out."""
    rows = select(func.coalesce(func.sum(Payment.amount_cents), 0)).where(Payment.reverses_id == payment_id, *which)
    return int(session.scalar(rows) or 0)


def matched_cents(session: Session, payment_id: int) -> int:
    """How much of what went back at the gateway stood in the books already, as reversals."""
    refunds = select(func.coalesce(func.sum(Refund.matched_cents), 0)).where(
        Refund.payment_id == payment_id, Refund.state.in_(GOES_BACK)
    )
    dispute = case_of(session, payment_id, "dispute")
    return int(session.scalar(refunds) or 0) + (dispute.matched_cents if dispute else 0)


def awaited_cents(session: Session, payment: Payment) -> int:
    """How much of the payment was reversed here and has not come back at the gateway yet.

    Less than nothing where more came back there than the books had left, because it was given back by hand as well:
    so much was given back twice (`refunds/by_hand.py`).
    """
    if payment.charge_id is None:
        return 0
    reversed_cents = -_against(session, payment.id, or_(Payment.nature == "reversal", GIVEN_UP))
    return reversed_cents - matched_cents(session, payment.id)


# --- disputes -------------------------------------------------------------------------------------------------------

UNDER_WAY = ("inquiry", "open")
"""The stages of a dispute that nobody has decided yet."""


def is_disputed(session: Session, invoice_id: int) -> bool:
    """Whether a bank is still looking into a payment of this invoice: no refund, no reminder, no second payment."""
    return bool(session.scalar(select(dispute_under_way(invoice_id))))


def refund_is_expected(invoice_id: Any) -> ColumnElement[bool]:
    """Whether a payment of this invoice was reversed whose refund the gateway has not reported yet."""
    return exists().where(Case.invoice_id == invoice_id, Case.kind == "refund_expected", Case.closed_at.is_(None))


def dispute_under_way(invoice_id: Any) -> ColumnElement[bool]:
    """The same as a part of a statement."""
    return exists().where(
        Case.invoice_id == invoice_id, Case.kind == "dispute", Case.stage.in_(UNDER_WAY), Case.closed_at.is_(None)
    )
