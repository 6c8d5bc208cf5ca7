"""Short ways to the usual situations."""

from __future__ import annotations

from typing import Any

import stripe


def intent(api: stripe.StripeClient, **params: Any) -> Any:
    """An unconfirmed intent over 10.00 CAD for cards."""
    given: Any = {"amount": 1000, "currency": "cad", "allowed_payment_method_types": ["card"], **params}
    return api.v1.payment_intents.create(given)


def confirm(api: stripe.StripeClient, intent_id: str, *, key: str | None = None, **params: Any) -> Any:
    given: Any = {"return_url": "https://clinic.example/return", **params}
    return api.v1.payment_intents.confirm(intent_id, given, {"idempotency_key": key} if key else {})


def paid(api: stripe.StripeClient, card: str = "pm_card_visa", **params: Any) -> Any:
    return confirm(api, intent(api, **params).id, payment_method=card)


def elements_token(browser: stripe.StripeClient, **changes: Any) -> str:
    """A confirmation token as the Payment Element makes it, for 10.00 CAD by card."""
    context: Any = {
        "mode": "payment",
        "amount": 1000,
        "currency": "cad",
        "allowed_payment_method_types": ["card"],
        **changes,
    }
    context = {name: value for name, value in context.items() if value is not None}
    data = {
        "type": "card",
        "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123"},
    }
    params: Any = {"payment_method_data": data, "client_context": context}
    if "setup_future_usage" in context:
        params["setup_future_usage"] = context["setup_future_usage"]
    answer: Any = browser.raw_request("post", "/v1/confirmation_tokens", **params)
    found: str = browser.deserialize(answer, api_mode="V1").to_dict()["id"]
    return found


def error_of(caught: Any) -> dict[str, Any]:
    """The error body of a caught StripeError."""
    found: dict[str, Any] = caught.value.json_body["error"]
    return found
