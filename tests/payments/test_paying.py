"""Paying: a new card, a saved card, a card to be saved; declines, banks that ask, and payers that walk away."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from portal.cards import CONSENT_VERSION, SavedCard
from portal.clock import now, shifted
from portal.payments import words
from portal.payments.begin import PayForm
from portal.payments.outcomes import Checking, Declined, NeedsAction, Outcome, Paid
from portal.payments.settle import settle
from portal.payments.states import State
from tests.payments.stage import Stage


def saved_cards(stage: Stage) -> list[SavedCard]:
    with stage.database.transaction() as session:
        return list(session.scalars(select(SavedCard).order_by(SavedCard.id)))


def kept_cards(stage: Stage) -> list[SavedCard]:
    return [card for card in saved_cards(stage) if card.removed_at is None]


def needs_action(outcome: Outcome) -> NeedsAction:
    assert isinstance(outcome, NeedsAction), outcome
    return outcome


def intent_of(stage: Stage, attempt_id: UUID) -> str:
    found = stage.attempt(attempt_id).intent_id
    assert found is not None
    return found


# --- cards ----------------------------------------------------------------------------------------------------------


@pytest.mark.promise("P3")
def test_a_new_card_pays(stage: Stage) -> None:
    outcome = stage.press(stage.form("visa"))
    assert isinstance(outcome, Paid)
    (payment,) = stage.payments()
    assert (payment.receipt_number, payment.payer_id) == (outcome.receipt_number, stage.maya.payer_id)
    assert (payment.brand, payment.funding, payment.last4, payment.kind) == ("visa", "credit", "4242", "card")
    assert kept_cards(stage) == []
    stage.check_paid_once()


@pytest.mark.promise("G3")
def test_the_gateway_is_told_nothing_about_health(stage: Stage) -> None:
    stage.press(stage.form("visa"))
    (intent,) = stage.sandbox.objects("payment_intent")
    assert intent["description"] == f"Invoice {stage.invoice().number}"
    assert set(intent["metadata"]) == {"attempt", "invoice", "payer"}
    assert intent["receipt_email"] is None


@pytest.mark.promise("P3")
def test_a_card_is_saved_with_its_consent(stage: Stage) -> None:
    pressed = now()
    assert isinstance(stage.press(stage.form("mastercard", saves=True)), Paid)
    (card,) = kept_cards(stage)
    assert (card.payer_id, card.brand, card.funding, card.last4) == (
        stage.maya.payer_id,
        "mastercard",
        "credit",
        "4444",
    )
    assert (card.consent_version, card.consented_by, card.is_usual) == (CONSENT_VERSION, stage.maya.user_id, True)
    assert pressed <= card.consented_at <= now()
    (method,) = [one for one in stage.sandbox.objects("payment_method") if one["customer"]]
    assert method["id"] not in card.method_sealed
    stage.check_paid_once()


@pytest.mark.promise("O9")
def test_the_consent_is_of_the_press_even_when_the_answer_is_lost_for_an_hour(stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    pressed = now()
    assert isinstance(stage.press(stage.form("visa", saves=True)), Checking)
    with shifted(timedelta(hours=1)):
        stage.sweep()
    (card,) = kept_cards(stage)
    assert card.consented_at - pressed < timedelta(minutes=1)


@pytest.mark.promise("P3")
def test_a_saved_card_pays(stage: Stage) -> None:
    stage.press(stage.form("visa", saves=True))
    (card,) = kept_cards(stage)
    other = stage.new_invoice()
    form = stage.form(invoice_id=other, saved_card=card.public_id)
    assert isinstance(stage.press(form, invoice_id=other), Paid)
    assert stage.invoice(other).balance_cents == 0
    assert len(kept_cards(stage)) == 1
    stage.check_books()


@pytest.mark.promise("P8")
def test_the_same_card_saved_twice_shows_once(stage: Stage) -> None:
    stage.press(stage.form("visa", saves=True))
    stage.invoice_id = stage.new_invoice()
    stage.press(stage.form("visa", saves=True))
    former, newer = saved_cards(stage)
    assert former.removed_at is not None
    assert [card.id for card in kept_cards(stage)] == [newer.id]
    assert newer.is_usual


def test_a_card_is_not_saved_without_consent(stage: Stage) -> None:
    form = stage.form("visa", token=stage.token("visa", saves=True), save_card=False)
    with pytest.raises(words.CardDetailsLost):
        stage.press(form)
    stage.check_nothing_charged()


def test_behind_a_pay_link_no_card_is_saved(stage: Stage) -> None:
    nobody = type(stage.maya)(None, None)
    with pytest.raises(words.CardDetailsLost):
        stage.press(stage.form("visa", saves=True), nobody)
    assert isinstance(stage.press(stage.form("visa"), nobody), Paid)
    assert saved_cards(stage) == []
    stage.check_paid_once()


# --- a decline, and the next try ------------------------------------------------------------------------------------


@pytest.mark.promise("P5")
def test_after_a_decline_another_card_pays_with_the_same_intent(stage: Stage) -> None:
    form = stage.form("chargeDeclinedInsufficientFunds")
    outcome = stage.press(form)
    assert outcome == Declined(form.attempt_id, "insufficient_funds")
    assert stage.attempt().state == State.DECLINED
    assert isinstance(stage.press(stage.form("visa", attempt_id=form.attempt_id)), Paid)
    keys = [one.idempotency_key for one in stage.sandbox.requests if one.operation == "payment_intents.confirm"]
    assert keys == [f"{form.attempt_id}:confirm:1", f"{form.attempt_id}:confirm:2"]
    assert len(stage.sandbox.objects("payment_intent")) == 1
    stage.check_paid_once()


@pytest.mark.promise("P5")
def test_after_a_decline_another_card_can_be_saved(stage: Stage) -> None:
    form = stage.form("chargeDeclined")
    stage.press(form)
    assert isinstance(stage.press(stage.form("visa", saves=True, attempt_id=form.attempt_id)), Paid)
    assert [card.last4 for card in kept_cards(stage)] == ["4242"]
    stage.check_paid_once()


def test_after_a_decline_of_a_card_to_be_saved_another_is_not(stage: Stage) -> None:
    form = stage.form("chargeCustomerFail", saves=True)
    assert isinstance(stage.press(form), Declined)
    assert isinstance(stage.press(stage.form("visa", attempt_id=form.attempt_id)), Paid)
    assert saved_cards(stage) == []
    stage.check_paid_once()


def test_an_intent_changed_without_an_answer_is_changed_again(stage: Stage) -> None:
    """Else a card would be kept at the gateway without its payer's consent."""
    form = stage.form("chargeDeclined")
    stage.press(form)
    stage.sandbox.fault("payment_intents.update", "lost_after")
    with pytest.raises(words.GatewayDown):
        stage.press(stage.form("visa", saves=True, attempt_id=form.attempt_id))
    assert isinstance(stage.press(stage.form("visa", attempt_id=form.attempt_id)), Paid)
    (intent,) = stage.sandbox.objects("payment_intent")
    assert intent["setup_future_usage"] is None
    stage.check_paid_once()


