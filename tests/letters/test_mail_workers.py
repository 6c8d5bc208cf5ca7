"""Real worker processes: many at once, killed at any moment; each mail goes once, and what may not is counted."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select

from portal.outbox import LEASE, MailState, OutboxMessage, state_of
from tests.letters.conftest import KEY, Desk
from tests.support.mail_server import MailServer, serving
from tests.support.mail_workers import mail_workers

pytestmark = pytest.mark.promise("E3")
ROOT = Path(__file__).resolve().parent.parent.parent
KILLS = 20
PAST_THE_LEASE = int(LEASE.total_seconds() // 60) + 1


def waiting(desk: Desk) -> int:
    with desk.parts.database.read() as connection:
        count = select(func.count()).where(OutboxMessage.sent_at.is_(None), OutboxMessage.failed_at.is_(None))
        return connection.scalar(count) or 0


def has_moved_on(server: MailServer, before: int, desk: Desk) -> bool:
    """Another mail came than those before, or there is none left to come."""
    return len(server.got) > before or not waiting(desk)


def until(holds: Callable[[], bool], within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_eight_workers_send_a_thousand_mails_once_each(desk: Desk) -> None:
    desk.queue(1_000)
    server = MailServer()
    with serving(server) as url, mail_workers(desk.database_url, url, KEY) as workers:
        for _ in range(8):
            workers.start()
        until(lambda: waiting(desk) == 0)
    assert server.to == {f"p{each}@example.com": 1 for each in range(1_000)}
    assert {(state_of(row), row.tries, row.unanswered) for row in desk.rows()} == {(MailState.SENT, 1, 0)}


def test_workers_killed_at_random_moments_lose_no_mail_and_what_went_twice_is_counted(desk: Desk) -> None:
    desk.queue(300)
    server = MailServer()
    server.meanwhile = partial(time.sleep, 0.004)  # or a fast machine sends it all before the last worker is killed
    chance = random.Random(20)
    with serving(server) as url, mail_workers(desk.database_url, url, KEY) as workers:
        for number in range(KILLS):
            before = len(server.got)
            pid = workers.start(number * PAST_THE_LEASE)
            until(partial(has_moved_on, server, before, desk))
            time.sleep(chance.uniform(0, 0.1))
            workers.kill(pid)
        assert waiting(desk), "it was all sent before the last one was killed"
        workers.start(KILLS * PAST_THE_LEASE)
        until(lambda: waiting(desk) == 0)
    check_that_only_counted_mails_went_twice(desk, server)
    assert 0 < sum(row.unanswered for row in desk.rows()) <= KILLS


def test_a_worker_killed_between_the_servers_yes_and_its_own_note_sends_the_mail_again(desk: Desk) -> None:
    desk.queue(3)
    server = MailServer()
    with serving(server) as url, mail_workers(desk.database_url, url, KEY) as workers:
        server.meanwhile = workers.kill_all
        workers.start()
        until(lambda: len(server.got) == 1)
        server.meanwhile = lambda: None
        workers.start(PAST_THE_LEASE)
        until(lambda: waiting(desk) == 0)
    check_that_only_counted_mails_went_twice(desk, server)
    assert sorted(server.to.values()) == [1, 1, 2]
    assert sorted(row.unanswered for row in desk.rows()) == [0, 0, 1]


def check_that_only_counted_mails_went_twice(desk: Desk, server: MailServer) -> None:
    rows = {row.recipient: row for row in desk.rows()}
    assert set(server.to) == set(rows), "a mail was lost"
    assert {state_of(row) for row in rows.values()} == {MailState.SENT}
    uncounted = {to: times for to, times in server.to.items() if times - 1 > rows[to].unanswered}
    assert uncounted == {}
    ids = Counter((mail["To"], mail["Message-ID"]) for mail in server.mails())
    assert ids == {(to, row.message_id): server.to[to] for to, row in rows.items()}


def test_portal_work_sends_what_waits_and_ends_when_told_to(desk: Desk) -> None:
    desk.queue(5)
    server = MailServer()
    with serving(server) as url:
        environ = {
            "PATH": os.environ["PATH"],
            "PORTAL_ENV": "development",
            "PORTAL_DATABASE_URL": desk.database_url,
            "PORTAL_ENCRYPTION_KEYS": KEY,
            "PORTAL_MAIL_URL": url,
        }
        worker = subprocess.Popen(
            [sys.executable, "-c", "from portal.cli import main; main()", "work"],
            cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: waiting(desk) == 0)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(20) == 0
        finally:
            worker.kill()
    assert set(server.to.values()) == {1} and len(server.to) == 5
