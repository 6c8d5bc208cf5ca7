"""Where gateways knock: what is signed is filed once; nothing else is stored."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from portal.clock import now, shifted
from portal.gateway.configured import store_credentials
from portal.webhooks import WebhookEvent
from tests.makers import count_of, make_gateway
from tests.web.conftest import Site

SECRET = "whsec_of_this_test"

Knock = Callable[..., TestResponse]


def event(name: str = "evt_1", live: bool = False) -> dict[str, Any]:
    """An event as Stripe sends it, as far as anybody looks at it."""
    intent = {"id": "pi_1", "object": "payment_intent"}
    return {"id": name, "object": "event", "type": "payment_intent.succeeded", "livemode": live,
            "created": int(time.time()), "data": {"object": intent}}  # fmt: skip


def signed(body: bytes, secret: str = SECRET, at: float | None = None) -> str:
    """Stripe's signature of a body."""
    moment = int(at if at is not None else time.time())
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


@pytest.fixture
def knock(site: Site) -> Knock:
    gateway = site.change(lambda s: make_gateway(s, site.parts.vault, webhook_secret=SECRET).public_id)

    def send(what: Any = None, to: str = "", signature: str | None = None, **kwargs: Any) -> TestResponse:
        body = what if isinstance(what, bytes) else json.dumps(what or event()).encode()
        headers = {"Stripe-Signature": signed(body) if signature is None else signature}
        return site.app.test_client().post(
            f"/webhooks/stripe/{to or gateway}", data=body, headers=headers, content_type="application/json", **kwargs
        )

    return send


def filed(site: Site) -> int:
    """How many events are in the inbox."""
    with Session(site.parts.database.reading) as session:
        return count_of(session, WebhookEvent)


@pytest.mark.parametrize("thing", [{"id": "pm_1", "object": "payment_method"}, {"id": "cus_1", "object": "customer"}])
def test_an_id_of_a_card_or_its_owner_is_not_kept_in_the_clear(
    site: Site, knock: Knock, thing: dict[str, str]
) -> None:
    told = event()
    told["data"]["object"] = thing
    assert knock(told).status_code == 200
    with Session(site.parts.database.reading) as session:
        assert thing["id"] not in vars(session.get_one(WebhookEvent, 1)).values()


@pytest.mark.promise("G2")
def test_a_signed_event_is_filed_once_however_often_it_comes(site: Site, knock: Knock) -> None:
    assert [knock().status_code for _ in range(3)] == [200, 200, 200]
    assert filed(site) == 1
    knock(event("evt_2"))
    assert filed(site) == 2


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "nonsense",
        "t=,v1=",
        "t=1,v1=00",
        "t=99999999999999999999,v1=00",
        "v1=00",
        "t=now,v1=00",
        "=,=,=",
        "t" * 9000,
    ],
)
def test_a_bad_signature_stores_nothing(site: Site, knock: Knock, signature: str) -> None:
    assert knock(signature=signature).status_code == 400
    assert filed(site) == 0


def test_an_old_event_and_another_secret_store_nothing(site: Site, knock: Knock) -> None:
    body = json.dumps(event()).encode()
    assert knock(body, signature=signed(body, at=time.time() - 301)).status_code == 400
    assert knock(body, signature=signed(body, "whsec_of_somebody_else")).status_code == 400
    assert knock(body + b" ", signature=signed(body)).status_code == 400
    assert filed(site) == 0


def test_an_event_of_the_other_mode_stores_nothing(site: Site, knock: Knock) -> None:
    assert knock(event(live=True)).status_code == 400
    assert filed(site) == 0


@pytest.mark.parametrize("gateway", ["nobody", "0" * 16, "%00", "a" * 300, "..", "1' OR '1'='1"])
def test_an_unknown_gateway_stores_nothing(site: Site, knock: Knock, gateway: str) -> None:
    assert knock(to=gateway).status_code == 404
    assert filed(site) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"id": 1}',
        b'{"id":"evt","type":"x","created":"soon","data":{"object":{}}}',
        b'{"id":"evt","type":"x","created":1e99,"data":{"object":{}}}',
        b'{"id":"evt","type":"x","created":1,"data":[]}',
        b"[" * 20000,
    ],
    ids=range(10),
)
def test_a_signed_body_that_is_no_event_is_refused(site: Site, knock: Knock, body: bytes) -> None:
    assert knock(body).status_code in (400, 411)
    assert filed(site) == 0


def test_a_body_over_256_kilobytes_is_refused_unread(site: Site, knock: Knock) -> None:
    large = json.dumps({**event(), "padding": "x" * (256 * 1024)}).encode()
    assert knock(large).status_code == 413
    fits = json.dumps({**event(), "padding": "x" * (255 * 1024)}).encode()
    assert knock(fits).status_code == 200
    assert filed(site) == 1


def test_a_body_of_unknown_length_is_refused(site: Site, knock: Knock) -> None:
    assert knock(environ_overrides={"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}).status_code in (
        411,
        413,
    )
    assert filed(site) == 0


def test_a_get_is_no_knock(site: Site) -> None:
    assert site.app.test_client().get("/webhooks/stripe/nobody").status_code == 405


@pytest.mark.promise("G2", "G6")
def test_after_a_rotation_the_previous_secret_counts_for_a_day(site: Site, knock: Knock) -> None:
    def rotate(session: Session) -> None:
        store_credentials(session, site.parts.vault, 1, "test", "pk_test_new", "sk_test_new", "whsec_new")

    site.change(rotate)
    body = json.dumps(event()).encode()
    assert knock(body, signature=signed(body)).status_code == 200
    assert knock(body, signature=signed(body, "whsec_new")).status_code == 200
    with shifted(timedelta(days=1, minutes=1)):
        late = json.dumps(event("evt_late")).encode()
        assert now() is not None
        assert knock(late, signature=signed(late)).status_code == 400
        assert knock(late, signature=signed(late, "whsec_new")).status_code == 200


def test_the_events_body_is_kept_nowhere(site: Site, knock: Knock) -> None:
    told = event()
    told["data"]["object"]["receipt_email"] = "somebody@example.com"
    assert knock(told).status_code == 200
    with Session(site.parts.database.reading) as session:
        kept = session.get_one(WebhookEvent, 1)
        assert "somebody" not in " ".join(str(value) for value in vars(kept).values())