@pytest.mark.promise("P5")
@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("chargeDeclined", "Your bank said no"),
        ("chargeDeclinedInsufficientFunds", "not enough money or credit"),
        ("chargeDeclinedLostCard", "Your bank said no"),
        ("chargeDeclinedStolenCard", "Your bank said no"),
        ("chargeDeclinedExpiredCard", "expired"),
        ("chargeDeclinedIncorrectCvc", "three digits on the back"),
        ("chargeDeclinedProcessingError", "could not look at this card"),
        ("chargeDeclinedFraudulent", "Your bank said no"),
    ],
)
def test_a_declined_card_says_why_in_plain_words(stage: Stage, card: str, said: str) -> None:
    outcome = stage.press(stage.form(card))
    assert isinstance(outcome, Declined)
    heading, sentence = words.why_declined(outcome.reason)
    assert said in f"{heading} {sentence}"
    assert "You have not been charged" in heading
    assert not {"lost", "stolen", "fraud"} & set(sentence.lower().split())
    stage.check_nothing_charged()


@pytest.mark.parametrize("reason", ["card_policy", "gateway", "card_details", "canceled", "nonsense", None])
def test_every_reason_says_first_that_no_money_moved(reason: str | None) -> None:
    heading, sentence = words.why_declined(reason)
    assert "not been charged" in heading
    assert sentence


def test_why_a_saved_card_failed_its_bank_is_not_blamed_for_the_policy() -> None:
    assert "bank" not in words.why_declined("card_policy")[0].lower()
    assert "bank" not in words.why_declined("gateway")[0].lower()


# --- pressed again --------------------------------------------------------------------------------------------------


@pytest.mark.promise("P3")
def test_pressing_twice_gives_the_same_receipt(stage: Stage) -> None:
    form = stage.form("visa")
    assert stage.press(form) == stage.press(form)
    stage.check_paid_once()


