"""Keys and faults: what a caller can rely on when the network and Stripe fail it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import stripe

from portal.sandbox import Sandbox
from portal.sandbox.accounts import Account
from tests.sandbox.conftest import client_of
from tests.sandbox.makers import confirm, error_of, intent


def test_a_lost_answer_can_be_asked_for_again(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    waiting = intent(api)
    sandbox.fault("payment_intents.confirm", "lost_after")
    with pytest.raises(stripe.APIConnectionError):
        confirm(api, waiting.id, key="k-1", payment_method="pm_card_visa")
    assert sandbox.captured_cents(waiting.id) == 1000
    again = confirm(api, waiting.id, key="k-1", payment_method="pm_card_visa")
    assert again.status == "succeeded"
    assert len(sandbox.charges()) == 1


def test_a_request_lost_on_the_way_has_done_nothing(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    waiting = intent(api)
    sandbox.fault("payment_intents.confirm", "lost_before")
    with pytest.raises(stripe.APIConnectionError):
        confirm(api, waiting.id, key="k-1", payment_method="pm_card_visa")
    assert sandbox.charges() == []
    assert confirm(api, waiting.id, key="k-1", payment_method="pm_card_visa").status == "succeeded"


@pytest.mark.parametrize(("fault", "taken"), [("error_before", 0), ("error_after", 1000)])
def test_a_500_is_replayed_whatever_had_happened(
    sandbox: Sandbox, api: stripe.StripeClient, fault: Any, taken: int
) -> None:
    waiting = intent(api)
    sandbox.fault("payment_intents.confirm", fault)
    for _ in range(2):
        with pytest.raises(stripe.APIError) as error:
            confirm(api, waiting.id, key="k-1", payment_method="pm_card_visa")
        assert error.value.http_status == 500
    assert error.value.headers["Idempotent-Replayed"] == "true"  # type: ignore[index]  # this error has headers
    assert sandbox.captured_cents(waiting.id) == taken


def test_a_429_leaves_the_key_free(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    waiting = intent(api)
    sandbox.fault("payment_intents.*", "rate_limited", times=2)
    for _ in range(2):
        with pytest.raises(stripe.RateLimitError):
            confirm(api, waiting.id, key="k-1", payment_method="pm_card_visa")
    assert confirm(api, waiting.id, key="k-1", payment_method="pm_card_visa").status == "succeeded"


def test_a_fault_can_wait_for_a_later_call(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    sandbox.fault("customers.create", "error_before", skip=1)
    api.v1.customers.create()
    with pytest.raises(stripe.APIError):
        api.v1.customers.create()
    api.v1.customers.create()


def test_a_key_in_use_is_a_409_and_nothing_is_kept_of_it(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    waiting = intent(api)
    sandbox.fault("payment_intents.confirm", "latency", latency_s=0.5)
    outcomes: list[str] = []
    slow = threading.Thread(
        target=lambda: outcomes.append(confirm(api, waiting.id, key="k-1", payment_method="pm_card_visa").status)
    )
    slow.start()
    time.sleep(0.1)
    with pytest.raises(stripe.StripeError) as error:
        confirm(api, waiting.id, key="k-1", payment_method="pm_card_visa")
    assert (error.value.http_status, error_of(error)["code"]) == (409, "idempotency_key_in_use")
    slow.join()
    assert outcomes == ["succeeded"]
    assert confirm(api, waiting.id, key="k-1", payment_method="pm_card_visa").status == "succeeded"
    assert len(sandbox.charges()) == 1


def test_a_key_is_forgotten_after_a_day_and_then_it_is_a_new_request(
    sandbox: Sandbox, api: stripe.StripeClient
) -> None:
    params: Any = {"amount": 1000, "currency": "cad"}
    first = api.v1.payment_intents.create(params, {"idempotency_key": "k-1"})
    sandbox.advance(24 * 3600 - 10)
    assert api.v1.payment_intents.create(params, {"idempotency_key": "k-1"}).id == first.id
    sandbox.advance(20)
    assert api.v1.payment_intents.create(params, {"idempotency_key": "k-1"}).id != first.id


def test_a_key_is_for_one_endpoint(api: stripe.StripeClient) -> None:
    first, second = intent(api), intent(api)
    confirm(api, first.id, key="k-1", payment_method="pm_card_visa")
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        confirm(api, second.id, key="k-1", payment_method="pm_card_visa")


def test_accounts_and_modes_do_not_share_keys(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    params: Any = {"amount": 1000, "currency": "cad"}
    other: Account = sandbox.add_account()
    made = {
        client_of(sandbox, key).v1.payment_intents.create(params, {"idempotency_key": "k-1"}).id
        for key in (sandbox.secret_key, sandbox.default_account.live_secret_key, other.test_secret_key)
    }
    assert len(made) == 3


def test_the_log_tells_of_each_request_and_its_key(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    waiting = intent(api)
    sandbox.fault("payment_intents.confirm", "lost_after")
    for _ in range(2):
        try:
            confirm(api, waiting.id, key="k-1", payment_method="pm_card_visa")
        except stripe.APIConnectionError:
            continue
    lost, replayed = sandbox.requests[-2:]
    assert (lost.operation, lost.idempotency_key, lost.status, lost.fault) == (
        "payment_intents.confirm", "k-1", None, "lost_after",
    )  # fmt: skip
    assert (replayed.status, replayed.replayed) == (200, True)


def test_a_thousand_calls_take_a_moment(sandbox: Sandbox) -> None:
    client = sandbox.http_client()
    headers = {"Authorization": f"Bearer {sandbox.secret_key}"}
    began = time.perf_counter()
    for _ in range(1000):
        client.request("post", "https://stripe/v1/payment_intents", headers, "amount=1000&currency=cad")
    assert time.perf_counter() - began < 3


def test_a_fault_for_nothing_is_a_mistake(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="no operation"):
        sandbox.fault("payment_intent.confirm", "lost_after")
    with pytest.raises(ValueError, match="a fault is one of"):
        sandbox.fault("payment_intents.confirm", "earthquake")  # type: ignore[arg-type]  # what it refuses


def test_what_a_test_is_given_is_a_copy(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    waiting = intent(api, metadata={"attempt": "a-1"})
    sandbox.get(waiting.id)["metadata"]["attempt"] = "changed"
    assert sandbox.objects("payment_intent")[0]["metadata"] == {"attempt": "a-1"}
