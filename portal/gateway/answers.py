"""Stripe's answers in our words: what its objects look like is known here, and Stripe is asked nothing.

An answer that lacks what Stripe documents raises KeyError, TypeError and the like; the adapter makes of that
OutcomeUnknown.
"""

from datetime import UTC, datetime
from typing import Any, cast

from portal.gateway import CardLook, Charge, Decline, GatewayDispute, GatewayRefund, Intent


def plain(thing: Any) -> dict[str, Any]:
    """An object of the library as its plain fields."""
    return thing if isinstance(thing, dict) else cast(dict[str, Any], thing.to_dict())


def intent_from(thing: Any) -> Intent:
    """A payment intent; without its charge where the answer names it by its id alone."""
    raw = plain(thing)
    error = raw.get("last_payment_error")
    charge = raw.get("latest_charge")
    method = raw.get("payment_method")
    action = raw.get("next_action") or {}
    return Intent(
        id=raw["id"],
        status=raw["status"],
        amount_cents=raw["amount"],
        received_cents=raw.get("amount_received") or 0,
        currency=raw["currency"].upper(),
        live=bool(raw.get("livemode")),
        metadata={str(k): str(v) for k, v in (raw.get("metadata") or {}).items()},
        client_secret=raw.get("client_secret"),
        charge=charge_from(plain(charge)) if charge and not isinstance(charge, str) else None,
        decline=Decline(error.get("code") or "unknown", error.get("decline_code")) if error else None,
        method_id=method if isinstance(method, str) or method is None else plain(method)["id"],
        redirect_url=(action.get("redirect_to_url") or {}).get("url"),
    )


def charge_from(raw: dict[str, Any]) -> Charge:
    """A charge, by what was captured of it."""
    return Charge(
        id=raw["id"],
        amount_cents=raw.get("amount_captured") or raw["amount"],
        currency=raw["currency"].upper(),
        card=card_from(raw.get("payment_method_details")),
        created_at=datetime.fromtimestamp(raw["created"], UTC),
    )


_REFUND_STATES = {"requires_action": "pending", "pending": "pending", "succeeded": "succeeded", "failed": "failed",
                  "canceled": "canceled"}  # fmt: skip


def refund_from(thing: Any) -> GatewayRefund:
    """A refund, with our own number of it where we asked for it."""
    raw = plain(thing)
    return GatewayRefund(
        id=raw["id"],
        charge_id=_id_of(raw["charge"]),
        amount_cents=raw["amount"],
        state=_REFUND_STATES[raw["status"]],
        created_at=datetime.fromtimestamp(raw["created"], UTC),
        reference=(raw.get("metadata") or {}).get("refund"),
        failure=raw.get("failure_reason"),
    )


_DISPUTE_STAGES = {
    "warning_needs_response": "inquiry", "warning_under_review": "inquiry", "warning_closed": "won",
    "needs_response": "open", "under_review": "open", "won": "won", "prevented": "won", "lost": "lost",
}  # fmt: skip


def dispute_from(thing: Any) -> GatewayDispute:
    """A dispute, with what it holds back by its balance transactions (an inquiry has none).

    They are in the account's own currency. Where that is not the charge's, they say only whether money is held back.
    """
    raw = plain(thing)
    entries = [plain(each) for each in raw.get("balance_transactions") or []]
    taken = -sum(entry["amount"] for entry in entries)
    if any(entry["currency"] != raw["currency"] for entry in entries):
        taken = raw["amount"] if taken > 0 else 0
    return GatewayDispute(
        id=raw["id"],
        stage=_DISPUTE_STAGES[raw["status"]],
        amount_cents=raw["amount"],
        withdrawn_cents=max(taken, 0),
        reason=str(raw.get("reason") or ""),
        entries=tuple(each["id"] for each in sorted(entries, key=lambda each: each["created"], reverse=True)),
    )


def _id_of(thing: Any) -> str:
    return thing if isinstance(thing, str) else str(plain(thing)["id"])


def card_from(raw: dict[str, Any] | None) -> CardLook | None:
    """The card in a payment method, a token's preview or a charge's details; they agree on these fields."""
    if not raw:
        return None
    card = raw.get("card") or {}
    customer = raw.get("customer")
    return CardLook(
        type=raw.get("type") or "unknown",
        brand=card.get("brand"),
        funding=card.get("funding"),
        last4=card.get("last4"),
        exp_month=card.get("exp_month"),
        exp_year=card.get("exp_year"),
        wallet=(card.get("wallet") or {}).get("type"),
        customer=customer if isinstance(customer, str) or customer is None else plain(customer)["id"],
    )
