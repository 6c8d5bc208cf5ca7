"""A tiny shop that holds the Payment Element, under the strict policy that the product's pay page has."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import stripe
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Pay</title>
<script src="{js}"></script><script src="/page.js" defer></script></head>
<body><main><h1>Pay</h1>
<div id="payment-element"></div>
<button id="pay">Pay</button>
<p id="outcome" role="status"></p>
</main></body></html>"""

_SCRIPT = """
window.heard = [];
window.addEventListener("message", (event) => window.heard.push(JSON.stringify(event.data)));
const stripe = Stripe("pk_test_sandbox");
const elements = stripe.elements({
  mode: "payment", amount: 1000, currency: "cad", allowedPaymentMethodTypes: ["card"],
  appearance: { variables: { colorPrimary: "#004488" } },
});
const element = elements.create("payment", { wallets: { applePay: "never", googlePay: "never", link: "never" } });
element.on("ready", () => { document.body.dataset.ready = "yes"; });
element.on("change", (event) => window.heard.push(JSON.stringify(event)));
element.mount("#payment-element");
const say = (text) => { document.getElementById("outcome").textContent = text; };
document.getElementById("pay").addEventListener("click", async () => {
  say("working");
  const { error: invalid } = await elements.submit();
  if (invalid) return say(`${invalid.type}: ${invalid.message}`);
  const { error, confirmationToken } = await stripe.createConfirmationToken({ elements });
  if (error) return say(`${error.code}: ${error.message}`);
  window.heard.push(JSON.stringify(confirmationToken));
  const answer = await fetch("/confirm" + location.search, { method: "POST", body: confirmationToken.id });
  const next = await answer.json();
  if (next.status !== "requires_action") return say(next.status + (next.code ? ": " + next.code : ""));
  const result = await stripe.handleNextAction({ clientSecret: next.client_secret });
  say(result.error ? "action failed: " + result.error.code : "after action: " + result.paymentIntent.status);
});
"""


@dataclass
class Shop:
    """What the shop's server did, for a test to look at."""

    api: stripe.StripeClient
    sandbox_url: str
    url: str = ""
    intents: list[str] = field(default_factory=list)
    confirm_params: dict[str, Any] = field(default_factory=dict)

    def app(self, request: Request) -> Response:
        if request.path == "/page.js":
            return Response(_SCRIPT, content_type="text/javascript")
        if request.path == "/confirm":
            return self._confirm(request.get_data(as_text=True))
        if request.path == "/done":
            return Response("<!doctype html><title>Done</title><h1>Done</h1>", content_type="text/html")
        if request.path != "/":
            return Response(status=204)
        policy = (
            f"default-src 'none'; script-src 'self' {self.sandbox_url}; frame-src {self.sandbox_url}; "
            f"connect-src 'self' {self.sandbox_url}; style-src 'self'; img-src 'self'"
        )
        html = _PAGE.format(js=f"{self.sandbox_url}/endive/stripe.js")
        return Response(html, content_type="text/html", headers={"Content-Security-Policy": policy})

    def _confirm(self, token: str) -> Response:
        intent = self.api.v1.payment_intents.create(
            {"amount": 1000, "currency": "cad", "allowed_payment_method_types": ["card"]}
        )
        self.intents.append(intent.id)
        params: Any = {"confirmation_token": token, "return_url": f"{self.url}/done", **self.confirm_params}
        try:
            intent = self.api.v1.payment_intents.confirm(intent.id, params)
        except stripe.CardError as declined:
            return _json({"status": "declined", "code": declined.code})
        return _json({"status": intent.status, "client_secret": intent.client_secret})


def _json(body: dict[str, Any]) -> Response:
    return Response(json.dumps(body), content_type="application/json")


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def open_shop(api: stripe.StripeClient, sandbox_url: str) -> Iterator[Shop]:
    shop = Shop(api, sandbox_url)
    server = make_server("127.0.0.1", 0, Request.application(shop.app), threaded=True, request_handler=_Quiet)
    shop.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield shop
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
