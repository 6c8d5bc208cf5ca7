"""What the page for people shows: what was recorded, and never more of a card than its last four digits."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from portal.sandbox.accounts import DEFAULT_ACCOUNT
from portal.sandbox.cards import CARDS
from portal.sandbox.problems import Json

if TYPE_CHECKING:
    from portal.sandbox.sandbox import Sandbox

_SHOWN = 50


def overview(sandbox: Sandbox) -> Json:
    def recent(kind: str) -> list[Json]:
        found: list[Json] = []
        for livemode in (False, True):
            found += sandbox.objects(kind, account=DEFAULT_ACCOUNT, livemode=livemode)
        found.sort(key=lambda one: one["created"])
        return found[: -_SHOWN - 1 : -1]

    return {
        "sections": [
            _section("Payment intents", ("Id", "Amount", "Status", "Description"), [
                (one["id"], _money(one), one["status"], one["description"] or "") for one in recent("payment_intent")
            ]),
            _section("Charges", ("Id", "Amount", "Card", "Status", "Refunded"), [
                (one["id"], _money(one), _card(one), one["status"], _money(one, "amount_refunded"))
                for one in recent("charge")
            ]),
            _section("Refunds", ("Id", "Amount", "Charge", "Status"), [
                (one["id"], _money(one), one["charge"], one["status"]) for one in recent("refund")
            ]),
            _section("Disputes", ("Id", "Amount", "Charge", "Status"), [
                (one["id"], _money(one), one["charge"], one["status"]) for one in recent("dispute")
            ]),
            _section("Customers", ("Id", "Name"), [
                (one["id"], "deleted" if one.get("deleted") else one["name"] or "") for one in recent("customer")
            ]),
            _section("Payouts", ("Id", "Amount", "Status"), [
                (one["id"], _money(one), one["status"]) for one in recent("payout")
            ]),
            _section("Events", ("Id", "Type", "Time"), [
                (one["id"], one["type"], _time(one["created"])) for one in recent("event")
            ]),
            _section("Webhook deliveries", ("Event", "Type", "State", "Tries", "Last answer"), [
                (one["event"], one["type"], one["state"], one["attempts"], one["status"] or "")
                for one in sandbox.deliveries()[: -_SHOWN - 1 : -1]
            ]),
            _section("Requests", ("Time", "Operation", "Status", "Idempotency key", "Replayed", "Fault"), [
                (
                    _time(one.at), one.operation or f"{one.method} {one.path}",
                    one.status or "connection dropped", one.idempotency_key or "",
                    "yes" if one.replayed else "", one.fault,
                )
                for one in sandbox.requests[: -_SHOWN - 1 : -1]
            ]),
        ],
        "cards": list(CARDS.values()),
    }  # fmt: skip


def _section(title: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Json:
    return {"title": title, "columns": columns, "rows": rows}


def _money(thing: Json, field: str = "amount") -> str:
    cents = thing[field]
    sign = "−" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02d} {thing['currency'].upper()}"


def _card(charge: Json) -> str:
    card = charge["payment_method_details"]["card"]
    return f"{card['brand']} {card['funding']} …{card['last4']}"


def _time(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
