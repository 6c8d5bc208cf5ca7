"""The inbox is worked off once by many workers, and what fails waits without blocking the rest."""

from datetime import timedelta

import pytest

from portal.clock import now, shifted
from portal.payments.settle import settle
from portal.webhooks import CLAIM, PATIENCE, Hint, WebhookEvent, claim_hint, handle_waiting_events, waiting_events
from tests.payments.stage import Stage
from tests.support.at_once import at_once
from tests.webhooks.conftest import an_event, events, file, follow_all


def waiting(stage: Stage) -> int:
    with stage.database.transaction() as session:
        return waiting_events(session)


def test_several_workers_never_take_the_same_event(stage: Stage) -> None:
    file(stage, *[an_event(number) for number in range(12)])
    taken: list[int] = []

    def work() -> None:
        for _ in range(20):
            with stage.database.transaction() as session:
                hint = claim_hint(session)
            if hint is not None:
                taken.append(hint.id)

    assert at_once([work] * 4) == [None] * 4
    assert len(taken) == len(set(taken)) == 12


@pytest.mark.promise("G2")
def test_a_worker_that_died_with_an_event_gives_it_back(stage: Stage) -> None:
    file(stage, an_event())
    with stage.database.transaction() as session:
        assert claim_hint(session) is not None
    with stage.database.transaction() as session:
        assert claim_hint(session) is None
    with shifted(CLAIM + timedelta(seconds=1)):
        assert handle_waiting_events(stage.database, lambda _hint: "done") == 1


@pytest.mark.promise("G2")
def test_a_failing_event_waits_longer_each_time_and_blocks_nobody(stage: Stage) -> None:
    file(stage, an_event(1, "pi_bad"), an_event(2), an_event(3))
    tried: list[str | None] = []

    def handle(hint: Hint) -> str:
        tried.append(hint.intent_id)
        if hint.intent_id == "pi_bad":
            raise RuntimeError("a bug")
        return "done"

    assert handle_waiting_events(stage.database, handle) == 2
    assert tried.count("pi_bad") == 1
    pauses = []
    moment = timedelta()
    for _ in range(6):
        with shifted(moment):
            bad = next(event for event in events(stage) if event.intent_id == "pi_bad")
            pauses.append(bad.next_try_at - now())
        moment += pauses[-1] + timedelta(seconds=1)
        with shifted(moment):
            assert handle_waiting_events(stage.database, handle) == 0
    assert pauses == sorted(pauses)
    assert pauses[-1] > 10 * pauses[0]
    assert waiting(stage) == 1


def test_an_event_that_always_fails_is_given_up_after_three_days_and_says_so(stage: Stage) -> None:
    file(stage, an_event())

    def fail(_hint: Hint) -> str:
        raise RuntimeError("a bug")

    with shifted(PATIENCE + timedelta(hours=1)):
        handle_waiting_events(stage.database, fail)
    assert events(stage)[0].outcome == "given up: RuntimeError"
    assert waiting(stage) == 0


def test_an_event_that_was_tried_a_thousand_times_can_still_be_put_off(stage: Stage) -> None:
    """One that kills its worker is claimed again every few minutes, without ever being put off."""
    file(stage, an_event())
    with stage.database.transaction() as session:
        session.get_one(WebhookEvent, events(stage)[0].id).tries = 1000

    def fail(_hint: Hint) -> str:
        raise RuntimeError("a bug")

    assert handle_waiting_events(stage.database, fail) == 0
    with shifted(timedelta(hours=7)):
        assert handle_waiting_events(stage.database, lambda _hint: "done") == 1


def test_nothing_of_the_body_is_kept_but_ids(stage: Stage) -> None:
    stage.press(stage.form("visa"))
    stage.sandbox.deliver_webhooks()
    kept = str([vars(event) for event in events(stage)])
    assert "client_secret" not in kept
    assert "4242" not in kept


@pytest.mark.promise("G2")
def test_an_event_after_everything_changes_nothing(stage: Stage) -> None:
    outcome = stage.press(stage.form("visa"))
    stage.sandbox.deliver_webhooks()
    follow_all(stage)
    follow_all(stage)
    assert settle(stage.parts, stage.attempt().id) == outcome
    stage.check_paid_once()
