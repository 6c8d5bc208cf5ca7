"""Answers that get lost, come broken, or never come: money moves once or not at all, and the books know which."""

from datetime import timedelta
from uuid import uuid4

import pytest

from portal.clock import shifted
from portal.errors import Refusal
from portal.invoices.books import void_invoice
from portal.payments import words
from portal.payments.outcomes import Checking, Declined, NeedsAction, Paid
from portal.payments.settle import settle
from portal.payments.states import LIVE, State
from portal.payments.tables import PaymentAttempt
from portal.sandbox.faults import Kind
from tests.payments.stage import Stage

FAULTS: tuple[Kind, ...] = ("lost_before", "lost_after", "error_before", "error_after", "rate_limited")
CALLS = (
    "confirmation_tokens.retrieve",
    "customers.create",
    "payment_intents.create",
    "payment_intents.confirm",
    "payment_intents.retrieve",
    "charges.retrieve",
    "payment_intents.cancel",
)


@pytest.mark.promise("G1", "P5")
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_a_lost_answer_never_pays_twice(stage: Stage, call: str, fault: Kind, times: int) -> None:
    stage.sandbox.fault(call, fault, times=times)
    first = stage.try_to_press(stage.form("visa", saves=True))
    assert isinstance(first, (Paid, Checking, words.GatewayDown)), first
    stage.sweep_until_quiet()
    stage.check_books()
    if isinstance(first, (Paid, Checking)) and stage.paid_charges():
        stage.check_paid_once()
        with pytest.raises(words.NothingToPay):
            stage.press(stage.form("visa", token="ctoken_any"))
        return
    stage.check_nothing_charged()
    stage.sandbox.clear_faults()
    assert isinstance(stage.press(stage.form("visa", saves=True)), Paid)
    stage.check_paid_once()


@pytest.mark.promise("G1", "P5")
@pytest.mark.parametrize("fault", FAULTS)
def test_pressing_again_after_a_lost_answer_pays_once(stage: Stage, fault: Kind) -> None:
    """The payer does not wait for the sweep."""
    for call in CALLS[:3]:
        stage.sandbox.fault(call, fault)
        answer = stage.try_to_press(stage.form("visa", saves=True))
        assert isinstance(answer, words.GatewayDown), (call, answer)
    form = stage.form("visa", saves=True)
    assert isinstance(stage.press(form), Paid)
    stage.sweep_until_quiet()
    stage.check_paid_once()
    assert [one["status"] for one in stage.sandbox.objects("payment_intent")].count("succeeded") == 1


@pytest.mark.promise("P5")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_lost_answer_to_a_cancellation_does_not_block_the_next_payer(stage: Stage, fault: Kind) -> None:
    assert isinstance(stage.press(stage.form("authenticationRequired")), NeedsAction)
    stage.sandbox.fault("payment_intents.cancel", fault)
    assert isinstance(stage.try_to_press(stage.form("visa"), stage.sven), words.GatewayDown)
    assert isinstance(stage.press(stage.form("visa"), stage.sven), Paid)
    stage.check_paid_once()


@pytest.mark.promise("P5")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_lost_answer_to_a_cancellation_by_the_sweep_is_found_later(stage: Stage, fault: Kind) -> None:
    assert isinstance(stage.press(stage.form("authenticationRequired")), NeedsAction)
    stage.sandbox.fault("payment_intents.cancel", fault, times=2)
    stage.sweep_until_quiet()
    assert stage.attempt().state == State.CANCELED
    stage.check_nothing_charged()


