"""Confirming: how a payment or setup intent comes by its payment method, and what the card's bank says to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from portal.sandbox.cards import Card, decline_of
from portal.sandbox.operations import Call
from portal.sandbox.problems import CardError, InvalidRequest, Json, no_such_reference
from portal.sandbox.resources.charges import declined_charge, paid_charge
from portal.sandbox.resources.payment_methods import attach_to, card_of, method_from_data, usable_method
from portal.sandbox.store import Scope
from portal.sandbox.world import World, public

_CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
_AUTHENTICATION_FAILED = (
    "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new "
    "PaymentMethod to attempt to fulfill this PaymentIntent again."
)


@dataclass(frozen=True, slots=True)
class Terms:
    """How one confirmation is meant."""

    off_session: bool
    fails_on_action: bool
    """`error_on_requires_action`: rather decline than ask the payer for anything."""
    in_page: bool
    """The next action is for Stripe.js in the page, not for a redirect."""
    return_url: str | None


def refuse_unless_confirmable(intent: Json) -> None:
    """Raises InvalidRequest for an intent that is past being confirmed."""
    status, kind = intent["status"], "PaymentIntent" if intent["object"] == "payment_intent" else "SetupIntent"
    if status in _CONFIRMABLE:
        return
    reason = (
        "it has already succeeded after being previously confirmed"
        if status == "succeeded"
        else f"it has a status of {status}. Only a {kind} with one of the following statuses may be confirmed: "
        "requires_confirmation, requires_action"
    )
    raise _unexpected(intent, f"You cannot confirm this {kind} because {reason}.")


def _unexpected(intent: Json, message: str) -> InvalidRequest:
    kind = intent["object"]
    problem = InvalidRequest(message, code=f"{kind}_unexpected_state")
    problem.details[kind] = public(intent)
    return problem


def terms_of(intent: Json, params: Json, token: Json | None) -> Terms:
    in_page = params.get("use_stripe_sdk")
    if in_page is None:
        in_page = bool(token and token["use_stripe_sdk"])
    return_url = params.get("return_url") or (token["return_url"] if token else None)
    if return_url and urlsplit(return_url).scheme == "":
        raise InvalidRequest("Not a valid URL", code="url_invalid", param="return_url")
    automatic = intent["automatic_payment_methods"]
    redirects = automatic and automatic["enabled"] and automatic["allow_redirects"] == "always"
    if redirects and not return_url:
        raise InvalidRequest(
            "This intent is configured to accept payment methods enabled in your Dashboard. Because some of these "
            "payment methods might redirect your customer off of your page, you must provide a `return_url`. If you "
            "don't want to accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to `true` "
            "and `automatic_payment_methods[allow_redirects]` to `never` when creating the intent.",
            param="return_url",
        )
    return Terms(
        off_session=params.get("off_session") not in (None, False),
        fails_on_action=bool(params.get("error_on_requires_action")),
        in_page=bool(in_page),
        return_url=return_url,
    )


# the payment method


def token_for(call: Call, intent: Json, future_usage: str | None) -> Json | None:
    """The confirmation token that the call names, if it fits the intent. Raises InvalidRequest."""
    token_id = call.params.get("confirmation_token")
    if not token_id:
        return None
    rivals = [name for name in ("payment_method", "payment_method_data") if call.params.get(name)]
    if rivals:
        raise InvalidRequest(
            f"You may only specify one of these parameters: confirmation_token, {rivals[0]}.",
            param="confirmation_token",
        )
    token = call.store.get(call.scope, "confirmation_token", token_id)
    if token is None:
        raise no_such_reference("confirmation_token", token_id, param="confirmation_token")
    used_by = token["payment_intent"] or token["setup_intent"]
    if used_by:
        raise InvalidRequest(
            f"The ConfirmationToken {token_id} has already been used to confirm {used_by}. A ConfirmationToken can "
            "be used once.",
            param="confirmation_token",
        )
    if token["expires_at"] <= call.world.now:
        raise InvalidRequest(
            f"The ConfirmationToken {token_id} has expired. Collect the payment details again.",
            param="confirmation_token",
        )
    _refuse_mismatch(token, intent, future_usage)
    return token


def _refuse_mismatch(token: Json, intent: Json, future_usage: str | None) -> None:
    """Elements, the token they made and the intent must agree."""
    elements = token["_elements"]
    if elements is None:  # made by the test helper, which knows no Elements
        if token["setup_future_usage"] and future_usage:
            _must_match("setup_future_usage", token["setup_future_usage"], future_usage)
        return
    if intent["object"] == "payment_intent":
        _must_match("mode", elements.get("mode"), "payment")
        _must_match("amount", elements.get("amount"), intent["amount"])
        _must_match("currency", elements.get("currency"), intent["currency"])
        _must_match("setup_future_usage", elements.get("setup_future_usage"), future_usage)
    else:
        _must_match("mode", elements.get("mode"), "setup")
    _must_match(
        "allowed_payment_method_types",
        _as_set(elements.get("allowed_payment_method_types")),
        _as_set(intent["allowed_payment_method_types"]),
    )


def _as_set(names: list[str] | None) -> str | None:
    return ", ".join(sorted(names)) if names else None


def _must_match(name: str, given: Any, expected: Any) -> None:
    if given != expected:
        given, expected = ("null" if value is None else value for value in (given, expected))
        raise InvalidRequest(
            f"The provided {name} ({given}) does not match the expected {name} ({expected}). Try confirming with an "
            "intent that is configured to use the same parameters as Stripe Elements.",
            param=name,
        )


def method_for(call: Call, intent: Json, token: Json | None) -> Json:
    """The payment method to confirm with: from the token, named, typed, or the intent's own."""
    params = call.params
    if token:
        method = token["_method"]
        if call.store.get(call.scope, "payment_method", method["id"]):
            return usable_method(call, method["id"])
        return call.store.add(call.scope, dict(method))
    if params.get("payment_method"):
        method = usable_method(call, params["payment_method"])
    elif params.get("payment_method_data"):
        made = method_from_data(call, params["payment_method_data"], param="payment_method_data")
        method = call.store.add(call.scope, made)
    elif intent["payment_method"]:
        method = usable_method(call, intent["payment_method"])
    else:
        raise _unexpected(
            intent,
            "You cannot confirm this intent because it's missing a payment method. You can either update the intent "
            "with a payment method and then confirm it again, or confirm it again directly with a payment method or "
            "ConfirmationToken.",
        )
    return method


