"""The sandbox as a process of its own: over sockets, with its controls, its memory and its refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import html5lib
import pytest
import requests
import stripe
from werkzeug import Request, Response
from werkzeug.serving import make_server

from portal.sandbox import Sandbox
from portal.sandbox.server import listen, serve
from tests.sandbox.conftest import client_of, client_over_http
from tests.sandbox.makers import confirm, intent, paid


def control(base_url: str, action: str, /, **arguments: Any) -> Any:
    answer = requests.post(f"{base_url}/_sandbox/{action}", json=arguments, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def test_a_payment_works_over_sockets(remote_api: stripe.StripeClient) -> None:
    assert paid(remote_api).status == "succeeded"


def test_a_dropped_connection_really_drops(sandbox: Sandbox, base_url: str, remote_api: stripe.StripeClient) -> None:
    waiting = intent(remote_api)
    control(base_url, "fault", operation="payment_intents.confirm", kind="lost_after")
    with pytest.raises(stripe.APIConnectionError):
        confirm(remote_api, waiting.id, key="k-1", payment_method="pm_card_visa")
    assert confirm(remote_api, waiting.id, key="k-1", payment_method="pm_card_visa").status == "succeeded"
    assert len(sandbox.charges()) == 1


def test_all_hands_are_there_for_other_processes(base_url: str, remote_api: stripe.StripeClient) -> None:
    payment = paid(remote_api)
    assert control(base_url, "captured_cents", intent=payment.id) == 1000
    assert control(base_url, "refund", charge_or_intent=payment.id, amount=100)["amount"] == 100
    dispute = control(base_url, "dispute", charge_or_intent=payment.latest_charge)
    assert control(base_url, "close_dispute", dispute=dispute["id"], outcome="lost")["status"] == "lost"
    assert control(base_url, "process_payouts")[0]["object"] == "payout"
    assert control(base_url, "add_account", name="Another")["test_secret_key"].startswith("sk_test_")
    assert any(entry["operation"] == "payment_intents.confirm" for entry in control(base_url, "requests"))
    control(base_url, "webhook_policy", duplicates=1, drop=["charge.*"])
    control(base_url, "advance", seconds=60)
    control(base_url, "reset")
    assert remote_api.v1.payment_intents.list().data == []


def test_the_controls_take_json_only_and_know_their_names(base_url: str) -> None:
    form = requests.post(f"{base_url}/_sandbox/reset", data={"a": "b"}, timeout=10)
    assert form.status_code == 415
    unknown = requests.post(f"{base_url}/_sandbox/world", json={}, timeout=10)
    assert unknown.status_code == 404
    mistaken = requests.post(f"{base_url}/_sandbox/get", json={"object_id": "pi_nothing"}, timeout=10)
    assert mistaken.status_code == 400


def test_a_name_rebound_to_this_machine_is_not_answered(base_url: str) -> None:
    answer = requests.get(base_url, headers={"Host": "evil.example"}, timeout=10)
    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["/", "/frame/payment-element", "/challenge/pi_1", "/challenge/pi_1/redirect"])
def test_its_pages_are_valid_html(base_url: str, remote_api: stripe.StripeClient, path: str) -> None:
    paid(remote_api, description="<script>")
    answer = requests.get(base_url + path, timeout=10)
    html5lib.HTMLParser(strict=True).parse(answer.text)
    assert "test double, not Stripe" in answer.text
    assert "<script>" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_webhooks_arrive_by_themselves(sandbox: Sandbox) -> None:
    heard = threading.Event()
    bodies: list[dict[str, Any]] = []

    @Request.application
    def hook(request: Request) -> Response:
        bodies.append(json.loads(request.get_data()))
        heard.set()
        return Response(status=200)

    server = make_server("127.0.0.1", 0, hook)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    sandbox.add_webhook_endpoint(f"http://127.0.0.1:{server.server_port}/", enabled_events=["charge.succeeded"])
    sandbox.start()
    try:
        paid(client_of(sandbox))
        assert heard.wait(10)
        assert bodies[0]["type"] == "charge.succeeded"
    finally:
        sandbox.stop()
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_state_file_survives_a_restart_and_holds_no_card_number(tmp_path: Path) -> None:
    file = tmp_path / "sandbox.jsonl"
    before = Sandbox(state=file)
    waiting = intent(client_of(before))
    browser = client_of(before, before.publishable_key)
    number: Any = {"number": "4000002760003184", "exp_month": 1, "exp_year": 2040, "cvc": "987"}
    params: Any = {
        "client_secret": waiting.client_secret,
        "payment_method_data": {"type": "card", "card": number},
    }
    assert browser.v1.payment_intents.confirm(waiting.id, params, {"idempotency_key": "k-1"}).status == (
        "requires_action"
    )
    other = before.add_account().test_secret_key
    before.advance(100)
    assert "4000002760003184" not in file.read_text()
    assert '"987"' not in file.read_text()
    file.write_text(file.read_text() + '["objects", "torn')

    after = Sandbox(state=file)
    again = client_of(after, after.publishable_key)
    assert again.v1.payment_intents.confirm(waiting.id, params, {"idempotency_key": "k-1"}).id == waiting.id
    assert after.authenticate(waiting.id)["status"] == "succeeded"
    assert len(client_of(after).v1.charges.list({"payment_intent": waiting.id}).data) == 1
    assert client_of(after, other).v1.charges.list().data == []
    assert after.clock.added_s == 100


def test_only_loopback_is_listened_on(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="loopback"):
        listen(sandbox, "0.0.0.0", 0)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "portal.sandbox", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, check=False
    )


def test_it_does_not_start_in_production() -> None:
    refused = run("--port", "0", PORTAL_ENV="production")
    assert refused.returncode == 2
    assert "test double" in refused.stderr


def test_it_does_not_start_for_other_machines() -> None:
    refused = run("--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "loopback" in refused.stderr


def test_it_starts_and_stops_as_a_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "portal.sandbox", "--port", "0", "--state", str(tmp_path / "state")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "a test double, not Stripe" in line
        assert paid(client_over_http(line.split()[-1])).status == "succeeded"
        process.terminate()
        assert process.wait(10) == 0


def test_two_sandboxes_can_serve_side_by_side() -> None:
    first, second = Sandbox(), Sandbox()
    with serve(first) as one, serve(second) as two:
        paid(client_over_http(one))
        assert client_over_http(two).v1.charges.list().data == []
