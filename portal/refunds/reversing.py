"""Reverse: undo a payment that was entered in error (O14). The books alone change; the gateway is never called."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.clock import now
from portal.invoices.books import ReasonMissing, SentBefore, locked_invoice, take_receipt_numbers
from portal.invoices.tables import Invoice
from portal.money import format_money
from portal.payments.cases import follow_books
from portal.payments.tables import Payment
from portal.refunds import words
from portal.refunds.standing import name_of, payment_on, rest_of, row_against


@dataclass(frozen=True)
class Reversal:
    """What the New Payment form asks for. `amount_cents` is negative; `request_id` makes a second press the first."""

    request_id: UUID
    reverses_id: int
    amount_cents: int
    reason: str


def reverse(session: Session, invoice_id: int, order: Reversal, by: int | None) -> Payment:
    """Take a payment, or part of it, out of the books of its invoice.

    Raises SentBefore, ReasonMissing, AmountNotNegative, NotThisInvoice, NotAPayment, InvoiceIsVoid, BeingDisputed,
    NothingIsLeft or MoreThanIsLeft. A payment that the gateway took then expects its refund there.
    """
    invoice = locked_invoice(session, invoice_id)
    done = session.scalars(select(Payment).where(Payment.request_id == order.request_id)).first()
    if done is not None:
        same = (invoice_id, "reversal", order.reverses_id, order.amount_cents)
        if (done.invoice_id, done.nature, done.reverses_id, done.amount_cents) != same:
            raise SentBefore
        return done
    payment = _reversible(session, invoice, order)
    reversal = row_against(
        payment,
        "reversal",
        order.amount_cents,
        receipt_number=take_receipt_numbers(session)[0],
        request_id=order.request_id,
        note=order.reason.strip(),
        received_at=now(),
        recorded_by=by,
    )
    session.add(reversal)
    follow_books(session, invoice)
    audit.record(
        session,
        "payment.reversed",
        f"payment {name_of(payment)} of invoice {invoice.number}",
        by=by,
        after=f"{format_money(order.amount_cents, payment.currency)}: {reversal.note}",
        patient_id=invoice.patient_id,
    )
    return reversal


def _reversible(session: Session, invoice: Invoice, order: Reversal) -> Payment:
    """The payment that is to be reversed, if all of that can be."""
    if not order.reason.strip():
        raise ReasonMissing
    if order.amount_cents >= 0:
        raise words.AmountNotNegative(amount=format_money(order.amount_cents or 10_00, invoice.currency))
    payment = payment_on(session, invoice, order.reverses_id)
    if invoice.voided_at is not None:
        raise words.InvoiceIsVoid(number=invoice.number)
    rest = rest_of(session, payment)
    if rest.is_disputed:
        raise words.BeingDisputed(payment=name_of(payment))
    if rest.reversible_cents == 0:
        raise words.NothingIsLeft(payment=name_of(payment))
    if -order.amount_cents > rest.reversible_cents:
        raise words.MoreThanIsLeft(
            payment=name_of(payment), most=format_money(rest.reversible_cents, payment.currency)
        )
    return payment
