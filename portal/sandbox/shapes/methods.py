"""Cards and payment methods."""

from __future__ import annotations

from portal.sandbox.cards import Card
from portal.sandbox.ids import new_id
from portal.sandbox.problems import Json


def address(given: Json | None = None) -> Json:
    fields = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
    return {**fields, **(given or {})}


def billing_details(given: Json | None = None) -> Json:
    given = given or {}
    fields = {name: given.get(name) for name in ("email", "name", "phone", "tax_id")}
    return {"address": address(given.get("address")), **fields}


def card_shape(card: Card, *, exp_month: int, exp_year: int, cvc_given: bool) -> Json:
    known = card.brand not in ("unknown", "link")
    wallet: Json | None = {"dynamic_last4": None, "type": card.wallet, card.wallet: {}} if card.wallet else None
    return {
        "brand": card.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "unchecked" if cvc_given else None,
        },
        "country": card.country,
        "display_brand": card.display_brand or ("american_express" if card.brand == "amex" else card.brand),
        "exp_month": exp_month,
        "exp_year": exp_year,
        "fingerprint": card.fingerprint,
        "funding": card.funding,
        "generated_from": None,
        "last4": card.last4,
        "networks": {"available": [card.brand] if known else [], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": known},
        "wallet": wallet,
    }


def payment_method_shape(now: int, *, card: Json, name: str, billing: Json | None, livemode: bool) -> Json:
    """`name` is the name of the test card, kept beside the object to know how it behaves."""
    return {
        "id": new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": billing_details(billing),
        "card": card,
        "created": now,
        "customer": None,
        "customer_account": None,
        "livemode": livemode,
        "metadata": {},
        "type": "card",
        "_card": name,
        "_set_up": False,
        "_detached": False,
    }
