"""Disputes: opened by a bank, then won or lost. An inquiry takes no money unless it becomes a chargeback."""

from __future__ import annotations

from typing import Literal

from portal.sandbox.operations import Call, operation
from portal.sandbox.paging import page
from portal.sandbox.problems import InvalidRequest, Json
from portal.sandbox.resources.balance import enter_reinstatement, enter_withdrawal
from portal.sandbox.resources.common import merge_metadata
from portal.sandbox.shapes import dispute_shape
from portal.sandbox.store import Scope
from portal.sandbox.world import World

_OVER = ("won", "lost", "warning_closed")


def open_dispute(
    world: World, charge: Json, *, amount: int | None = None, reason: str = "fraudulent", inquiry: bool = False
) -> Json:
    dispute = dispute_shape(
        world.now, charge=charge, amount=amount or charge["amount_captured"], reason=reason, inquiry=inquiry
    )
    world.store.add(Scope(*charge["_scope"]), dispute)
    charge["disputed"] = True
    world.store.save(charge)
    if inquiry:
        world.emit("charge.dispute.created", dispute)
    else:
        _withdraw(world, dispute, created=True)
    return dispute


def _withdraw(world: World, dispute: Json, *, created: bool) -> None:
    enter_withdrawal(world, dispute)
    if created:
        world.emit("charge.dispute.created", dispute)
    world.emit("charge.dispute.funds_withdrawn", dispute)


def escalate_inquiry(world: World, dispute: Json) -> None:
    """An inquiry becomes a chargeback: now the money goes."""
    if dispute["status"] != "warning_needs_response":
        raise InvalidRequest(f"Dispute {dispute['id']} is not an open inquiry.")
    dispute.update(status="needs_response", is_charge_refundable=False)
    dispute["payment_method_details"]["card"]["case_type"] = "chargeback"
    _withdraw(world, dispute, created=False)
    world.emit("charge.dispute.updated", dispute, {"status": "warning_needs_response"})


def close_dispute(world: World, dispute: Json, outcome: Literal["won", "lost"]) -> None:
    if dispute["status"] in _OVER:
        raise InvalidRequest(f"This dispute is already closed ({dispute['status']}).")
    was_inquiry = dispute["status"].startswith("warning_")
    dispute["status"] = "warning_closed" if was_inquiry and outcome == "won" else outcome
    if was_inquiry and outcome == "lost":
        enter_withdrawal(world, dispute)
        world.emit("charge.dispute.funds_withdrawn", dispute)
    world.store.save(dispute)
    if dispute["status"] == "won":
        enter_reinstatement(world, dispute)
        world.emit("charge.dispute.funds_reinstated", dispute)
    world.emit("charge.dispute.closed", dispute)


@operation("GET /disputes/:id", "disputes.retrieve", params="DisputeRetrieveParams")
def retrieve(call: Call) -> Json:
    return call.named("dispute")


@operation("POST /disputes/:id", "disputes.update", params="DisputeUpdateParams")
def update(call: Call) -> Json:
    """Evidence decides as at Stripe in test mode: `winning_evidence` wins, `losing_evidence` loses."""
    dispute, params = call.named("dispute"), call.params
    if dispute["status"] in _OVER:
        raise InvalidRequest("This dispute is already closed.", param="id")
    if "metadata" in params:
        merge_metadata(dispute, params["metadata"])
    evidence = params.get("evidence") or {}
    dispute["evidence"] = {**dispute["evidence"], **evidence}
    call.store.save(dispute)
    call.world.emit("charge.dispute.updated", dispute, {})
    if params.get("submit", True) and evidence.get("uncategorized_text") == "winning_evidence":
        close_dispute(call.world, dispute, "won")
    elif params.get("submit", True) and evidence.get("uncategorized_text") == "losing_evidence":
        close_dispute(call.world, dispute, "lost")
    return dispute


@operation("POST /disputes/:id/close", "disputes.close", params="DisputeCloseParams")
def close(call: Call) -> Json:
    """To close is to accept: the dispute is lost."""
    dispute = call.named("dispute")
    close_dispute(call.world, dispute, "lost")
    return dispute


@operation("GET /disputes", "disputes.list", params="DisputeListParams")
def list_all(call: Call) -> Json:
    charge, intent = call.params.get("charge"), call.params.get("payment_intent")
    if charge:
        things = call.store.linked(call.scope, "dispute", "charge", charge)
    elif intent:
        things = call.store.linked(call.scope, "dispute", "payment_intent", intent)
    else:
        things = call.store.newest_first(call.scope, "dispute")
    return page(call, "/v1/disputes", things, matching=lambda one: intent in (None, one["payment_intent"]))
