"""Posting: what the gateway took goes into the books, once, with a case for a person where something is wrong.

Only `settle.follow` comes here, in its transaction, with the invoice and the attempt locked.
"""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.audit import record
from portal.cards import CONSENT_VERSION, CardNotAccepted, CardPolicy, Consent, keep_card
from portal.clock import now
from portal.gateway import Charge, Intent
from portal.invoices.books import take_receipt_numbers
from portal.invoices.tables import Invoice
from portal.letters.queueing import beside
from portal.letters.receipts import queue_receipt
from portal.money import format_money
from portal.parts import Parts
from portal.payments.cases import WHY, follow_books, open_case
from portal.payments.states import State
from portal.payments.steps import step
from portal.payments.tables import DESK, ChargeLook, Payment, PaymentAttempt
from portal.programs.following import money_arrives
from portal.settings import read_settings

FIRST_LOOK_BACK = timedelta(minutes=10)
"""When the sweep first asks whether money of a charge went back at the gateway, without being told so."""


def post(parts: Parts, session: Session, invoice: Invoice, attempt: PaymentAttempt, intent: Intent) -> None:
    """Post what the gateway took, once: the charge and the attempt are both unique among payments."""
    charge = intent.charge
    if charge is None or intent.received_cents <= 0:
        attempt.needs_person = "the intent succeeded without a charge"
        return
    problem = None
    if intent.received_cents != attempt.amount_cents:
        problem = f"the gateway took {intent.received_cents} of {attempt.amount_cents}"
    if session.scalar(select(Payment.id).where(Payment.attempt_id == attempt.id)) is None:
        money_arrives(session, invoice, attempt.user_id)
        payment = _payment(session, attempt, intent, charge)
        session.add(ChargeLook(payment_id=payment.id, next_look_at=now() + FIRST_LOOK_BACK))
        if payment.channel == DESK:
            note_receipt(session, invoice, payment)
        _open_cases(session, invoice, payment, charge)
        _keep_card(parts, session, attempt, intent, charge)
        with beside(session, "receipt"):
            queue_receipt(session, parts.vault, invoice, payment, typed_email=attempt.receipt_email)
    step(session, attempt.id, State.SUCCEEDED, reason=None, needs_person=problem)


def _payment(session: Session, attempt: PaymentAttempt, intent: Intent, charge: Charge) -> Payment:
    card = charge.card
    payment = Payment(
        receipt_number=take_receipt_numbers(session)[0],
        invoice_id=attempt.invoice_id,
        payer_id=attempt.payer_id,
        attempt_id=attempt.id,
        gateway_id=attempt.gateway_id,
        channel=attempt.channel,
        kind="card",
        amount_cents=intent.received_cents,
        currency=intent.currency,
        charge_id=charge.id,
        brand=card.brand if card else None,
        funding=card.funding if card else None,
        last4=card.last4 if card else None,
        received_at=charge.created_at,
        recorded_by=attempt.user_id,
    )
    session.add(payment)
    session.flush()
    return payment


def _keep_card(parts: Parts, session: Session, attempt: PaymentAttempt, intent: Intent, charge: Charge) -> None:
    """Keep the card where its payer consented to that in the very press that paid."""
    if not (attempt.save_card and attempt.payer_id is not None and intent.method_id and charge.card):
        return
    given = (attempt.means or {}).get("consent") or {}
    keep_card(
        session,
        parts.vault,
        payer_id=attempt.payer_id,
        gateway_id=attempt.gateway_id,
        mode=attempt.mode,
        method_id=intent.method_id,
        card=charge.card,
        consent=Consent(
            version=given.get("version", CONSENT_VERSION),
            at=datetime.fromisoformat(given["at"]) if "at" in given else now(),
            user_id=attempt.user_id,
        ),
    )


def note_receipt(session: Session, invoice: Invoice, payment: Payment) -> None:
    """Who of the staff received this payment stands in the audit log."""
    amount = format_money(payment.amount_cents, payment.currency, full=True)
    record(
        session,
        "payment.received",
        f"invoice {invoice.number}",
        by=payment.recorded_by,
        after=f"{amount}, {payment.brand or payment.kind}, receipt {payment.receipt_number}",
        patient_id=invoice.patient_id,
    )


# --- cases ----------------------------------------------------------------------------------------------------------


def _open_cases(session: Session, invoice: Invoice, payment: Payment, charge: Charge) -> None:
    """Too much on the invoice, or a card that should not have been charged: a person must give it back."""
    if not _accepted(session, charge):
        open_case(session, "refund_due", payment, payment.amount_cents, WHY["refund_due"])
    follow_books(session, invoice)


def _accepted(session: Session, charge: Charge) -> bool:
    """The card policy once more, on the card that was really charged."""
    try:
        CardPolicy(prepaid=read_settings(session).yes("accept_prepaid_cards")).check(charge.card)
    except CardNotAccepted:
        return False
    return True
