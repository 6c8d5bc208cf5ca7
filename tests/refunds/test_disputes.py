"""Disputes (F13): what a bank takes back and returns is booked; nothing is refunded meanwhile."""

from typing import Any, Literal

import pytest

from portal.payments import words as pay_words
from portal.payments.hints import follow_hint
from portal.payments.tables import Payment
from portal.refunds import words
from portal.refunds.following import close_dispute
from portal.webhooks import Hint
from tests.payments.stage import Stage
from tests.refunds.desk import ALL, Desk

pytestmark = pytest.mark.promise("G4")


def disputed(stage: Stage, desk: Desk, **how: Any) -> tuple[Payment, str]:
    paid = desk.card_pays()
    dispute = stage.sandbox.dispute(str(paid.charge_id), **how)
    intent = str(stage.attempt().intent_id)
    follow_hint(stage.parts, Hint(1, stage.gateway_id, "test", "charge.dispute.created", dispute["id"], intent))
    return paid, str(dispute["id"])


def stage_of_case(stage: Stage) -> tuple[str, bool]:
    (case,) = [case for case in stage.cases() if case.kind == "dispute"]
    return case.stage, case.closed_at is None


def test_a_dispute_takes_the_money_back_until_it_is_won(stage: Stage, desk: Desk) -> None:
    paid, dispute = disputed(stage, desk)
    assert desk.natures() == [("payment", ALL), ("dispute", -ALL)]
    assert (desk.balance, stage_of_case(stage)) == (ALL, ("open", True))
    stage.sandbox.close_dispute(dispute, "won")
    desk.sweeps()
    assert desk.natures()[-1] == ("reinstatement", ALL)
    assert (desk.balance, stage_of_case(stage)) == (0, ("won", False))
    desk.looks(paid)
    assert len(stage.payments()) == 3


def test_a_lost_dispute_waits_for_a_person(stage: Stage, desk: Desk) -> None:
    paid, dispute = disputed(stage, desk)
    stage.sandbox.close_dispute(dispute, "lost")
    desk.sweeps()
    assert (desk.balance, stage_of_case(stage)) == (ALL, ("lost", True))
    desk.adjusts(-ALL, "Given up.")
    with stage.database.transaction() as session:
        close_dispute(session, stage.invoice_id, stage.cases()[0].id, None)
    desk.looks(paid)
    assert (desk.balance, stage_of_case(stage)) == (0, ("lost", False))


def test_nothing_is_refunded_reversed_voided_or_paid_meanwhile(stage: Stage, desk: Desk) -> None:
    paid, dispute = disputed(stage, desk)
    for doing in (desk.refunds, desk.reverses):
        with pytest.raises(words.BeingDisputed):
            doing(paid)
    with pytest.raises(words.BeingDisputed):
        desk.voids()
    with pytest.raises(pay_words.PaymentDisputed):
        stage.press(stage.form("visa"))
    assert len(stage.paid_charges()) == 1
    stage.sandbox.close_dispute(dispute, "lost")
    desk.looks(paid)
    stage.press(stage.form("visa"))
    assert desk.balance == 0


def test_an_inquiry_takes_nothing_unless_it_grows(stage: Stage, desk: Desk) -> None:
    paid, dispute = disputed(stage, desk, inquiry=True)
    assert (desk.balance, stage_of_case(stage)) == (0, ("inquiry", True))
    stage.sandbox.escalate_dispute(dispute)
    desk.looks(paid)
    assert (desk.balance, stage_of_case(stage)) == (ALL, ("open", True))


def test_a_dispute_of_a_part(stage: Stage, desk: Desk) -> None:
    disputed(stage, desk, amount=26_00)
    assert (desk.balance, desk.net) == (26_00, 100_00)


def test_stripe_says_that_it_is_disputed_before_we_know(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    stage.sandbox.dispute(str(paid.charge_id))
    with pytest.raises(words.RefundNotPossible) as refused:
        desk.refunds(paid)
    assert "bank is disputing this payment" in refused.value.text
    assert stage_of_case(stage) == ("open", True)


def test_a_disputed_payment_of_a_void_invoice(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    desk.voids()
    dispute = stage.sandbox.dispute(str(paid.charge_id))
    desk.looks(paid)
    assert (desk.net, "refund_pending" in desk.open_cases()) == (0, False)
    stage.sandbox.close_dispute(dispute["id"], "won")
    desk.looks(paid)
    assert (desk.net, desk.open_cases()) == (ALL, {"refund_pending": ALL})


def test_an_older_look_never_takes_back_what_a_newer_one_booked(stage: Stage, desk: Desk) -> None:
    """It was fetched while the dispute was open; before it is booked, another look finds that it is won."""
    paid, dispute = disputed(stage, desk)

    def meanwhile() -> None:
        stage.sandbox.close_dispute(dispute, "won")
        desk.looks(paid)

    stage.during("look_at_charge", meanwhile, when="after")
    desk.looks(paid)
    assert desk.natures() == [("payment", ALL), ("dispute", -ALL), ("reinstatement", ALL)]
    assert (desk.balance, stage_of_case(stage)) == (0, ("won", False))


@pytest.mark.parametrize("outcomes", [("won", "lost"), ("lost", "won"), ("lost", "lost"), ("won", "won")])
@pytest.mark.parametrize("looks_between", [True, False])
def test_two_disputes_of_one_charge_are_both_booked(
    stage: Stage, desk: Desk, outcomes: tuple[Literal["won", "lost"], ...], looks_between: bool
) -> None:
    paid = desk.card_pays()
    disputes = []
    for cents in (50_00, 30_00):
        disputes.append(str(stage.sandbox.dispute(str(paid.charge_id), amount=cents)["id"]))
        if looks_between:
            desk.looks(paid)
            desk.check()
    desk.looks(paid)
    assert desk.balance == 80_00
    for dispute, outcome in zip(disputes, outcomes, strict=True):
        stage.sandbox.close_dispute(dispute, outcome)
        if looks_between:
            desk.looks(paid)
    desk.looks(paid)
    lost = sum(cents for cents, outcome in zip((50_00, 30_00), outcomes, strict=True) if outcome == "lost")
    assert desk.balance == lost
    assert stage_of_case(stage) == ("lost" if lost else "won", bool(lost))


def test_two_disputes_take_back_what_was_reversed(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    desk.reverses(paid)
    for cents in (50_00, 76_00):
        stage.sandbox.dispute(str(paid.charge_id), amount=cents)
        desk.looks(paid)
    assert desk.natures() == [("payment", ALL), ("reversal", -ALL)]
    assert "refund_expected" not in desk.open_cases()


def test_a_second_lost_dispute_is_shown_although_the_first_was_seen(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    for cents in (50_00, 30_00):
        dispute = str(stage.sandbox.dispute(str(paid.charge_id), amount=cents)["id"])
        stage.sandbox.close_dispute(dispute, "lost")
        desk.looks(paid)
        assert stage_of_case(stage) == ("lost", True)
        with stage.database.transaction() as session:
            close_dispute(session, stage.invoice_id, stage.cases()[0].id, None)
        desk.looks(paid)
        assert stage_of_case(stage) == ("lost", False)
