"""Money: whole minor units, with the exponent that each currency has. Nothing here touches a float."""

import re
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import NamedTuple, NewType

from babel import Locale
from babel.numbers import get_currency_symbol

Cents = NewType("Cents", int)
"""An amount in the smallest unit of its currency (cents for CAD, yen for JPY)."""

# Currencies whose smallest unit is not a hundredth, as Stripe lists them
# (docs.stripe.com/currencies: zero-decimal and three-decimal currencies).
EXPONENTS = dict.fromkeys(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"], 0
) | dict.fromkeys(["BHD", "JOD", "KWD", "OMR", "TND"], 3)

# The least a card can be charged, in minor units (docs.stripe.com/currencies#minimum-and-maximum-charge-amounts).
SMALLEST_CHARGE = {"CAD": 50, "USD": 50, "EUR": 50, "GBP": 30, "AUD": 50, "NZD": 50, "JPY": 50, "CHF": 50}
LARGEST_CHARGE = 99_999_999


def exponent(currency: str) -> int:
    """How many decimal places the currency's minor unit stands for."""
    return EXPONENTS.get(currency.upper(), 2)


def smallest_charge(currency: str) -> int:
    """The least that can be charged to a card, in minor units."""
    return SMALLEST_CHARGE.get(currency.upper(), 50)


def is_chargeable(amount_cents: int, currency: str) -> bool:
    """Whether a card can be charged exactly this amount.

    Of a three-decimal currency the last digit must be 0 (docs.stripe.com/currencies#three-decimal).
    """
    is_even = exponent(currency) != 3 or amount_cents % 10 == 0
    return smallest_charge(currency) <= amount_cents <= LARGEST_CHARGE and is_even


_AMOUNT = re.compile(r"(-?)\$?(\d{1,3}(?:,\d{3}){1,4}|\d{0,13})(?:\.(\d{0,9}))?", re.ASCII)


def parse_amount(text: str, currency: str) -> Cents:
    """Read a person's "1,234.50" as minor units.

    Raises ValueError for anything that is not a plain amount with at most the currency's decimals. A comma groups
    thousands and nothing else: "1,50" is refused, for its writer meant neither 150 nor nothing.
    """
    cleaned = text.strip().replace("\N{MINUS SIGN}", "-")
    found = _AMOUNT.fullmatch(cleaned)
    if not found or not (found[2] or found[3]):
        raise ValueError(f"not an amount: {text[:40]!r}")
    places = exponent(currency)
    part = (found[3] or "").rstrip("0")
    minor = int(found[2].replace(",", "") + part.ljust(places, "0") or "0") if len(part) <= places else None
    if minor is None or minor > 10**12:
        raise ValueError(f"not an amount in {currency}: {text[:40]!r}")
    return Cents(-minor if found[1] else minor)


def share(amount_cents: int, per_100k: int) -> Cents:
    """`per_100k` hundred-thousandths of an amount, half up to the minor unit, away from zero.

    This is how tax is taken: per line and per tax on the line's net (CRA: round half up to the cent).
    """
    exact = Decimal(amount_cents) * per_100k / 100_000
    return Cents(int(exact.quantize(Decimal(1), ROUND_HALF_UP)))


class _Shape(NamedTuple):
    """How a locale writes a currency: what stands before and after the digits."""

    before: str
    after: str
    minus: str
    group: str
    decimal: str
    places: int


@lru_cache(maxsize=64)
def _shape(currency: str, locale: str, full: bool) -> _Shape:
    """Ask Babel once per currency and locale; its own formatter costs 40 times a concatenation."""
    where = Locale.parse(locale)
    symbol = _full_symbol(currency, where) if full else get_currency_symbol(currency, where)
    leads = str(where.currency_formats["standard"].pattern).startswith("¤")
    symbols = where.number_symbols["latn"]
    return _Shape(
        before=symbol if leads else "",
        after="" if leads else f"\N{NO-BREAK SPACE}{symbol}",
        minus="\N{MINUS SIGN}",
        group=symbols["group"],
        decimal=symbols["decimal"],
        places=exponent(currency),
    )


def _full_symbol(currency: str, locale: Locale) -> str:
    """The symbol that no other dollar shares: CA$ rather than $ (a pay page never leaves it open)."""
    dollars = {"CAD": "CA$", "USD": "US$", "AUD": "AU$", "NZD": "NZ$"}
    return dollars.get(currency) or str(get_currency_symbol(currency, locale))


def format_money(amount_cents: int, currency: str, locale: str = "en_CA", *, full: bool = False) -> str:
    """An amount as people read it: "$1,234.50", "−$40.00"; with `full`, "CA$1,234.50"."""
    shape = _shape(currency.upper(), locale, full)
    digits = str(abs(amount_cents)).rjust(shape.places + 1, "0")
    whole, part = (digits[: -shape.places], digits[-shape.places :]) if shape.places else (digits, "")
    if len(whole) > 3:
        head = len(whole) % 3 or 3
        whole = shape.group.join([whole[:head], *(whole[i : i + 3] for i in range(head, len(whole), 3))])
    number = whole + shape.decimal + part if part else whole
    return f"{shape.minus if amount_cents < 0 else ''}{shape.before}{number}{shape.after}"


def currency_mark(currency: str, locale: str = "en_CA") -> str:
    """The unmistakable sign of a currency, for the small print beside a large sum: "CA$"."""
    return _full_symbol(currency.upper(), Locale.parse(locale))
