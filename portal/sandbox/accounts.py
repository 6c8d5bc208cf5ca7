"""Accounts and their keys: who is calling, in which mode, and what the key may do."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Literal

from portal.sandbox.ids import random_letters
from portal.sandbox.problems import Problem
from portal.sandbox.shapes import account_shape
from portal.sandbox.store import Scope, Store

Kind = Literal["publishable", "secret", "restricted"]
_PREFIX: dict[Kind, str] = {"publishable": "pk", "secret": "sk", "restricted": "rk"}

DEFAULT_ACCOUNT = "acct_1SandboxClinic"


@dataclass(frozen=True, slots=True)
class Caller:
    scope: Scope
    kind: Kind
    key: str
    permissions: tuple[str, ...] | None = None
    """For a restricted key: `resource:read` or `resource:write`. None: everything."""

    @property
    def is_browser(self) -> bool:
        return self.kind == "publishable"

    @property
    def masked_key(self) -> str:
        return mask(self.key)

    def may(self, resource: str, *, write: bool) -> bool:
        if self.permissions is None or f"{resource}:write" in self.permissions:
            return True
        return not write and f"{resource}:read" in self.permissions


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the sandbox, with one key of each kind per mode."""

    id: str
    test_publishable_key: str
    test_secret_key: str
    test_restricted_key: str
    live_publishable_key: str
    live_secret_key: str
    live_restricted_key: str

    @classmethod
    def with_keys_ending(cls, account_id: str, ending: str) -> Account:
        kinds = ("pk", "sk", "rk")
        return cls(account_id, *(f"{kind}_{mode}_{ending}" for mode in ("test", "live") for kind in kinds))


DEFAULT = Account.with_keys_ending(DEFAULT_ACCOUNT, "sandbox")


class Accounts:
    def __init__(self, store: Store) -> None:
        self._store = store

    def open(self, name: str, *, now: int, account_id: str | None = None, key_ending: str | None = None) -> Account:
        """A new account with its six keys."""
        account_id = account_id or f"acct_1{random_letters(15)}"
        ending = key_ending or random_letters(24)
        for livemode in (False, True):
            shape = account_shape(account_id, name, now)
            self._store.put("accounts", f"{account_id} {livemode}", shape)
            for kind in _PREFIX:
                self.add_key(account_id, kind, livemode=livemode, ending=ending)
        return Account.with_keys_ending(account_id, ending)

    def add_key(
        self,
        account_id: str,
        kind: Kind,
        *,
        livemode: bool = False,
        ending: str | None = None,
        permissions: list[str] | None = None,
    ) -> str:
        key = f"{_PREFIX[kind]}_{'live' if livemode else 'test'}_{ending or random_letters(24)}"
        row = {"account": account_id, "livemode": livemode, "kind": kind, "permissions": permissions}
        self._store.put("keys", key, row)
        return key

    def revoke_key(self, key: str) -> None:
        row = self._store.table("keys")[key]
        self._store.put("keys", key, {**row, "revoked": True})

    def caller(self, authorization: str) -> Caller:
        """Who says so in the Authorization header. Raises a 401 Problem."""
        key = _key_in(authorization)
        if not key:
            raise Problem(
                "You did not provide an API key. You need to provide your API key in the Authorization header, using "
                "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
                status=401,
            )
        row = self._store.table("keys").get(key)
        if row is None:
            raise Problem(f"Invalid API Key provided: {mask(key)}", status=401)
        if row.get("revoked"):
            raise Problem(f"Expired API Key provided: {mask(key)}", code="api_key_expired", status=401)
        permissions = row["permissions"]
        return Caller(
            Scope(row["account"], row["livemode"]),
            row["kind"],
            key,
            None if permissions is None else tuple(permissions),
        )


def _key_in(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return credentials.strip() if scheme.lower() == "bearer" else ""


def mask(key: str) -> str:
    """A key as error messages and logs may show it."""
    return f"{key[:8]}{'*' * max(4, len(key) - 12)}{key[-4:]}" if len(key) > 16 else key[:8] + "****"
