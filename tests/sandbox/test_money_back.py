"""Refunds, disputes and payouts: every cent is in the balance."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from portal.sandbox import Sandbox
from tests.sandbox.makers import paid


def events(api: stripe.StripeClient) -> list[str]:
    return [str(event.type) for event in api.v1.events.list({"limit": 100}).data][::-1]


def test_a_refund_can_fail_later_and_the_charge_is_whole_again(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    charge = paid(api, "pm_card_refundFail").latest_charge
    refund = api.v1.refunds.create({"charge": charge})
    assert refund.status == "succeeded"
    assert sandbox.net_cents(charge) == 0
    sandbox.advance(3600)
    failed: Any = api.v1.refunds.retrieve(refund.id)
    assert (failed.status, failed.failure_reason) == ("failed", "lost_or_stolen_card")
    assert failed.failure_balance_transaction.startswith("txn_")
    whole = api.v1.charges.retrieve(charge)
    assert (whole.amount_refunded, whole.refunded) == (0, False)
    assert sandbox.net_cents(charge) == 1000
    assert events(api)[-3:] == ["refund.updated", "charge.refund.updated", "refund.failed"]


def test_a_refund_from_the_dashboard_looks_like_any_other(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    payment = paid(api)
    sandbox.refund(payment.id, 300)
    refund = api.v1.refunds.list({"payment_intent": payment.id}).data[0]
    assert (refund.amount, refund.charge) == (300, payment.latest_charge)
    assert "charge.refunded" in events(api)


@pytest.mark.parametrize(("outcome", "net"), [("won", 1000), ("lost", 0)])
def test_a_dispute_takes_the_money_until_it_is_won(
    sandbox: Sandbox, api: stripe.StripeClient, outcome: Any, net: int
) -> None:
    charge = paid(api, "pm_card_createDispute").latest_charge
    dispute = api.v1.disputes.list({"charge": charge}).data[0]
    assert dispute.status == "needs_response"
    assert sandbox.net_cents(charge) == 0
    with pytest.raises(stripe.InvalidRequestError) as error:
        api.v1.refunds.create({"charge": charge})
    assert error.value.code == "charge_disputed"
    sandbox.close_dispute(dispute.id, outcome)
    assert sandbox.net_cents(charge) == net
    assert events(api)[-1] == "charge.dispute.closed"
    found: Any = api.v1.disputes.retrieve(dispute.id)
    assert sum(row.amount for row in found.balance_transactions) == net - 1000
    assert found.balance_transactions[0].fee == 1500


def test_an_inquiry_takes_nothing_unless_it_grows(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    charge = paid(api).latest_charge
    dispute = sandbox.dispute(charge, inquiry=True)
    assert dispute["status"] == "warning_needs_response"
    assert sandbox.net_cents(charge) == 1000
    sandbox.escalate_dispute(dispute["id"])
    assert sandbox.net_cents(charge) == 0


def test_a_payout_is_the_sum_of_what_it_holds(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    paid(api)
    api.v1.refunds.create({"payment_intent": paid(api, amount=2000).id, "amount": 500})
    payout = sandbox.process_payouts()[0]
    rows: Any = api.v1.balance_transactions.list({"payout": payout["id"], "limit": 100}).data
    assert sum(row.net for row in rows if row.type != "payout") == payout["amount"] == 3000 - 500 - 59 - 88
    assert next(row.amount for row in rows if row.type == "payout") == -payout["amount"]
    assert sandbox.process_payouts() == []


def test_only_what_is_two_days_old_is_available(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    paid(api)
    assert sandbox.process_payouts(available_only=True) == []
    sandbox.advance(2 * 86400)
    assert len(sandbox.process_payouts(available_only=True)) == 1


def test_the_balance_may_lag_behind_the_charge(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    sandbox.world.balance_delay_s = 30
    charge = paid(api).latest_charge
    assert api.v1.charges.retrieve(charge).balance_transaction is None
    sandbox.advance(31)
    assert api.v1.charges.retrieve(charge).balance_transaction is not None
    assert events(api)[-1] == "charge.updated"
