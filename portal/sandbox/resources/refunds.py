"""Refunds: never more than was captured, and able to fail days later."""

from __future__ import annotations

from portal.sandbox.cards import CARDS
from portal.sandbox.operations import Call, operation
from portal.sandbox.paging import page
from portal.sandbox.problems import InvalidRequest, Json
from portal.sandbox.resources.balance import enter_refund, enter_refund_failure
from portal.sandbox.resources.common import merge_metadata, shown
from portal.sandbox.shapes import refund_shape
from portal.sandbox.store import Scope
from portal.sandbox.world import World, later

_TAKEN_BACK = ("failed", "canceled")


def refund_charge(
    world: World, charge: Json, amount: int | None = None, *, reason: str | None = None, metadata: Json | None = None
) -> Json:
    """Refund some or all of a charge. Raises InvalidRequest when Stripe would not."""
    amount = _refundable(world, charge, amount)
    card = CARDS[charge["_card"]]
    refund = refund_shape(world.now, charge=charge, amount=amount)
    refund["reason"] = reason
    merge_metadata(refund, metadata or {})
    if card.refund == "pending":
        refund["status"] = "pending"
    world.store.add(Scope(*charge["_scope"]), refund)
    enter_refund(world, refund)
    _count(world, charge)
    if card.refund == "fails later":
        world.schedule("fail_refund", refund, after_s=world.refund_failure_delay_s)
    world.emit("refund.created", refund)
    world.emit("charge.refunded", charge, {"amount_refunded": charge["amount_refunded"] - amount})
    return refund


def _refundable(world: World, charge: Json, amount: int | None) -> int:
    """How much to give back: what was asked, or all that is left. Raises InvalidRequest."""
    if not charge["paid"] or not charge["captured"]:
        raise InvalidRequest(f"Charge {charge['id']} has not been paid, so it can't be refunded.")
    if any(_holds(dispute) for dispute in world.store.linked(_scope(charge), "dispute", "charge", charge["id"])):
        raise InvalidRequest(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
        )
    left: int = charge["amount_captured"] - _refunded(world, charge)
    if left <= 0:
        raise InvalidRequest(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if amount is None:
        return left
    if amount < 1:
        raise InvalidRequest(
            "This value must be greater than or equal to 1.", code="parameter_invalid_integer", param="amount"
        )
    if amount > left:
        currency = charge["currency"]
        raise InvalidRequest(
            f"Refund amount ({shown(amount, currency)}) is greater than unrefunded amount on charge "
            f"({shown(left, currency)})",
            param="amount",
        )
    return amount


def _holds(dispute: Json) -> bool:
    return dispute["status"] in ("needs_response", "under_review", "lost")


def _scope(thing: Json) -> Scope:
    return Scope(*thing["_scope"])


def _refunded(world: World, charge: Json) -> int:
    refunds = world.store.linked(_scope(charge), "refund", "charge", charge["id"])
    return sum(refund["amount"] for refund in refunds if refund["status"] not in _TAKEN_BACK)


def _count(world: World, charge: Json) -> None:
    refunded = _refunded(world, charge)
    charge.update(amount_refunded=refunded, refunded=refunded >= charge["amount_captured"])
    world.store.save(charge)


@later("fail_refund")
def fail_refund(world: World, refund: Json, reason: str = "lost_or_stolen_card") -> None:
    """The bank sends the money back: the refund fails, and the balance has it again."""
    if refund["status"] in _TAKEN_BACK:
        return
    before = refund["status"]
    refund.update(status="failed", failure_reason=reason)
    enter_refund_failure(world, refund)
    world.store.save(refund)
    charge = world.store.find(refund["charge"])
    if charge is not None:
        _count(world, charge)
    world.emit("refund.updated", refund, {"status": before})
    world.emit("charge.refund.updated", refund, {"status": before})
    world.emit("refund.failed", refund)


def finish_refund(world: World, refund: Json) -> None:
    """A pending refund succeeds."""
    refund["status"] = "succeeded"
    world.store.save(refund)
    world.emit("refund.updated", refund, {"status": "pending"})
    world.emit("charge.refund.updated", refund, {"status": "pending"})


@operation("POST /refunds", "refunds.create", params="RefundCreateParams")
def create(call: Call) -> Json:
    params = call.params
    return refund_charge(
        call.world,
        _charge(call),
        params.get("amount"),
        reason=params.get("reason"),
        metadata=params.get("metadata"),
    )


def _charge(call: Call) -> Json:
    charge_id, intent_id = call.params.get("charge"), call.params.get("payment_intent")
    if charge_id:
        return call.referred("charge", charge_id, param="charge")
    if not intent_id:
        raise InvalidRequest(
            "One of the following params should be provided for this request: payment_intent or charge.",
            code="parameter_missing",
        )
    intent = call.referred("payment_intent", intent_id, param="payment_intent")
    charge = intent["latest_charge"] and call.store.find(intent["latest_charge"])
    if not charge or not charge["paid"]:
        raise InvalidRequest(
            f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.",
            param="payment_intent",
        )
    return charge


@operation("GET /refunds/:id", "refunds.retrieve", params="RefundRetrieveParams")
def retrieve(call: Call) -> Json:
    return call.named("refund")


@operation("POST /refunds/:id", "refunds.update", params="RefundUpdateParams")
def update(call: Call) -> Json:
    refund = call.named("refund")
    if "metadata" in call.params:
        merge_metadata(refund, call.params["metadata"])
    call.store.save(refund)
    call.world.emit("refund.updated", refund, {})
    return refund


@operation("POST /refunds/:id/cancel", "refunds.cancel", params="RefundCancelParams")
def cancel(call: Call) -> Json:
    """Only refunds that wait for the payer's action can be cancelled; a card's never do."""
    refund = call.named("refund")
    raise InvalidRequest(f"You cannot cancel a refund with status {refund['status']}.")


@operation("GET /refunds", "refunds.list", params="RefundListParams")
def list_all(call: Call) -> Json:
    charge, intent = call.params.get("charge"), call.params.get("payment_intent")
    if charge:
        things = call.store.linked(call.scope, "refund", "charge", charge)
    elif intent:
        things = call.store.linked(call.scope, "refund", "payment_intent", intent)
    else:
        things = call.store.newest_first(call.scope, "refund")
    return page(call, "/v1/refunds", things, matching=lambda one: intent in (None, one["payment_intent"]))
