"""Money: read, written, shared; always whole minor units."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from babel.numbers import format_currency, get_currency_precision
from hypothesis import given
from hypothesis import strategies as st

from portal.money import EXPONENTS, currency_mark, exponent, format_money, parse_amount, share, smallest_charge

CURRENCIES = ("CAD", "USD", "EUR", "GBP", "JPY", "KRW", "KWD", "BHD", "CHF")
currencies = st.sampled_from(CURRENCIES)
amounts = st.integers(-(10**11), 10**11)


@given(amounts)
def test_what_is_written_is_read_as_the_same_amount(amount: int) -> None:
    assert parse_amount(format_money(amount, "CAD"), "CAD") == amount


@given(amounts, currencies)
def test_so_it_is_in_every_currency_without_its_sign(amount: int, currency: str) -> None:
    written = format_money(amount, currency)
    plain = "".join(mark for mark in written if mark.isdigit() or mark in ".,−")
    assert parse_amount(plain, currency) == amount


@given(amounts, currencies, st.sampled_from(["en_CA", "fr_CA"]))
def test_amounts_look_as_babel_writes_them(amount: int, currency: str, locale: str) -> None:
    # Babel puts a hyphen where typography wants a minus sign; that is the one difference.
    by_babel = format_currency(Decimal(amount).scaleb(-exponent(currency)), currency, locale=locale)
    assert format_money(amount, currency, locale) == by_babel.replace("-", "\N{MINUS SIGN}")


@pytest.mark.parametrize("currency", CURRENCIES)
def test_minor_units_are_those_of_the_currency(currency: str) -> None:
    assert exponent(currency.lower()) == get_currency_precision(currency)


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "full", "written"),
    [
        (0, "CAD", "en_CA", False, "$0.00"),
        (5, "CAD", "en_CA", False, "$0.05"),
        (123_450, "CAD", "en_CA", False, "$1,234.50"),
        (-4_000, "CAD", "en_CA", False, "−$40.00"),
        (123_456_789, "CAD", "en_CA", True, "CA$1,234,567.89"),
        (123_450, "CAD", "fr_CA", False, "1\N{NO-BREAK SPACE}234,50\N{NO-BREAK SPACE}$"),
        (1_234, "JPY", "en_CA", False, "JP¥1,234"),
        (1_234, "KWD", "en_CA", False, "KWD1.234"),
    ],
)
def test_worked_examples_of_writing(amount: int, currency: str, locale: str, full: bool, written: str) -> None:
    assert format_money(amount, currency, locale, full=full) == written


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12", "CAD", 12_00),
        ("12.5", "CAD", 12_50),
        (" $1,234.50 ", "CAD", 1_234_50),
        ("−40.00", "CAD", -40_00),
        ("-40", "CAD", -40_00),
        ("1200", "JPY", 1200),
        ("1.234", "KWD", 1_234),
        (".5", "CAD", 50),
        ("5.", "CAD", 5_00),
        ("5.500", "CAD", 5_50),
        ("−$40.00", "CAD", -40_00),
        ("0", "JPY", 0),
    ],
)
def test_people_write_amounts_in_many_ways(text: str, currency: str, minor: int) -> None:
    assert parse_amount(text, currency) == minor


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("", "CAD"), ("twelve", "CAD"), ("1.005", "CAD"), ("1.5", "JPY"), ("1.2345", "KWD"), ("NaN", "CAD"),
        ("Infinity", "CAD"), ("-inf", "CAD"), ("1e99", "CAD"), ("10000000000001", "JPY"), ("$", "CAD"),
        ("1 2", "CAD"), ("1_000", "CAD"), ("1e2", "CAD"), ("1,2,3.00", "CAD"), ("1,50", "CAD"), ("١٢", "CAD"),
        (".", "CAD"), ("--1", "CAD"), ("1,234,56", "CAD"), ("1." + "0" * 40 + "1", "CAD"), ("1" * 5_000, "CAD"),
        ("1" + ",000" * 2_000, "CAD"),
    ],
)  # fmt: skip
def test_what_is_no_plain_amount_is_refused(text: str, currency: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        parse_amount(text, currency)


@given(st.text(max_size=20), currencies)
def test_any_text_is_an_amount_or_a_value_error(text: str, currency: str) -> None:
    try:
        amount = parse_amount(text, currency)
    except ValueError:
        return
    assert type(amount) is int
    assert abs(amount) <= 10**12


@pytest.mark.parametrize(
    ("amount", "per_100k", "tax"),
    [
        (120_00, 5_000, 6_00),
        (48_00, 7_000, 3_36),
        (10, 5_000, 1),  # half a cent goes up
        (9, 5_000, 0),
        (-10, 5_000, -1),  # and away from zero
        (-9, 5_000, 0),
        (33_33, 9_975, 3_32),  # QST: 332.4675
        (100, 0, 0),
        (100, 100_000, 100),
    ],
)
def test_a_share_is_rounded_half_up(amount: int, per_100k: int, tax: int) -> None:
    assert share(amount, per_100k) == tax


@given(st.integers(-(10**12), 10**12), st.integers(0, 100_000))
def test_a_share_is_the_exact_one_rounded_once(amount: int, per_100k: int) -> None:
    exact = (Decimal(amount) * per_100k / 100_000).quantize(Decimal(1), ROUND_HALF_UP)
    assert share(amount, per_100k) == exact
    assert share(-amount, per_100k) == -share(amount, per_100k)


def test_other_facts_about_currencies() -> None:
    assert smallest_charge("cad") == 50
    assert smallest_charge("SEK") == 50
    assert currency_mark("cad") == "CA$"
    assert currency_mark("EUR") == "€"
    assert set(EXPONENTS.values()) == {0, 3}
