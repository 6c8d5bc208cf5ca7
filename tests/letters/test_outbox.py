"""The outbox: leases, what is written down about each try, and how the office reads it."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from portal.clock import shifted
from portal.mail import deliver_waiting_mail
from portal.outbox import (
    LEASE,
    PATIENCE,
    SENDING_S,
    WHY,
    MailState,
    Mishap,
    OutboxMessage,
    Trouble,
    claim_letter,
    may_have_gone_twice,
    put_off_due_mail,
    seal_mail_again,
    state_of,
    wait_after,
    waiting_mail,
    why_in_words,
)
from portal.post import STEP_S
from portal.vault import Vault, new_key, parse_key
from tests.letters.conftest import KEY, Desk

LATER = Mishap(Trouble.LATER, "451 4.7.1")
GONE = Mishap(Trouble.NO_SUCH_ADDRESS, "550 5.1.1", for_good=True)
pytestmark = pytest.mark.promise("E3")


def test_a_leased_mail_is_nobody_elses(desk: Desk) -> None:
    desk.queue(2)
    assert desk.claim().id != desk.claim().id
    with desk.parts.database.transaction() as session:
        assert claim_letter(session, desk.parts.vault) is None


def test_a_lease_outlasts_the_slowest_try() -> None:
    assert STEP_S < SENDING_S and timedelta(seconds=SENDING_S) + timedelta(minutes=2) <= LEASE


def test_a_worker_without_the_lease_does_not_undo_what_another_wrote_down(desk: Desk) -> None:
    desk.queue()
    slow = desk.claim()
    with shifted(LEASE + timedelta(seconds=1)):
        other = desk.claim()
        desk.failed(slow, GONE)
        assert desk.row().failed_at is None and desk.row().last_error is None
        desk.sent(other)
        desk.failed(slow, GONE)
        desk.failed(other, GONE)
    assert state_of(desk.row()) is MailState.SENT
    assert desk.row().unanswered == 1 and may_have_gone_twice(desk.row())


def test_what_the_mail_server_took_is_sent_whoever_learned_of_it(desk: Desk) -> None:
    desk.queue()
    slow = desk.claim()
    with shifted(LEASE + timedelta(seconds=1)):
        desk.failed(desk.claim(), GONE)
        assert state_of(desk.row()) is MailState.FAILED
        desk.sent(slow)
    assert state_of(desk.row()) is MailState.SENT
    assert desk.row().words_sealed is None and why_in_words(desk.row()) == ""


def test_only_a_try_without_an_end_is_counted_as_unanswered(desk: Desk) -> None:
    desk.queue()
    for minutes, unanswered in ((0, 0), (10, 0), (20, 0)):
        with shifted(timedelta(minutes=minutes)):
            desk.failed(desk.claim(), LATER)
            assert desk.row().unanswered == unanswered
    with shifted(timedelta(minutes=60)):
        desk.claim()
    with shifted(timedelta(minutes=70)):
        desk.claim()
        assert desk.row().unanswered == 1
    with shifted(timedelta(minutes=80)), desk.parts.database.transaction() as session:
        assert put_off_due_mail(session, LATER) == 1
    assert desk.row().unanswered == 2 and desk.row().tries == 6


def test_a_mail_keeps_the_message_id_of_its_first_try(desk: Desk) -> None:
    desk.queue()
    first = desk.claim()
    with shifted(LEASE + timedelta(seconds=1)):
        again = desk.claim()
    assert first.message_id == again.message_id == desk.row().message_id
    assert first.message_id.endswith("@pay.example.com>")


def test_a_mail_rests_longer_each_time_for_three_days_and_then_a_person_sees_it(desk: Desk) -> None:
    desk.queue()
    passed, waits = timedelta(), list[timedelta]()
    while desk.row().failed_at is None:
        with shifted(passed):
            desk.failed(desk.claim(), LATER)
        waits.append(wait_after(len(waits) + 1))
        passed += waits[-1]
    assert waits[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert max(waits) == timedelta(hours=4)
    assert PATIENCE < passed - waits[-1] < PATIENCE + timedelta(hours=5)
    assert desk.row().words_sealed is None


def test_mails_put_off_together_rest_as_after_a_try_of_each(desk: Desk) -> None:
    desk.queue(3)
    desk.failed(desk.claim(), LATER)
    with shifted(timedelta(minutes=2)), desk.parts.database.transaction() as session:
        assert put_off_due_mail(session, Mishap(Trouble.UNREACHABLE, "TimeoutError")) == 3
        assert put_off_due_mail(session, LATER) == 0
    assert sorted(row.tries for row in desk.rows()) == [1, 1, 2]
    with shifted(PATIENCE + timedelta(minutes=1)), desk.parts.database.transaction() as session:
        put_off_due_mail(session, LATER)
    assert [state_of(row) for row in desk.rows()] == [MailState.FAILED] * 3
    assert [row.words_sealed for row in desk.rows()] == [None] * 3


def test_the_office_reads_how_a_mail_stands_and_why(desk: Desk) -> None:
    desk.queue()
    assert (state_of(desk.row()), why_in_words(desk.row())) == (MailState.QUEUED, "")
    letter = desk.claim()
    assert state_of(desk.row()) is MailState.QUEUED
    desk.failed(letter, LATER)
    assert state_of(desk.row()) is MailState.TRYING_AGAIN
    assert str(why_in_words(desk.row())) == "The mail server asked us to try again later."
    with shifted(timedelta(minutes=5)):
        again = desk.claim()
        assert state_of(desk.row()) is MailState.TRYING_AGAIN
        desk.failed(again, GONE)
    assert state_of(desk.row()) is MailState.FAILED
    assert str(why_in_words(desk.row())) == "The mail server said that this address does not exist."
    assert not may_have_gone_twice(desk.row())
    with desk.parts.database.transaction() as session:
        session.execute(update(OutboxMessage).values(last_error="SMTPServerDisconnected"))
    assert str(why_in_words(desk.row())) == "The mail server did not take this email."
    assert set(WHY) == set(Trouble)


def test_whoever_runs_the_portal_sees_how_many_wait_and_since_when(desk: Desk) -> None:
    with desk.parts.database.read() as connection:
        assert waiting_mail(connection).count == 0 and waiting_mail(connection).oldest is None
    desk.queue(3)
    desk.failed(desk.claim(), GONE)
    with desk.parts.database.read() as connection:
        found = waiting_mail(connection)
    assert (found.count, found.failed_lately) == (2, 1)
    assert found.oldest == desk.rows()[1].queued_at


def test_a_mail_that_can_not_be_opened_lets_those_behind_it_pass(desk: Desk, tmp_path: object) -> None:
    desk.queue(3)
    with desk.parts.database.transaction() as session:
        session.execute(
            update(OutboxMessage).where(OutboxMessage.event_key == "test:0").values(words_sealed="gone.AAAA")
        )
    assert deliver_waiting_mail(desk.at(f"file:{tmp_path}")) == 2
    with desk.parts.database.read() as connection:
        stuck = connection.execute(select(OutboxMessage).where(OutboxMessage.sent_at.is_(None))).one()
    assert (stuck.last_error, stuck.tries, stuck.failed_at) == ("not opened", 1, None)


def test_a_mail_whose_key_is_gone_does_not_keep_the_others_from_being_sealed_anew(desk: Desk) -> None:
    desk.queue(2)
    ring = Vault([parse_key(new_key()), parse_key(KEY)])
    with desk.parts.database.transaction() as session:
        session.execute(
            update(OutboxMessage).where(OutboxMessage.event_key == "test:0").values(words_sealed="gone.AAAA")
        )
        assert seal_mail_again(session, ring) == 1
