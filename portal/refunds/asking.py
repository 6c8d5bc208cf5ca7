"""Refund: give money back through the gateway (O16).

What is about to be asked is written down first. A lost answer is never asked again under another key: the same key
within a day, and the charge's own refunds, say what became of it.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from flask_babel import lazy_gettext as _l
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.clock import now
from portal.gateway import GatewayBusy, GatewayError, GatewayRefusesUs, KeyRefused, RefundOrder
from portal.gateway.configured import keys_of
from portal.invoices.books import ReasonMissing, SentBefore, locked_invoice
from portal.invoices.tables import Adjustment, Invoice
from portal.money import format_money
from portal.parts import Parts
from portal.payments.cases import follow_books
from portal.payments.tables import Payment, PaymentAttempt, Refund
from portal.refunds import words
from portal.refunds.following import CREDITED, follow_charge, gateway_at, place_of
from portal.refunds.standing import name_of, payment_on, rest_of

KEY_LIVES = timedelta(hours=23)  # Stripe may forget an idempotency key after 24 h; then it would be a new request
LOOK_AGAIN = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=6)

_BALANCE = _l("There is not enough money in the clinic's Stripe balance.")
WHY_NOT = {
    "charge_disputed": _l("The cardholder's bank is disputing this payment, so Stripe refunds nothing of it now."),
    "charge_already_refunded": _l("Stripe has given this payment back already. The books follow it."),
    "insufficient_funds": _BALANCE,
    "balance_insufficient": _BALANCE,
}
WHY_NOT_ELSE = _l("It may have been refunded in Stripe's dashboard meanwhile; look at the payment there.")
KEY_NOT_TAKEN = _l(
    "Stripe does not take the gateway's key, or not for refunds. Somebody who may change settings should look at "
    "Settings, Payment Gateways."
)

NEVER_HEARD = "never_heard"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RefundForm:
    """What the refund page asks for. `request_id` makes a second press the first."""

    request_id: UUID
    payment_id: int
    amount_cents: int
    reason: str
    still_owed: bool = False


# --- through the gateway --------------------------------------------------------------------------------------------


def refund(parts: Parts, invoice_id: int, form: RefundForm, by: int | None) -> Refund:
    """Give back a payment that the gateway took, or part of it; gives the refund as it stands then.

    Its state is `asked` where the answer was lost: the sweep finds it. Raises SentBefore, ReasonMissing,
    NotThisInvoice, NotAPayment, BeingDisputed, NothingToRefund, RefundTooLarge or RefundNotPossible.
    """
    with parts.database.transaction() as session:
        before = _asked_before(session, form)
        asked = before or _write_down(session, invoice_id, form, by)
        refund_id, is_open = asked.id, asked.state == "asked"
    if is_open:
        try:
            _ask(parts, refund_id, is_first=before is None)
        except GatewayRefusesUs as error:
            if before is not None and isinstance(error, KeyRefused):
                return load(parts, refund_id)
            follow_quietly(parts, form.payment_id)
            why = KEY_NOT_TAKEN if isinstance(error, KeyRefused) else WHY_NOT.get(error.code, WHY_NOT_ELSE)
            raise words.RefundNotPossible(why=why) from error
        except GatewayError as error:
            log.warning("refund %s: the answer is lost: %s", refund_id, type(error).__name__)
        follow_quietly(parts, form.payment_id)
    return load(parts, refund_id)


def _asked_before(session: Session, form: RefundForm) -> Refund | None:
    asked = session.scalars(select(Refund).where(Refund.request_id == form.request_id)).first()
    if asked is not None:
        same = (form.payment_id, form.amount_cents, form.still_owed)
        if (asked.payment_id, asked.amount_cents, asked.still_owed) != same:
            raise SentBefore
    return asked


def _write_down(session: Session, invoice_id: int, form: RefundForm, by: int | None) -> Refund:
    """Under the invoice's lock, so that of two at once the second sees what the first has asked for (F9)."""
    invoice = locked_invoice(session, invoice_id)
    before = _asked_before(session, form)
    if before is not None:
        return before
    if session.scalar(select(Payment.id).where(Payment.request_id == form.request_id)):
        raise SentBefore  # as money given back by hand
    payment = refundable(session, invoice, form)
    assert payment.gateway_id is not None
    mode = session.scalar(select(PaymentAttempt.mode).where(PaymentAttempt.id == payment.attempt_id))
    asked = Refund(
        request_id=form.request_id,
        payment_id=payment.id,
        invoice_id=invoice.id,
        gateway_id=payment.gateway_id,
        mode=mode or keys_of(session, payment.gateway_id).mode,
        amount_cents=form.amount_cents,
        matched_cents=0,
        still_owed=form.still_owed,
        reason=form.reason.strip(),
        state="asked",
        asked_by=by,
        asked_at=now(),
        next_look_at=now() + LOOK_AGAIN,
    )
    session.add(asked)
    session.flush()
    audit.record(
        session,
        "refund.asked",
        f"payment {name_of(payment)} of invoice {invoice.number}",
        by=by,
        after=f"{format_money(form.amount_cents, payment.currency)}: {asked.reason}",
        patient_id=invoice.patient_id,
    )
    return asked


