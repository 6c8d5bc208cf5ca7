"""The balance and what leaves it for the bank."""

from __future__ import annotations

from portal.sandbox.ids import new_id
from portal.sandbox.problems import Json


def balance_transaction_shape(
    now: int, *, kind: str, category: str, amount: int, fees: list[Json], currency: str, source: str, delay_s: int
) -> Json:
    fee = sum(detail["amount"] for detail in fees)
    return {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": now + delay_s,
        "balance_type": "payments",
        "created": now,
        "currency": currency,
        "description": None,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": fees,
        "net": amount - fee,
        "reporting_category": category,
        "source": source,
        "status": "pending" if delay_s else "available",
        "type": kind,
        "_payout": None,
    }


def payout_shape(now: int, *, amount: int, currency: str, livemode: bool) -> Json:
    return {
        "id": new_id("po"),
        "object": "payout",
        "amount": amount,
        "application_fee": None,
        "application_fee_amount": None,
        "arrival_date": now,
        "automatic": True,
        "balance_transaction": None,
        "created": now,
        "currency": currency,
        "description": "STRIPE PAYOUT",
        "destination": "ba_1SandboxBankAccount",
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "livemode": livemode,
        "metadata": {},
        "method": "standard",
        "original_payout": None,
        "payout_method": None,
        "reconciliation_status": "completed",
        "reversed_by": None,
        "source_type": "card",
        "statement_descriptor": None,
        "status": "paid",
        "trace_id": {"status": "pending", "value": None},
        "type": "bank_account",
    }
