"""The controls over HTTP, for tests in other processes: `POST /_sandbox/<name>` with a JSON object of arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from werkzeug import Request, Response

from portal.sandbox.problems import Problem
from portal.sandbox.webhooks import WebhookPolicy

if TYPE_CHECKING:
    from portal.sandbox.sandbox import Sandbox

_METHODS = frozenset(
    [
        "add_account",
        "add_key",
        "add_webhook_endpoint",
        "advance",
        "authenticate",
        "captured_cents",
        "charges",
        "clear_faults",
        "close_dispute",
        "deliver_webhooks",
        "deliveries",
        "dispute",
        "elements_token",
        "escalate_dispute",
        "fail_refund",
        "fault",
        "finish_processing",
        "finish_refund",
        "get",
        "net_cents",
        "objects",
        "process_payouts",
        "refund",
        "reset",
        "resend_event",
        "revoke_key",
        "roll_webhook_secret",
    ]
)
"""Methods of Sandbox that are callable by name."""


def answer(sandbox: Sandbox, request: Request) -> Response:
    """JSON only, so that no form on a stranger's web page can press these buttons."""
    name = request.path.removeprefix("/_sandbox/")
    if request.method != "POST" or request.mimetype != "application/json":
        return _json({"error": "POST a JSON object"}, 415)
    arguments = request.get_json(silent=True)
    action = _action(sandbox, name)
    if action is None or not isinstance(arguments, dict):
        return _json({"error": f"no such control: {name}"}, 404)
    try:
        return _json({"result": _plain(action(**arguments))}, 200)
    except Problem as problem:
        return _json(problem.body(), 400)
    except (LookupError, TypeError, ValueError) as mistake:
        return _json({"error": str(mistake)}, 400)


def _action(sandbox: Sandbox, name: str) -> Callable[..., Any] | None:
    if name == "requests":
        return lambda: sandbox.requests
    if name == "webhook_policy":
        return lambda **policy: setattr(sandbox, "webhook_policy", WebhookPolicy(**policy))
    if name == "settings":
        return lambda **settings: _set(sandbox, **settings)
    found: Callable[..., Any] | None = getattr(sandbox, name) if name in _METHODS else None
    return found


def _set(
    sandbox: Sandbox, *, balance_delay_s: float | None = None, refund_failure_delay_s: float | None = None
) -> None:
    if balance_delay_s is not None:
        sandbox.world.balance_delay_s = balance_delay_s
    if refund_failure_delay_s is not None:
        sandbox.world.refund_failure_delay_s = refund_failure_delay_s


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _json(body: Any, status: int) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")
