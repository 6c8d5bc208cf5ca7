"""Undo a payment entered in error (O14): the books alone change, and Stripe's refund is not counted twice."""

from uuid import uuid4

import pytest

from portal.errors import Refusal
from portal.invoices.books import ReasonMissing
from portal.payments.tables import Payment
from portal.refunds import words
from tests.payments.stage import Stage
from tests.refunds.desk import ALL, Desk
from tests.support.at_once import at_once, names

pytestmark = pytest.mark.promise("O14")


def test_an_extra_payment_is_reversed_and_stripe_is_not_called(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    extra = desk.visa_without_gateway()
    assert (desk.balance, desk.open_cases()) == (-ALL, {"overpaid": ALL})
    calls = len(stage.calls)
    reversal = desk.reverses(extra)
    assert len(stage.calls) == calls
    assert (reversal.nature, reversal.amount_cents, reversal.reverses_id) == ("reversal", -ALL, extra.id)
    assert (reversal.kind, reversal.brand, reversal.gateway_id, reversal.charge_id) == ("card", "visa", None, None)
    assert (desk.balance, desk.net, desk.open_cases()) == (0, ALL, {})
    assert stage.payments()[0].id == paid.id


def test_a_reversal_pressed_twice_is_one(stage: Stage, desk: Desk) -> None:
    extra = desk.visa_without_gateway()
    request = uuid4()
    first, second = desk.reverses(extra, 50_00, request=request), desk.reverses(extra, 50_00, request=request)
    assert first.id == second.id
    assert desk.natures() == [("payment", ALL), ("reversal", -50_00)]


def test_two_reversals_at_once_never_exceed_the_payment(stage: Stage, desk: Desk) -> None:
    extra = desk.visa_without_gateway()
    answers = at_once([lambda: desk.reverses(extra)] * 6)
    assert names(answers) == {"Payment": 1, "NothingIsLeft": 5}
    assert desk.net == 0


def test_the_same_press_many_times_at_once_is_one_reversal(stage: Stage, desk: Desk) -> None:
    extra = desk.visa_without_gateway()
    request = uuid4()
    answers = at_once([lambda: desk.reverses(extra, 20_00, request=request)] * 6)
    assert names(answers) == {"Payment": 6}
    assert desk.net == ALL - 20_00


@pytest.mark.parametrize("cents", [ALL + 1, 2 * ALL, 10**9])
def test_more_than_the_payment_is_refused(desk: Desk, cents: int) -> None:
    extra = desk.visa_without_gateway()
    with pytest.raises(words.MoreThanIsLeft) as refused:
        desk.reverses(extra, cents)
    assert refused.value.text == (
        f"This reverses more than what is left of payment {extra.receipt_number}. The most it can be is −$126.00."
    )


def test_what_was_given_back_before_counts(desk: Desk) -> None:
    extra = desk.visa_without_gateway()
    desk.gives_back(extra, 40_00, still_owed=True)
    desk.reverses(extra, 50_00)
    with pytest.raises(words.MoreThanIsLeft) as refused:
        desk.reverses(extra, 36_01)
    assert "−$36.00" in refused.value.text
    desk.reverses(extra, 36_00)
    with pytest.raises(words.NothingIsLeft):
        desk.reverses(extra, 1)


@pytest.mark.parametrize("cents", [0, -5_00])
def test_nothing_and_a_positive_amount_are_no_reversal(desk: Desk, cents: int) -> None:
    with pytest.raises(words.AmountNotNegative):
        desk.reverses(desk.visa_without_gateway(), cents)


def test_another_invoices_payment_is_refused(stage: Stage, desk: Desk) -> None:
    extra = desk.visa_without_gateway()
    here, stage.invoice_id = stage.invoice_id, stage.new_invoice()
    with pytest.raises(words.NotThisInvoice):
        desk.reverses(extra)
    stage.invoice_id = here
    with pytest.raises(words.NotThisInvoice):
        desk.reverses(Payment(id=999_999, amount_cents=1_00))


def test_a_reversal_and_a_refund_are_not_reversed(desk: Desk) -> None:
    extra = desk.visa_without_gateway()
    reversal, given = desk.reverses(extra, 20_00), desk.gives_back(extra, 20_00)
    for correction in (reversal, given):
        with pytest.raises(words.NotAPayment):
            desk.reverses(correction, 5_00)


def test_a_reversal_says_why(desk: Desk) -> None:
    with pytest.raises(ReasonMissing):
        desk.reverses(desk.visa_without_gateway(), reason="  ")


def test_nothing_is_reversed_on_a_void_invoice(desk: Desk) -> None:
    paid = desk.card_pays()
    desk.voids()
    with pytest.raises(words.InvoiceIsVoid):
        desk.reverses(paid)


# --- the charge that was really taken twice -------------------------------------------------------------------------


def paid_twice(desk: Desk) -> Payment:
    """By card through Stripe, after somebody had typed the same payment in by hand."""
    charged = desk.card_pays()
    desk.visa_without_gateway()
    return charged


def test_the_refund_that_a_reversal_expects_is_not_counted_twice(stage: Stage, desk: Desk) -> None:
    charged = paid_twice(desk)
    desk.reverses(charged)
    assert (desk.balance, desk.open_cases()) == (0, {"refund_expected": ALL})
    desk.stripe_refunds(charged)
    desk.looks(charged)
    assert (desk.balance, desk.net, desk.open_cases()) == (0, ALL, {})
    assert desk.natures() == [("payment", ALL), ("payment", ALL), ("reversal", -ALL)]
    assert [(one.state, one.matched_cents) for one in desk.refund_rows()] == [("succeeded", ALL)]
    assert desk.adjustments() == []


def test_a_refund_that_was_made_before_the_reversal_meets_it_too(desk: Desk) -> None:
    """The webhook is late: at the time of the reversal nobody here knew of the refund."""
    charged = paid_twice(desk)
    desk.stripe_refunds(charged)
    desk.reverses(charged)
    desk.looks(charged)
    assert (desk.balance, desk.net, desk.open_cases()) == (0, ALL, {})


def test_a_refund_that_is_booked_leaves_nothing_to_reverse(desk: Desk) -> None:
    charged = paid_twice(desk)
    desk.stripe_refunds(charged)
    desk.looks(charged)
    assert (desk.balance, desk.net, desk.open_cases()) == (0, ALL, {})
    with pytest.raises(words.NothingIsLeft):
        desk.reverses(charged)


def test_part_by_part(desk: Desk) -> None:
    charged = paid_twice(desk)
    desk.reverses(charged, 100_00)
    assert desk.open_cases() == {"refund_expected": 100_00, "overpaid": 26_00}
    desk.stripe_refunds(charged, 60_00)
    desk.looks(charged)
    assert desk.open_cases() == {"refund_expected": 40_00, "overpaid": 26_00}
    desk.reverses(charged, 26_00)
    assert desk.open_cases() == {"refund_expected": 66_00}
    desk.stripe_refunds(charged, 66_00)
    desk.looks(charged)
    assert (desk.balance, desk.net, desk.open_cases()) == (0, ALL, {})


def test_more_refunded_than_reversed(desk: Desk) -> None:
    charged = paid_twice(desk)
    desk.reverses(charged, 100_00)
    desk.stripe_refunds(charged)
    desk.looks(charged)
    assert (desk.balance, desk.net, desk.open_cases()) == (0, ALL, {})
    assert desk.natures()[-1] == ("refund", -26_00)


def test_the_expected_refund_fails_later(stage: Stage, desk: Desk) -> None:
    charged = desk.card_pays("refundFail")
    desk.visa_without_gateway()
    desk.reverses(charged)
    desk.stripe_refunds(charged)
    desk.looks(charged)
    assert desk.open_cases() == {}
    stage.sandbox.advance(3600)
    desk.looks(charged)
    assert (desk.balance, desk.net) == (0, ALL)
    assert desk.open_cases() == {"refund_expected": ALL}
    assert [(one.state, one.needs_person) for one in desk.refund_rows()] == [("failed", "lost_or_stolen_card")]
    desk.stripe_refunds(charged)
    desk.looks(charged)
    assert (desk.balance, desk.net, desk.open_cases()) == (0, ALL, {})


def test_the_bank_takes_back_what_was_reversed(stage: Stage, desk: Desk) -> None:
    """Instead of the refund that was expected, there comes a dispute; and then it is won, so it is still expected."""
    charged = paid_twice(desk)
    desk.reverses(charged)
    dispute = stage.sandbox.dispute(str(charged.charge_id))
    desk.looks(charged)
    assert (desk.balance, desk.net, desk.open_cases()) == (0, ALL, {"dispute": 0})
    desk.check()
    stage.sandbox.close_dispute(dispute["id"], "won")
    desk.looks(charged)
    assert (desk.balance, desk.net, desk.open_cases()) == (0, ALL, {"refund_expected": ALL})


def test_a_refund_under_way_can_not_be_reversed_as_well(stage: Stage, desk: Desk) -> None:
    charged = paid_twice(desk)
    stage.sandbox.fault("refunds.create", "lost_after")
    stage.sandbox.fault("charges.retrieve", "lost_before")
    assert desk.refunds(charged, 100_00).state == "asked"
    with pytest.raises(words.MoreThanIsLeft):
        desk.reverses(charged, 27_00)
    desk.reverses(charged, 26_00)
    desk.sweeps()
    # The refund meets the reversal first; the rest of it is booked.
    assert desk.natures()[-2:] == [("reversal", -26_00), ("refund", -74_00)]
    assert desk.open_cases() == {"overpaid": 26_00}


def test_a_reversal_and_the_look_at_its_refund_at_once(stage: Stage, desk: Desk) -> None:
    charged = paid_twice(desk)
    desk.stripe_refunds(charged)
    answers = at_once([lambda: desk.reverses(charged), *[lambda: desk.looks(charged)] * 4])
    assert all(answer is None or isinstance(answer, Refusal) or answer for answer in answers)
    desk.looks(charged)
    assert (desk.balance, desk.net, desk.open_cases()) == (0, ALL, {})
