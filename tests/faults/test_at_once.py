"""Many at once: presses, payers, sweeps and webhooks. Exactly one charge, and nobody meets anything but a refusal."""

from collections import Counter
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from portal.clock import shifted
from portal.errors import Refusal
from portal.payments.hints import follow_hint
from portal.payments.outcomes import Checking, NeedsAction, Outcome, Paid
from portal.payments.settle import settle
from portal.payments.states import LIVE, State
from portal.payments.steps import step
from portal.payments.tables import PaymentAttempt
from portal.webhooks import Hint
from tests.makers import make_attempt, make_invoice
from tests.payments.stage import Stage
from tests.support.at_once import at_once, names

MANY = 50


@pytest.mark.promise("P3", "G1")
def test_fifty_identical_posts_are_one_charge(stage: Stage) -> None:
    form = stage.form("visa")
    answers = at_once([lambda: stage.press(form)] * MANY)
    assert {type(answer) for answer in answers} <= {Paid, Checking}
    assert stage.press(form) == next(answer for answer in answers if isinstance(answer, Paid))
    assert len(stage.attempts()) == 1
    stage.check_paid_once()


@pytest.mark.promise("P3", "G1")
def test_fifty_tabs_are_one_charge(stage: Stage) -> None:
    forms = [stage.form("visa") for _ in range(MANY)]
    answers = at_once([partial(stage.press, form) for form in forms])
    assert names(answers)["Paid"] == 1
    assert set(names(answers)) <= {"Paid", "Checking", "NothingToPay"}
    stage.check_paid_once()


@pytest.mark.promise("P3", "G1")
def test_two_payers_with_saved_and_new_cards_are_one_charge(stage: Stage) -> None:
    forms = [(stage.form("visa", saves=True), stage.maya), (stage.form("mastercard", saves=True), stage.sven)] * 4
    answers = at_once([partial(stage.press, form, who) for form, who in forms])
    assert names(answers)["Paid"] >= 1
    stage.check_paid_once()


@pytest.mark.promise("P3", "G1")
def test_payers_who_take_over_from_each_other_are_one_charge(stage: Stage) -> None:
    """An attempt waits for its bank; several others want to pay at the very moment when the bank answers."""
    for _ in range(3):
        stage.invoice_id = stage.new_invoice()
        outcome = stage.press(stage.form("authenticationRequired"))
        assert isinstance(outcome, NeedsAction)
        intent = str(stage.attempt(outcome.attempt_id).intent_id)
        forms = [stage.form("visa") for _ in range(4)]

        def answer_the_bank(intent: str = intent) -> object:
            try:
                return stage.sandbox.authenticate(intent)
            except ValueError:
                return "cancelled before"

        doings = [partial(stage.press, form, stage.sven) for form in forms]
        at_once([answer_the_bank, partial(settle, stage.parts, outcome.attempt_id), *doings])
        settle(stage.parts, outcome.attempt_id)
        assert stage.invoice().balance_cents == 0
    stage.check_books()
    assert stage.cases() == []


@pytest.mark.promise("G1", "G2")
def test_the_return_page_the_webhook_and_the_sweep_at_once_post_once(stage: Stage) -> None:
    outcome = stage.press(stage.form("authenticationRequired", saves=True))
    assert isinstance(outcome, NeedsAction)
    intent = str(stage.attempt().intent_id)
    stage.sandbox.authenticate(intent)
    hint = Hint(1, stage.gateway_id, "test", "payment_intent.succeeded", intent, intent)
    with shifted(timedelta(minutes=16)):
        at_once(
            [lambda: settle(stage.parts, outcome.attempt_id)] * 4
            + [lambda: follow_hint(stage.parts, hint)] * 4
            + [stage.sweep] * 4
        )
    stage.check_paid_once()


