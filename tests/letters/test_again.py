"""Each kind of mail goes again when staff ask for it: written anew from the books, and saying the same."""

from uuid import uuid4

import pytest
from sqlalchemy import select, update

from portal.clock import now, shifted
from portal.letters.again import NotToBeSent, send_again
from portal.letters.choices import choose_reminders
from portal.outbox import Letter, OutboxMessage
from portal.payments.settle import look_up
from tests.letters.test_events import fails_later, is_processing, letters
from tests.letters.test_reminders import at, due_in, remind
from tests.payments.stage import Stage
from tests.refunds.desk import Desk

AS_OF_NOW = {"link", "until", "balance"}
"""What may be new in a mail that goes again: a link replaces the one before, and what is left is left now."""


@pytest.fixture
def desk(stage: Stage) -> Desk:
    return Desk(stage)


def sends_again(stage: Stage, kind: str) -> list[Letter]:
    """Dana presses *Send again* beside each mail of this kind, twice, long after it was sent and forgotten. Gives
    what is queued then: it says what the first one said, to the same address.
    """
    first = letters(stage, kind)
    assert first, f"no {kind} was queued"
    with stage.database.transaction() as session:
        session.execute(update(OutboxMessage).values(sent_at=now(), words_sealed=None))
    for letter in first:
        press = uuid4()
        sent = [send_again(stage.parts, stage.invoice_id, letter.id, press, by=stage.cast.clerk.id) for _ in range(2)]
        assert [(one.email, one.is_new) for one in sent] == [(letter.recipient, True), (letter.recipient, False)]
    again = letters(stage, kind)
    assert len(again) == len(first)
    for one, other in zip(first, again, strict=True):
        changed = {key for key in one.words if one.words[key] != other.words.get(key)}
        assert changed <= AS_OF_NOW, f"{kind} says something else about {changed}"
    with stage.database.transaction() as session:
        asked_by = session.scalars(select(OutboxMessage.queued_by).where(OutboxMessage.sent_at.is_(None))).all()
    assert set(asked_by) == {stage.cast.clerk.id}
    return again


@pytest.mark.promise("E4")
def test_a_refund_to_a_card_and_one_over_the_counter(stage: Stage, desk: Desk) -> None:
    counter = desk.received(26_00)
    desk.refunds(desk.card_pays())
    desk.gives_back(counter)
    cash, card = sorted(sends_again(stage, "refund"), key=lambda letter: str(letter.words["card"]))
    assert (cash.words["how"], card.words["how"], card.words["card"]) == ("cash", "", "Visa 4242")
    for letter in (cash, card):
        press = uuid4()
        assert send_again(stage.parts, stage.invoice_id, letter.id, press, by=None).is_new, "and once more"


@pytest.mark.promise("E4")
def test_a_void_to_the_clinics_own_addresses(stage: Stage, desk: Desk) -> None:
    stage.set("email_void_addresses", "books@example.com, owner@example.com")
    desk.voids()
    assert {letter.recipient for letter in sends_again(stage, "void")} == {"books@example.com", "owner@example.com"}


@pytest.mark.promise("E4")
def test_a_payment_that_failed_unseen_while_it_is_still_to_be_paid(stage: Stage, desk: Desk) -> None:
    outcome = is_processing(stage)
    fails_later(stage)
    look_up(stage.parts, outcome.attempt_id)
    (letter,) = sends_again(stage, "payment_failed")
    desk.received()
    with pytest.raises(NotToBeSent):
        send_again(stage.parts, stage.invoice_id, letter.id, uuid4(), by=None)


@pytest.mark.promise("E4")
def test_a_reminder_while_it_is_owed_and_wanted(stage: Stage) -> None:
    stage.set("email_reminders", "yes")
    due_in(stage, -4)
    assert remind(stage) == 1
    with shifted(at(12)):
        (letter,) = sends_again(stage, "reminder")
    assert [remind(stage, days=days) for days in range(1, 40)].count(1) == 2, "it is none of the three that are due"
    choose_reminders(stage.database, stage.cast.maya.id, False, by=None)
    with pytest.raises(NotToBeSent):
        send_again(stage.parts, stage.invoice_id, letter.id, uuid4(), by=None)