@pytest.mark.promise("P3")
def test_a_repeated_post_of_a_declined_press_is_not_a_second_try(stage: Stage) -> None:
    form = stage.form("chargeDeclined")
    assert stage.press(form) == stage.press(form)
    assert stage.attempt().confirmations == 1


def test_a_saved_card_that_was_declined_can_be_tried_again(stage: Stage) -> None:
    stage.press(stage.form("visa", saves=True))
    (card,) = kept_cards(stage)
    stage.invoice_id = stage.new_invoice()
    form = stage.form(saved_card=card.public_id)
    stage.sandbox.fault("payment_intents.confirm", "rate_limited")
    with pytest.raises(words.GatewayDown):
        stage.press(form)
    assert isinstance(stage.press(form), Paid)
    stage.check_books()


def test_a_press_from_a_form_that_ended_begins_anew(stage: Stage) -> None:
    form = stage.form("mastercard_debit")
    with pytest.raises(Exception, match="DebitCardNotAccepted"):
        stage.press(form)
    assert isinstance(stage.press(stage.form("visa", attempt_id=form.attempt_id)), Paid)
    stage.check_paid_once()


def test_a_reload_of_a_press_that_ended_unpaid_does_not_pay(stage: Stage) -> None:
    stage.press(stage.form("visa", saves=True))
    (card,) = kept_cards(stage)
    stage.invoice_id = stage.new_invoice()
    form = stage.form(saved_card=card.public_id)
    stage.sandbox.fault("payment_intents.confirm", "lost_before")
    assert isinstance(stage.press(form), Checking)
    stage.sweep_until_quiet()
    with pytest.raises(words.FormUsedUp):
        stage.press(form)
    assert isinstance(stage.press(stage.form(saved_card=card.public_id)), Paid)
    stage.check_books()


def test_somebody_elses_attempt_is_not_found(stage: Stage) -> None:
    form = stage.form("chargeDeclined")
    stage.press(form)
    with pytest.raises(words.AttemptNotFound):
        stage.press(stage.form("visa", attempt_id=form.attempt_id), stage.sven)


def test_an_attempt_of_another_invoice_is_not_found(stage: Stage) -> None:
    form = stage.form("chargeDeclined")
    stage.press(form)
    other = stage.new_invoice()
    with pytest.raises(words.AttemptNotFound):
        stage.press(stage.form("visa", attempt_id=form.attempt_id), invoice_id=other)


def test_a_form_without_a_card_is_refused(stage: Stage) -> None:
    form = PayForm(uuid4(), stage.invoice().balance_cents, "CAD")
    with pytest.raises(words.CardDetailsLost):
        stage.press(form)
    stage.check_nothing_charged()


def test_a_token_of_another_gateway_gets_a_new_form(stage: Stage) -> None:
    stranger = stage.sandbox.add_account()
    form = stage.form(card=None, token=stage.token("visa", key=stranger.test_publishable_key))
    with pytest.raises(words.FormOutdated):
        stage.press(form)
    assert isinstance(stage.press(stage.form("visa")), Paid)
    stage.check_paid_once()


# --- the bank asks --------------------------------------------------------------------------------------------------


@pytest.mark.promise("P3")
def test_a_bank_that_asks_is_answered_and_the_card_pays(stage: Stage) -> None:
    outcome = needs_action(stage.press(stage.form("authenticationRequired")))
    stage.sandbox.authenticate(intent_of(stage, outcome.attempt_id))
    assert isinstance(settle(stage.parts, outcome.attempt_id), Paid)
    assert settle(stage.parts, outcome.attempt_id) == settle(stage.parts, outcome.attempt_id)
    stage.check_paid_once()


@pytest.mark.promise("P3")
def test_a_payer_who_fails_the_banks_question_can_use_another_card(stage: Stage) -> None:
    outcome = needs_action(stage.press(stage.form("authenticationRequired")))
    stage.sandbox.authenticate(intent_of(stage, outcome.attempt_id), succeed=False)
    assert settle(stage.parts, outcome.attempt_id) == Declined(
        outcome.attempt_id, "payment_intent_authentication_failure"
    )
    assert isinstance(stage.press(stage.form("visa", attempt_id=outcome.attempt_id)), Paid)
    assert len(stage.sandbox.objects("payment_intent")) == 1
    stage.check_paid_once()


