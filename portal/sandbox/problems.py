"""What Stripe answers when it says no, as exceptions: one class per error type of its API."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class Problem(Exception):
    """An error answer. `details` become further fields of the error body (`payment_intent`, `charge`, …)."""

    status = 400
    type = "invalid_request_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.details = details
        if status is not None:
            self.status = status

    def body(self) -> Json:
        error: Json = {"type": self.type, "message": self.message}
        if self.code:
            error["code"] = self.code
            error["doc_url"] = "https://stripe.com/docs/error-codes/" + self.code.replace("_", "-")
        if self.param:
            error["param"] = self.param
        error.update({name: value for name, value in self.details.items() if value is not None})
        return {"error": error}


class InvalidRequest(Problem):
    """400: the request can't be done as it was put."""


class CardError(Problem):
    """402: the card was declined, or can't be used this way."""

    status = 402
    type = "card_error"


class IdempotencyError(Problem):
    """400: this idempotency key belongs to another request."""

    type = "idempotency_error"


class ApiError(Problem):
    """500: Stripe's own failure (here always an injected one)."""

    status = 500
    type = "api_error"


class ConnectionLost(Exception):
    """Not an answer at all: the caller sees the connection drop."""


def not_found(kind: str, object_id: str, *, param: str = "id", hint: str = "") -> InvalidRequest:
    """404: there is no such object for this account and mode."""
    return InvalidRequest(f"No such {kind}: '{object_id}'{hint}", code="resource_missing", param=param, status=404)


def no_such_reference(kind: str, object_id: str, *, param: str, hint: str = "") -> InvalidRequest:
    """400: a parameter names an object that does not exist for this account and mode."""
    return InvalidRequest(f"No such {kind}: '{object_id}'{hint}", code="resource_missing", param=param)
