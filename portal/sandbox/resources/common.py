"""Small things that several resources share."""

from __future__ import annotations

from collections.abc import Iterable

from portal.sandbox.problems import InvalidRequest, Json

_MINIMUM = {"usd": 50, "cad": 50, "aud": 50, "nzd": 50, "eur": 50, "gbp": 30, "jpy": 50}
_WITHOUT_DECIMALS = frozenset({"jpy", "krw", "clp", "vnd", "xaf", "xof", "pyg", "ugx"})
_CURRENCIES = frozenset(
    {*_MINIMUM, *_WITHOUT_DECIMALS, "chf", "sek", "nok", "dkk", "mxn", "sgd", "hkd", "inr", "brl"}
)
_LARGEST = 99_999_999


def merge_metadata(thing: Json, given: Json | None) -> None:
    """Keys given are set; a key given empty goes; metadata given empty clears all."""
    if given is None:
        thing["metadata"] = {}
        return
    merged = {**thing["metadata"], **given}
    thing["metadata"] = {key: value for key, value in merged.items() if value is not None}


def take(thing: Json, params: Json, names: Iterable[str]) -> Json:
    """Write the given params onto the object. Returns what was there before, of what changed."""
    previous = {}
    for name in names:
        if name not in params:
            continue
        before = thing.get(name)
        if name == "metadata":
            merge_metadata(thing, params[name])
        else:
            thing[name] = params[name]
        if thing.get(name) != before:
            previous[name] = before
    return previous


def check_currency(currency: str) -> None:
    if currency not in _CURRENCIES:
        raise InvalidRequest(
            f"Invalid currency: {currency}. Stripe currently supports these currencies: "
            f"{', '.join(sorted(_CURRENCIES))}",
            param="currency",
        )


def check_amount(amount: int, currency: str) -> None:
    """Raises InvalidRequest outside of what can be charged at once."""
    if amount < 1:
        raise InvalidRequest(
            "This value must be greater than or equal to 1.", code="parameter_invalid_integer", param="amount"
        )
    least = _MINIMUM.get(currency, 50)
    if amount < least:
        raise InvalidRequest(
            f"Amount must be at least {shown(least, currency)}", code="amount_too_small", param="amount"
        )
    if amount > _LARGEST:
        raise InvalidRequest(
            f"Amount must be no more than {shown(_LARGEST, currency)}", code="amount_too_large", param="amount"
        )


def shown(amount: int, currency: str) -> str:
    """For messages: `$0.50 cad`."""
    if currency in _WITHOUT_DECIMALS:
        return f"{amount:,} {currency}"
    return f"${amount // 100:,}.{amount % 100:02d} {currency}"


def check_one_way_of_naming_methods(params: Json) -> None:
    """A pure rule on how an intent says which payment method types it takes."""
    if "payment_method_types" in params:
        raise InvalidRequest(
            "`payment_method_types` is no longer supported. Use `automatic_payment_methods`, "
            "`allowed_payment_method_types` or `excluded_payment_method_types`.",
            code="payment_method_types_no_longer_supported",
            param="payment_method_types",
        )
    ways = [
        name
        for name in (
            "allowed_payment_method_types",
            "excluded_payment_method_types",
            "automatic_payment_methods",
            "payment_method_configuration",
        )
        if params.get(name)
    ]
    if len(ways) > 1:
        raise InvalidRequest(f"You may only specify one of these parameters: {', '.join(ways)}.", param=ways[1])


def choose_method_types(intent: Json, params: Json) -> None:
    """Write onto an intent which payment method types it takes."""
    allowed = params.get("allowed_payment_method_types")
    if allowed:
        intent["allowed_payment_method_types"] = intent["payment_method_types"] = list(allowed)
        intent["automatic_payment_methods"] = None
        return
    excluded = params.get("excluded_payment_method_types")
    automatic = params.get("automatic_payment_methods") or {}
    intent["excluded_payment_method_types"] = excluded
    intent["payment_method_types"] = [name for name in ("card", "link") if name not in (excluded or ())]
    intent["automatic_payment_methods"] = {
        "allow_redirects": automatic.get("allow_redirects", "always"),
        "enabled": automatic.get("enabled", True),
    }
