"""A refund that the card company sent back for good goes back by hand: once, and never more than was paid (O16)."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from sqlalchemy import select

from portal.audit import AuditEntry
from portal.invariants import broken_invariants
from portal.invoices.books import SentBefore
from portal.payments.tables import Payment
from portal.refunds import words
from portal.refunds.following import GIVEN_TWICE
from portal.refunds.standing import Rest, rest_of
from tests.payments.stage import Stage
from tests.refunds.desk import ALL, Desk
from tests.support.at_once import at_once, names

pytestmark = pytest.mark.promise("O16")


def rest(stage: Stage, payment: Payment) -> Rest:
    with stage.database.transaction() as session:
        return rest_of(session, payment)


def sent_back(stage: Stage, desk: Desk, payment: Payment, cents: int = ALL, *, still_owed: bool = False) -> None:
    """A refund that succeeded at first, and came back from the card company."""
    made = desk.refunds(payment, cents, still_owed=still_owed)
    stage.sandbox.fail_refund(str(made.refund_id))
    desk.looks(payment)


def test_what_came_back_is_given_by_hand(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    sent_back(stage, desk, paid)
    assert (desk.balance, desk.open_cases()) == (-ALL, {"overpaid": ALL})
    row = desk.gives_back_instead(paid, ALL, "cheque")
    assert (row.nature, row.kind, row.amount_cents, row.reverses_id) == ("refund", "cheque", -ALL, paid.id)
    assert (row.charge_id, row.refund_id, row.gateway_id, row.brand) == (None, None, None, None)
    assert (desk.balance, desk.net, desk.open_cases(), desk.adjustments()) == (0, 0, {}, [-ALL])
    assert [one.needs_person for one in desk.refund_rows()] == [None]
    with stage.database.transaction() as session:
        said = session.scalars(select(AuditEntry).where(AuditEntry.action == "payment.given_back")).one()
    assert said.user_id == stage.cast.bookkeeper.id
    assert "$126.00 by cheque, because its refund to the card has failed: Back." in str(said.after)


@pytest.mark.parametrize(("still_owed", "balance", "credits"), [(False, 0, [-40_00]), (True, 40_00, [])])
def test_what_is_still_owed_was_decided_with_the_refund_or_is_now(
    stage: Stage, desk: Desk, still_owed: bool, balance: int, credits: list[int]
) -> None:
    paid = desk.card_pays()
    sent_back(stage, desk, paid, 40_00, still_owed=True)
    desk.gives_back_instead(paid, 40_00, still_owed=still_owed)
    assert (desk.balance, desk.adjustments()) == (balance, credits)


def test_only_what_failed_goes_another_way(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    with pytest.raises(words.RefundInDashboard):
        desk.gives_back_instead(paid, 1)
    desk.refunds(paid, 50_00)
    sent_back(stage, desk, paid, 40_00)
    with pytest.raises(words.MoreThanFailed):
        desk.gives_back_instead(paid, 40_01)
    desk.gives_back_instead(paid, 30_00)
    assert desk.refund_rows()[1].needs_person is not None
    with pytest.raises(words.MoreThanFailed):
        desk.gives_back_instead(paid, 10_01)
    desk.gives_back_instead(paid, 10_00)
    with pytest.raises(words.RefundInDashboard):
        desk.gives_back_instead(paid, 1)
    assert rest(stage, paid).refundable_cents == ALL - 90_00


def test_what_another_refund_brought_to_the_card_does_not_go_by_hand_as_well(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    sent_back(stage, desk, paid, 60_00)
    desk.refunds(paid, 60_00)
    assert rest(stage, paid).refundable_cents == ALL - 60_00
    with pytest.raises(words.RefundInDashboard):
        desk.gives_back_instead(paid, 1)


def test_the_same_money_failing_twice_counts_once(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    for _time in range(2):
        sent_back(stage, desk, paid, 60_00)
    assert rest(stage, paid).by_hand_cents == 60_00


@pytest.mark.parametrize("state", ["pending", "asked"])
def test_what_may_be_on_its_way_is_spoken_for(stage: Stage, desk: Desk, state: str) -> None:
    paid = desk.card_pays("pendingRefund")
    sent_back(stage, desk, paid, 100_00)
    if state == "asked":
        stage.sandbox.fault("refunds.create", "lost_after")
        stage.sandbox.fault("charges.retrieve", "lost_before", times=2)
    assert desk.refunds(paid, 100_00).state == state
    with pytest.raises(words.RefundInDashboard):
        desk.gives_back_instead(paid, 1)


def test_a_refund_that_stripe_never_took_has_not_failed_for_good(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    stage.sandbox.revoke_key(stage.sandbox.secret_key)
    with pytest.raises(words.RefundNotPossible):
        desk.refunds(paid)
    with pytest.raises(words.RefundInDashboard):
        desk.gives_back_instead(paid, 1)


def test_it_is_possible_while_stripe_does_not_answer(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    sent_back(stage, desk, paid)
    stage.sandbox.fault("*", "lost_before", times=9)
    desk.gives_back_instead(paid)
    assert desk.net == 0


# --- never more than was paid ---------------------------------------------------------------------------------------


def test_a_refund_through_stripe_can_not_send_it_again(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    sent_back(stage, desk, paid, 100_00)
    desk.gives_back_instead(paid, 100_00)
    with pytest.raises(words.RefundTooLarge):
        desk.refunds(paid, 26_01)
    desk.refunds(paid, 26_00)
    with pytest.raises(words.NothingToRefund):
        desk.refunds(paid, 1)
    assert desk.net == 0


def test_the_same_press_many_times_is_one(stage: Stage, desk: Desk) -> None:
    paid, request = desk.card_pays(), uuid4()
    sent_back(stage, desk, paid)
    answers = at_once([lambda: desk.gives_back_instead(paid, 40_00, request=request)] * 4)
    assert names(answers) == {"Payment": 4}
    assert desk.net == ALL - 40_00
    with pytest.raises(SentBefore):
        desk.gives_back_instead(paid, 30_00, request=request)
    with pytest.raises(SentBefore):
        desk.refunds(paid, 40_00, request=request)  # the same form, with the other way ticked


def test_a_form_that_was_sent_to_stripe_does_not_go_by_hand(stage: Stage, desk: Desk) -> None:
    paid, request = desk.card_pays(), uuid4()
    made = desk.refunds(paid, 40_00, request=request)
    stage.sandbox.fail_refund(str(made.refund_id))
    with pytest.raises(SentBefore):
        desk.gives_back_instead(paid, 40_00, request=request)


def test_by_hand_and_through_stripe_at_once_never_exceed_the_payment(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    sent_back(stage, desk, paid)
    ways: list[Callable[[], object]] = [lambda: desk.gives_back_instead(paid), lambda: desk.refunds(paid)]
    answers = at_once(ways * 2)
    assert len([one for one in answers if not isinstance(one, words.NotCorrected)]) == 1
    assert desk.net == 0


# --- the cases close ------------------------------------------------------------------------------------------------


def test_a_void_invoice_is_closed_by_it(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    desk.voids()
    sent_back(stage, desk, paid)
    assert desk.open_cases() == {"refund_pending": ALL}
    desk.gives_back_instead(paid, 100_00, "e-transfer")
    assert desk.open_cases() == {"refund_pending": 26_00}
    desk.gives_back_instead(paid, 26_00)
    assert (desk.net, desk.balance, desk.open_cases()) == (0, 0, {})


def test_a_refund_that_a_reversal_awaited_is_met_by_it(stage: Stage, desk: Desk) -> None:
    """The reversal took the card's money out of the books; now it goes back as cash, and is booked as that."""
    charged = desk.card_pays()
    desk.received(ALL)
    desk.reverses(charged)
    sent_back(stage, desk, charged)
    assert desk.open_cases() == {"refund_expected": ALL}
    desk.gives_back_instead(charged, 100_00)
    assert desk.open_cases() == {"refund_expected": 26_00}
    desk.check()
    desk.gives_back_instead(charged, 26_00)
    assert desk.natures()[2:] == [
        ("reversal", -ALL), ("refund failed", 100_00), ("refund", -100_00), ("refund failed", 26_00),
        ("refund", -26_00),
    ]  # fmt: skip
    assert (desk.balance, desk.net, desk.open_cases()) == (0, ALL, {})
    with pytest.raises(words.NothingToRefund):
        desk.refunds(charged, 1)
    with pytest.raises(words.NothingIsLeft):
        desk.reverses(charged, 1)


