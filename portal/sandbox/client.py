"""The `stripe` library's way straight into the sandbox, without sockets: for simulations by the thousand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import stripe

from portal.sandbox.gate import Gate, Request
from portal.sandbox.problems import ConnectionLost

if TYPE_CHECKING:
    from stripe import HTTPClient
else:
    HTTPClient = stripe.HTTPClient


class InProcessClient(HTTPClient):
    """Pass it as `http_client` to `stripe.StripeClient`."""

    name = "sandbox"

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        path, _, query = url.partition("://")[2].partition("?")
        request = Request(
            method.upper(),
            path[path.find("/") :],
            query,
            post_data or "",
            {name.lower(): value for name, value in (headers or {}).items()},
        )
        try:
            answer = self._gate.answer(request)
        except ConnectionLost:
            error: Exception = stripe.APIConnectionError("The connection to Stripe was lost.", should_retry=True)  # type: ignore[no-untyped-call]  # theirs has no types
            raise error from None
        return answer.body, answer.status, _CaseBlind(answer.headers)

    def close(self) -> None:
        """There is nothing to close."""


class _CaseBlind(dict[str, str]):
    """Answer headers, found in any case, as HTTP has it."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__({name.lower(): value for name, value in headers.items()})

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)
