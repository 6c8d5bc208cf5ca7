"""Whose webhook is believed: signed lately, with a secret that counts, at the door of its own gateway."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from portal import create_app
from portal.clock import now, shifted
from portal.gateway import BadSignature
from portal.gateway.configured import signing_secrets
from portal.gateway.stripe import read_event
from portal.sandbox.webhooks import signature
from tests.makers import make_gateway
from tests.payments.stage import HOOK_SECRET, Stage
from tests.webhooks.conftest import change_secret, events, signed


@pytest.mark.promise("G2")
def test_a_signed_event_is_read() -> None:
    event = read_event(*signed(), [HOOK_SECRET])
    assert (event.id, event.type, event.intent_id, event.live) == ("evt_1", "payment_intent.succeeded", "pi_1", False)


@pytest.mark.promise("G2")
def test_an_event_about_a_charge_names_its_intent() -> None:
    thing = {"id": "ch_1", "object": "charge", "payment_intent": "pi_9"}
    assert read_event(*signed(data={"object": thing}), [HOOK_SECRET]).intent_id == "pi_9"
    thing = {"id": "po_1", "object": "payout"}
    assert read_event(*signed(data={"object": thing}), [HOOK_SECRET]).intent_id is None


@pytest.mark.promise("G2")
@pytest.mark.parametrize("age_s", [301, 3600, 86_400])
def test_an_old_event_is_refused(age_s: int) -> None:
    with pytest.raises(BadSignature):
        read_event(*signed(at=int(now().timestamp()) - age_s), [HOOK_SECRET])


@pytest.mark.promise("G2")
def test_a_wrong_secret_a_changed_body_and_nonsense_are_refused() -> None:
    body, header = signed()
    for wrong in (
        (body, header, ["whsec_another"]),
        (body, header, []),
        (body.replace(b"pi_1", b"pi_2"), header, [HOOK_SECRET]),
        (body, "", [HOOK_SECRET]),
        (body, "t=,v1=", [HOOK_SECRET]),
        (body, "t=x,v1=\N{SNOWMAN}", [HOOK_SECRET]),
        (b"\xff\xfe", header, [HOOK_SECRET]),
    ):
        with pytest.raises(BadSignature):
            read_event(*wrong)


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"{}", b'{"id": 1, "data": 2}', b'{"data": {"object": []}}', b"1e999"]
)
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(BadSignature):
        read_event(body, signature(body, [HOOK_SECRET], int(now().timestamp())), [HOOK_SECRET])


def test_one_of_several_signatures_is_enough() -> None:
    """As Stripe sends them while a secret is rolled."""
    body, _ = signed()
    header = signature(body, ["whsec_older", HOOK_SECRET], int(now().timestamp()))
    assert read_event(body, header, [HOOK_SECRET]).id == "evt_1"


# --- secrets that change --------------------------------------------------------------------------------------------


def secrets_now(stage: Stage) -> list[str]:
    with stage.database.read() as connection:
        found = signing_secrets(connection, stage.parts.vault, stage.gateway_public_id)
    assert found is not None
    return found.by_mode["test"]


@pytest.mark.promise("G6")
def test_the_previous_secret_counts_for_a_day(stage: Stage) -> None:
    change_secret(stage, "whsec_new")
    assert secrets_now(stage) == ["whsec_new", HOOK_SECRET]
    assert read_event(*signed(), secrets_now(stage)).id == "evt_1"
    with shifted(timedelta(hours=25)):
        assert secrets_now(stage) == ["whsec_new"]


def test_typing_the_same_secret_again_keeps_the_previous_one(stage: Stage) -> None:
    change_secret(stage, "whsec_new")
    change_secret(stage, "whsec_new")
    assert secrets_now(stage) == ["whsec_new", HOOK_SECRET]


def test_leaving_the_secret_empty_keeps_it(stage: Stage) -> None:
    change_secret(stage, "")
    assert secrets_now(stage) == [HOOK_SECRET]


def test_an_address_that_no_gateway_has(stage: Stage) -> None:
    with stage.database.read() as connection:
        assert signing_secrets(connection, stage.parts.vault, "nobody") is None


@pytest.mark.promise("G6")
def test_another_gateways_secret_does_not_count_here(stage: Stage) -> None:
    with stage.database.transaction() as session:
        other = make_gateway(session, stage.parts.vault, name="Another", webhook_secret="whsec_other")
    body, header = signed("whsec_other")
    with stage.database.read() as connection:
        theirs = signing_secrets(connection, stage.parts.vault, other.public_id)
    assert theirs is not None
    assert read_event(body, header, theirs.by_mode["test"]).id == "evt_1"
    with pytest.raises(BadSignature):
        read_event(body, header, secrets_now(stage))


# --- over HTTP ------------------------------------------------------------------------------------------------------


@pytest.fixture
def door(stage: Stage) -> Iterator[FlaskClient]:
    """The address that the gateway's webhooks come to."""
    app = create_app(stage.parts.config, connect=stage.parts.connect)
    yield app.test_client()
    app.extensions["portal"].database.close()


def knock(door: FlaskClient, stage: Stage, body: bytes, header: str, gateway: str = "") -> int:
    path = f"/webhooks/stripe/{gateway or stage.gateway_public_id}"
    return door.post(path, data=body, headers={"Stripe-Signature": header}).status_code


@pytest.mark.promise("G2")
def test_a_signed_webhook_is_filed_once_and_answered(stage: Stage, door: FlaskClient) -> None:
    assert [knock(door, stage, *signed()) for _ in range(3)] == [200, 200, 200]
    (event,) = events(stage)
    assert (event.event_id, event.intent_id, event.mode) == ("evt_1", "pi_1", "test")
    assert stage.calls == []  # nothing is fetched before the answer


@pytest.mark.promise("G2")
def test_an_unsigned_old_or_foreign_webhook_is_not_filed(stage: Stage, door: FlaskClient) -> None:
    body, header = signed()
    assert knock(door, stage, body, "") == 400
    assert knock(door, stage, body + b" ", header) == 400
    assert knock(door, stage, *signed("whsec_other")) == 400
    assert knock(door, stage, *signed(at=int(now().timestamp()) - 400)) == 400
    assert knock(door, stage, body, header, gateway="nobody") == 404
    assert knock(door, stage, *signed(livemode=True)) == 400
    assert events(stage) == []


@pytest.mark.promise("G6")
def test_a_webhook_signed_with_the_previous_secret_is_filed_for_a_day(stage: Stage, door: FlaskClient) -> None:
    change_secret(stage, "whsec_new")
    assert knock(door, stage, *signed()) == 200
    with shifted(timedelta(hours=25)):
        assert knock(door, stage, *signed(id="evt_2")) == 400
    assert [event.event_id for event in events(stage)] == ["evt_1"]


def test_a_webhook_as_large_as_stripe_sends_them_is_taken_and_a_larger_one_is_not(
    stage: Stage, door: FlaskClient
) -> None:
    assert knock(door, stage, *signed(padding="x" * 200_000)) == 200
    assert knock(door, stage, *signed(padding="x" * 300_000)) == 413
    assert len(events(stage)) == 1
