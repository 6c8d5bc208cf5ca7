"""Give money back by hand: what came over the counter goes back over the counter (O16)."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.clock import now
from portal.invoices.books import SentBefore, locked_invoice, take_receipt_numbers
from portal.invoices.tables import Adjustment, Invoice
from portal.money import format_money
from portal.payments.cases import follow_books
from portal.payments.tables import KINDS, Payment
from portal.refunds import words
from portal.refunds.asking import RefundForm, refundable
from portal.refunds.following import NO_LONGER_OWED
from portal.refunds.standing import name_of


def give_back(session: Session, invoice_id: int, form: RefundForm, kind: str, by: int | None) -> Payment:
    """Record that money was given back over the counter, of a payment that no gateway took.

    Raises as `refund` does, and RefundInDashboard for a payment that a gateway took.
    """
    assert kind in KINDS, kind
    invoice = locked_invoice(session, invoice_id)
    done = session.scalars(select(Payment).where(Payment.request_id == form.request_id)).first()
    if done is not None:
        same = (invoice_id, "refund", form.payment_id, -form.amount_cents, kind)
        if (done.invoice_id, done.nature, done.reverses_id, done.amount_cents, done.kind) != same:
            raise SentBefore
        return done
    payment = refundable(session, invoice, form)
    if payment.charge_id is not None:
        raise words.RefundInDashboard(payment=name_of(payment))
    row = book_given_back(session, invoice, payment, form, kind, by)
    session.flush()
    session.refresh(invoice)
    again = min(form.amount_cents, max(invoice.balance_cents, 0))
    if again and not form.still_owed and invoice.voided_at is None:
        session.add(
            Adjustment(
                invoice_id=invoice.id,
                amount_cents=-again,
                reason=NO_LONGER_OWED,
                made_at=now(),
                made_by=by,
            )
        )
    follow_books(session, invoice)
    return row


def book_given_back(
    session: Session, invoice: Invoice, payment: Payment, form: RefundForm, kind: str, by: int | None
) -> Payment:
    """Book money that went back by hand; the caller holds the invoice, and follows its cases."""
    row = Payment(
        receipt_number=take_receipt_numbers(session)[0],
        invoice_id=invoice.id,
        payer_id=payment.payer_id,
        nature="refund",
        request_id=form.request_id,
        kind=kind,
        brand=payment.brand if kind == payment.kind else None,
        last4=payment.last4 if kind == payment.kind else None,
        amount_cents=-form.amount_cents,
        currency=payment.currency,
        reverses_id=payment.id,
        note=form.reason.strip(),
        received_at=now(),
        recorded_by=by,
    )
    session.add(row)
    audit.record(
        session,
        "payment.given_back",
        f"payment {name_of(payment)} of invoice {invoice.number}",
        by=by,
        after=f"{format_money(form.amount_cents, payment.currency)} by {kind}: {row.note}",
        patient_id=invoice.patient_id,
    )
    return row
