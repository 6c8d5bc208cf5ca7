"""The desk receives while somebody else is paying: ended knowingly, or not at all."""

from datetime import timedelta

import pytest

from portal.clock import shifted
from portal.payments import words
from portal.payments.outcomes import Checking, NeedsAction, Paid
from portal.payments.settle import settle
from portal.payments.states import State
from tests.payments.desk import Desk
from tests.payments.stage import Stage


@pytest.fixture
def open_portal(desk: Desk, stage: Stage) -> None:
    for key in ("accept_payments_in_portal", "portal_enabled"):
        stage.set(key, "yes")


@pytest.mark.promise("O8", "G1")
@pytest.mark.usefixtures("open_portal")
def test_a_patient_who_is_at_their_bank_is_ended_knowingly_or_not_at_all(desk: Desk, stage: Stage) -> None:
    outcome = stage.press(stage.form("authenticationRequired"))
    assert isinstance(outcome, NeedsAction)
    with pytest.raises(words.SomebodyIsPaying):
        desk.charge(desk.form(126_00))
    with pytest.raises(words.SomebodyIsPaying):
        desk.record(desk.received(126_00))
    assert stage.attempt().state == State.REQUIRES_ACTION
    desk.record(desk.received(126_00, take_over=True))
    assert stage.attempt().state == State.CANCELED
    assert stage.paid_charges() == []
    stage.check_books()


@pytest.mark.promise("O8", "G1")
@pytest.mark.usefixtures("open_portal")
def test_a_patient_who_has_just_paid_is_found_out_when_taken_over(desk: Desk, stage: Stage) -> None:
    outcome = stage.press(stage.form("authenticationRequired"))
    assert isinstance(outcome, NeedsAction)
    cash, card = desk.received(126_00, take_over=True), desk.form(126_00, take_over=True)
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    with pytest.raises(words.NothingToPay):
        desk.record(cash)
    with pytest.raises(words.NothingToPay):
        desk.charge(card)
    stage.check_paid_once()


@pytest.mark.promise("O8", "G1")
@pytest.mark.usefixtures("open_portal")
def test_cash_and_a_card_that_was_being_checked_open_a_case_by_themselves(desk: Desk, stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    assert isinstance(stage.press(stage.form("visa")), Checking)
    assert isinstance(desk.charge(desk.form(126_00, take_over=True)), Checking)
    with pytest.raises(words.SomebodyIsPaying):
        desk.record(desk.received(126_00))
    desk.record(desk.received(126_00, take_over=True))
    stage.sweep_until_quiet()
    assert stage.invoice().balance_cents == -126_00
    assert [(one.kind, one.amount_cents) for one in stage.cases()] == [("overpaid", 126_00)]
    stage.check_books()


@pytest.mark.promise("O8")
def test_the_clerks_own_declined_card_is_ended_without_a_word(desk: Desk, stage: Stage) -> None:
    desk.charge(desk.form(50_00, "chargeDeclined"))
    with pytest.raises(words.SomebodyIsPaying):
        desk.record(desk.received(126_00), by=desk.ines)
    desk.record(desk.received(126_00))
    assert stage.attempt().state == State.CANCELED
    stage.check_books()


@pytest.mark.promise("O8", "G1")
def test_the_clerks_own_unknown_payment_needs_a_word(desk: Desk, stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    assert isinstance(desk.charge(desk.form(126_00)), Checking)
    with pytest.raises(words.SomebodyIsPaying):
        desk.record(desk.received(126_00))
    stage.sweep_until_quiet()
    stage.check_paid_once()


@pytest.mark.promise("O8", "G1")
def test_cash_is_recorded_though_the_gateway_does_not_answer(desk: Desk, stage: Stage) -> None:
    """A waiting card that can't be ended now may go through later: then a case says so."""
    outcome = desk.charge(desk.form(126_00, "authenticationRequired"))
    assert isinstance(outcome, NeedsAction)
    stage.sandbox.fault("payment_intents.cancel", "lost_before")
    desk.record(desk.received(126_00))
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    with shifted(timedelta(minutes=1)):
        assert isinstance(settle(stage.parts, outcome.attempt_id), Paid)
    assert [(one.kind, one.amount_cents) for one in stage.cases()] == [("overpaid", 126_00)]
    stage.check_books()
