"""The Stripe adapter: what it asks, how it reads answers, and what it makes of every way in which a call can fail."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import stripe

from portal.gateway import (
    Gateway,
    GatewayBusy,
    GatewayError,
    GatewayRefusesUs,
    IntentOrder,
    KeyRefused,
    Means,
    NoSuchThing,
    OutcomeUnknown,
    PermissionMissing,
)
from portal.gateway.stripe import API_VERSION, StripeConnector

ORDER = IntentOrder(12_600, "CAD", "Invoice 10001", {"attempt": "a"})
MEANS = Means(return_url="https://pay.example.com/back", token="ctoken_1")

INTENT: dict[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "status": "requires_payment_method",
    "amount": 12_600,
    "amount_received": 0,
    "currency": "cad",
    "livemode": False,
    "metadata": {"attempt": "a"},
    "client_secret": "pi_1_secret_x",
    "latest_charge": None,
    "last_payment_error": None,
    "payment_method": None,
    "next_action": None,
}
CHARGE: dict[str, Any] = {
    "id": "ch_1",
    "object": "charge",
    "amount": 12_600,
    "amount_captured": 12_600,
    "currency": "cad",
    "created": 1_790_000_000,
    "payment_method_details": {"type": "card", "card": {"brand": "visa", "funding": "credit", "last4": "4242"}},
}
PAID = {**INTENT, "status": "succeeded", "amount_received": 12_600, "latest_charge": "ch_1", "payment_method": "pm_1"}


class Scripted(stripe.HTTPClient):
    """Answers as a story says, and remembers what was asked."""

    name = "scripted"

    def __init__(self, answer: Callable[[str, str], tuple[int, Any]]) -> None:
        super().__init__()
        self._answer = answer
        self.asked: list[tuple[str, str, str]] = []
        self.headers: list[Mapping[str, str]] = []

    def request(
        self, method: str, url: str, headers: Any, post_data: Any = None, *, _usage: Any = None
    ) -> tuple[str, int, Mapping[str, str]]:
        path = url.partition("/v1")[2]
        self.asked.append((method, path, str(post_data or "")))
        self.headers.append(headers)
        status, body = self._answer(method, path)
        if isinstance(body, Exception):
            raise body
        return (body if isinstance(body, str) else json.dumps(body)), status, {"request-id": "req_1"}

    def close(self) -> None:
        """There is nothing to close."""


def speaking(answer: Callable[[str, str], tuple[int, Any]]) -> tuple[Gateway, Scripted]:
    client = Scripted(answer)
    return StripeConnector("https://stripe.test", http_client=client)("sk_test_x"), client


def always(status: int, body: Any) -> Callable[[str, str], tuple[int, Any]]:
    return lambda _method, _path: (status, body)


def error(kind: str, code: str | None = None, **also: Any) -> dict[str, Any]:
    return {"error": {"type": kind, "code": code, "message": "no", **also}}


# --- what it asks ---------------------------------------------------------------------------------------------------


def test_the_version_is_pinned_to_the_one_that_the_library_is_made_for() -> None:
    assert stripe.api_version == API_VERSION
    gateway, client = speaking(always(200, INTENT))
    gateway.fetch("pi_1")
    assert client.headers[0]["Stripe-Version"] == API_VERSION


@pytest.mark.promise("G1")
def test_an_intent_is_made_unconfirmed_for_cards_alone_under_its_key() -> None:
    gateway, client = speaking(always(200, INTENT))
    gateway.create_intent(ORDER, "a:create")
    ((method, path, body),) = client.asked
    assert (method, path) == ("post", "/payment_intents")
    assert "allowed_payment_method_types[0]=card" in body
    assert not [
        word for word in ("confirm", "payment_method_types[0]=", "automatic", "setup_future") if f"&{word}" in body
    ]
    assert client.headers[0]["Idempotency-Key"] == "a:create"


@pytest.mark.promise("P3")
def test_a_saved_card_is_confirmed_with_its_payer_present() -> None:
    gateway, client = speaking(always(200, PAID | {"latest_charge": CHARGE}))
    gateway.confirm("pi_1", Means("https://pay.example.com/back", method="pm_1"), "a:confirm:1")
    body = client.asked[0][2]
    assert "payment_method=pm_1" in body
    assert "use_stripe_sdk=true" in body
    assert "off_session" not in body
    assert client.headers[0]["Idempotency-Key"] == "a:confirm:1"


def test_nothing_is_retried_by_the_library() -> None:
    gateway, client = speaking(always(0, stripe.APIConnectionError("gone", should_retry=True)))  # type: ignore[no-untyped-call]  # no types
    with pytest.raises(OutcomeUnknown):
        gateway.confirm("pi_1", MEANS, "a:confirm:1")
    assert len(client.asked) == 1


@pytest.mark.promise("G1")
def test_asking_to_cancel_again_is_a_new_request() -> None:
    """Under one key a failure of Stripe's own would be repeated to us for a day."""
    gateway, client = speaking(always(200, INTENT | {"status": "canceled"}))
    gateway.cancel("pi_1")
    gateway.cancel("pi_1")
    first, second = (headers["Idempotency-Key"] for headers in client.headers)
    assert first != second


# --- how it reads answers -------------------------------------------------------------------------------------------


