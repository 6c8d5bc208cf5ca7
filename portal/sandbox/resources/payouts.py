"""Payouts: the balance transactions that went to the bank together."""

from __future__ import annotations

from collections import defaultdict

from portal.sandbox.operations import Call, operation
from portal.sandbox.paging import page
from portal.sandbox.problems import Json
from portal.sandbox.resources.balance import enter
from portal.sandbox.shapes import payout_shape
from portal.sandbox.store import Scope
from portal.sandbox.world import World


def pay_out(world: World, scope: Scope, *, available_only: bool = False) -> list[Json]:
    """Pay out what has not been, one payout per currency. With `available_only`, only what is two days old."""
    waiting: defaultdict[str, list[Json]] = defaultdict(list)
    for transaction in world.store.newest_first(scope, "balance_transaction"):
        if transaction["_payout"] or transaction["type"] == "payout":
            continue
        if not available_only or transaction["available_on"] <= world.now:
            waiting[transaction["currency"]].append(transaction)
    return [_pay_out(world, scope, currency, found) for currency, found in waiting.items()]


def _pay_out(world: World, scope: Scope, currency: str, transactions: list[Json]) -> Json:
    amount = sum(transaction["net"] for transaction in transactions)
    payout = payout_shape(world.now, amount=amount, currency=currency, livemode=scope.livemode)
    world.store.add(scope, payout)
    own = enter(world, payout, kind="payout", category="payout", amount=-amount, delay_s=0)
    payout["balance_transaction"] = own["id"]
    for transaction in [own, *reversed(transactions)]:
        transaction.update(_payout=payout["id"], status="available")
        world.store.save(transaction)
    world.store.save(payout)
    world.emit("payout.created", payout)
    world.emit("payout.paid", payout)
    world.emit("payout.reconciliation_completed", payout)
    return payout


@operation("GET /payouts/:id", "payouts.retrieve", params="PayoutRetrieveParams")
def retrieve(call: Call) -> Json:
    return call.named("payout")


@operation("GET /payouts", "payouts.list", params="PayoutListParams")
def list_all(call: Call) -> Json:
    status = call.params.get("status")
    things = call.store.newest_first(call.scope, "payout")
    return page(call, "/v1/payouts", things, matching=lambda one: status in (None, one["status"]))
