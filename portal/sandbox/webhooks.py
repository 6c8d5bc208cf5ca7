"""Webhooks: which endpoint hears of which event, signed as Stripe signs, and all that can go wrong on the way."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import requests

from portal.sandbox.clock import Clock
from portal.sandbox.ids import random_letters
from portal.sandbox.problems import Json
from portal.sandbox.store import Scope, Store

Transport = Callable[[str, bytes, Mapping[str, str]], int]
"""Sends one webhook: address, body, headers. Returns the status, or raises OSError."""

_GIVES_UP_AFTER_S = 3 * 86400
_TIMEOUT_S = 10


@dataclass
class WebhookPolicy:
    """What the post does to events. Stripe promises neither order, nor one delivery, nor (rarely) any."""

    duplicates: int = 0
    """How often each event is sent again after it was delivered."""
    late_s: float = 0
    reorder: bool = False
    """Newest first."""
    drop: list[str] = field(default_factory=list)
    """Types that are never sent, with `*` as a wildcard."""

    def drops(self, kind: str) -> bool:
        return any(fnmatchcase(kind, pattern) for pattern in self.drop)


class PostOffice:
    """Deliveries are rows: which event, to which endpoint, when due, how often tried, and how it went."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._sending = threading.Lock()
        self.policy = WebhookPolicy()
        self.transport: Transport = send_over_loopback
        self.wake = threading.Event()
        self._pending = {key: None for key, row in store.table("deliveries").items() if row["state"] == "pending"}

    def forget(self) -> None:
        """As new, when the store has been cleared."""
        self.policy = WebhookPolicy()
        self._pending.clear()

    def accept(self, scope: Scope, event: Json) -> None:
        for endpoint in list(self._store.newest_first(scope, "webhook_endpoint")):
            if endpoint["status"] == "enabled" and _wants(endpoint, event["type"]):
                event["pending_webhooks"] += 1
                self._file(event, endpoint)
        if event["pending_webhooks"]:
            self._store.save(event)

    def resend(self, event: Json) -> None:
        """Once more to every endpoint of its account and mode, as `stripe events resend` does."""
        for endpoint in list(self._store.newest_first(Scope(*event["_scope"]), "webhook_endpoint")):
            if endpoint["status"] == "enabled":
                self._file(event, endpoint, spared=True)

    def _file(self, event: Json, endpoint: Json, *, spared: bool = False) -> None:
        policy = WebhookPolicy() if spared else self.policy
        now = self._clock.now()
        row = {
            "event": event["id"],
            "type": event["type"],
            "endpoint": endpoint["id"],
            "filed": now,
            "due": now + policy.late_s,
            "attempts": 0,
            "state": "dropped" if policy.drops(event["type"]) else "pending",
            "status": None,
        }
        for _ in range(1 + policy.duplicates):
            key = random_letters(16)
            self._store.put("deliveries", key, dict(row))
            if row["state"] == "pending":
                self._pending[key] = None
        self.wake.set()

    def deliver(self, *, everything: bool = False) -> int:
        """Send what is due (or, with `everything`, all that is pending). Returns how many were taken.

        The lock of the store is not held while sending: whoever hears of an event may call the API at once.
        """
        delivered = 0
        with self._sending:
            for key in self._due(everything):
                delivered += self._send(key)
        return delivered

    def _due(self, everything: bool) -> list[str]:
        with self._store.lock:
            now = self._clock.now()
            rows = self._store.table("deliveries")
            due = [key for key in self._pending if everything or rows[key]["due"] <= now]
        return due[::-1] if self.policy.reorder else due

    def _send(self, key: str) -> bool:
        with self._store.lock:
            row = self._store.table("deliveries").get(key)
            event = row and self._store.find(row["event"])
            endpoint = row and self._store.find(row["endpoint"])
            if not (row and event and endpoint) or row["state"] != "pending":
                return False
            shown = {name: value for name, value in event.items() if name[0] != "_"}
            shown["api_version"] = endpoint["api_version"] or event["api_version"]
            body = json.dumps(shown, indent=2).encode()
            headers = {
                "Content-Type": "application/json; charset=utf-8",
                "User-Agent": "Stripe/1.0 (a local stand-in for Stripe)",
                "Stripe-Signature": signature(body, endpoint["_secrets"], self._clock.seconds()),
            }
        try:
            status = self.transport(endpoint["url"], body, headers)
        except OSError:
            status = 0
        with self._store.lock:
            self._note(key, row, event, status)
            self._store.flush()
        return 200 <= status < 300

    def _note(self, key: str, row: Json, event: Json, status: int) -> None:
        attempts = row["attempts"] + 1
        now = self._clock.now()
        fresh = {**row, "attempts": attempts, "status": status}
        if 200 <= status < 300:
            fresh["state"] = "delivered"
            event["pending_webhooks"] = max(0, event["pending_webhooks"] - 1)
            self._store.save(event)
        elif now - row["filed"] > _GIVES_UP_AFTER_S:
            fresh["state"] = "failed"
        else:
            fresh["due"] = now + min(2.0**attempts, 3600.0)
        self._store.put("deliveries", key, fresh)
        if fresh["state"] != "pending":
            self._pending.pop(key, None)


def _wants(endpoint: Json, kind: str) -> bool:
    return any(wanted in ("*", kind) for wanted in endpoint["enabled_events"])


def signature(body: bytes, secrets: list[str], timestamp: int) -> str:
    """The Stripe-Signature header: one `v1` per secret, two while a secret is being rolled."""
    signed = f"{timestamp}.".encode() + body
    codes = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={timestamp}", *(f"v1={code}" for code in codes)])


def is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def send_over_loopback(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Never off this machine: a stand-in has nothing to tell anybody else."""
    if not is_loopback(urlsplit(url).hostname):
        raise OSError(f"the sandbox sends webhooks to this machine only, not to {url}")
    with requests.Session() as session:
        session.trust_env = False
        answer: Any = session.post(url, data=body, headers=dict(headers), timeout=_TIMEOUT_S, allow_redirects=False)
        return int(answer.status_code)
