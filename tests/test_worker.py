"""The worker: its rounds, and that one kind of work in trouble does not keep the others from being done."""

import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from portal import worker
from portal.clock import now, shifted
from portal.gateway import GatewayEvent
from portal.parts import Parts
from portal.payments.outcomes import Checking, NeedsAction
from portal.payments.states import LIVE
from portal.webhooks import file_event
from portal.worker import Worker, sweep_once, work_once
from tests.payments.stage import Stage, staged


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    with staged(database_url) as opened:
        yield opened


@pytest.mark.promise("G2")
def test_a_round_follows_the_hints_that_wait(stage: Stage) -> None:
    stage.press(stage.form("authenticationRequired"))
    intent = str(stage.attempt().intent_id)
    stage.sandbox.authenticate(intent)
    with stage.database.transaction() as session:
        event = GatewayEvent("evt_1", "payment_intent.succeeded", intent, intent, False, now())
        file_event(session, stage.gateway_id, "test", event)
    assert work_once(stage.parts) == 2, "the hint, and the receipt that it brought"
    assert work_once(stage.parts) == 0
    stage.check_paid_once()


@pytest.mark.promise("G2")
def test_a_round_of_sweeping_needs_no_hint(stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    assert isinstance(stage.press(stage.form("visa")), Checking)
    with shifted(timedelta(minutes=1)):
        assert sweep_once(stage.parts) == 1
    stage.check_paid_once()


@pytest.mark.promise("G2")
@pytest.mark.parametrize("error", [RuntimeError("a bug"), OperationalError("select", {}, Exception("gone"))])
def test_one_kind_of_work_in_trouble_does_not_keep_payments_from_being_settled(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    stage.press(stage.form("authenticationRequired"))

    def fail(_parts: Parts) -> int:
        raise error

    monkeypatch.setattr(worker, "follow_hints", fail)
    with shifted(timedelta(minutes=16)):
        Worker(stage.parts)._round()
    assert not [one for one in stage.attempts() if one.state in LIVE]


@pytest.mark.promise("E3", "G2")
def test_a_mail_server_that_hangs_holds_up_no_payment(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.press(stage.form("authenticationRequired"))
    answers = threading.Event()
    asked = threading.Event()

    def hang(_parts: Parts, **_: object) -> int:
        asked.set()
        return int(answers.wait(30))

    monkeypatch.setattr(worker, "deliver_waiting_mail", hang)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # only a main thread may set handlers
    running = Worker(stage.parts)
    with shifted(timedelta(minutes=16)):
        thread = threading.Thread(target=running.run)
        thread.start()
        until = time.monotonic() + 20
        while [one for one in stage.attempts() if one.state in LIVE] and time.monotonic() < until:
            time.sleep(0.05)
        assert asked.is_set() and not answers.is_set()
        assert not [one for one in stage.attempts() if one.state in LIVE]
        running.stop()
        answers.set()
        thread.join(timeout=10)
    assert not thread.is_alive()


def test_the_worker_ends_when_told_to(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # only a main thread may set handlers
    running = Worker(stage.parts)
    thread = threading.Thread(target=running.run)
    thread.start()
    time.sleep(0.05)
    running.stop()
    thread.join(timeout=5)
    assert not thread.is_alive()


@pytest.mark.promise("G1", "G2")
def test_several_workers_at_once_post_once(stage: Stage) -> None:
    assert isinstance(stage.press(stage.form("authenticationRequired")), NeedsAction)
    intent = str(stage.attempt().intent_id)
    stage.sandbox.authenticate(intent)
    with stage.database.transaction() as session:
        for number in range(6):
            event = GatewayEvent(f"evt_{number}", "payment_intent.succeeded", intent, intent, False, now())
            file_event(session, stage.gateway_id, "test", event)
    with shifted(timedelta(minutes=16)):
        rounds = [threading.Thread(target=Worker(stage.parts)._round) for _ in range(4)]
        for one in rounds:
            one.start()
        for one in rounds:
            one.join()
    stage.check_paid_once()
