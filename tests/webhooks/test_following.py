"""Webhooks are followed in whatever order and number they come. None of them is needed."""

from datetime import timedelta

import pytest

from portal.clock import shifted
from portal.gateway import OutcomeUnknown
from portal.payments.hints import follow_hint
from portal.payments.outcomes import Checking, NeedsAction, Paid
from portal.payments.states import State
from portal.webhooks import Hint, file_event
from tests.makers import make_gateway
from tests.payments.stage import Stage
from tests.support.at_once import at_once
from tests.webhooks.conftest import an_event, events, file, follow_all


@pytest.mark.promise("G2")
def test_the_webhook_alone_settles_a_lost_confirmation(stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    assert isinstance(stage.press(stage.form("visa")), Checking)
    stage.sandbox.deliver_webhooks()
    assert follow_all(stage) == len(events(stage)) > 0
    stage.check_paid_once()


@pytest.mark.promise("G2")
def test_a_webhook_before_our_own_answer_posts_once(stage: Stage) -> None:
    def webhook_first() -> None:
        stage.sandbox.deliver_webhooks()
        follow_all(stage)

    stage.during("confirm", webhook_first, when="after")
    assert isinstance(stage.press(stage.form("visa")), Paid)
    stage.check_paid_once()


@pytest.mark.promise("G2")
@pytest.mark.parametrize("how", ["twice", "never", "newest first", "late"])
def test_webhooks_twice_never_or_out_of_order(stage: Stage, how: str) -> None:
    policy = stage.sandbox.webhook_policy
    policy.duplicates = 2 if how == "twice" else 0
    policy.drop = ["*"] if how == "never" else []
    policy.reorder = how == "newest first"
    policy.late_s = 3600 if how == "late" else 0
    declined = stage.form("chargeDeclined")
    stage.press(declined)
    outcome = stage.press(stage.form("authenticationRequired", attempt_id=declined.attempt_id))
    assert isinstance(outcome, NeedsAction)
    stage.sandbox.deliver_webhooks()
    follow_all(stage)
    assert stage.attempt().state == State.REQUIRES_ACTION
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    stage.sandbox.deliver_webhooks(everything=how == "late")
    follow_all(stage)
    stage.sweep_until_quiet()
    stage.check_paid_once()


@pytest.mark.promise("G2")
def test_an_event_is_filed_once_however_often_it_is_sent(stage: Stage) -> None:
    file(stage, an_event(1), an_event(1), an_event(2), an_event(1))
    assert [event.event_id for event in events(stage)] == ["evt_1", "evt_2"]


def test_filing_says_whether_the_event_was_new(stage: Stage) -> None:
    assert file(stage, an_event(1), an_event(1), an_event(2), an_event(1)) == [True, False, True, False]


@pytest.mark.promise("G2")
def test_the_same_event_filed_at_once_by_many_is_filed_once(stage: Stage) -> None:
    assert sorted(at_once([lambda: file(stage, an_event())] * 8)) == [*[[False]] * 7, [True]]
    assert len(events(stage)) == 1


@pytest.mark.promise("G6")
def test_the_same_event_id_of_another_gateway_is_another_event(stage: Stage) -> None:
    with stage.database.transaction() as session:
        other = make_gateway(session, stage.parts.vault, name="Another")
        assert file_event(session, stage.gateway_id, "test", an_event())
        assert file_event(session, other.id, "test", an_event())


@pytest.mark.promise("G6")
def test_a_hint_of_another_gateway_or_mode_touches_no_attempt(stage: Stage) -> None:
    stage.press(stage.form("authenticationRequired"))
    intent = str(stage.attempt().intent_id)
    stage.calls.clear()
    for gateway_id, mode in ((stage.gateway_id + 1, "test"), (stage.gateway_id, "production")):
        hint = Hint(1, gateway_id, mode, "payment_intent.succeeded", intent, intent)
        assert follow_hint(stage.parts, hint) == "not a payment of ours"
    assert follow_hint(stage.parts, Hint(1, stage.gateway_id, "test", "payout.paid", "po_1", None))
    assert stage.calls == []


@pytest.mark.promise("G1", "G2")
def test_a_hint_is_believed_in_nothing(stage: Stage) -> None:
    """Signed or not: what it says is fetched."""
    stage.press(stage.form("authenticationRequired"))
    file(stage, an_event(1, str(stage.attempt().intent_id)))
    follow_all(stage)
    assert stage.attempt().state == State.REQUIRES_ACTION
    stage.check_nothing_charged()


@pytest.mark.promise("G2")
def test_a_hint_that_comes_while_the_gateway_is_away_is_followed_later(stage: Stage) -> None:
    stage.press(stage.form("authenticationRequired"))
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    file(stage, an_event(1, str(stage.attempt().intent_id)))
    stage.sandbox.fault("payment_intents.retrieve", "lost_before")
    assert follow_all(stage) == 0
    assert events(stage)[0].outcome == OutcomeUnknown.__name__
    with shifted(timedelta(seconds=20)):
        assert follow_all(stage) == 1
    stage.check_paid_once()
