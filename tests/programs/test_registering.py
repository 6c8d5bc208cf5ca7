"""A place is held, paid, and confirmed; nobody is charged without one (P6, P7)."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.clock import shifted
from portal.payments.outcomes import Paid
from portal.programs.cancelling import cancel
from portal.programs.ending import let_place_go
from portal.programs.refusals import NotOpenYet, PlaceGone, ProgramFull, RegisteredAlready
from portal.programs.states import Place, Why
from tests.programs.stage import ProgramStage, program_staged

pytestmark = pytest.mark.promise("P7")


def test_a_place_is_held_then_paid_then_confirmed(stage: ProgramStage) -> None:
    registration = stage.register(stage.maya)
    held = stage.invoice_of(registration.public_id)
    assert (held.number[0], held.standing, held.balance_cents) == ("~", "unconfirmed", 210_00)
    assert stage.program().taken == 1
    outcome = stage.pay_for(stage.maya, registration)
    assert isinstance(outcome, Paid)
    paid = stage.invoice_of(registration.public_id)
    assert (paid.number, paid.standing, paid.balance_cents) == (outcome.invoice_number, "paid", 0)
    assert paid.number.isdigit()
    assert stage.registration(registration.public_id).state == Place.CONFIRMED
    assert stage.mails() == [("registration", "maya@example.com"), ("receipt", "maya@example.com")]
    stage.check_books()


def test_the_last_place_goes_to_one(stage: ProgramStage) -> None:
    stage.hold(stage.maya)
    stage.hold(stage.sven)
    with pytest.raises(ProgramFull):
        stage.hold(stage.jonas)
    assert (stage.program().taken, stage.program().capacity) == (2, 2)
    stage.check_books()


def test_whoever_has_a_place_gets_no_second_one(stage: ProgramStage) -> None:
    first = stage.hold(stage.maya)
    assert stage.hold(stage.maya) == first
    stage.pay_for(stage.maya, stage.register(stage.maya, public_id=first))
    with pytest.raises(RegisteredAlready):
        stage.hold(stage.maya)
    assert stage.program().taken == 1


def test_who_comes_too_early_reads_when_registration_opens_by_the_clock_there(database_url: str) -> None:
    opens = datetime(2083, 1, 5, 1, 30, tzinfo=UTC)
    with program_staged(database_url, opens_at=opens) as stage, pytest.raises(NotOpenYet) as refused:
        stage.hold(stage.maya)
    assert "It opens on Monday 4 January 2083 at 5:30 pm." in refused.value.text


def test_a_place_that_nobody_paid_lapses_and_its_invoice_takes_no_money(stage: ProgramStage) -> None:
    registration = stage.register(stage.maya)
    form = stage.form("visa", invoice_id=registration.invoice_id)
    with shifted(timedelta(minutes=16)):
        assert isinstance(stage.try_to_pay_for(stage.maya, registration), PlaceGone)
        stage.sweep()
        assert stage.registration(registration.public_id).state == Place.LAPSED
        with pytest.raises(PlaceGone):
            stage.press(form, stage.maya, registration.invoice_id)
    assert stage.program().taken == 0
    stage.check_nothing_charged()


def test_a_press_in_time_keeps_the_place_until_its_payment_has_ended(stage: ProgramStage) -> None:
    registration = stage.register(stage.maya)
    with shifted(timedelta(minutes=14)):
        stage.pay_for(stage.maya, registration, "threeDSecure2Required")
    stage.after(minutes=20)
    assert stage.registration(registration.public_id).state == Place.HELD
    stage.after(minutes=45)
    assert stage.registration(registration.public_id).state == Place.LAPSED
    assert [one.state for one in stage.attempts()] == ["canceled"]
    stage.check_nothing_charged()


def test_a_place_let_go_is_offered_to_whoever_waited_longest(stage: ProgramStage) -> None:
    stage.confirmed(stage.maya)
    held = stage.hold(stage.sven)
    anna, ben = stage.newcomer("Anna"), stage.newcomer("Ben")
    first, second = stage.wait(anna), stage.wait(ben)
    let_place_go(stage.parts, held, stage.sven.user_id)
    assert [stage.registration(each).state for each in (held, first, second)] == ["released", "offered", "waiting"]
    with pytest.raises(ProgramFull):
        stage.hold(stage.jonas)
    stage.after(days=4)
    assert [stage.registration(each).state for each in (first, second)] == ["lapsed", "offered"]
    registration = stage.register(ben, public_id=second)
    stage.pay_for(ben, registration)
    assert stage.registration(second).state == Place.CONFIRMED
    kinds = [kind for kind, _to in stage.mails()]
    assert kinds == [
        "registration", "receipt", "waitlisted", "waitlisted", "place_offered", "place_offered", "place_lapsed",
        "registration", "receipt",
    ]  # fmt: skip
    stage.check_books()


def test_cancelling_in_time_gives_all_of_it_back_and_the_place_to_the_next(stage: ProgramStage) -> None:
    mayas = stage.confirmed(stage.maya)
    stage.confirmed(stage.sven)
    anna = stage.newcomer("Anna")
    waiting = stage.wait(anna)
    cancel(stage.parts, mayas.public_id, stage.maya.user_id)
    cancelled = stage.registration(mayas.public_id)
    assert (cancelled.state, cancelled.why, cancelled.give_back_cents) == (Place.CANCELLED, Why.PERSON, 210_00)
    invoice = stage.invoice_of(mayas.public_id)
    assert (invoice.owed_cents, invoice.paid_cents, invoice.standing) == (0, 0, "paid")
    assert [case.closed_at is not None for case in stage.cases()] == [True]
    assert stage.registration(waiting).state == Place.OFFERED
    stage.check_books()


def test_cancelling_late_gives_the_share_of_the_rule_back(database_url: str) -> None:
    with program_staged(database_url, late_share_percent=50, refund_days=60) as stage:
        registration = stage.confirmed(stage.maya)
        cancel(stage.parts, registration.public_id, stage.maya.user_id)
        invoice = stage.invoice_of(registration.public_id)
        assert (invoice.owed_cents, invoice.paid_cents, invoice.balance_cents) == (105_00, 105_00, 0)
        assert [case.closed_at is not None for case in stage.cases()] == [True]
        stage.check_books()


def test_what_costs_nothing_is_confirmed_without_an_invoice(database_url: str) -> None:
    with program_staged(database_url, price_cents=0) as stage:
        stage.change_gateway(status="inactive")
        registration = stage.register(stage.maya)
        assert (registration.state, registration.invoice_id) == (Place.CONFIRMED, None)
        assert stage.mails() == [("registration", "maya@example.com")]
        cancel(stage.parts, registration.public_id, stage.maya.user_id)
        assert stage.program().taken == 0
        stage.check_books()


def test_money_that_comes_after_the_place_is_gone_goes_back(database_url: str) -> None:
    """The answer of the confirmation is lost, and Stripe decides only after the attempt was given up."""
    with program_staged(database_url, capacity=1) as stage:
        registration = stage.register(stage.maya)
        stage.during("confirm", lambda: _lapse_under_it(stage, registration.public_id), when="after")
        stage.pay_for(stage.maya, registration)
        late = stage.registration(registration.public_id)
        assert (late.state, late.why) == (Place.LAPSED, Why.FULL)
        stage.sweep()
        invoice = stage.invoice_of(registration.public_id)
        assert invoice.number.isdigit()
        assert (invoice.owed_cents, invoice.paid_cents) == (0, 0)
        assert ("no_place", "maya@example.com") in stage.mails()
        stage.check_books()


def _lapse_under_it(stage: ProgramStage, public_id: str) -> None:
    """As if the place had been taken back long before this payment came through, and somebody else had it."""
    from sqlalchemy import update

    from portal.programs.tables import Registration

    with stage.database.transaction() as session:
        session.execute(
            update(Registration)
            .where(Registration.public_id == public_id)
            .values(state=Place.LAPSED, held_until=None, why=Why.TIME)
        )
    stage.hold(stage.sven)


@pytest.mark.parametrize("is_free", [True, False])
def test_money_that_comes_late_gets_the_place_where_one_is_free(database_url: str, is_free: bool) -> None:
    with program_staged(database_url, capacity=2 if is_free else 1) as stage:
        registration = stage.register(stage.maya)
        stage.during("confirm", lambda: _lapse_under_it(stage, registration.public_id), when="after")
        stage.pay_for(stage.maya, registration)
        assert stage.registration(registration.public_id).state == (Place.CONFIRMED if is_free else Place.LAPSED)
        assert stage.program().taken == stage.program().capacity
        stage.sweep()
        stage.check_books()