def test_a_question_answered_and_then_declined(stage: Stage) -> None:
    outcome = needs_action(stage.press(stage.form("threeDSecureRequiredChargeDeclined")))
    stage.sandbox.authenticate(intent_of(stage, outcome.attempt_id))
    assert settle(stage.parts, outcome.attempt_id) == Declined(outcome.attempt_id, "declined")
    stage.check_nothing_charged()


def test_a_reload_while_the_bank_asks_shows_the_question_again(stage: Stage) -> None:
    form = stage.form("authenticationRequired")
    assert needs_action(stage.press(form)) == needs_action(stage.press(form))
    assert len(stage.sandbox.objects("payment_intent")) == 1


@pytest.mark.promise("P5")
def test_another_payer_takes_over_from_one_who_walked_away(stage: Stage) -> None:
    outcome = needs_action(stage.press(stage.form("authenticationRequired")))
    assert isinstance(stage.press(stage.form("visa"), stage.sven), Paid)
    abandoned = intent_of(stage, outcome.attempt_id)
    assert stage.sandbox.get(abandoned)["status"] == "canceled"
    assert stage.attempt(outcome.attempt_id).state == State.CANCELED
    stage.check_paid_once()


@pytest.mark.promise("P3")
def test_a_payer_who_finishes_just_before_being_taken_over_has_paid(stage: Stage) -> None:
    outcome = needs_action(stage.press(stage.form("authenticationRequired")))
    intent = intent_of(stage, outcome.attempt_id)
    stage.during("cancel", lambda: stage.sandbox.authenticate(intent))
    with pytest.raises(words.NothingToPay):
        stage.press(stage.form("visa"), stage.sven)
    (payment,) = stage.payments()
    assert payment.payer_id == stage.maya.payer_id
    stage.check_paid_once()


def test_a_stale_amount_ends_nobodys_attempt(stage: Stage) -> None:
    outcome = needs_action(stage.press(stage.form("authenticationRequired")))
    with pytest.raises(words.AmountChanged):
        stage.press(stage.form("visa", shown_cents=100), stage.sven)
    assert stage.attempt(outcome.attempt_id).state == State.REQUIRES_ACTION


@pytest.mark.promise("P5")
def test_a_question_nobody_answers_is_withdrawn_after_its_time(stage: Stage) -> None:
    outcome = needs_action(stage.press(stage.form("authenticationRequired")))
    with shifted(timedelta(minutes=14)):
        assert stage.sweep() == 0
    with shifted(timedelta(minutes=16)):
        assert stage.sweep() == 1
    assert stage.attempt(outcome.attempt_id).state == State.CANCELED
    assert stage.sandbox.get(intent_of(stage, outcome.attempt_id))["status"] == "canceled"
    assert isinstance(stage.press(stage.form("visa")), Paid)
    stage.check_paid_once()


@pytest.mark.promise("G2")
def test_the_sweep_alone_finds_that_the_bank_was_answered(stage: Stage) -> None:
    outcome = needs_action(stage.press(stage.form("authenticationRequired")))
    stage.sandbox.authenticate(intent_of(stage, outcome.attempt_id))
    with shifted(timedelta(minutes=16)):
        stage.sweep()
    stage.check_paid_once()


# --- nobody knows yet -----------------------------------------------------------------------------------------------


@pytest.mark.promise("P5")
def test_a_payment_in_progress_at_the_gateway_is_never_called_paid(stage: Stage) -> None:
    outcome = stage.press(stage.form("sandbox_processing"))
    assert isinstance(outcome, Checking)
    assert isinstance(stage.press(stage.form("visa"), stage.sven), Checking)
    stage.sandbox.finish_processing(intent_of(stage, outcome.attempt_id))
    with shifted(timedelta(minutes=1)):
        stage.sweep()
    stage.check_paid_once()


def test_a_payment_in_progress_that_fails_can_be_tried_again(stage: Stage) -> None:
    outcome = stage.press(stage.form("sandbox_processing"))
    assert isinstance(outcome, Checking)
    stage.sandbox.finish_processing(intent_of(stage, outcome.attempt_id), succeed=False)
    with shifted(timedelta(minutes=1)):
        stage.sweep()
    assert isinstance(stage.press(stage.form("visa", attempt_id=outcome.attempt_id)), Paid)
    stage.check_paid_once()


def test_a_payment_in_progress_for_a_week_is_shown_to_a_person(stage: Stage) -> None:
    stage.press(stage.form("sandbox_processing"))
    for days in range(8):
        with shifted(timedelta(days=days, hours=1)):
            stage.sweep()
    assert stage.attempt().needs_person
    with shifted(timedelta(days=7, hours=2)):
        stage.check_nothing_charged()
