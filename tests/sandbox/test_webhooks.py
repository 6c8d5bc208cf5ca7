"""Webhooks as they arrive: signed, and with all that the post can do to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import stripe

from portal.sandbox import Sandbox, WebhookPolicy
from tests.sandbox.makers import intent, paid

URL = "http://127.0.0.1:9/hooks"


class Letterbox:
    """Takes webhooks in, and answers as it is told."""

    def __init__(self) -> None:
        self.letters: list[tuple[bytes, str]] = []
        self.status = 200

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.letters.append((body, headers["Stripe-Signature"]))
        return self.status

    @property
    def types(self) -> list[str]:
        return [json.loads(body)["type"] for body, _ in self.letters]


@pytest.fixture
def letterbox(sandbox: Sandbox) -> Letterbox:
    letterbox = Letterbox()
    sandbox.send_webhooks_with(letterbox)
    return letterbox


@pytest.fixture
def endpoint(sandbox: Sandbox, letterbox: Letterbox) -> Any:
    return sandbox.add_webhook_endpoint(URL)


def test_a_payment_is_told_with_a_signature_that_the_library_accepts(
    sandbox: Sandbox, api: stripe.StripeClient, endpoint: Any, letterbox: Letterbox
) -> None:
    payment = paid(api)
    assert sandbox.deliver_webhooks() == 3
    assert letterbox.types == ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]
    body, signature = letterbox.letters[-1]
    event: Any = stripe.Webhook.construct_event(body, signature, endpoint["secret"])
    assert event.data.object.id == payment.id
    assert (event.livemode, event.api_version) == (False, "2026-10-28.endive")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, signature, "whsec_other")


def test_while_a_secret_is_rolled_both_are_good(
    sandbox: Sandbox, api: stripe.StripeClient, endpoint: Any, letterbox: Letterbox
) -> None:
    fresh = sandbox.roll_webhook_secret(endpoint["id"])
    intent(api)
    sandbox.deliver_webhooks()
    body, signature = letterbox.letters[0]
    for secret in (endpoint["secret"], fresh):
        stripe.Webhook.construct_event(body, signature, secret)


def test_an_endpoint_hears_only_what_it_asked_for_in_its_own_mode(
    sandbox: Sandbox, api: stripe.StripeClient, letterbox: Letterbox
) -> None:
    sandbox.add_webhook_endpoint(URL, enabled_events=["charge.succeeded"])
    sandbox.add_webhook_endpoint(URL, livemode=True)
    paid(api)
    sandbox.deliver_webhooks()
    assert letterbox.types == ["charge.succeeded"]


def test_what_is_refused_is_sent_again_later(
    sandbox: Sandbox, api: stripe.StripeClient, endpoint: Any, letterbox: Letterbox
) -> None:
    letterbox.status = 500
    intent(api)
    assert sandbox.deliver_webhooks() == 0
    letterbox.status = 200
    assert sandbox.deliver_webhooks() == 0
    sandbox.advance(60)
    assert sandbox.deliver_webhooks() == 1
    assert letterbox.types == ["payment_intent.created"] * 2


def test_after_three_days_it_is_given_up(
    sandbox: Sandbox, api: stripe.StripeClient, endpoint: Any, letterbox: Letterbox
) -> None:
    letterbox.status = 500
    intent(api)
    sandbox.deliver_webhooks()
    sandbox.advance(3 * 86400 + 60)
    sandbox.deliver_webhooks()
    assert [row["state"] for row in sandbox.deliveries()] == ["failed"]
    undelivered = api.v1.events.list({"delivery_success": False})
    assert [event.type for event in undelivered.data] == ["payment_intent.created"]


@pytest.mark.parametrize(
    ("policy", "heard"),
    [
        (WebhookPolicy(duplicates=1), ["payment_intent.created"] * 2 + ["payment_intent.canceled"] * 2),
        (WebhookPolicy(reorder=True), ["payment_intent.canceled", "payment_intent.created"]),
        (WebhookPolicy(drop=["*.created"]), ["payment_intent.canceled"]),
        (WebhookPolicy(late_s=60), []),
    ],
)
def test_the_post_does_what_its_policy_says(
    sandbox: Sandbox,
    api: stripe.StripeClient,
    endpoint: Any,
    letterbox: Letterbox,
    policy: WebhookPolicy,
    heard: list[str],
) -> None:
    sandbox.webhook_policy = policy
    api.v1.payment_intents.cancel(intent(api).id)
    sandbox.deliver_webhooks()
    assert letterbox.types == heard


def test_an_event_can_be_sent_again(
    sandbox: Sandbox, api: stripe.StripeClient, endpoint: Any, letterbox: Letterbox
) -> None:
    sandbox.webhook_policy = WebhookPolicy(drop=["*"])
    intent(api)
    sandbox.resend_event(api.v1.events.list().data[0].id)
    sandbox.deliver_webhooks()
    assert letterbox.types == ["payment_intent.created"]


def test_nothing_is_ever_sent_to_another_machine(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    sandbox.add_webhook_endpoint("https://clinic.example/hooks")
    intent(api)
    assert sandbox.deliver_webhooks() == 0
    assert sandbox.deliveries()[0]["state"] == "pending"