@pytest.mark.promise("P5", "G1")
def test_a_lost_confirmation_says_that_we_are_checking_until_it_is_known(stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    form = stage.form("visa")
    assert stage.press(form) == Checking(form.attempt_id)
    assert isinstance(stage.press(stage.form("visa"), stage.sven), Checking)
    assert isinstance(stage.press(form), Checking)
    assert isinstance(settle(stage.parts, form.attempt_id), Paid)
    stage.check_paid_once()


@pytest.mark.promise("G1")
def test_a_confirmation_is_never_asked_again_blindly(stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.confirm", "lost_before")
    stage.press(stage.form("visa"))
    stage.sweep_until_quiet()
    assert stage.calls.count("confirm") == 1
    stage.check_nothing_charged()


@pytest.mark.promise("P5")
def test_a_decline_whose_answer_was_lost_says_why(stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    form = stage.form("chargeDeclinedInsufficientFunds")
    assert isinstance(stage.press(form), Checking)
    assert settle(stage.parts, form.attempt_id) == Declined(form.attempt_id, "insufficient_funds")
    assert isinstance(stage.press(stage.form("visa", attempt_id=form.attempt_id)), Paid)
    stage.check_paid_once()


def test_a_second_confirmation_that_got_lost_is_not_taken_for_the_first_decline(stage: Stage) -> None:
    form = stage.form("chargeDeclined")
    stage.press(form)
    stage.sandbox.fault("payment_intents.confirm", "lost_before")
    stage.press(stage.form("visa", attempt_id=form.attempt_id))
    assert isinstance(settle(stage.parts, form.attempt_id), Checking)
    assert stage.attempt().state == State.CONFIRMING
    stage.sweep_until_quiet()
    stage.check_nothing_charged()


@pytest.mark.promise("P5")
def test_a_busy_gateway_turns_a_confirmation_away_and_the_next_one_pays(stage: Stage) -> None:
    form = stage.form("visa")
    stage.sandbox.fault("*", "rate_limited", skip=2, times=50)  # look and create pass
    with pytest.raises(words.GatewayDown):
        stage.press(form)
    assert stage.attempt().state == State.DECLINED
    stage.sandbox.clear_faults()
    assert isinstance(stage.press(stage.form("visa", attempt_id=form.attempt_id)), Paid)
    stage.check_paid_once()


@pytest.mark.promise("P5")
def test_an_intent_that_may_have_been_made_does_not_block_the_desk(stage: Stage) -> None:
    """Nobody knows its id, so nobody can have confirmed it."""
    stage.sandbox.fault(
        "payment_intents.create", "error_after", times=1
    )  # kept under its key, and repeated for a day
    with pytest.raises(words.GatewayDown):
        stage.press(stage.form("visa"))
    with shifted(timedelta(minutes=3)):
        stage.sweep()
    assert stage.attempt().state == State.FAILED
    with stage.database.transaction() as session:
        void_invoice(session, stage.invoice_id, "not needed")


def test_an_intent_whose_answer_was_lost_is_found_and_cancelled(stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.create", "lost_after")
    with pytest.raises(words.GatewayDown):
        stage.press(stage.form("visa"))
    with shifted(timedelta(minutes=3)):
        stage.sweep()
    assert [one["status"] for one in stage.sandbox.objects("payment_intent")] == ["canceled"]
    assert stage.attempt().state == State.CANCELED


def test_after_a_day_an_intent_is_not_asked_for_under_a_key_that_may_be_forgotten(stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.create", "lost_after")
    with pytest.raises(words.GatewayDown):
        stage.press(stage.form("visa"))
    stage.sandbox.advance(25 * 3600)
    with shifted(timedelta(hours=25)):
        stage.sweep()
    assert len(stage.sandbox.objects("payment_intent")) == 1
    assert stage.attempt().state == State.FAILED


@pytest.mark.promise("G1")
def test_a_gateway_away_for_an_hour_is_made_known_and_then_settled(stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    form = stage.form("visa")
    stage.press(form)
    stage.sandbox.fault("*", "lost_before", times=1000)
    for minutes in range(1, 60, 3):
        with shifted(timedelta(minutes=minutes)):
            stage.sweep()
    assert "can't be asked" in (stage.attempt().needs_person or "")
    stage.sandbox.clear_faults()
    with shifted(timedelta(hours=2, minutes=10)):
        stage.sweep()
    assert stage.attempt().needs_person is None
    stage.check_paid_once()


def test_a_sweep_does_not_wait_for_every_attempt_of_a_gateway_that_is_away(stage: Stage) -> None:
    for _ in range(6):
        stage.invoice_id = stage.new_invoice()
        assert isinstance(stage.press(stage.form("authenticationRequired")), NeedsAction)
    stage.sandbox.fault("*", "lost_before", times=1000)
    stage.calls.clear()
    with shifted(timedelta(minutes=16)):
        assert stage.sweep() == 3
    assert stage.calls == ["fetch"] * 3
    stage.sandbox.clear_faults()
    for minutes in (16, 18):
        with shifted(timedelta(minutes=minutes)):
            stage.sweep()
    assert not [one for one in stage.attempts() if one.state in LIVE]


def test_one_attempt_that_cannot_be_settled_does_not_stop_the_others(stage: Stage) -> None:
    broken = stage.press(stage.form("authenticationRequired"))
    assert isinstance(broken, NeedsAction)
    intent = str(stage.attempt().intent_id)
    stage.invoice_id = stage.new_invoice()
    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    stage.press(stage.form("visa"))

    def stumble(when: str, call: str) -> None:
        if (when, call) == ("before", "fetch") and len(stage.calls) - calls == 1:
            raise RuntimeError("a bug")

    calls = len(stage.calls)
    stage.acts.append(stumble)
    with shifted(timedelta(minutes=16)):
        stage.sweep()
    stage.acts.remove(stumble)
    assert len([one for one in stage.attempts() if one.needs_person]) == 1
    stage.sweep_until_quiet()
    assert stage.sandbox.get(intent)["status"] in ("canceled", "succeeded")
    stage.check_books()


@pytest.mark.promise("G1")
@pytest.mark.parametrize("card", ["visa", "chargeDeclined", "authenticationRequired", "mastercard_debit"])
def test_no_transaction_is_open_across_a_call_to_the_gateway(stage: Stage, card: str) -> None:
    """The watch around every call says so; here it is watched that the watch watches."""
    stage.try_to_press(stage.form(card, saves=True))
    stage.try_to_press(stage.form(card, attempt_id=uuid4()), stage.sven)
    stage.sweep_until_quiet()
    assert stage.calls
    gateway = stage.parts.connect(stage.sandbox.secret_key)
    with stage.database.transaction() as session:
        session.get(PaymentAttempt, uuid4())
        with pytest.raises(AssertionError, match="a transaction is open across fetch"):
            gateway.fetch("pi_none")


def test_an_answer_that_cannot_be_read_is_an_unknown_outcome(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some proxy's page instead of Stripe's answer, after the effect."""
    client = stage.sandbox.http_client()
    true_request = type(client).request

    def garbled(self: object, method: str, url: str, *args: object, **kwargs: object) -> tuple[str, int, object]:
        body, status, headers = true_request(client, method, url, *args, **kwargs)  # type: ignore[arg-type]  # passed on as it came
        return ('{"object": "something"}', 200, headers) if url.endswith("/confirm") else (body, status, headers)

    monkeypatch.setattr(type(client), "request", garbled)
    assert isinstance(stage.press(stage.form("visa")), Checking)
    monkeypatch.undo()
    stage.sweep_until_quiet()
    stage.check_paid_once()


def test_an_expired_form_is_refused_not_charged(stage: Stage) -> None:
    form = stage.form("visa")
    stage.sandbox.advance(13 * 3600)
    answer = stage.try_to_press(form)
    assert isinstance(answer, (Declined, Refusal))
    stage.check_nothing_charged()
    assert isinstance(stage.press(stage.form("visa")), Paid)
    stage.check_paid_once()