def test_a_charge_that_was_not_expanded_is_fetched() -> None:
    gateway, client = speaking(lambda _method, path: (200, CHARGE if path.startswith("/charges") else PAID))
    intent = gateway.confirm("pi_1", MEANS, "a:confirm:1")
    assert intent.charge is not None
    assert (intent.charge.id, intent.charge.card and intent.charge.card.last4) == ("ch_1", "4242")
    assert [path for _, path, _ in client.asked] == ["/payment_intents/pi_1/confirm", "/charges/ch_1"]


def test_an_expanded_charge_is_not_fetched_again() -> None:
    gateway, client = speaking(always(200, PAID | {"latest_charge": CHARGE, "payment_method": {"id": "pm_1"}}))
    intent = gateway.fetch("pi_1")
    assert intent.charge is not None
    assert intent.method_id == "pm_1"
    assert len(client.asked) == 1


def declined(intent_in_error: Any) -> Callable[[str, str], tuple[int, Any]]:
    known = INTENT | {"last_payment_error": {"code": "card_declined", "decline_code": "insufficient_funds"}}
    body = error("card_error", "card_declined", decline_code="insufficient_funds", payment_intent=intent_in_error)
    return lambda _method, path: (402, body) if path.endswith("/confirm") else (200, known)


@pytest.mark.promise("P5")
@pytest.mark.parametrize("intent_in_error", [None, {"id": "pi_1"}, "pi_1", PAID])
def test_a_decline_is_read_from_the_intent_itself(intent_in_error: Any) -> None:
    """Whatever the error carries, or does not."""
    gateway, _ = speaking(declined(intent_in_error))
    intent = gateway.confirm("pi_1", MEANS, "a:confirm:1")
    assert intent.status == "requires_payment_method"
    assert intent.decline is not None
    assert intent.decline.decline_code == "insufficient_funds"


@pytest.mark.promise("G1")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("confirmed", [True, False])
def test_what_fails_behind_a_confirmation_never_says_that_it_did_not_happen(status: int, confirmed: bool) -> None:
    def answer(_method: str, path: str) -> tuple[int, Any]:
        if not path.endswith("/confirm"):
            return status, error("invalid_request_error", "resource_missing")
        return (200, PAID) if confirmed else (402, error("card_error", "card_declined"))

    gateway, _ = speaking(answer)
    with pytest.raises(OutcomeUnknown):
        gateway.confirm("pi_1", MEANS, "a:confirm:1")


def test_an_order_or_a_redirect_in_the_answer_is_read() -> None:
    action = {"type": "redirect_to_url", "redirect_to_url": {"url": "https://bank.example.com"}}
    gateway, _ = speaking(always(200, INTENT | {"status": "requires_action", "next_action": action}))
    intent = gateway.fetch("pi_1")
    assert intent.redirect_url == "https://bank.example.com"
    assert "secret" not in repr(intent)


# --- how calls fail -------------------------------------------------------------------------------------------------


@pytest.mark.promise("G1")
@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, error("invalid_request_error", "parameter_unknown"), GatewayRefusesUs),
        (400, error("invalid_request_error", "payment_intent_unexpected_state"), GatewayRefusesUs),
        (400, error("invalid_request_error", "resource_missing"), NoSuchThing),
        (404, error("invalid_request_error", "resource_missing"), NoSuchThing),
        (400, error("idempotency_error"), GatewayRefusesUs),
        (400, error("invalid_request_error", "rate_limit"), GatewayBusy),
        (401, error("invalid_request_error"), KeyRefused),
        (403, error("invalid_request_error"), PermissionMissing),
        (409, error("idempotency_error", "idempotency_key_in_use"), OutcomeUnknown),
        (409, error("invalid_request_error"), OutcomeUnknown),
        (429, error("invalid_request_error", "lock_timeout"), GatewayBusy),
        (429, error("invalid_request_error", "rate_limit"), GatewayBusy),
        (418, error("invalid_request_error"), GatewayRefusesUs),
        (500, error("api_error"), OutcomeUnknown),
        (503, "<html>busy</html>", OutcomeUnknown),
        (502, "", OutcomeUnknown),
        (200, "<html>hotel wifi</html>", OutcomeUnknown),
        (200, {"object": "something else"}, OutcomeUnknown),
        (200, [], OutcomeUnknown),
        (0, stripe.APIConnectionError("refused"), OutcomeUnknown),  # type: ignore[no-untyped-call]  # no types
    ],
)
def test_every_failure_has_its_meaning(status: int, body: Any, expected: type[GatewayError]) -> None:
    gateway, _ = speaking(always(status, body))
    for call in (
        lambda: gateway.create_intent(ORDER, "a:create"),
        lambda: gateway.confirm("pi_1", MEANS, "a:confirm:1"),
        lambda: gateway.fetch("pi_1"),
        lambda: gateway.cancel("pi_1"),
        lambda: gateway.change_intent("pi_1", None, True),
        lambda: gateway.create_customer("1", "a:customer"),
    ):
        with pytest.raises(GatewayError) as raised:
            call()
        assert type(raised.value) is expected


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_looking_fails_in_the_ports_words_too(status: int) -> None:
    gateway, _ = speaking(always(status, error("invalid_request_error")))
    for look in (gateway.look_at_token, gateway.look_at_method, gateway.forget_card):
        with pytest.raises(GatewayError):
            look("some_1")


def test_what_a_token_does_not_say_is_not_made_up() -> None:
    gateway, _ = speaking(always(200, {"id": "ctoken_1", "object": "confirmation_token"}))
    token = gateway.look_at_token("ctoken_1")
    assert (token.card.type, token.card.brand, token.card.funding, token.saves_card) == ("unknown", None, None, False)
