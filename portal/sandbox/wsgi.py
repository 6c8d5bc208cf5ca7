"""The sandbox over HTTP: Stripe's API, Stripe.js and its frames, the page for people, and the controls for tests."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from werkzeug import Request as HttpRequest
from werkzeug import Response

from portal.sandbox import control, pages
from portal.sandbox.gate import Request
from portal.sandbox.problems import ConnectionLost, Json
from portal.sandbox.webhooks import is_loopback

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from portal.sandbox.sandbox import Sandbox

_ASSETS = Path(__file__).with_name("assets")
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, Stripe-Version",
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Max-Age": "600",
}
_PAGE_POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'"

TEMPLATES = Environment(
    loader=FileSystemLoader(_ASSETS), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def application(sandbox: Sandbox) -> WSGIApplication:
    site = _Site(sandbox)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            response = site.answer(HttpRequest(environ))
        except ConnectionLost:
            _hang_up(environ)
            raise ConnectionResetError("the sandbox was told to drop this connection") from None
        return response(environ, start_response)

    return app


def _hang_up(environ: Mapping[str, Any]) -> None:
    """Close the caller's connection without a word, as a broken network would."""
    connection = environ.get("werkzeug.socket")
    if connection is not None:
        connection.shutdown(socket.SHUT_RDWR)


class _Site:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def answer(self, request: HttpRequest) -> Response:
        if not is_loopback(urlsplit(f"//{request.host}").hostname):
            return Response("This sandbox answers to this machine only.", 403)  # a name that was rebound to us
        path = request.path
        if path.startswith("/v1/"):
            return self._api(request)
        if path == "/endive/stripe.js":
            return _asset("stripe.js")
        if path.startswith("/assets/"):
            return _asset(path.removeprefix("/assets/"))
        if path == "/frame/payment-element":
            return _page("payment-element.html", framed=True)
        if path.startswith("/challenge/"):
            return self._challenge(request)
        if path.startswith("/_sandbox/"):
            return control.answer(self._sandbox, request)
        if path == "/":
            return _page("index.html", **pages.overview(self._sandbox))
        return Response("Not found", 404)

    def _api(self, request: HttpRequest) -> Response:
        if request.method == "OPTIONS":
            return Response(status=204, headers=_CORS)
        answer = self._sandbox.gate.answer(
            Request(
                request.method,
                request.path,
                request.query_string.decode(),
                request.get_data(as_text=True),
                {name.lower(): value for name, value in request.headers.items()},
            )
        )
        return Response(answer.body, answer.status, {**answer.headers, **_CORS})

    def _challenge(self, request: HttpRequest) -> Response:
        """The bank's page. In a frame, Stripe.js passes the client secret; after a redirect the address does."""
        intent_id, _, alone = request.path.removeprefix("/challenge/").partition("/")
        if request.method == "POST":
            return self._decided(request, intent_id)
        return _page(
            "challenge.html",
            framed=not alone,
            intent_id=intent_id,
            client_secret=request.args.get("client_secret", ""),
        )

    def _decided(self, request: HttpRequest, intent_id: str) -> Response:
        given = request.form.get("client_secret", "")
        try:
            intent = self._sandbox.get(intent_id)
        except LookupError:
            return Response("Not found", 404)
        if given != intent["client_secret"]:
            return Response("This is not your payment.", 403)
        return_url = _return_url(intent)
        if intent["status"] == "requires_action":
            intent = self._sandbox.authenticate(intent_id, succeed=request.form.get("outcome") == "complete")
        if request.form.get("framed"):
            return Response(status=204)
        if return_url is None:
            return Response("This payment has been decided already.", 409)
        return Response(status=303, headers={"Location": _with_outcome(return_url, intent)})


def _return_url(intent: Json) -> str | None:
    action = intent["next_action"] or {}
    url: str | None = action.get("redirect_to_url", {}).get("return_url")
    return url


def _with_outcome(url: str, intent: Json) -> str:
    """The merchant's address with what Stripe adds to it."""
    kind = intent["object"]
    outcome = urlencode(
        {
            kind: intent["id"],
            f"{kind}_client_secret": intent["client_secret"],
            "redirect_status": "succeeded" if intent["status"] == "succeeded" else "failed",
        }
    )
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=f"{parts.query}&{outcome}" if parts.query else outcome))


def _asset(name: str) -> Response:
    file = _ASSETS / name
    if file.parent != _ASSETS or file.suffix not in _TYPES or not file.is_file():
        return Response("Not found", 404)
    return Response(
        file.read_bytes(),
        content_type=_TYPES[file.suffix],
        headers={"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"},
    )


def _page(template: str, *, framed: bool = False, **values: Any) -> Response:
    policy = _PAGE_POLICY if framed else f"{_PAGE_POLICY}; frame-ancestors 'none'"
    html = TEMPLATES.get_template(template).render(framed=framed, **values)
    return Response(
        html,
        content_type="text/html; charset=utf-8",
        headers={"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
    )
