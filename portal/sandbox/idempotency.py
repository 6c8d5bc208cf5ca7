"""Idempotency keys, as Stripe documents them for its v1 API.

The first status and body are kept once the operation has begun, and replayed, failures included. Nothing is kept of a
request that was refused before it began. A key is forgotten after 24 hours: then it is a new request.
"""

from __future__ import annotations

import hashlib
import json

from portal.sandbox.clock import Clock
from portal.sandbox.problems import IdempotencyError, Json, Problem
from portal.sandbox.store import Scope, Store

FORGOTTEN_AFTER_S = 24 * 3600
_LONGEST_KEY = 255


class Keys:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._in_use: set[str] = set()

    def claim(self, scope: Scope, key: str, method: str, path: str, params: Json) -> Json | None:
        """Take the key for one request, or give the answer kept for it.

        Raises 409 while another request holds the key, 400 when it was first used for another request.
        """
        if len(key) > _LONGEST_KEY:
            raise Problem(f"Idempotency keys can be at most {_LONGEST_KEY} characters long.")
        name, print_ = _name(scope, key), fingerprint(method, path, params)
        with self._store.lock:
            if name in self._in_use:
                raise IdempotencyError(
                    "There is currently another in-progress request using this Idempotent Key (that probably means "
                    "you submitted twice, and the other request is still going through): "
                    f"{key}. Please try again later.",
                    code="idempotency_key_in_use",
                    status=409,
                )
            kept: Json | None = self._store.table("idempotency").get(name)
            if kept is not None and self._clock.now() - kept["at"] >= FORGOTTEN_AFTER_S:
                self._store.put("idempotency", name, None)
                kept = None
            if kept is None:
                self._in_use.add(name)
                return None
            if kept["path"] != path:
                raise IdempotencyError(
                    "Keys for idempotent requests can only be used for the same endpoint they were first used for "
                    f"('{kept['path']}' vs '{path}'). Try using a key other than '{key}' if you meant to execute a "
                    "different request."
                )
            if kept["fingerprint"] != print_:
                raise IdempotencyError(
                    "Keys for idempotent requests can only be used with the same parameters they were first used "
                    f"with. Try using a key other than '{key}' if you meant to execute a different request."
                )
            return kept

    def keep(self, scope: Scope, key: str, method: str, path: str, params: Json, answer: Json) -> None:
        row = {**answer, "at": self._clock.now(), "path": path, "fingerprint": fingerprint(method, path, params)}
        with self._store.lock:
            self._store.put("idempotency", _name(scope, key), row)

    def forget_expired(self) -> None:
        """Nobody may ever ask again; a long simulation should not keep them."""
        with self._store.lock:
            oldest = self._clock.now() - FORGOTTEN_AFTER_S
            for name in [name for name, row in self._store.table("idempotency").items() if row["at"] <= oldest]:
                self._store.put("idempotency", name, None)

    def release(self, scope: Scope, key: str) -> None:
        with self._store.lock:
            self._in_use.discard(_name(scope, key))


def _name(scope: Scope, key: str) -> str:
    return f"{scope.account} {'live' if scope.livemode else 'test'} {key}"


def fingerprint(method: str, path: str, params: Json) -> str:
    return hashlib.sha256(json.dumps([method, path, params], sort_keys=True).encode()).hexdigest()
