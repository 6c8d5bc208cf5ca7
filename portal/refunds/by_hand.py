"""Give money back by hand: what came over the counter goes back over the counter (O16).

And so does what a card payment's refund could not bring back, because the card company sent it back: the card is
closed. Stripe keeps that money and is told nothing. So what is left of the payment is limited both ways: what was
given by hand can't be refunded here any more. In Stripe's dashboard it still can; then it went back twice, which
`following` notices.
"""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.clock import now
from portal.invoices.books import SentBefore, locked_invoice, take_receipt_numbers
from portal.invoices.tables import Adjustment, Invoice
from portal.letters.receipts import queue_refund_mail
from portal.money import format_money
from portal.parts import Parts
from portal.payments.cases import follow_books
from portal.payments.tables import KINDS, Payment, Refund
from portal.refunds import words
from portal.refunds.asking import RefundForm, follow_quietly, refundable
from portal.refunds.following import NO_LONGER_OWED
from portal.refunds.standing import name_of, rest_of, row_against

INSTEAD_OF_A_CARD = ("cash", "cheque", "e-transfer")
"""How the money of a card goes back when its refund has failed."""


def give_back(
    parts: Parts, session: Session, invoice_id: int, form: RefundForm, kind: str, by: int | None
) -> Payment:
    """Record that money was given back by hand: of a payment that no gateway took, or whose refund has failed.

    Raises as `refund` does; RefundInDashboard for a card payment of which no refund has failed, MoreThanFailed for
    more than that.
    """
    assert kind in KINDS, kind
    invoice = locked_invoice(session, invoice_id)
    done = session.scalars(select(Payment).where(Payment.request_id == form.request_id)).first()
    if done is None and session.scalar(select(Refund.id).where(Refund.request_id == form.request_id)):
        raise SentBefore
    if done is not None:
        same = (invoice_id, "refund", form.payment_id, -form.amount_cents, kind)
        if (done.invoice_id, done.nature, done.reverses_id, done.amount_cents, done.kind) != same:
            raise SentBefore
        return done
    payment = refundable(session, invoice, form)
    if payment.charge_id is not None:
        _give_up_card(session, payment, form, kind, by)
    row = book_given_back(parts, session, invoice, payment, form, kind, by)
    session.flush()
    _note_failures_seen(session, payment)
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


def give_back_instead(parts: Parts, invoice_id: int, form: RefundForm, kind: str, by: int | None) -> Payment:
    """Record that the money of a card payment was given back by hand, because its refund has failed.

    The gateway is asked first, so far as it answers: somebody may have refunded it in the dashboard meanwhile. Raises
    as `give_back` does.
    """
    with parts.database.read() as connection:
        of_invoice = (Payment.id == form.payment_id, Payment.invoice_id == invoice_id, Payment.nature == "payment")
        charge_id = connection.scalar(select(Payment.charge_id).where(*of_invoice))
    if charge_id is not None:
        follow_quietly(parts, form.payment_id)
    with parts.database.transaction() as session:
        return give_back(parts, session, invoice_id, form, kind, by)


def _give_up_card(session: Session, payment: Payment, form: RefundForm, kind: str, by: int | None) -> None:
    """Nothing more is expected at the gateway for this much: a reversal that awaits its refund is taken back first,
    for the money now goes back by hand, and is booked as that."""
    assert kind in INSTEAD_OF_A_CARD, kind
    rest = rest_of(session, payment)
    most = rest.by_hand_cents
    if most == 0:
        raise words.RefundInDashboard(payment=name_of(payment))
    if form.amount_cents > most:
        raise words.MoreThanFailed(payment=name_of(payment), most=format_money(most, payment.currency))
    given_up = min(form.amount_cents, max(rest.awaited_cents, 0))
    if given_up:
        session.add(row_against(payment, "refund failed", given_up, received_at=now(), recorded_by=by))
        session.flush()


def _note_failures_seen(session: Session, payment: Payment) -> None:
    """Once all that came back from the card company was given by hand, nobody needs to see to it any more."""
    if payment.charge_id is not None and rest_of(session, payment).failed_cents == 0:
        session.execute(
            update(Refund)
            .where(Refund.payment_id == payment.id, Refund.state == "failed", Refund.refund_id.is_not(None))
            .values(needs_person=None)
        )


def book_given_back(
    parts: Parts, session: Session, invoice: Invoice, payment: Payment, form: RefundForm, kind: str, by: int | None
) -> Payment:
    """Book money that went back by hand, and tell who had paid it.

    The caller holds the invoice, and follows its cases.
    """
    instead = ", because its refund to the card has failed" if payment.charge_id is not None else ""
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
        after=f"{format_money(form.amount_cents, payment.currency)} by {kind}{instead}: {row.note}",
        patient_id=invoice.patient_id,
    )
    session.flush()
    queue_refund_mail(session, parts.vault, invoice, payment, form.amount_cents, f"by hand:{row.id}", how=kind)
    return row
