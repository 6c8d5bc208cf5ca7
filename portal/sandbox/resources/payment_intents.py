"""Payment intents: from the wish to be paid to the charge."""

from __future__ import annotations

from collections.abc import Callable

from portal.sandbox.operations import Call, operation
from portal.sandbox.paging import page
from portal.sandbox.problems import InvalidRequest, Json
from portal.sandbox.resources.charges import capture as capture_charge
from portal.sandbox.resources.common import (
    check_amount,
    check_currency,
    check_one_way_of_naming_methods,
    choose_method_types,
    take,
)
from portal.sandbox.resources.confirming import (
    Terms,
    ask_for_action,
    attempt_charge,
    authentication_failed,
    method_for,
    method_of,
    needs_authentication,
    refuse_foreign_method,
    refuse_unless_confirmable,
    terms_of,
    token_for,
)
from portal.sandbox.resources.disputes import open_dispute
from portal.sandbox.resources.payment_methods import card_of, data_shape, usable_method
from portal.sandbox.shapes import payment_intent_shape
from portal.sandbox.strictness import Check, as_given
from portal.sandbox.world import World, public

_CANCELABLE = ("requires_payment_method", "requires_capture", "requires_confirmation", "requires_action")
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
_WRITTEN = (
    "description",
    "metadata",
    "receipt_email",
    "setup_future_usage",
    "shipping",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)
_BROWSER_SEES = [
    "id",
    "object",
    "amount",
    "amount_details",
    "automatic_payment_methods",
    "canceled_at",
    "cancellation_reason",
    "capture_method",
    "client_secret",
    "confirmation_method",
    "created",
    "currency",
    "description",
    "last_payment_error",
    "livemode",
    "next_action",
    "payment_method",
    "payment_method_configuration_details",
    "payment_method_types",
    "processing",
    "receipt_email",
    "setup_future_usage",
    "shipping",
    "source",
    "status",
]
_ONLY_WITH_CONFIRM = (
    "confirmation_token",
    "error_on_requires_action",
    "mandate_data",
    "off_session",
    "return_url",
    "use_stripe_sdk",
)


def _no_longer_supported() -> Check:
    """Lets the name through to the rule that explains why it is refused."""
    return as_given


_REPLACED: dict[str, Callable[[], Check]] = {
    "payment_method_types": _no_longer_supported,
    "payment_method_data": data_shape,
}


def _rules_of_create(params: Json) -> None:
    check_one_way_of_naming_methods(params)
    check_currency(params["currency"])
    check_amount(params["amount"], params["currency"])
    if not params.get("confirm"):
        for name in _ONLY_WITH_CONFIRM:
            if params.get(name) and name != "use_stripe_sdk":
                raise InvalidRequest(
                    f"The parameter `{name}` cannot be passed when creating a PaymentIntent unless `confirm` is set "
                    "to true.",
                    param=name,
                )


def _rules_of_confirm(params: Json) -> None:
    check_one_way_of_naming_methods(params)


@operation(
    "POST /payment_intents",
    "payment_intents.create",
    params="PaymentIntentCreateParams",
    replaced=_REPLACED,
    rules=_rules_of_create,
)
def create(call: Call) -> Json:
    params = call.params
    intent = payment_intent_shape(
        call.world.now, amount=params["amount"], currency=params["currency"], livemode=call.scope.livemode
    )
    choose_method_types(intent, params)
    take(intent, params, (*_WRITTEN, "capture_method", "confirmation_method"))
    _write_options(intent, params)
    if params.get("customer"):
        intent["customer"] = call.referred("customer", params["customer"], param="customer")["id"]
    if params.get("confirm"):
        intent["_scope"] = list(call.scope)
        plan = _plan(call, intent)
        call.store.add(call.scope, intent)
        call.world.emit("payment_intent.created", intent)
        return _confirm(call, intent, plan)
    if params.get("payment_method"):
        _propose(call, intent, params["payment_method"])
    call.store.add(call.scope, intent)
    call.world.emit("payment_intent.created", intent)
    return intent


def _write_options(intent: Json, params: Json) -> None:
    for kind, options in (params.get("payment_method_options") or {}).items():
        before = intent["payment_method_options"].get(kind) or {}
        intent["payment_method_options"] = {**intent["payment_method_options"], kind: {**before, **(options or {})}}