def test_part_of_it_was_reversed(stage: Stage, desk: Desk) -> None:
    charged = desk.card_pays()
    desk.reverses(charged, 26_00)
    sent_back(stage, desk, charged)
    assert desk.open_cases() == {"refund_expected": 26_00, "overpaid": 74_00}
    desk.gives_back_instead(charged)
    assert (desk.net, "refund_expected" in desk.open_cases()) == (0, False)


# --- and then it goes back in Stripe's dashboard as well ------------------------------------------------------------


def test_what_went_back_twice_is_told_and_the_books_stay_right(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    sent_back(stage, desk, paid)
    desk.gives_back_instead(paid, 100_00)
    desk.stripe_refunds(paid, 50_00)
    desk.looks(paid)
    again = desk.refund_rows()[-1]
    assert (again.matched_cents, again.needs_person) == (24_00, GIVEN_TWICE)
    assert (desk.net, desk.balance, desk.open_cases()) == (0, 0, {})
    assert rest(stage, paid).awaited_cents == -24_00
    with pytest.raises(words.NothingToRefund):
        desk.refunds(paid, 1)
    desk.check()


def test_what_went_back_twice_is_made_up_for_by_a_refund_that_fails_later(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    first = desk.refunds(paid, 50_00)
    sent_back(stage, desk, paid, 76_00)
    desk.gives_back_instead(paid, 76_00)
    desk.stripe_refunds(paid, 60_00)
    desk.looks(paid)
    assert rest(stage, paid).awaited_cents == -60_00
    stage.sandbox.fail_refund(str(first.refund_id))
    desk.looks(paid)
    # 76 by hand and 60 at Stripe is 10 too much still; nothing of it can be given back again.
    assert (desk.net, rest(stage, paid).awaited_cents) == (0, -10_00)
    with pytest.raises(words.NothingToRefund):
        desk.refunds(paid, 1)


def test_a_bank_that_takes_back_what_was_given_by_hand(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    sent_back(stage, desk, paid)
    desk.gives_back_instead(paid)
    dispute = stage.sandbox.dispute(str(paid.charge_id))
    desk.looks(paid)
    assert (desk.net, desk.balance) == (0, 0)
    with pytest.raises(words.BeingDisputed):
        desk.gives_back_instead(paid, 1)
    assert broken_invariants(stage.database) == []
    stage.sandbox.close_dispute(dispute["id"], "won")
    desk.looks(paid)
    assert (desk.net, desk.balance, desk.open_cases()) == (0, 0, {})
