"""Locations: where the clinic treats people, each with its zone, currency, hours, terms and invoice numbers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zoneinfo import available_timezones

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, Integer, cast, exists, func, select
from sqlalchemy.orm import Session

from portal.clinic import Location
from portal.invoices.tables import Invoice
from portal.money import SMALLEST_CHARGE, exponent
from portal.setup.entry import Entry
from portal.setup.kinds import Kind, Shown, namesake

CURRENCIES = tuple(SMALLEST_CHARGE)
REGIONS = ("Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
ZONES = tuple(sorted(zone for zone in available_timezones() if zone.partition("/")[0] in REGIONS))
LARGEST_NUMBER = 999_999_999


def time_of(minute: int) -> str:
    """Minutes since midnight as a clock shows them: 510 is 08:30."""
    return f"{minute // 60:02}:{minute % 60:02}"


TIMES: Mapping[str, int] = {time_of(minute): minute for minute in range(0, 24 * 60 + 15, 15)}
"""The quarter hours of a day, midnight at both ends."""

BLANK: Shown = {
    "timezone": "America/Vancouver",
    "currency": "CAD",
    "next_invoice_number": "1",
    "payment_terms_days": "14",
    "opens": "08:00",
    "closes": "18:00",
    "active": "yes",
}


def has_invoices(connection: Connection | Session, location_id: int) -> bool:
    """Whether anything was invoiced there; its currency stays what it is from then on."""
    return bool(connection.scalar(select(exists().where(Invoice.location_id == location_id))))


def highest_number(session: Session, prefix: str) -> int:
    """The highest number of all invoices that begin with these letters; 0 without any."""
    rest = func.substr(Invoice.number, len(prefix) + 1)
    ours = func.lower(func.substr(Invoice.number, 1, len(prefix))) == prefix.lower()
    digits = rest.regexp_match("^[0-9]{1,9}$")
    numbers = select(func.max(cast(rest, Integer))).where(digits)
    return session.scalar(numbers.where(ours) if prefix else numbers) or 0


def _shown(_connection: Connection | Session, rows: Iterable[Any]) -> list[Shown]:
    return [
        {
            "name": row.name,
            "address": row.address,
            "phone": row.phone,
            "timezone": row.timezone,
            "currency": row.currency,
            "tax_numbers": row.tax_numbers,
            "invoice_prefix": row.invoice_prefix,
            "next_invoice_number": str(row.next_invoice_number),
            "payment_terms_days": str(row.payment_terms_days),
            "opens": time_of(row.opens_minute),
            "closes": time_of(row.closes_minute),
            "active": "yes" if row.active else "",
        }
        for row in rows
    ]


def _read(_session: Session, entry: Entry, own: Location | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": entry.line("name", 120, required=True),
        "address": entry.lines("address"),
        "phone": entry.line("phone", 40),
        "timezone": entry.choice("timezone", ZONES),
        "currency": entry.choice("currency", CURRENCIES),
        "tax_numbers": entry.lines("tax_numbers"),
        "invoice_prefix": entry.line("invoice_prefix", 12),
        "payment_terms_days": entry.whole("payment_terms_days", 0, 365),
        "opens_minute": TIMES.get(entry.choice("opens", TIMES), 0),
        "closes_minute": TIMES.get(entry.choice("closes", TIMES), 0),
        "active": entry.yes("active"),
    }
    if values["opens_minute"] >= values["closes_minute"]:
        entry.refuse("closes", _l("Closes: a time after it opens."))
    # A number that stands as the form showed it is left alone: invoices may have moved it meanwhile.
    if own is not None and entry.raw("next_invoice_number") == entry.raw("next_shown"):
        values["next_invoice_number"] = own.next_invoice_number
    else:
        values["next_invoice_number"] = entry.whole("next_invoice_number", 1, LARGEST_NUMBER)
    return values


def _check(session: Session, entry: Entry, values: dict[str, Any], own: Location | None) -> None:
    """What hangs on the other locations, and on what was invoiced already."""
    others = [each for each in session.scalars(select(Location)) if each is not own]
    if namesake(session, Location, values["name"], own) is not None:
        entry.refuse("name", _l("There is a location called %(name)s already.", name=values["name"]))
    _check_currency(session, entry, values["currency"], own, others)
    _check_letters(entry, values["invoice_prefix"], others)
    numbering = (values["invoice_prefix"], values["next_invoice_number"])
    is_new = own is None or numbering != (own.invoice_prefix, own.next_invoice_number)
    if is_new and not {"invoice_prefix", "next_invoice_number"} & entry.wrong.keys():
        _check_number(session, entry, *numbering)


def _check_currency(
    session: Session, entry: Entry, currency: str, own: Location | None, others: Sequence[Location]
) -> None:
    if own is not None and currency != own.currency and has_invoices(session, own.id):
        sentence = _l("The currency stays %(currency)s: there are invoices in it. "
                      "For another currency, add another location.", currency=own.currency)  # fmt: skip
        entry.refuse("currency", sentence)
    elif others and all(exponent(currency) != exponent(other.currency) for other in others):
        # A price is one figure for every location: it can't mean cents here and whole yen there.
        sentence = _l("%(currency)s has another number of decimals than the clinic's other currencies, "
                      "and a price is the same figure everywhere.", currency=currency)  # fmt: skip
        entry.refuse("currency", sentence)


def _check_letters(entry: Entry, prefix: str, others: Sequence[Location]) -> None:
    """No number is given twice: the letters are this location's alone, and end in no digit, so that each number can
    be taken apart in one way only."""
    if prefix[-1:].isdigit():
        entry.refuse("invoice_prefix", _l("The letters before the number must not end in a digit."))
    elif not all(mark.isascii() and (mark.isalnum() or mark in "-._") for mark in prefix):
        sentence = _l("The letters before the number: letters, digits, dots and hyphens, without blanks.")
        entry.refuse("invoice_prefix", sentence)
    twin = next((each for each in others if each.invoice_prefix.lower() == prefix.lower()), None)
    if twin is not None and prefix:
        sentence = _l("%(name)s begins its invoice numbers with “%(prefix)s” too. Choose other letters, "
                      "so that no number is given twice.", name=twin.name, prefix=prefix)  # fmt: skip
        entry.refuse("invoice_prefix", sentence)
    elif twin is not None:
        sentence = _l("%(name)s numbers its invoices without letters. Give this location letters of its own, "
                      "such as “R-”, so that no number is given twice.", name=twin.name)  # fmt: skip
        entry.refuse("invoice_prefix", sentence)


def _check_number(session: Session, entry: Entry, prefix: str, number: int) -> None:
    used = highest_number(session, prefix)
    if number <= used:
        sentence = _l("Numbers up to %(used)s are used already. The next one is %(next)s or higher.",
                      used=f"{prefix}{used}", next=used + 1)  # fmt: skip
        entry.refuse("next_invoice_number", sentence)


LOCATIONS = Kind(
    what="location",
    table=Location,
    words={
        "name": _l("Name"),
        "address": _l("Address"),
        "phone": _l("Phone"),
        "timezone": _l("Time zone"),
        "currency": _l("Currency"),
        "tax_numbers": _l("Tax numbers"),
        "invoice_prefix": _l("Letters before the number"),
        "next_invoice_number": _l("Next invoice number"),
        "payment_terms_days": _l("Days to pay"),
        "opens": _l("Opens"),
        "closes": _l("Closes"),
        "active": _l("Active"),
    },
    read=_read,
    check=_check,
    shown=_shown,
    order=(Location.active.desc(), Location.name),
    moving=frozenset({"next_invoice_number"}),
)