@pytest.mark.promise("G1")
def test_a_press_and_sweeps_at_once(stage: Stage) -> None:
    form = stage.form("visa")
    answers = at_once(
        [lambda: stage.press(form), *[stage.sweep] * 6, lambda: stage.press(stage.form("amex"), stage.sven)]
    )
    assert names(answers)["Paid"] >= 1
    stage.check_paid_once()


@pytest.mark.promise("P3")
def test_two_cards_saved_at_once_are_both_kept_and_one_is_usual(stage: Stage) -> None:
    first, second = stage.invoice_id, stage.new_invoice()
    forms = [(stage.form("visa", saves=True), first), (stage.form("amex", saves=True), second)]
    answers = at_once([partial(stage.press, form, invoice_id=on) for form, on in forms])
    assert names(answers) == {"Paid": 2}
    with stage.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT is_usual FROM saved_cards WHERE removed_at IS NULL").scalars().all()
    assert sorted(bool(usual) for usual in rows) == [False, True]
    stage.check_books()


@pytest.mark.promise("G1")
def test_a_collision_of_attempt_ids_is_a_refusal(stage: Stage) -> None:
    """The same id on two invoices at once: only somebody who makes it up can do that."""
    other = stage.new_invoice()
    form = stage.form("visa")
    answers = at_once([lambda: stage.press(form), lambda: stage.press(form, invoice_id=other)])
    assert len(stage.paid_charges()) == 1
    assert set(names(answers)) <= {"Paid", "AttemptNotFound", "FormUsedUp"}
    stage.check_books()


# --- the guards themselves ------------------------------------------------------------------------------------------


@pytest.mark.promise("G1")
def test_the_database_allows_one_live_attempt_per_invoice(stage: Stage) -> None:
    def one_more() -> object:
        try:
            with stage.database.transaction() as session:
                invoice = stage.invoice()
                make_attempt(session, invoice, stage.gateway)
        except IntegrityError:
            return "refused"
        return "made"

    answers = at_once([one_more] * 6)
    assert Counter(answers) == {"made": 1, "refused": 5}


@pytest.mark.promise("G1")
def test_a_step_is_taken_once_however_many_try(stage: Stage) -> None:
    with stage.database.transaction() as session:
        attempt = make_attempt(session, make_invoice(session, stage.cast.theo), stage.gateway)

    def take() -> bool:
        with stage.database.transaction() as session:
            return step(session, attempt.id, State.CONFIRMING)

    assert Counter(at_once([take] * 8)) == {True: 1, False: 7}


def test_a_hold_keeps_others_away_until_it_lapses(stage: Stage) -> None:
    """Two requests, one of which is in the middle of its calls to the gateway."""
    seen: list[Outcome | Refusal] = []
    stage.during("create_intent", lambda: seen.append(stage.try_to_press(stage.form("visa"), stage.sven)))
    assert isinstance(stage.press(stage.form("visa")), Paid)
    assert [type(one) for one in seen] == [Checking]
    stage.check_paid_once()


@pytest.mark.promise("P3", "G1")
@pytest.mark.parametrize("call", ["look_at_token", "create_intent", "confirm"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_request_whose_hold_has_lapsed_can_do_no_harm(stage: Stage, call: str, when: str) -> None:
    """A request stalls for a minute; meanwhile somebody else pays. When it wakes up, it finds that out."""

    def somebody_else_pays() -> None:
        with shifted(timedelta(minutes=1)):
            for attempt in stage.attempts():
                settle(stage.parts, attempt.id)
            stage.try_to_press(stage.form("mastercard", shown_cents=12_600), stage.sven)

    stage.during(call, somebody_else_pays, when=when)
    stage.try_to_press(stage.form("visa"))
    with shifted(timedelta(minutes=20)):
        stage.sweep()
    stage.check_paid_once()
    with stage.database.transaction() as session:
        assert not session.scalars(select(PaymentAttempt.id).where(PaymentAttempt.state.in_(LIVE))).all()
    assert {one["status"] for one in stage.sandbox.objects("payment_intent")} <= {"succeeded", "canceled"}
