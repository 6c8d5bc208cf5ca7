"""`expand[]`: an id in an answer becomes the object that it names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from portal.sandbox.problems import InvalidRequest, Json
from portal.sandbox.store import Scope, Store
from portal.sandbox.world import public

_DEEPEST = 4

EXPANDABLE: dict[str, dict[str, str]] = {
    "account": {},
    "balance_transaction": {"source": "charge"},
    "charge": {
        "balance_transaction": "balance_transaction",
        "customer": "customer",
        "failure_balance_transaction": "balance_transaction",
        "payment_intent": "payment_intent",
        "refunds": "refund",
    },
    "confirmation_token": {},
    "customer": {},
    "dispute": {"charge": "charge", "payment_intent": "payment_intent"},
    "event": {},
    "payment_intent": {"customer": "customer", "latest_charge": "charge", "payment_method": "payment_method"},
    "payment_method": {"customer": "customer"},
    "payout": {"balance_transaction": "balance_transaction"},
    "refund": {
        "balance_transaction": "balance_transaction",
        "charge": "charge",
        "failure_balance_transaction": "balance_transaction",
        "payment_intent": "payment_intent",
    },
    "setup_intent": {"customer": "customer", "payment_method": "payment_method"},
    "webhook_endpoint": {},
}
"""Per kind of object: the fields that can be expanded, and into what."""

_LISTED = frozenset({"refunds"})
Tree = dict[str, "Tree"]


def check_expansion(kind: str, paths: Iterable[str], *, listed: bool) -> None:
    """Raises InvalidRequest for what can't be expanded. To be asked before anything is done."""
    for path in paths:
        names = path.split(".")
        if len(names) > _DEEPEST:
            raise InvalidRequest(f"You cannot expand more than {_DEEPEST} levels of a property.", param="expand")
        if listed and names.pop(0) != "data":
            raise _cannot(path)
        at = kind
        while names:
            name = names.pop(0)
            if name not in EXPANDABLE[at]:
                raise _cannot(path)
            at = EXPANDABLE[at][name]
            if name in _LISTED and names and names.pop(0) != "data":
                raise _cannot(path)


def _cannot(path: str) -> InvalidRequest:
    return InvalidRequest(f"This property cannot be expanded ({path}).", param="expand")


def rendered(store: Store, thing: Json, expand: Iterable[str] = ()) -> Json:
    """An answer: `thing` without private notes, with the named ids (checked before) expanded."""
    tree: Tree = {}
    for path in expand:
        node = tree
        for name in path.split("."):
            node = node.setdefault(name, {})
    return _with(store, thing, tree)


def _with(store: Store, thing: Json, tree: Tree) -> Json:
    shown = public(thing)
    if thing.get("object") == "list":
        below = tree.get("data", {})
        shown["data"] = [_with(store, item, below) for item in thing["data"]]
        return shown
    for name, below in tree.items():
        value: Any = _refunds(store, thing) if name == "refunds" else shown.get(name)
        if isinstance(value, str):
            value = store.find(value)
        if isinstance(value, dict):
            shown[name] = _with(store, value, below)
    return shown


def _refunds(store: Store, charge: Json) -> Json:
    refunds = store.linked(Scope(*charge["_scope"]), "refund", "charge", charge["id"])
    url = f"/v1/charges/{charge['id']}/refunds"
    return {"object": "list", "data": list(refunds), "has_more": False, "url": url}