def _propose(call: Call, intent: Json, method_id: str) -> None:
    method = usable_method(call, method_id)
    refuse_foreign_method(method, intent["customer"], intent=intent)
    intent.update(payment_method=method["id"], status="requires_confirmation")


@operation(
    "GET /payment_intents/:id",
    "payment_intents.retrieve",
    params="PaymentIntentRetrieveParams",
    browser=("client_secret",),
    browser_only={"key": as_given, "is_stripe_sdk": as_given},
)
def retrieve(call: Call) -> Json:
    intent = call.named("payment_intent")
    check_client_secret(call, intent)
    return _as_seen_by(call, intent)


def check_client_secret(call: Call, intent: Json) -> None:
    """A browser must prove that it was told of this very intent."""
    given = call.params.get("client_secret")
    if given is None and not call.caller.is_browser:
        return
    if given is None:
        raise InvalidRequest(
            "Missing required param: client_secret.", code="parameter_missing", param="client_secret"
        )
    if given != intent["client_secret"]:
        raise InvalidRequest(
            "The client_secret provided does not match the client_secret associated with this intent.",
            code=f"{intent['object']}_invalid_parameter",
            param="client_secret",
        )


def _as_seen_by(call: Call, intent: Json) -> Json:
    if not call.caller.is_browser:
        return intent
    return {name: intent[name] for name in _BROWSER_SEES}


@operation(
    "POST /payment_intents/:id",
    "payment_intents.update",
    params="PaymentIntentUpdateParams",
    replaced=_REPLACED,
    rules=check_one_way_of_naming_methods,
)
def update(call: Call) -> Json:
    intent, params = call.named("payment_intent"), call.params
    if intent["status"] not in _OPEN and set(params) - {"description", "metadata", "receipt_email", "expand"}:
        raise InvalidRequest(
            f"This PaymentIntent's parameters could not be updated because it has a status of {intent['status']}. "
            f"You may only update it while it has one of the following statuses: {', '.join(_OPEN)}.",
            code="payment_intent_unexpected_state",
            payment_intent=public(intent),
        )
    currency = call.given("currency", intent["currency"])
    check_currency(currency)
    check_amount(call.given("amount", intent["amount"]), currency)
    customer = params.get("customer")
    if customer:
        call.referred("customer", customer, param="customer")
    take(intent, params, (*_WRITTEN, "amount", "currency", "customer", "capture_method"))
    _write_options(intent, params)
    if any(params.get(name) for name in ("allowed_payment_method_types", "excluded_payment_method_types")):
        choose_method_types(intent, params)
    if params.get("payment_method"):
        _propose(call, intent, params["payment_method"])
    call.store.save(intent)
    return intent


@operation(
    "POST /payment_intents/:id/confirm",
    "payment_intents.confirm",
    params="PaymentIntentConfirmParams",
    replaced=_REPLACED,
    browser=(
        "confirmation_token",
        "payment_method",
        "payment_method_data",
        "payment_method_options",
        "receipt_email",
        "return_url",
        "setup_future_usage",
        "shipping",
        "use_stripe_sdk",
        "mandate_data",
    ),
    browser_only={"client_secret": as_given, "key": as_given, "expected_payment_method_type": as_given},
    rules=_rules_of_confirm,
)
def confirm(call: Call) -> Json:
    intent = call.named("payment_intent")
    check_client_secret(call, intent)
    return _as_seen_by(call, _confirm(call, intent, _plan(call, intent)))


_Plan = tuple[Json, Json | None, Terms, str | None]


def _plan(call: Call, intent: Json) -> _Plan:
    """Everything that can be refused, before anything changes."""
    params = call.params
    refuse_unless_confirmable(intent)
    if call.given("amount_to_confirm", intent["amount"]) != intent["amount"]:
        raise InvalidRequest("The sandbox confirms the intent's own amount only.", param="amount_to_confirm")
    future_usage = call.given("setup_future_usage", intent["setup_future_usage"])
    token = token_for(call, intent, future_usage)
    terms = terms_of(intent, params, token)
    method = method_for(call, intent, token)
    refuse_foreign_method(method, intent["customer"], intent=intent)
    return method, token, terms, future_usage or (token["setup_future_usage"] if token else None)


