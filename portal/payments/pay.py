"""Pay: from a press on the button to an answer, in the order begin, look, last look, confirm.

No transaction is open across a call to the gateway. Before each call it is written down what is about to be asked, so
that a crash or a lost answer at any point can be settled later (`settle.py`).
"""

import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.orm import Session

from portal.cards import CONSENT_VERSION, SPOKEN_CONSENT_VERSION, CardNotAccepted, CardPolicy, method_of_saved_card
from portal.clock import now
from portal.errors import Refusal
from portal.gateway import (
    CardLook,
    Gateway,
    GatewayBusy,
    GatewayError,
    GatewayRefusesUs,
    Means,
    NoSuchThing,
    OutcomeUnknown,
)
from portal.invoices.books import locked_invoice
from portal.money import format_money
from portal.parts import Parts
from portal.payments import words
from portal.payments.begin import PayerRef, PayForm, asked_cents, begin, check_payable, gateway_is_active
from portal.payments.orders import customer_of, described, make_customer, order_of
from portal.payments.outcomes import Checking, Declined, Outcome
from portal.payments.settle import end, follow, outcome_of
from portal.payments.states import State
from portal.payments.steps import Hold, gateway_of, keep_intent, load, step
from portal.payments.tables import DESK, PaymentAttempt
from portal.settings import read_settings

__all__ = ["PayForm", "PayerRef", "pay"]

log = logging.getLogger(__name__)


def pay(parts: Parts, invoice_id: int, form: PayForm, payer: PayerRef, return_url: str) -> Outcome:
    """Try to pay an invoice once. Raises Refusal where nothing was or will be charged by this press.

    `return_url` is where a bank's own page sends the payer back to; `{attempt}` in it becomes the attempt's id.
    """
    begun = begin(parts, invoice_id, form, payer)
    if not isinstance(begun, PaymentAttempt):
        return begun
    assert begun.held_until is not None
    hold = Hold(begun.id, begun.held_until)
    press = _Press(parts, form, payer, hold, return_url.replace("{attempt}", str(begun.id)))
    try:
        return _carry_on(press, begun)
    finally:
        hold.let_go(parts)


@dataclass(frozen=True)
class _Press:
    """One press on Pay, and its hold on the attempt."""

    parts: Parts
    form: PayForm
    payer: PayerRef
    hold: Hold
    return_url: str


@dataclass(frozen=True)
class _Card:
    """The card that this press is about, seen and found acceptable."""

    look: CardLook
    saves: bool
    token: str | None = None
    method: str | None = None


def _carry_on(press: _Press, attempt: PaymentAttempt) -> Outcome:
    """Look, make the intent, take the last look, confirm."""
    gateway = gateway_of(press.parts, attempt)
    try:
        card = _look(press, gateway, attempt)
        attempt = _with_intent(press, gateway, attempt, card)
        number = _last_look(press, attempt, card)
    except GatewayRefusesUs as error:
        log.error("attempt %s: the gateway refuses us before the confirmation: %s", attempt.id, error.code)
        _end_quietly(press.parts, attempt.id)
        raise words.GatewayDown from error
    except GatewayError as error:
        log.warning("attempt %s: %s before the confirmation", attempt.id, type(error).__name__)
        _give_up(press.parts, attempt.id, "gateway")
        raise words.GatewayDown from error
    return _confirm(press, gateway, attempt, card, number)


# --- look -----------------------------------------------------------------------------------------------------------


def _look(press: _Press, gateway: Gateway, attempt: PaymentAttempt) -> _Card:
    """See the card before any money can move, and hold it against the policy (O10)."""
    parts = press.parts
    try:
        card = _seen(parts, gateway, attempt, press.form)
        with parts.database.read() as connection:
            prepaid = read_settings(connection).yes("accept_prepaid_cards")
        CardPolicy(prepaid=prepaid).check(card.look)
    except CardNotAccepted:
        _give_up(parts, attempt.id, "card_policy")
        raise
    except (words.CardDetailsLost, words.PayerIsNeeded):
        _give_up(parts, attempt.id, "card_details")
        raise
    except NoSuchThing as error:
        if press.form.saved_card is not None:
            _give_up(parts, attempt.id, "card_details")
            raise words.SavedCardGone from error
        # A token that this gateway never made, or made long ago: the page shows another gateway than the attempt has.
        _end_quietly(parts, attempt.id)
        raise words.FormOutdated from error
    return card


