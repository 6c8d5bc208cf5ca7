"""Setup intents: keep a card for later without charging it."""

from __future__ import annotations

from collections.abc import Callable

from portal.sandbox.cards import decline_of
from portal.sandbox.operations import Call, operation
from portal.sandbox.paging import page
from portal.sandbox.problems import InvalidRequest, Json
from portal.sandbox.resources.common import check_one_way_of_naming_methods, choose_method_types, take
from portal.sandbox.resources.confirming import (
    ask_for_action,
    authentication_failed,
    decline,
    keep_method,
    method_for,
    method_of,
    needs_authentication,
    refuse_foreign_method,
    refuse_unless_confirmable,
    terms_of,
    token_for,
)
from portal.sandbox.resources.payment_intents import check_client_secret
from portal.sandbox.resources.payment_methods import card_of, data_shape
from portal.sandbox.shapes import setup_intent_shape
from portal.sandbox.strictness import Check, as_given
from portal.sandbox.world import World, public

_CANCELABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
_BROWSER_SEES = [
    "id",
    "object",
    "automatic_payment_methods",
    "cancellation_reason",
    "client_secret",
    "created",
    "description",
    "last_setup_error",
    "livemode",
    "next_action",
    "payment_method",
    "payment_method_configuration_details",
    "payment_method_types",
    "status",
    "usage",
]


def _passed_on() -> Check:
    return as_given


_REPLACED: dict[str, Callable[[], Check]] = {"payment_method_types": _passed_on, "payment_method_data": data_shape}


@operation(
    "POST /setup_intents",
    "setup_intents.create",
    params="SetupIntentCreateParams",
    replaced=_REPLACED,
    rules=check_one_way_of_naming_methods,
)
def create(call: Call) -> Json:
    params = call.params
    intent = setup_intent_shape(call.world.now, livemode=call.scope.livemode)
    choose_method_types(intent, params)
    take(intent, params, ("description", "metadata", "usage"))
    if params.get("customer"):
        intent["customer"] = call.referred("customer", params["customer"], param="customer")["id"]
    intent["_scope"] = list(call.scope)
    if params.get("confirm"):
        return _confirm(call, intent, created=True)
    if params.get("payment_method"):
        method = method_for(call, intent, None)
        refuse_foreign_method(method, intent["customer"], intent=intent)
        intent.update(payment_method=method["id"], status="requires_confirmation")
    call.store.add(call.scope, intent)
    call.world.emit("setup_intent.created", intent)
    return intent


@operation(
    "GET /setup_intents/:id",
    "setup_intents.retrieve",
    params="SetupIntentRetrieveParams",
    browser=("client_secret",),
    browser_only={"key": as_given, "is_stripe_sdk": as_given},
)
def retrieve(call: Call) -> Json:
    intent = call.named("setup_intent")
    check_client_secret(call, intent)
    return _as_seen_by(call, intent)


def _as_seen_by(call: Call, intent: Json) -> Json:
    if not call.caller.is_browser:
        return intent
    return {name: intent[name] for name in _BROWSER_SEES}


@operation(
    "POST /setup_intents/:id/confirm",
    "setup_intents.confirm",
    params="SetupIntentConfirmParams",
    replaced=_REPLACED,
    browser=("confirmation_token", "payment_method", "payment_method_data", "return_url", "use_stripe_sdk"),
    browser_only={"client_secret": as_given, "key": as_given, "expected_payment_method_type": as_given},
)
def confirm(call: Call) -> Json:
    intent = call.named("setup_intent")
    check_client_secret(call, intent)
    return _as_seen_by(call, _confirm(call, intent, created=False))


def _confirm(call: Call, intent: Json, *, created: bool) -> Json:
    refuse_unless_confirmable(intent)
    token = token_for(call, intent, None)
    terms = terms_of(intent, call.params, token)
    method = method_for(call, intent, token)
    refuse_foreign_method(method, intent["customer"], intent=intent)
    intent.update(payment_method=method["id"], last_setup_error=None)
    if token:
        token["setup_intent"] = intent["id"]
        call.store.save(token)
    if created:
        call.store.add(call.scope, intent)
        call.world.emit("setup_intent.created", intent)
    card = card_of(method)
    if card.authentication != "on session" and needs_authentication(method, card, terms, _without_options(intent)):
        ask_for_action(call.world, intent, terms)
    else:
        _keep(call.world, intent, method)
    call.store.save(intent)
    return intent


def _without_options(intent: Json) -> Json:
    return {**intent, "payment_method_options": {}}


def _keep(world: World, intent: Json, method: Json) -> None:
    """Raises CardError when the bank will not have it."""
    card = card_of(method)
    if card.declines and card.declines_attach:
        raise decline(world, intent, method, decline_of(card.declines))
    intent.update(status="succeeded", next_action=None)
    world.store.save(intent)
    keep_method(world, intent, method)
    world.emit("setup_intent.succeeded", intent)


def finish_authentication(world: World, intent: Json, *, succeeded: bool) -> None:
    """The payer has answered the bank. Raises ValueError when nothing was asked."""
    if intent["status"] != "requires_action":
        raise ValueError(f"{intent['id']} waits for nobody: it is {intent['status']}")
    method, _ = method_of(world, intent)
    if succeeded:
        _keep(world, intent, method)
    else:
        authentication_failed(world, intent, method)


@operation("POST /setup_intents/:id/cancel", "setup_intents.cancel", params="SetupIntentCancelParams")
def cancel(call: Call) -> Json:
    intent = call.named("setup_intent")
    if intent["status"] not in _CANCELABLE:
        raise InvalidRequest(
            f"You cannot cancel this SetupIntent because it has a status of {intent['status']}. Only a SetupIntent "
            "with one of the following statuses may be canceled: requires_payment_method, requires_confirmation, "
            "requires_action.",
            code="setup_intent_unexpected_state",
            setup_intent=public(intent),
        )
    intent.update(status="canceled", cancellation_reason=call.params.get("cancellation_reason"), next_action=None)
    call.store.save(intent)
    call.world.emit("setup_intent.canceled", intent)
    return intent


@operation("GET /setup_intents", "setup_intents.list", params="SetupIntentListParams")
def list_all(call: Call) -> Json:
    customer = call.params.get("customer")
    things = call.store.newest_first(call.scope, "setup_intent")
    return page(call, "/v1/setup_intents", things, matching=lambda one: customer in (None, one["customer"]))
