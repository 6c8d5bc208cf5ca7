"""Webhooks: checked, filed once, and followed, in whatever order and number they come. None of them is needed."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from portal import create_app
from portal.clock import now, shifted
from portal.gateway import BadSignature, GatewayEvent, OutcomeUnknown
from portal.gateway.configured import signing_secrets, store_credentials
from portal.gateway.stripe import read_event
from portal.payments.hints import follow_hint
from portal.payments.outcomes import Checking, NeedsAction, Paid
from portal.payments.settle import settle
from portal.payments.states import State
from portal.sandbox.webhooks import signature
from portal.webhooks import (
    CLAIM,
    PATIENCE,
    Hint,
    WebhookEvent,
    claim_hint,
    file_event,
    handle_waiting_events,
    waiting_events,
)
from tests.makers import make_gateway
from tests.payments.stage import HOOK_SECRET, Stage, staged
from tests.support.at_once import at_once


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


# --- the signature --------------------------------------------------------------------------------------------------


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


def change_secret(stage: Stage, secret: str) -> None:
    with stage.database.transaction() as session:
        store_credentials(
            session, stage.parts.vault, stage.gateway_id, "test", "pk_test_sandbox", stage.sandbox.secret_key, secret
        )


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


# --- following, in any order ----------------------------------------------------------------------------------------


@pytest.mark.promise("G2")
def test_the_webhook_alone_settles_a_lost_confirmation(stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    assert isinstance(stage.press(stage.form("visa")), Checking)
    stage.sandbox.deliver_webhooks()
    assert follow_all(stage) == len(events(stage)) > 0
    stage.check_paid_once()


@pytest.mark.promise("G2")
def test_a_webhook_before_our_own_answer_posts_once(stage: Stage) -> None:
    def webhook_first() -> None:
        stage.sandbox.deliver_webhooks()
        follow_all(stage)

    stage.during("confirm", webhook_first, when="after")
    assert isinstance(stage.press(stage.form("visa")), Paid)
    stage.check_paid_once()


@pytest.mark.promise("G2")
@pytest.mark.parametrize("how", ["twice", "never", "newest first", "late"])
def test_webhooks_twice_never_or_out_of_order(stage: Stage, how: str) -> None:
    policy = stage.sandbox.webhook_policy
    policy.duplicates = 2 if how == "twice" else 0
    policy.drop = ["*"] if how == "never" else []
    policy.reorder = how == "newest first"
    policy.late_s = 3600 if how == "late" else 0
    declined = stage.form("chargeDeclined")
    stage.press(declined)
    outcome = stage.press(stage.form("authenticationRequired", attempt_id=declined.attempt_id))
    assert isinstance(outcome, NeedsAction)
    stage.sandbox.deliver_webhooks()
    follow_all(stage)
    assert stage.attempt().state == State.REQUIRES_ACTION
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    stage.sandbox.deliver_webhooks(everything=how == "late")
    follow_all(stage)
    stage.sweep_until_quiet()
    stage.check_paid_once()


@pytest.mark.promise("G2")
def test_an_event_is_filed_once_however_often_it_is_sent(stage: Stage) -> None:
    file(stage, an_event(1), an_event(1), an_event(2), an_event(1))
    assert [event.event_id for event in events(stage)] == ["evt_1", "evt_2"]


def test_filing_says_whether_the_event_was_new(stage: Stage) -> None:
    assert file(stage, an_event(1), an_event(1), an_event(2), an_event(1)) == [True, False, True, False]


@pytest.mark.promise("G2")
def test_the_same_event_filed_at_once_by_many_is_filed_once(stage: Stage) -> None:
    assert sorted(at_once([lambda: file(stage, an_event())] * 8)) == [*[[False]] * 7, [True]]
    assert len(events(stage)) == 1


@pytest.mark.promise("G6")
def test_the_same_event_id_of_another_gateway_is_another_event(stage: Stage) -> None:
    with stage.database.transaction() as session:
        other = make_gateway(session, stage.parts.vault, name="Another")
        assert file_event(session, stage.gateway_id, "test", an_event())
        assert file_event(session, other.id, "test", an_event())


@pytest.mark.promise("G6")
def test_a_hint_of_another_gateway_or_mode_touches_no_attempt(stage: Stage) -> None:
    stage.press(stage.form("authenticationRequired"))
    intent = str(stage.attempt().intent_id)
    stage.calls.clear()
    for gateway_id, mode in ((stage.gateway_id + 1, "test"), (stage.gateway_id, "production")):
        hint = Hint(1, gateway_id, mode, "payment_intent.succeeded", intent, intent)
        assert follow_hint(stage.parts, hint) == "not a payment of ours"
    assert follow_hint(stage.parts, Hint(1, stage.gateway_id, "test", "payout.paid", "po_1", None))
    assert stage.calls == []


@pytest.mark.promise("G1", "G2")
def test_a_hint_is_believed_in_nothing(stage: Stage) -> None:
    """Signed or not: what it says is fetched."""
    stage.press(stage.form("authenticationRequired"))
    file(stage, an_event(1, str(stage.attempt().intent_id)))
    follow_all(stage)
    assert stage.attempt().state == State.REQUIRES_ACTION
    stage.check_nothing_charged()


@pytest.mark.promise("G2")
def test_a_hint_that_comes_while_the_gateway_is_away_is_followed_later(stage: Stage) -> None:
    stage.press(stage.form("authenticationRequired"))
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    file(stage, an_event(1, str(stage.attempt().intent_id)))
    stage.sandbox.fault("payment_intents.retrieve", "lost_before")
    assert follow_all(stage) == 0
    assert events(stage)[0].outcome == OutcomeUnknown.__name__
    with shifted(timedelta(seconds=20)):
        assert follow_all(stage) == 1
    stage.check_paid_once()


# --- working the inbox off ------------------------------------------------------------------------------------------


def waiting(stage: Stage) -> int:
    with stage.database.transaction() as session:
        return waiting_events(session)


def test_several_workers_never_take_the_same_event(stage: Stage) -> None:
    file(stage, *[an_event(number) for number in range(12)])
    taken: list[int] = []

    def work() -> None:
        for _ in range(20):
            with stage.database.transaction() as session:
                hint = claim_hint(session)
            if hint is not None:
                taken.append(hint.id)

    assert at_once([work] * 4) == [None] * 4
    assert len(taken) == len(set(taken)) == 12


@pytest.mark.promise("G2")
def test_a_worker_that_died_with_an_event_gives_it_back(stage: Stage) -> None:
    file(stage, an_event())
    with stage.database.transaction() as session:
        assert claim_hint(session) is not None
    with stage.database.transaction() as session:
        assert claim_hint(session) is None
    with shifted(CLAIM + timedelta(seconds=1)):
        assert handle_waiting_events(stage.database, lambda _hint: "done") == 1


@pytest.mark.promise("G2")
def test_a_failing_event_waits_longer_each_time_and_blocks_nobody(stage: Stage) -> None:
    file(stage, an_event(1, "pi_bad"), an_event(2), an_event(3))
    tried: list[str | None] = []

    def handle(hint: Hint) -> str:
        tried.append(hint.intent_id)
        if hint.intent_id == "pi_bad":
            raise RuntimeError("a bug")
        return "done"

    assert handle_waiting_events(stage.database, handle) == 2
    assert tried.count("pi_bad") == 1
    pauses = []
    moment = timedelta()
    for _ in range(6):
        with shifted(moment):
            bad = next(event for event in events(stage) if event.intent_id == "pi_bad")
            pauses.append(bad.next_try_at - now())
        moment += pauses[-1] + timedelta(seconds=1)
        with shifted(moment):
            assert handle_waiting_events(stage.database, handle) == 0
    assert pauses == sorted(pauses)
    assert pauses[-1] > 10 * pauses[0]
    assert waiting(stage) == 1


def test_an_event_that_always_fails_is_given_up_after_three_days_and_says_so(stage: Stage) -> None:
    file(stage, an_event())

    def fail(_hint: Hint) -> str:
        raise RuntimeError("a bug")

    with shifted(PATIENCE + timedelta(hours=1)):
        handle_waiting_events(stage.database, fail)
    assert events(stage)[0].outcome == "given up: RuntimeError"
    assert waiting(stage) == 0


def test_an_event_that_was_tried_a_thousand_times_can_still_be_put_off(stage: Stage) -> None:
    """One that kills its worker is claimed again every few minutes, without ever being put off."""
    file(stage, an_event())
    with stage.database.transaction() as session:
        session.get_one(WebhookEvent, events(stage)[0].id).tries = 1000

    def fail(_hint: Hint) -> str:
        raise RuntimeError("a bug")

    assert handle_waiting_events(stage.database, fail) == 0
    with shifted(timedelta(hours=7)):
        assert handle_waiting_events(stage.database, lambda _hint: "done") == 1


def test_nothing_of_the_body_is_kept_but_ids(stage: Stage) -> None:
    stage.press(stage.form("visa"))
    stage.sandbox.deliver_webhooks()
    kept = str([vars(event) for event in events(stage)])
    assert "client_secret" not in kept
    assert "4242" not in kept


@pytest.mark.promise("G2")
def test_an_event_after_everything_changes_nothing(stage: Stage) -> None:
    outcome = stage.press(stage.form("visa"))
    stage.sandbox.deliver_webhooks()
    follow_all(stage)
    follow_all(stage)
    assert settle(stage.parts, stage.attempt().id) == outcome
    stage.check_paid_once()


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