def _seen(parts: Parts, gateway: Gateway, attempt: PaymentAttempt, form: PayForm) -> _Card:
    if form.saved_card is not None:
        with parts.database.read() as connection:
            method = method_of_saved_card(
                connection, parts.vault, form.saved_card, attempt.payer_id, attempt.gateway_id, attempt.mode
            )
        if method is None:
            raise words.SavedCardGone
        look = gateway.look_at_method(method)
        if look.customer is None or look.customer != customer_of(parts, attempt):
            raise words.SavedCardGone
        return _Card(look, saves=False, method=method)
    if form.token is None:
        raise words.CardDetailsLost
    if form.payer_absent:
        raise words.PayerIsNeeded  # who types a card is there
    token = gateway.look_at_token(form.token)
    if token.saves_card and not (form.save_card and attempt.payer_id is not None):
        raise words.CardDetailsLost  # a card is kept with the payer's consent, or not at all
    return _Card(token.card, saves=token.saves_card, token=form.token)


def _give_up(parts: Parts, attempt_id: UUID, reason: str) -> None:
    """Nothing was confirmed. Without an intent the attempt ends here; with one, the next try may use it again.

    One whose *create* was asked for stays: the next press, or the sweep, finds that intent and cancels it.
    """
    with parts.database.transaction() as session:
        attempt = session.get_one(PaymentAttempt, attempt_id, with_for_update=True)
        if attempt.state == State.CREATED and attempt.intent_id is None and attempt.order is None:
            step(session, attempt_id, State.FAILED, reason=reason)


def _end_quietly(parts: Parts, attempt_id: UUID) -> None:
    """End an attempt that must not go on, whatever the gateway says to it; the sweep finishes what this can't."""
    with parts.database.transaction() as session:
        session.execute(update(PaymentAttempt).where(PaymentAttempt.id == attempt_id).values(held_until=None))
    end(parts, attempt_id)


# --- the intent -----------------------------------------------------------------------------------------------------


def _with_intent(press: _Press, gateway: Gateway, attempt: PaymentAttempt, card: _Card) -> PaymentAttempt:
    """Make the intent, unconfirmed; or, at a next try, bring the one that is there in line with this card."""
    needs_customer = card.saves or card.method is not None
    if needs_customer:
        make_customer(press.parts, gateway, attempt)
    if attempt.intent_id is None:
        return _made(press, gateway, attempt, {"customer": needs_customer, "save_card": card.saves})
    kept = attempt.order or {}
    if kept.get("save_card") != card.saves or (needs_customer and not kept.get("customer")):
        return _changed(press, gateway, attempt, bool(needs_customer or kept.get("customer")), card.saves)
    return attempt


def _made(press: _Press, gateway: Gateway, attempt: PaymentAttempt, order: dict[str, Any]) -> PaymentAttempt:
    _write_order(press, attempt.id, {**order, "description": described(press.parts, attempt)})
    attempt = load(press.parts, attempt.id)
    intent = gateway.create_intent(order_of(press.parts, attempt), f"{attempt.id}:create")
    if not keep_intent(press.parts, attempt.id, intent.id):
        gateway.cancel(intent.id)
        raise words.FormUsedUp
    return load(press.parts, attempt.id)


def _changed(
    press: _Press, gateway: Gateway, attempt: PaymentAttempt, has_customer: bool, saves: bool
) -> PaymentAttempt:
    assert attempt.intent_id is not None
    customer = customer_of(press.parts, attempt) if has_customer else None
    # Until the gateway has answered, nobody knows whether the intent saves its card: the next try must say so anew.
    _write_order(press, attempt.id, {**(attempt.order or {}), "save_card": None})
    gateway.change_intent(attempt.intent_id, customer, saves)
    _write_order(press, attempt.id, {**(attempt.order or {}), "customer": has_customer, "save_card": saves})
    return load(press.parts, attempt.id)


def _write_order(press: _Press, attempt_id: UUID, order: dict[str, Any]) -> None:
    with press.parts.database.transaction() as session:
        session.execute(
            update(PaymentAttempt)
            .where(PaymentAttempt.id == attempt_id)
            .values(order=order, held_until=press.hold.renewed())
        )


