"""What goes wrong at the desk: lost answers, a process that dies, several desks and a patient at once."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import update

from portal.clock import shifted
from portal.payments import words
from portal.payments.outcomes import Checking, NeedsAction, Paid
from portal.payments.settle import settle
from portal.payments.states import LIVE
from portal.payments.steps import Hold
from portal.payments.tables import PaymentAttempt
from portal.sandbox.faults import Kind
from tests.faults.test_lost_answers import FAULTS
from tests.payments.desk import Desk
from tests.payments.stage import CrashNow, Stage
from tests.support.at_once import at_once, names

MANY = 20
CALLS = (
    "confirmation_tokens.retrieve",
    "customers.create",
    "payment_intents.create",
    "payment_intents.confirm",
    "payment_intents.retrieve",
)


@pytest.fixture
def desk(stage: Stage) -> Desk:
    return Desk(stage)


def left(stage: Stage) -> int:
    return stage.invoice().balance_cents


# --- lost answers and crashes ---------------------------------------------------------------------------------------


@pytest.mark.promise("G1", "O8")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_a_lost_answer_at_the_desk_never_charges_a_part_twice(
    desk: Desk, stage: Stage, call: str, fault: Kind
) -> None:
    stage.sandbox.fault(call, fault)
    first = desk.try_to_charge(desk.form(50_00, saves=True))
    assert isinstance(first, (Paid, Checking, words.GatewayDown)), first
    stage.sweep_until_quiet()
    assert left(stage) == 126_00 - 50_00 * len(stage.paid_charges())
    stage.check_books()
    if isinstance(first, words.GatewayDown):
        assert left(stage) == 126_00
    rest = left(stage)
    assert isinstance(desk.charge(desk.form(rest)), Paid)
    assert left(stage) == 0
    stage.check_books()


@pytest.mark.promise("G1", "G2", "O8")
def test_a_lost_confirmation_is_checked_and_settled_by_the_sweep(desk: Desk, stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    form = desk.form(50_00)
    assert desk.charge(form) == Checking(form.attempt_id)
    assert isinstance(desk.charge(form), Checking)
    assert isinstance(desk.charge(desk.form(126_00), by=desk.ines), Checking)
    stage.sweep_until_quiet()
    assert isinstance(settle(stage.parts, form.attempt_id), Paid)
    assert [one.amount_cents for one in stage.payments()] == [50_00]
    assert stage.calls.count("confirm") == 1
    stage.check_books()


@pytest.mark.promise("G1", "O8")
@pytest.mark.parametrize(
    ("when", "call"),
    [(when, call) for call in ("look_at_token", "create_intent", "confirm") for when in ("before", "after")],
)
def test_a_crash_at_the_desk_is_settled_by_the_sweep(
    desk: Desk, stage: Stage, when: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hold, "let_go", lambda *_: None)

    def die() -> None:
        raise CrashNow

    stage.during(call, die, when=when)
    with pytest.raises(CrashNow):
        desk.charge(desk.form(50_00))
    stage.sweep_until_quiet()
    assert left(stage) == (76_00 if (when, call) == ("after", "confirm") else 126_00)
    with shifted(timedelta(hours=1)):
        assert isinstance(desk.charge(desk.form(left(stage))), Paid)
    assert left(stage) == 0
    stage.check_books()


# --- several at once ------------------------------------------------------------------------------------------------


@pytest.mark.promise("G1", "O8")
def test_many_identical_presses_charge_a_part_once(desk: Desk, stage: Stage) -> None:
    form = desk.form(50_00)
    answers = at_once([lambda: desk.charge(form)] * MANY)
    assert {type(answer) for answer in answers} <= {Paid, Checking}
    assert left(stage) == 76_00
    stage.check_books()


@pytest.mark.promise("G1", "O8")
def test_many_identical_presses_record_cash_once(desk: Desk, stage: Stage) -> None:
    payment = desk.received(50_00)
    answers = at_once([lambda: desk.record(payment)] * MANY)
    assert len(set(answers)) == 1
    assert [one.amount_cents for one in stage.payments()] == [50_00]
    stage.check_books()


@pytest.mark.promise("G1", "O8")
def test_two_desks_that_charge_at_once_charge_once(desk: Desk, stage: Stage) -> None:
    forms = [(desk.form(50_00), by) for by in (desk.dana, desk.ines) * 3]
    answers = at_once([partial(desk.charge, form, by=by) for form, by in forms])
    assert names(answers)["Paid"] == 1
    assert set(names(answers)) <= {"Paid", "Checking", "AmountChanged", "SomebodyIsPaying"}
    assert left(stage) == 76_00
    stage.check_books()


@pytest.mark.promise("G1", "O8")
def test_two_desks_that_record_cash_at_once_record_it_once(desk: Desk, stage: Stage) -> None:
    payments = [(desk.received(50_00), by) for by in (desk.dana, desk.ines) * 5]
    answers = at_once([partial(desk.record, payment, by) for payment, by in payments])
    assert names(answers) == {"Paid": 1, "AmountChanged": len(payments) - 1}
    assert left(stage) == 76_00
    stage.check_books()


@pytest.mark.promise("G1", "O8")
@pytest.mark.parametrize("take_over", [False, True])
def test_the_desk_and_a_patient_at_once_charge_once(desk: Desk, stage: Stage, take_over: bool) -> None:
    doings: list[Callable[[], object]] = []
    for _ in range(3):
        doings.append(partial(stage.press, stage.form("visa")))
        doings.append(partial(desk.charge, desk.form(126_00, take_over=take_over)))
    answers = at_once(doings)
    assert names(answers)["Paid"] >= 1
    stage.sweep_until_quiet()
    stage.check_paid_once()


@pytest.mark.promise("G1", "O8")
def test_cash_and_a_patients_card_at_once_never_pay_twice_unseen(desk: Desk, stage: Stage) -> None:
    """Whichever is second finds the invoice changed, or a case is open for what was paid too much."""
    for _ in range(3):
        stage.invoice_id = stage.new_invoice()
        at_once(
            [
                partial(stage.press, stage.form("visa")),
                partial(desk.record, desk.received(126_00, take_over=True)),
                partial(desk.record, desk.received(126_00)),
            ]
        )
        stage.sweep_until_quiet()
        assert left(stage) in (0, -126_00)
    stage.check_books()


@pytest.mark.promise("G1", "O8")
def test_a_desk_takes_over_at_the_moment_when_the_bank_answers(desk: Desk, stage: Stage) -> None:
    for _ in range(3):
        stage.invoice_id = stage.new_invoice()
        outcome = stage.press(stage.form("authenticationRequired"))
        assert isinstance(outcome, NeedsAction)
        intent = next(str(one.intent_id) for one in stage.attempts() if one.id == outcome.attempt_id)

        def answer_the_bank(intent: str = intent) -> object:
            try:
                return stage.sandbox.authenticate(intent)
            except ValueError:
                return "cancelled before"

        at_once(
            [
                answer_the_bank,
                partial(settle, stage.parts, outcome.attempt_id),
                partial(desk.charge, desk.form(126_00, take_over=True)),
                partial(desk.charge, desk.form(126_00, take_over=True), by=desk.ines),
            ]
        )
        settle(stage.parts, outcome.attempt_id)
        assert left(stage) == 0
    stage.check_books()
    assert stage.cases() == []


@pytest.mark.promise("G1", "O8")
def test_a_desk_whose_hold_has_lapsed_can_do_no_harm(desk: Desk, stage: Stage) -> None:
    """A request stalls for a minute; meanwhile another desk takes half in cash."""

    def somebody_takes_cash() -> None:
        with stage.database.transaction() as session:
            session.execute(update(PaymentAttempt).values(held_until=None))
        desk.record(desk.received(63_00, take_over=True), by=desk.ines)

    stage.during("create_intent", somebody_takes_cash, when="after")
    refused = desk.try_to_charge(desk.form(126_00))
    assert isinstance(refused, (words.AmountChanged, words.FormUsedUp, words.GatewayDown)), refused
    stage.sweep_until_quiet()
    assert left(stage) == 63_00
    assert stage.paid_charges() == []
    assert not [one for one in stage.attempts() if one.state in LIVE]
    stage.check_books()