def refuse_foreign_method(method: Json, customer: str | None, *, intent: Json) -> None:
    """A saved card is only for the customer that it is attached to, and only of a type that the intent takes."""
    if method["type"] not in intent["payment_method_types"]:
        raise InvalidRequest(
            f"The payment method type {method['type']} is not allowed for this intent.", param="payment_method"
        )
    owner = method["customer"]
    if owner is None or owner == customer:
        return
    if customer is None:
        raise InvalidRequest(
            f"The payment method {method['id']} belongs to the Customer {owner}. Please include the Customer in the "
            "`customer` parameter on the intent.",
            param="payment_method",
        )
    raise InvalidRequest(
        f"The customer {customer} does not match the Customer {owner} that the payment method {method['id']} is "
        "attached to.",
        param="payment_method",
    )


# the payer's part


def needs_authentication(method: Json, card: Card, terms: Terms, intent: Json) -> bool:
    """Whether the card's bank wants to hear from the payer. Stripe's test cards differ in when it does."""
    if card.authentication == "always":
        return True
    if card.authentication == "on session":
        return not terms.off_session
    if card.authentication == "unless set up":
        return not (terms.off_session and method["_set_up"])
    options = intent["payment_method_options"].get("card") or {}
    return options.get("request_three_d_secure") == "challenge" and card.brand in ("visa", "mastercard")


def ask_for_action(world: World, intent: Json, terms: Terms) -> None:
    """Wait for the payer: in the page where Stripe.js is at work, else behind a redirect."""
    path = f"/challenge/{intent['id']}"
    intent["status"] = "requires_action"
    if terms.in_page or not terms.return_url:
        intent["next_action"] = {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": world.base_url + path},
        }
    else:
        intent["next_action"] = {
            "type": "redirect_to_url",
            "redirect_to_url": {
                "return_url": terms.return_url,
                "url": f"{world.base_url}{path}/redirect?client_secret={intent['client_secret']}",
            },
        }
    world.store.save(intent)
    world.emit(f"{intent['object']}.requires_action", intent)


# the bank's part


def attempt_charge(
    world: World, intent: Json, method: Json, card: Card, *, refuse: str | None = None
) -> CardError | None:
    """One try at the card. Returns the decline, if it is one; the intent says the same."""
    reason = refuse or card.declines
    if reason:
        charge = declined_charge(world, intent, method, card, reason)
        return decline(world, intent, method, decline_of(reason), charge=charge["id"])
    captured = intent["capture_method"] != "manual"
    charge = paid_charge(world, intent, method, card, captured=captured)
    intent.update(latest_charge=charge["id"], next_action=None, last_payment_error=None)
    if captured:
        intent.update(status="succeeded", amount_received=intent["amount"])
    else:
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
    world.store.save(intent)
    keep_method(world, intent, method)
    world.emit("payment_intent.succeeded" if captured else "payment_intent.amount_capturable_updated", intent)
    return None


def keep_method(world: World, intent: Json, method: Json) -> None:
    """Save the card with its customer when that was asked for; else it was for this once."""
    wanted = intent["object"] == "setup_intent" or intent["setup_future_usage"]
    if wanted:
        method["_set_up"] = True
    if method["customer"] is None:
        if wanted and intent["customer"]:
            attach_to(world, method, intent["customer"])
        elif intent["object"] == "payment_intent":
            method["_detached"] = True
    world.store.save(method)


def decline(
    world: World, intent: Json, method: Json, fields: Json, *, charge: str | None = None, type_: str = "card_error"
) -> CardError:
    """The intent goes back to waiting for a payment method, and remembers why."""
    error = CardError(**fields, charge=charge, payment_method=public(method))
    remembered = {**error.body()["error"], "type": type_}
    is_payment = intent["object"] == "payment_intent"
    intent["last_payment_error" if is_payment else "last_setup_error"] = remembered
    intent.update(status="requires_payment_method", next_action=None, payment_method=None)
    if charge:
        intent["latest_charge"] = charge
    intent.pop("_authenticated", None)
    world.store.save(intent)
    world.emit("payment_intent.payment_failed" if is_payment else "setup_intent.setup_failed", intent)
    error.details[intent["object"]] = public(intent)
    return error


def authentication_failed(world: World, intent: Json, method: Json) -> None:
    code = f"{intent['object']}_authentication_failure"
    decline(
        world,
        intent,
        method,
        {"message": _AUTHENTICATION_FAILED, "code": code},
        type_="invalid_request_error",
    )


def method_of(world: World, intent: Json) -> tuple[Json, Card]:
    """The payment method that the intent is being tried with."""
    method = world.store.get(Scope(*intent["_scope"]), "payment_method", intent["payment_method"])
    if method is None:
        raise LookupError(f"{intent['id']} is waiting, but has no payment method")
    return method, card_of(method)
