"""The process dies before or after any call to the gateway. What it left behind is settled by whoever comes next."""

from datetime import timedelta

import pytest

from portal.clock import shifted
from portal.payments.outcomes import NeedsAction, Paid
from portal.payments.settle import settle
from portal.payments.states import LIVE
from portal.payments.steps import Hold
from tests.payments.stage import CrashNow, Stage

STEPS = [
    (when, call)
    for call in ("look_at_token", "create_customer", "create_intent", "confirm")
    for when in ("before", "after")
]


@pytest.fixture(autouse=True)
def nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed unwinds nothing: its hold stays until it lapses."""
    monkeypatch.setattr(Hold, "let_go", lambda *_: None)


def crash(stage: Stage, when: str, call: str) -> None:
    def die() -> None:
        raise CrashNow

    stage.during(call, die, when=when)


@pytest.mark.promise("G1")
@pytest.mark.parametrize(("when", "call"), STEPS)
def test_a_crash_is_settled_by_the_sweep(stage: Stage, when: str, call: str) -> None:
    crash(stage, when, call)
    with pytest.raises(CrashNow):
        stage.press(stage.form("visa", saves=True))
    stage.sweep_until_quiet()
    if (when, call) == ("after", "confirm"):
        stage.check_paid_once()
        return
    stage.check_nothing_charged()
    with shifted(timedelta(hours=1)):
        assert isinstance(stage.press(stage.form("visa")), Paid)
    stage.check_paid_once()


@pytest.mark.promise("G1", "P5")
@pytest.mark.parametrize(("when", "call"), STEPS)
def test_after_a_crash_another_payer_soon_gets_on(stage: Stage, when: str, call: str) -> None:
    """Without any sweep: once the dead request's hold has lapsed, the next one ends its attempt."""
    crash(stage, when, call)
    with pytest.raises(CrashNow):
        stage.press(stage.form("visa", saves=True))
    with shifted(timedelta(seconds=50)):
        for attempt in stage.attempts():
            settle(stage.parts, attempt.id)  # the page that says "checking" asks
        stage.try_to_press(stage.form("visa", shown_cents=12_600), stage.sven)
    with shifted(timedelta(minutes=2)):
        stage.sweep()
    stage.check_paid_once()


@pytest.mark.promise("G1")
@pytest.mark.parametrize("call", ["fetch", "cancel"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_of_the_sweep_is_made_good_by_the_next(stage: Stage, when: str, call: str) -> None:
    assert isinstance(stage.press(stage.form("authenticationRequired")), NeedsAction)
    crash(stage, when, call)
    with shifted(timedelta(minutes=16)), pytest.raises(CrashNow):
        stage.sweep()
    with shifted(timedelta(minutes=19)):
        stage.sweep()
    assert not [one for one in stage.attempts() if one.state in LIVE]
    stage.check_nothing_charged()


@pytest.mark.promise("G1")
def test_a_crash_after_the_bank_was_answered_is_settled(stage: Stage) -> None:
    outcome = stage.press(stage.form("authenticationRequired"))
    assert isinstance(outcome, NeedsAction)
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    crash(stage, "after", "fetch")
    with pytest.raises(CrashNow):
        settle(stage.parts, outcome.attempt_id)
    stage.sweep_until_quiet()
    stage.check_paid_once()


@pytest.mark.promise("G1")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_while_the_intent_is_changed_for_another_card(stage: Stage, when: str) -> None:
    form = stage.form("chargeDeclined")
    stage.press(form)
    crash(stage, when, "change_intent")
    with pytest.raises(CrashNow):
        stage.press(stage.form("visa", saves=True, attempt_id=form.attempt_id))
    with shifted(timedelta(minutes=1)):
        assert isinstance(stage.press(stage.form("visa", attempt_id=form.attempt_id)), Paid)
    (intent,) = stage.sandbox.objects("payment_intent")
    assert intent["setup_future_usage"] is None
    stage.check_paid_once()


def test_a_slow_request_does_not_let_go_of_anothers_hold(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    form = stage.form("chargeDeclined")
    stage.press(form)
    attempt = stage.attempt()
    first = Hold(attempt.id, attempt.started_at)
    first.renewed()
    second = Hold(attempt.id, attempt.started_at)
    with stage.database.transaction() as session:
        row = session.merge(attempt)
        row.held_until = second.renewed()
    first.let_go(stage.parts)
    assert stage.attempt().held_until == second.until
    second.let_go(stage.parts)
    assert stage.attempt().held_until is None
