"""Stripe's webhooks as they reach the inbox, in whatever order and number they come."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import select

from portal.clock import now
from portal.gateway import BadSignature, GatewayEvent
from portal.gateway.configured import signing_secrets, store_credentials
from portal.gateway.stripe import read_event
from portal.payments.hints import follow_hint
from portal.sandbox.webhooks import signature
from portal.webhooks import WebhookEvent, file_event, handle_waiting_events
from tests.payments.stage import HOOK_SECRET, Stage, staged


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    with staged(database_url) as opened:
        opened.sandbox.add_webhook_endpoint("http://portal.test/hook", secret=HOOK_SECRET)
        opened.sandbox.send_webhooks_with(into_the_inbox(opened))
        yield opened


def into_the_inbox(stage: Stage) -> Callable[[str, bytes, Mapping[str, str]], int]:
    """What the route does, without HTTP."""

    def send(_url: str, body: bytes, headers: Mapping[str, str]) -> int:
        with stage.database.read() as connection:
            secrets = signing_secrets(connection, stage.parts.vault, stage.gateway_public_id)
        assert secrets is not None
        try:
            event = read_event(body, headers["Stripe-Signature"], secrets.by_mode["test"])
        except BadSignature:
            return 400
        with stage.database.transaction() as session:
            file_event(session, secrets.gateway_id, "test", event)
        return 200

    return send


def follow_all(stage: Stage) -> int:
    return handle_waiting_events(stage.database, lambda hint: follow_hint(stage.parts, hint))


def events(stage: Stage) -> list[WebhookEvent]:
    with stage.database.transaction() as session:
        return list(session.scalars(select(WebhookEvent).order_by(WebhookEvent.id)))


def an_event(number: int = 1, intent: str | None = "pi_1") -> GatewayEvent:
    return GatewayEvent(f"evt_{number}", "payment_intent.succeeded", intent or "x", intent, False, now())


def file(stage: Stage, *filed: GatewayEvent) -> list[bool]:
    with stage.database.transaction() as session:
        return [file_event(session, stage.gateway_id, "test", event) for event in filed]


def signed(secret: str = HOOK_SECRET, *, at: int | None = None, **changes: Any) -> tuple[bytes, str]:
    thing = {"id": "pi_1", "object": "payment_intent"}
    raw: dict[str, Any] = {
        "id": "evt_1",
        "type": "payment_intent.succeeded",
        "livemode": False,
        "created": 1_790_000_000,
    }
    body = json.dumps({**raw, "data": {"object": thing}, **changes}).encode()
    return body, signature(body, [secret], int(now().timestamp()) if at is None else at)


def change_secret(stage: Stage, secret: str) -> None:
    with stage.database.transaction() as session:
        store_credentials(
            session, stage.parts.vault, stage.gateway_id, "test", "pk_test_sandbox", stage.sandbox.secret_key, secret
        )
