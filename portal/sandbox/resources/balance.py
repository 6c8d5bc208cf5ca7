"""The balance: what each charge, refund and dispute brought or took, with Stripe's fee."""

from __future__ import annotations

from portal.sandbox.operations import Call, operation
from portal.sandbox.paging import page
from portal.sandbox.problems import Json
from portal.sandbox.shapes import balance_transaction_shape
from portal.sandbox.store import Scope
from portal.sandbox.world import World, public

_AVAILABLE_AFTER_S = 2 * 86400
_DISPUTE_FEE = 1500


def stripe_fee(amount: int) -> int:
    """2.9 % and 30 cents, to the nearest cent."""
    return (amount * 29 + 500) // 1000 + 30


def _fee(amount: int, currency: str, description: str) -> Json:
    return {
        "amount": amount,
        "application": None,
        "currency": currency,
        "description": description,
        "type": "stripe_fee",
    }


def enter(
    world: World, source: Json, *, kind: str, category: str, amount: int, fees: list[Json] | None = None,
    scope: Scope | None = None, delay_s: int = _AVAILABLE_AFTER_S,
) -> Json:  # fmt: skip
    transaction = balance_transaction_shape(
        world.now,
        kind=kind,
        category=category,
        amount=amount,
        fees=fees or [],
        currency=source["currency"],
        source=source["id"],
        delay_s=delay_s,
    )
    return world.store.add(scope or Scope(*source["_scope"]), transaction)


def enter_charge(world: World, charge: Json) -> None:
    amount, currency = charge["amount_captured"], charge["currency"]
    fee = _fee(stripe_fee(amount), currency, "Stripe processing fees")
    transaction = enter(world, charge, kind="charge", category="charge", amount=amount, fees=[fee])
    charge["balance_transaction"] = transaction["id"]
    world.store.save(charge)


def enter_refund(world: World, refund: Json) -> None:
    transaction = enter(world, refund, kind="refund", category="refund", amount=-refund["amount"])
    refund["balance_transaction"] = transaction["id"]
    world.store.save(refund)


def enter_refund_failure(world: World, refund: Json) -> None:
    transaction = enter(world, refund, kind="refund_failure", category="refund_failure", amount=refund["amount"])
    refund["failure_balance_transaction"] = transaction["id"]


def enter_withdrawal(world: World, dispute: Json) -> None:
    fee = _fee(_DISPUTE_FEE, dispute["currency"], "Dispute fee")
    _enter_dispute(world, dispute, "dispute", -dispute["amount"], [fee])


def enter_reinstatement(world: World, dispute: Json) -> None:
    _enter_dispute(world, dispute, "dispute_reversal", dispute["amount"], [])


def _enter_dispute(world: World, dispute: Json, category: str, amount: int, fees: list[Json]) -> None:
    transaction = enter(world, dispute, kind="adjustment", category=category, amount=amount, fees=fees)
    dispute["balance_transactions"] = [*dispute["balance_transactions"], public(transaction)]
    world.store.save(dispute)


def shown_transaction(world: World, transaction: Json) -> Json:
    """A pending transaction becomes available with time."""
    if transaction["status"] == "pending" and transaction["available_on"] <= world.now:
        transaction["status"] = "available"
        world.store.save(transaction)
    return transaction


@operation(
    "GET /balance_transactions/:id",
    "balance_transactions.retrieve",
    params="BalanceTransactionRetrieveParams",
)
def retrieve(call: Call) -> Json:
    return shown_transaction(call.world, call.named("balance_transaction"))


@operation("GET /balance_transactions", "balance_transactions.list", params="BalanceTransactionListParams")
def list_all(call: Call) -> Json:
    params = call.params
    if params.get("payout"):
        call.referred("payout", params["payout"], param="payout")
        things = call.store.linked(call.scope, "balance_transaction", "_payout", params["payout"])
    elif params.get("source"):
        things = call.store.linked(call.scope, "balance_transaction", "source", params["source"])
    else:
        things = call.store.newest_first(call.scope, "balance_transaction")

    def wanted(one: Json) -> bool:
        return all(
            params.get(name) in (None, one[field])
            for name, field in (("type", "type"), ("currency", "currency"), ("source", "source"))
        )

    found = page(call, "/v1/balance_transactions", things, matching=wanted)
    for transaction in found["data"]:
        shown_transaction(call.world, transaction)
    return found
