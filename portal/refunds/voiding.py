"""Void: cancel an invoice and see to its money (O13).

Nobody may be paying it: a live attempt is cancelled at the gateway first, outside of any transaction. What came over
the counter is given back over the counter; what the gateway took goes back in Stripe, and until it has, a case says
"refund pending".
"""

from collections.abc import Mapping
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.invoices.books import AlreadyVoid, InvoiceBeingPaid, ReasonMissing, locked_invoice, mark_void
from portal.invoices.tables import Invoice
from portal.letters.invoices import queue_void
from portal.money import format_money
from portal.parts import Parts
from portal.payments.cases import follow_books, left_of
from portal.payments.outcomes import Paid
from portal.payments.settle import end
from portal.payments.states import LIVE
from portal.payments.steps import live_attempt
from portal.payments.tables import KINDS, Payment, PaymentAttempt
from portal.refunds import words
from portal.refunds.asking import RefundForm
from portal.refunds.by_hand import book_given_back
from portal.refunds.standing import name_of, rest_of

TRIES = 3


def void(parts: Parts, invoice_id: int, reason: str, given_back: Mapping[int, str], by: int | None) -> Invoice:
    """Void an invoice, whatever was paid on it. `given_back`: payment id → the kind by which its money goes back.

    Raises ReasonMissing, AlreadyVoid, BeingDisputed, HowGivenBack, JustPaid, StillChecking or InvoiceBeingPaid.
    """
    if not reason.strip():
        raise ReasonMissing
    for _try in range(TRIES):
        _end_live_attempt(parts, invoice_id)
        with parts.database.transaction() as session:
            invoice = locked_invoice(session, invoice_id)
            if invoice.voided_at is not None:
                raise AlreadyVoid(number=invoice.number)
            if live_attempt(session, invoice_id) is not None:
                continue  # somebody began to pay just now
            _give_back(parts, session, invoice, reason, given_back, by)
            mark_void(session, invoice, reason, by)
            queue_void(parts, session, invoice, by=by)
            follow_books(session, invoice)
            return invoice
    raise InvoiceBeingPaid(number=invoice.number)


def _end_live_attempt(parts: Parts, invoice_id: int) -> None:
    """Cancel what is under way, at the gateway. Raises JustPaid or StillChecking."""
    with Session(parts.database.reading) as session:
        live = live_attempt(session, invoice_id)
        if live is None:
            return
        number = session.scalar(select(Invoice.number).where(Invoice.id == invoice_id))
        attempt_id, paid = live.id, format_money(live.amount_cents, live.currency)
    if isinstance(end(parts, attempt_id, is_shown=True), Paid):
        raise words.JustPaid(number=number, paid=paid)
    with Session(parts.database.reading) as session:
        state = session.scalar(select(PaymentAttempt.state).where(PaymentAttempt.id == attempt_id))
    if state in LIVE:
        raise words.StillChecking(number=number)


def counter_payments(session: Session, invoice_id: int) -> list[tuple[Payment, int]]:
    """The payments that no gateway took and of which something is left: how does that go back?"""
    left = left_of(session, invoice_id)
    rows = session.scalars(
        select(Payment)
        .where(Payment.invoice_id == invoice_id, Payment.nature == "payment", Payment.charge_id.is_(None))
        .order_by(Payment.id)
    )
    return [(payment, left[payment.id]) for payment in rows if left[payment.id] > 0]


def _give_back(
    parts: Parts, session: Session, invoice: Invoice, reason: str, given_back: Mapping[int, str], by: int | None
) -> None:
    for payment in session.scalars(select(Payment).where(Payment.invoice_id == invoice.id)):
        if payment.nature == "payment" and rest_of(session, payment).is_disputed:
            raise words.BeingDisputed(payment=name_of(payment))
    for payment, left in counter_payments(session, invoice.id):
        kind = given_back.get(payment.id, "")
        if kind not in KINDS:
            raise words.HowGivenBack
        form = RefundForm(uuid4(), payment.id, left, reason)
        book_given_back(parts, session, invoice, payment, form, kind, by)
        session.flush()
