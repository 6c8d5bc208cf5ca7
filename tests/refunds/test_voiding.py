"""Voids (O13): nobody pays meanwhile, no money stays behind, and what Stripe holds closes by itself."""

from datetime import timedelta
from functools import partial

import pytest

from portal.clock import shifted
from portal.invoices.books import AlreadyVoid, ReasonMissing
from portal.payments.outcomes import NeedsAction, Paid
from portal.payments.states import State
from portal.refunds import words
from tests.payments.stage import Stage
from tests.refunds.desk import ALL, Desk
from tests.support.at_once import at_once, names

pytestmark = pytest.mark.promise("O13")


def test_an_unpaid_invoice_is_void_at_once(stage: Stage, desk: Desk) -> None:
    invoice = desk.voids()
    assert (invoice.balance_cents, invoice.voided_by, invoice.void_reason) == (
        0,
        stage.cast.clerk.id,
        "Wrong patient.",
    )
    with pytest.raises(AlreadyVoid):
        desk.voids()


def test_a_void_says_why(desk: Desk) -> None:
    with pytest.raises(ReasonMissing):
        desk.voids(reason=" ")


def test_two_voids_at_once_are_one(desk: Desk) -> None:
    cash = desk.received(50_00)
    answers = at_once([lambda: desk.voids({cash.id: "cash"})] * 5)
    assert names(answers) == {"Invoice": 1, "AlreadyVoid": 4}
    assert desk.natures() == [("payment", 50_00), ("refund", -50_00)]


def test_what_came_over_the_counter_goes_back_as_somebody_says(stage: Stage, desk: Desk) -> None:
    cash, insurance = desk.received(50_00), desk.received(30_00, "insurance")
    for missing in ({}, {cash.id: "cash"}, {cash.id: "cash", insurance.id: "gold"}):
        with pytest.raises(words.HowGivenBack):
            desk.voids(missing)
    assert desk.net == 80_00
    desk.voids({cash.id: "cheque", insurance.id: "insurance"})
    assert [(p.nature, p.kind, p.amount_cents, p.reverses_id) for p in stage.payments()[2:]] == [
        ("refund", "cheque", -50_00, cash.id),
        ("refund", "insurance", -30_00, insurance.id),
    ]
    assert (desk.net, desk.balance, desk.open_cases()) == (0, 0, {})


def test_what_was_given_back_before_is_not_given_back_again(desk: Desk) -> None:
    cash = desk.received(50_00)
    desk.gives_back(cash, 20_00, still_owed=True)
    desk.voids({cash.id: "cash"})
    assert desk.natures() == [("payment", 50_00), ("refund", -20_00), ("refund", -30_00)]


@pytest.mark.parametrize("parts", [[ALL], [26_00, 100_00]])
def test_what_stripe_took_waits_for_its_refund_and_closes_by_itself(
    stage: Stage, desk: Desk, parts: list[int]
) -> None:
    paid = desk.card_pays()
    calls = stage.calls.count("refund")
    desk.voids()
    assert stage.calls.count("refund") == calls
    assert (desk.net, desk.open_cases()) == (ALL, {"refund_pending": ALL})
    left = ALL
    for part in parts:
        desk.stripe_refunds(paid, part)
        desk.sweeps()
        left -= part
        assert (desk.net, desk.open_cases()) == (left, {"refund_pending": left} if left else {})
    assert (desk.balance, desk.adjustments()) == (0, [])


def test_it_reopens_when_the_refund_fails(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays("refundFail")
    desk.voids()
    desk.refunds(paid)
    assert desk.open_cases() == {}
    stage.sandbox.advance(3600)
    desk.sweeps()
    assert (desk.net, desk.open_cases()) == (ALL, {"refund_pending": ALL})
    desk.stripe_refunds(paid)
    desk.sweeps()
    assert (desk.net, desk.open_cases()) == (0, {})


def test_a_part_paid_invoice_of_every_kind(desk: Desk) -> None:
    cash = desk.received(26_00)
    paid = desk.card_pays()
    desk.voids({cash.id: "cash"})
    assert (desk.net, desk.open_cases()) == (100_00, {"refund_pending": 100_00})
    desk.refunds(paid)
    assert (desk.net, desk.open_cases()) == (0, {})


def test_what_was_paid_too_much_goes_back_with_the_rest(desk: Desk) -> None:
    desk.card_pays()
    cash = desk.received(50_00)
    assert desk.open_cases() == {"overpaid": 50_00}
    desk.voids({cash.id: "cash"})
    assert desk.open_cases() == {"refund_pending": ALL}


# --- while somebody pays --------------------------------------------------------------------------------------------


def test_a_payment_that_waits_for_its_bank_is_cancelled_first(stage: Stage, desk: Desk) -> None:
    assert isinstance(stage.press(stage.form("authenticationRequired")), NeedsAction)
    desk.voids()
    assert stage.attempt().state == State.CANCELED
    assert stage.sandbox.objects("payment_intent")[0]["status"] == "canceled"
    stage.check_nothing_charged()


def test_a_payment_that_has_just_succeeded_keeps_the_invoice(stage: Stage, desk: Desk) -> None:
    outcome = stage.press(stage.form("authenticationRequired"))
    assert isinstance(outcome, NeedsAction)
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    with pytest.raises(words.JustPaid) as refused:
        desk.voids()
    assert "$126.00 went through" in refused.value.text
    assert stage.invoice().voided_at is None
    stage.check_paid_once()


def test_a_payment_whose_outcome_is_unknown_is_waited_for(stage: Stage, desk: Desk) -> None:
    assert isinstance(stage.press(stage.form("authenticationRequired")), NeedsAction)
    stage.sandbox.fault("payment_intents.cancel", "lost_before")
    with pytest.raises(words.StillChecking):
        desk.voids()
    assert stage.invoice().voided_at is None
    desk.voids()


@pytest.mark.parametrize("moment", ["look_at_token", "create_intent", "confirm"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_void_in_the_middle_of_a_payment(stage: Stage, desk: Desk, moment: str, when: str) -> None:
    said: list[object] = []

    def void_meanwhile() -> None:
        said.extend(at_once([desk.voids]))

    stage.during(moment, void_meanwhile, when=when)
    outcome = stage.try_to_press(stage.form("visa"))
    stage.sweep_until_quiet()
    is_void = stage.invoice().voided_at is not None
    if is_void:
        assert not isinstance(outcome, Paid)
        stage.check_nothing_charged()
    else:
        assert isinstance(said[0], (words.JustPaid, words.StillChecking))


def test_voids_and_presses_at_once(stage: Stage, desk: Desk) -> None:
    forms = [stage.form("visa") for _ in range(3)]
    answers = at_once([desk.voids, *[partial(stage.press, form) for form in forms], desk.voids])
    assert answers
    with shifted(timedelta(minutes=20)):
        stage.sweep()
    voided = stage.invoice().voided_at is not None
    assert len(stage.paid_charges()) == (0 if voided else 1) or desk.open_cases() == {"refund_pending": ALL}
