"""Confirmation tokens: what a person typed into Elements, for the server to confirm with, once, within 12 hours."""

from __future__ import annotations

from portal.sandbox.cards import TEST_ID_PREFIX
from portal.sandbox.operations import Call, operation
from portal.sandbox.problems import InvalidRequest, Json
from portal.sandbox.resources.payment_methods import (
    data_shape,
    method_from_data,
    method_from_test_id,
)
from portal.sandbox.shapes import confirmation_token_shape
from portal.sandbox.strictness import Check, as_given

LIFETIME_S = 12 * 3600
_CREATE = "test_helpers.ConfirmationTokenCreateParams"
_NAMES = ("payment_method", "payment_method_data", "payment_method_options", "return_url", "shipping")


def _elements(value: object, path: str) -> Json:
    """How the Elements were set up that made the token: checked against the intent when it is confirmed."""
    if not isinstance(value, dict) or not set(value) <= {
        "mode", "amount", "currency", "setup_future_usage", "allowed_payment_method_types"
    }:  # fmt: skip
        raise InvalidRequest("Invalid object", param=path)
    elements = dict(value)
    if "amount" in elements:
        if not str(elements["amount"]).isdecimal():
            raise InvalidRequest("Invalid integer", code="parameter_invalid_integer", param=f"{path}[amount]")
        elements["amount"] = int(elements["amount"])
    return elements


_FROM_ELEMENTS: dict[str, Check] = {
    "client_context": _elements,
    "setup_future_usage": lambda value, _path: value or None,
    "use_stripe_sdk": lambda value, _path: value != "false",
    "key": as_given,
}


@operation(
    "POST /confirmation_tokens",
    "confirmation_tokens.create",
    params=_CREATE,
    replaced={"payment_method_data": data_shape},
    browser=_NAMES,
    browser_only=_FROM_ELEMENTS,
    server=False,
)
def create(call: Call) -> Json:
    """Called by the Payment Element's frame."""
    return _create(call)


@operation(
    "POST /test_helpers/confirmation_tokens",
    "test_helpers.confirmation_tokens.create",
    params=_CREATE,
    replaced={"payment_method_data": data_shape},
)
def create_for_a_test(call: Call) -> Json:
    if call.scope.livemode:
        raise InvalidRequest("This endpoint is only available in test mode.", status=403)
    return _create(call)


def _create(call: Call) -> Json:
    params = call.params
    method = _method(call)
    preview = {
        name: method[name] for name in ("allow_redisplay", "billing_details", "card", "customer", "customer_account")
    }
    token = confirmation_token_shape(
        call.world.now,
        lifetime_s=LIFETIME_S,
        preview={**preview, "type": "card"},
        livemode=call.scope.livemode,
    )
    for name in ("return_url", "setup_future_usage", "shipping"):
        token[name] = params.get(name)
    token["use_stripe_sdk"] = params.get("use_stripe_sdk", True)
    token["_elements"] = params.get("client_context")
    token["_method"] = method
    return call.store.add(call.scope, token)


def _method(call: Call) -> Json:
    """The payment method to be: it exists only inside the token until an intent is confirmed with it."""
    named, data = call.params.get("payment_method"), call.params.get("payment_method_data")
    if named and not named.startswith(TEST_ID_PREFIX):
        return dict(call.referred("payment_method", named, param="payment_method"))
    if named:
        method = method_from_test_id(call, named, param="payment_method")
        details = (data or {}).get("billing_details") if data else None
        return {**method, "billing_details": details or method["billing_details"]}
    if data:
        return method_from_data(call, data, param="payment_method_data")
    raise InvalidRequest("You must provide one of payment_method and payment_method_data.", code="parameter_missing")


@operation("GET /confirmation_tokens/:id", "confirmation_tokens.retrieve", params="ConfirmationTokenRetrieveParams")
def retrieve(call: Call) -> Json:
    return call.named("confirmation_token")