def _confirm(call: Call, intent: Json, plan: _Plan) -> Json:
    """Raises CardError for a decline; the intent is back to requires_payment_method then."""
    method, token, terms, future_usage = plan
    world, card = call.world, card_of(method)
    take(intent, call.params, ("receipt_email", "shipping", "capture_method"))
    _write_options(intent, call.params)
    if call.params.get("allowed_payment_method_types") or call.params.get("excluded_payment_method_types"):
        choose_method_types(intent, call.params)
    intent.update(payment_method=method["id"], setup_future_usage=future_usage, last_payment_error=None)
    intent["_authenticated"] = False
    if token:
        token["payment_intent"] = intent["id"]
        intent["shipping"] = token["shipping"] or intent["shipping"]
        call.store.save(token)
    call.store.save(intent)
    if needs_authentication(method, card, terms, intent):
        if terms.off_session or terms.fails_on_action:
            _raise(attempt_charge(world, intent, method, card, refuse="authentication_required"))
        else:
            ask_for_action(world, intent, terms)
    else:
        _raise(_try_card(world, intent, method))
    return intent


def _raise(error: Exception | None) -> None:
    if error is not None:
        raise error


def _try_card(world: World, intent: Json, method: Json) -> Exception | None:
    card = card_of(method)
    if card.stays_processing:
        intent.update(status="processing", next_action=None, processing={"type": "card"})
        world.store.save(intent)
        world.emit("payment_intent.processing", intent)
        return None
    error = attempt_charge(world, intent, method, card)
    if error is None and card.disputed:
        charge = world.store.find(intent["latest_charge"])
        if charge and charge["captured"]:
            open_dispute(world, charge, reason=card.disputed, inquiry=card.inquiry)
    return error


def finish_authentication(world: World, intent: Json, *, succeeded: bool) -> None:
    """The payer has answered the bank. Raises ValueError when nothing was asked."""
    if intent["status"] != "requires_action":
        raise ValueError(f"{intent['id']} waits for nobody: it is {intent['status']}")
    method, _ = method_of(world, intent)
    if not succeeded:
        authentication_failed(world, intent, method)
        return
    intent["_authenticated"] = True
    _try_card(world, intent, method)


def finish_processing(world: World, intent: Json, *, succeeded: bool) -> None:
    """A payment that was `processing` has come to its end."""
    if intent["status"] != "processing":
        raise ValueError(f"{intent['id']} is not processing: it is {intent['status']}")
    method, card = method_of(world, intent)
    intent["processing"] = None
    if succeeded:
        attempt_charge(world, intent, method, card)
    else:
        attempt_charge(world, intent, method, card, refuse="generic_decline")


@operation("POST /payment_intents/:id/cancel", "payment_intents.cancel", params="PaymentIntentCancelParams")
def cancel(call: Call) -> Json:
    intent = call.named("payment_intent")
    if intent["status"] not in _CANCELABLE:
        raise InvalidRequest(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. Only a "
            "PaymentIntent with one of the following statuses may be canceled: requires_payment_method, "
            "requires_capture, requires_confirmation, requires_action, processing.",
            code="payment_intent_unexpected_state",
            payment_intent=public(intent),
        )
    intent.update(
        status="canceled",
        canceled_at=call.world.now,
        cancellation_reason=call.params.get("cancellation_reason"),
        next_action=None,
        amount_capturable=0,
    )
    call.store.save(intent)
    call.world.emit("payment_intent.canceled", intent)
    return intent


@operation("POST /payment_intents/:id/capture", "payment_intents.capture", params="PaymentIntentCaptureParams")
def capture(call: Call) -> Json:
    intent = call.named("payment_intent")
    if intent["status"] != "requires_capture":
        raise InvalidRequest(
            f"This PaymentIntent could not be captured because it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
            payment_intent=public(intent),
        )
    amount = call.given("amount_to_capture", intent["amount_capturable"])
    if not 1 <= amount <= intent["amount_capturable"]:
        raise InvalidRequest(
            "The amount to capture is greater than the amount that can be captured.", param="amount_to_capture"
        )
    charge = call.referred("charge", intent["latest_charge"], param="latest_charge")
    capture_charge(call.world, charge, amount)
    intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
    call.store.save(intent)
    call.world.emit("charge.captured", charge)
    call.world.emit("payment_intent.succeeded", intent)
    return intent


@operation("GET /payment_intents", "payment_intents.list", params="PaymentIntentListParams")
def list_all(call: Call) -> Json:
    customer = call.params.get("customer")
    things = (
        call.store.linked(call.scope, "payment_intent", "customer", customer)
        if customer
        else call.store.newest_first(call.scope, "payment_intent")
    )
    return page(call, "/v1/payment_intents", things)
