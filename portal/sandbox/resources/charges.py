"""Charges: one per try, paid or declined."""

from __future__ import annotations

from portal.sandbox.cards import Card, decline_of
from portal.sandbox.operations import Call, operation
from portal.sandbox.paging import page
from portal.sandbox.problems import Json
from portal.sandbox.resources.balance import enter_charge
from portal.sandbox.resources.common import take
from portal.sandbox.shapes import charge_shape
from portal.sandbox.store import Scope
from portal.sandbox.world import World, later


def paid_charge(world: World, intent: Json, method: Json, card: Card, *, captured: bool) -> Json:
    charge = charge_shape(world.now, intent=intent, method=method, card=card)
    _note_authentication(charge, intent)
    world.store.add(Scope(*intent["_scope"]), charge)
    if captured:
        capture(world, charge, charge["amount"])
    world.emit("charge.succeeded", charge)
    return charge


def capture(world: World, charge: Json, amount: int) -> None:
    charge.update(captured=True, amount_captured=amount)
    world.store.save(charge)
    if world.balance_delay_s:
        world.schedule("settle_charge", charge, after_s=world.balance_delay_s)
    else:
        enter_charge(world, charge)


@later("settle_charge")
def settle_charge(world: World, charge: Json) -> None:
    enter_charge(world, charge)
    world.emit("charge.updated", charge, {"balance_transaction": None})


def declined_charge(world: World, intent: Json, method: Json, card: Card, reason: str) -> Json:
    decline = decline_of(reason)
    charge = charge_shape(world.now, intent=intent, method=method, card=card)
    _note_authentication(charge, intent)
    charge.update(status="failed", paid=False, failure_code=decline["code"], failure_message=decline["message"])
    charge["outcome"] = {
        "advice_code": decline.get("advice_code"),
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "declined_by_network",
        "reason": decline.get("decline_code", reason),
        "risk_level": "normal",
        "seller_message": "The bank did not return any further details with this decline.",
        "type": "issuer_declined",
    }
    world.store.add(Scope(*intent["_scope"]), charge)
    world.emit("charge.failed", charge)
    return charge


def _note_authentication(charge: Json, intent: Json) -> None:
    if intent.get("_authenticated"):
        charge["payment_method_details"]["card"]["three_d_secure"] = {
            "authentication_flow": "challenge",
            "electronic_commerce_indicator": "05",
            "exemption_indicator": None,
            "result": "authenticated",
            "result_reason": None,
            "transaction_id": None,
            "version": "2.2.0",
        }


@operation("GET /charges/:id", "charges.retrieve", params="ChargeRetrieveParams")
def retrieve(call: Call) -> Json:
    return call.named("charge")


@operation("POST /charges/:id", "charges.update", params="ChargeUpdateParams")
def update(call: Call) -> Json:
    charge = call.named("charge")
    previous = take(charge, call.params, ("description", "metadata", "receipt_email", "shipping"))
    call.store.save(charge)
    call.world.emit("charge.updated", charge, previous)
    return charge


@operation("GET /charges", "charges.list", params="ChargeListParams")
def list_all(call: Call) -> Json:
    intent, customer = call.params.get("payment_intent"), call.params.get("customer")
    if intent:
        call.referred("payment_intent", intent, param="payment_intent")
        things = call.store.linked(call.scope, "charge", "payment_intent", intent)
    elif customer:
        things = call.store.linked(call.scope, "charge", "customer", customer)
    else:
        things = call.store.newest_first(call.scope, "charge")
    return page(call, "/v1/charges", things, matching=lambda one: customer in (None, one["customer"]))