# --- last look, and confirm -----------------------------------------------------------------------------------------


def _last_look(press: _Press, attempt: PaymentAttempt, card: _Card) -> int:
    """The last moment before money can move: is everything still as it was shown? Gives the confirmation's number."""
    try:
        with press.parts.database.transaction() as session:
            _check_unchanged(press, session, attempt)
            current = session.get_one(PaymentAttempt, attempt.id, with_for_update=True)
            number = current.confirmations + 1
            taken = step(
                session,
                attempt.id,
                State.CONFIRMING,
                held_until=press.hold.renewed(),
                confirmations=number,
                means=_means(press, card),
                save_card=card.saves,
                card_brand=card.look.brand,
                card_last4=card.look.last4,
                reason=None,
            )
    except Refusal:
        _end_quietly(press.parts, attempt.id)
        raise
    if not taken:
        raise words.FormUsedUp
    return number


def _check_unchanged(press: _Press, session: Session, attempt: PaymentAttempt) -> None:
    invoice = locked_invoice(session, attempt.invoice_id)
    check_payable(press.parts, session, invoice, press.form, press.payer)
    asked = asked_cents(invoice, press.form, press.payer)
    if (asked, invoice.version) != (attempt.amount_cents, attempt.invoice_version):
        raise words.AmountChanged(amount=format_money(invoice.balance_cents, invoice.currency, full=True))
    if not gateway_is_active(session, attempt):
        raise words.FormOutdated


def _means(press: _Press, card: _Card) -> dict[str, Any]:
    """What is about to be confirmed with, and the consent that was given with it."""
    means: dict[str, Any] = {
        "token": card.token,
        "saved_card": press.form.saved_card,
        "return_url": press.return_url,
        "sdk": press.form.sdk,
        "off_session": press.form.payer_absent,
    }
    if card.saves:
        version = SPOKEN_CONSENT_VERSION if press.payer.channel == DESK else CONSENT_VERSION
        means["consent"] = {"version": version, "at": now().isoformat()}
    return means


def _confirm(press: _Press, gateway: Gateway, attempt: PaymentAttempt, card: _Card, number: int) -> Outcome:
    """Ask for the money. A lost answer is not asked again: the page says that we are checking."""
    assert attempt.intent_id is not None
    form = press.form
    means = Means(press.return_url, card.token, card.method, sdk=form.sdk, off_session=form.payer_absent)
    try:
        intent = gateway.confirm(attempt.intent_id, means, f"{attempt.id}:confirm:{number}")
    except OutcomeUnknown:
        log.warning("attempt %s: the answer to confirmation %s is lost", attempt.id, number)
        return Checking(attempt.id)
    except GatewayBusy as error:
        # Turned away at the door (429): this confirmation never happened. The intent can be confirmed again.
        _turned_away(press.parts, attempt.id, number)
        raise words.GatewayDown from error
    except GatewayError as error:
        # Refused: by its own word the gateway did nothing. The intent says the rest.
        log.warning("attempt %s: confirmation %s was refused: %s", attempt.id, number, error)
        return _after_refusal(press.parts, gateway, attempt, number)
    follow(press.parts, attempt.id, intent, answers=number)
    return outcome_of(press.parts, attempt.id, intent)


def _turned_away(parts: Parts, attempt_id: UUID, number: int) -> None:
    with parts.database.transaction() as session:
        attempt = session.get_one(PaymentAttempt, attempt_id, with_for_update=True)
        if (attempt.state, attempt.confirmations) == (State.CONFIRMING, number):
            step(session, attempt_id, State.DECLINED, reason="gateway")


def _after_refusal(parts: Parts, gateway: Gateway, attempt: PaymentAttempt, number: int) -> Outcome:
    assert attempt.intent_id is not None
    try:
        intent = gateway.fetch(attempt.intent_id)
    except GatewayError:
        return Checking(attempt.id)
    follow(parts, attempt.id, intent, answers=number)
    outcome = outcome_of(parts, attempt.id, intent)
    return Declined(attempt.id, "card_details", outcome.again) if isinstance(outcome, Declined) else outcome
