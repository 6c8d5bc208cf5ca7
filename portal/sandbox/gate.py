"""How one request becomes one answer: who calls, what for, may they, was it asked before; then it is done."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from portal.sandbox.accounts import Caller, mask
from portal.sandbox.expansion import rendered
from portal.sandbox.faults import Fault, Faults, Kind
from portal.sandbox.forms import decode
from portal.sandbox.idempotency import Keys
from portal.sandbox.ids import new_id
from portal.sandbox.operations import Call, Operation, routed
from portal.sandbox.problems import ApiError, ConnectionLost, Json, Problem
from portal.sandbox.shapes import API_VERSION
from portal.sandbox.world import World

_LOG_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    """Below the host, such as `/v1/customers`."""
    query: str = ""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class Entry:
    """One line of the request log. It never holds parameters."""

    at: float
    request_id: str
    method: str
    path: str
    operation: str = ""
    account: str = ""
    livemode: bool = False
    key: str = ""
    idempotency_key: str | None = None
    status: int | None = None
    """None: the connection was dropped."""
    replayed: bool = False
    original_request_id: str = ""
    fault: str = ""


class Gate:
    def __init__(self, world: World) -> None:
        self.world = world
        self.keys = Keys(world.store, world.clock)
        self.faults = Faults()
        self.log: deque[Entry] = deque(maxlen=_LOG_LENGTH)

    def answer(self, request: Request) -> Answer:
        """Raises ConnectionLost where a fault says so."""
        entry = Entry(self.world.clock.now(), new_id("req"), request.method, request.path)
        self.log.append(entry)
        try:
            status, body = self._answer(request, entry)
        except Problem as problem:
            status, body = problem.status, _json(problem.body())
        entry.status = status
        headers = {
            "Content-Type": "application/json",
            "Request-Id": entry.request_id,
            "Stripe-Version": API_VERSION,
        }
        if entry.idempotency_key:
            headers["Idempotency-Key"] = entry.idempotency_key
            headers["Original-Request"] = entry.original_request_id or entry.request_id
        if entry.replayed:
            headers["Idempotent-Replayed"] = "true"
        return Answer(status, body, headers)

    def _answer(self, request: Request, entry: Entry) -> tuple[int, str]:
        operation, call, raw = self._understood(request, entry)
        struck = self.faults.strike(operation.name)
        entry.fault = ", ".join(struck)
        if "rate_limited" in struck:
            raise Problem(
                "Request rate limit exceeded. You can learn more about rate limits here "
                "https://stripe.com/docs/rate-limits.",
                code="rate_limit",
                status=429,
            )
        if "lost_before" in struck:
            raise ConnectionLost
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if not key:
            return self._carry_out(operation, call, entry, struck)
        entry.idempotency_key = key
        kept = self.keys.claim(call.scope, key, request.method, request.path, raw)
        if kept is not None:
            entry.replayed = True
            entry.original_request_id = kept["request_id"]
            return kept["status"], kept["body"]
        try:
            return self._carry_out(operation, call, entry, struck, keep=(key, request, raw))
        finally:
            self.keys.release(call.scope, key)

    def _understood(self, request: Request, entry: Entry) -> tuple[Operation, Call, Json]:
        """All that can be refused before anything begins. Nothing of such a refusal is kept."""
        caller = self.world.accounts.caller(self._authorization(request))
        entry.account, entry.livemode = caller.scope
        entry.key = mask(caller.key)
        operation, ids = routed(request.method, request.path.removeprefix("/v1"))
        entry.operation = operation.name
        _refuse_unless_permitted(operation, caller, request.method)
        version = request.headers.get("stripe-version")
        if version not in (None, "", API_VERSION):
            raise Problem(f"Invalid Stripe API version: {version}. This sandbox speaks {API_VERSION} only.")
        raw = decode(request.body if request.method == "POST" else request.query)
        params = operation.checked(caller, raw)
        return operation, Call(self.world, caller, ids, params), raw

    def _authorization(self, request: Request) -> str:
        given = request.headers.get("authorization", "")
        if given:
            return given
        raw = decode(request.body or request.query)  # browsers may send `key=pk_…` instead
        return f"Bearer {raw['key']}" if isinstance(raw.get("key"), str) else ""

    def _carry_out(
        self,
        operation: Operation,
        call: Call,
        entry: Entry,
        struck: dict[Kind, Fault],
        *,
        keep: tuple[str, Request, Json] | None = None,
    ) -> tuple[int, str]:
        if "latency" in struck:
            self.world.sleep(struck["latency"].latency_s)
        store = self.world.store
        with store.lock:
            self.world.run_due_tasks()
            self.world.request = {"id": entry.request_id, "idempotency_key": entry.idempotency_key}
            status, body = _failed() if "error_before" in struck else _done(operation, call)
            if "error_after" in struck:
                status, body = _failed()
            self.world.request = {"id": None, "idempotency_key": None}
            if keep:
                key, request, raw = keep
                kept = {"status": status, "body": body, "request_id": entry.request_id}
                self.keys.keep(call.scope, key, request.method, request.path, raw, kept)
            store.flush()
        if "lost_after" in struck:
            raise ConnectionLost
        return status, body


def _done(operation: Operation, call: Call) -> tuple[int, str]:
    expand = call.params.pop("expand", None) or ()
    try:
        return 200, _json(rendered(call.store, operation.run(call), expand))
    except Problem as problem:
        return problem.status, _json(problem.body())


def _failed() -> tuple[int, str]:
    problem = ApiError("An unknown error occurred. (The sandbox was told to fail here.)")
    return problem.status, _json(problem.body())


def _json(body: Json) -> str:
    return json.dumps(body)


def _refuse_unless_permitted(operation: Operation, caller: Caller, method: str) -> None:
    if caller.is_browser and operation.browser is None:
        raise Problem(
            "This API call cannot be made with a publishable API key. Please use a secret API key. You can find a "
            "list of your API keys at https://dashboard.stripe.com/account/apikeys.",
            code="secret_key_required",
            status=403,
        )
    if not (operation.server or caller.is_browser):
        raise Problem("This API call is for Stripe.js, with a publishable API key.", status=403)
    if not caller.may(operation.resource, write=method != "GET"):
        raise Problem(
            f"The provided key '{caller.masked_key}' does not have the required permissions for this endpoint on "
            f"account '{caller.scope.account}'. Having the '{_permission(operation, method)}' permission would allow "
            "this request to continue.",
            status=403,
        )


_NAMED = {"account": "accounts_kyc_basic", "webhook_endpoints": "webhook"}


def _permission(operation: Operation, method: str) -> str:
    """Stripe's own name for what a restricted key lacks."""
    resource = _NAMED.get(operation.resource, operation.resource.removesuffix("s"))
    return f"rak_{resource}_{'read' if method == 'GET' else 'write'}"