def refundable(session: Session, invoice: Invoice, form: RefundForm) -> Payment:
    """The payment that is to be refunded, if that much of it can be. Raises as `refund` says."""
    if not form.reason.strip():
        raise ReasonMissing
    payment = payment_on(session, invoice, form.payment_id)
    rest = rest_of(session, payment)
    if rest.is_disputed:
        raise words.BeingDisputed(payment=name_of(payment))
    most = rest.refundable_cents
    if most == 0:
        raise words.NothingToRefund(payment=name_of(payment))
    if not 0 < form.amount_cents <= most:
        raise words.RefundTooLarge(payment=name_of(payment), most=format_money(most, payment.currency))
    return payment


def _ask(parts: Parts, refund_id: int, *, is_first: bool = False) -> None:
    """Ask the gateway, under the refund's own key. Raises GatewayError; a plain no ends the refund first.

    That our key is not taken says nothing about an earlier request, whose answer got lost.
    """
    asked = load(parts, refund_id)
    place = place_of(parts, asked.payment_id)
    order = RefundOrder(place.charge_id, asked.amount_cents, str(asked.request_id))
    try:
        told = gateway_at(parts, place).refund(order, str(asked.request_id))
    except GatewayRefusesUs as error:
        if is_first or not isinstance(error, KeyRefused):
            _end(parts, refund_id, error.code, None)
        raise
    with parts.database.transaction() as session:
        session.execute(
            update(Refund).where(Refund.id == refund_id, Refund.refund_id.is_(None)).values(refund_id=told.id)
        )


def _end(parts: Parts, refund_id: int, why: str, needs_person: str | None) -> None:
    """A refund that never happened."""
    log.warning("refund %s was not taken: %s", refund_id, why)
    with parts.database.transaction() as session:
        session.execute(
            update(Refund)
            .where(Refund.id == refund_id, Refund.state == "asked")
            .values(state="failed", ended_at=now(), needs_person=needs_person)
        )


def follow_quietly(parts: Parts, payment_id: int) -> None:
    """Let the books follow at once where that is possible; the sweep does it otherwise."""
    try:
        follow_charge(parts, payment_id)
    except GatewayError as error:
        log.warning("payment %s can't be looked up: %s", payment_id, type(error).__name__)


def load(parts: Parts, refund_id: int) -> Refund:
    """A refund as it stands."""
    with Session(parts.database.reading, expire_on_commit=False) as session:
        found = session.get_one(Refund, refund_id)
        session.expunge(found)
        return found


# --- refunds that nobody has heard of since -------------------------------------------------------------------------


def find_again(parts: Parts, refund_id: int) -> None:
    """What became of a refund: asked for once more under its own key while the gateway knows that, then looked up.

    Raises GatewayError where the gateway can't be asked. One that the gateway has never heard of when its key is
    forgotten did not happen: it ends, and somebody may ask anew.
    """
    found = load(parts, refund_id)
    if found.state not in ("asked", "pending"):
        return
    knows_key = now() - found.asked_at < KEY_LIVES
    if found.state == "asked" and found.request_id is not None and knows_key:
        try:
            _ask(parts, refund_id)
        except GatewayBusy:
            raise
        except GatewayError as error:
            log.warning("refund %s: still no answer: %s", refund_id, type(error).__name__)
    follow_charge(parts, found.payment_id)
    if load(parts, refund_id).state == "asked" and not knows_key:
        _end(parts, refund_id, "the gateway never heard of it", NEVER_HEARD)


def look_again_later(refund: Refund) -> None:
    """Less often the older it is."""
    pause = min(max(LOOK_AGAIN, (now() - refund.asked_at) / 10), LONGEST_PAUSE)
    refund.next_look_at = now() + pause


# --- what the dashboard left open -----------------------------------------------------------------------------------


def confirm(session: Session, invoice_id: int, refund_id: int, *, still_owed: bool, by: int | None) -> None:
    """Staff have seen a refund that nobody asked for here: it is no longer owed, as was taken; or it still is."""
    invoice = locked_invoice(session, invoice_id)
    found = session.get(Refund, refund_id, with_for_update=True) if 0 < refund_id < 2**31 else None
    if found is None or found.invoice_id != invoice_id:
        raise words.NotThisInvoice(number=invoice.number)
    if found.needs_person is None:
        return
    credited, found.needs_person = found.needs_person == CREDITED, None
    if credited and still_owed and invoice.voided_at is None:
        found.still_owed = True
        session.add(
            Adjustment(
                invoice_id=invoice.id,
                amount_cents=found.credited_cents,
                reason="Refunded, still owed.",
                made_at=now(),
                made_by=by,
            )
        )
    audit.record(
        session,
        "refund.seen",
        f"invoice {invoice.number}",
        by=by,
        after="still owed" if still_owed else "no longer owed" if credited else "seen",
        patient_id=invoice.patient_id,
    )
    follow_books(session, invoice)
