"""Taxes: their names, rates and order. A changed rate counts for new invoices; old ones keep what was worked out."""

import re
from collections.abc import Iterable
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session

from portal.clinic import Tax
from portal.setup.entry import Entry
from portal.setup.kinds import Kind, Shown, namesake

_RATE = re.compile(r"(\d{1,3})(?:\.(\d{1,3})0*)?\s*%?", re.ASCII)
WHOLE = 100_000
LAST = 99


def parse_rate(text: str) -> int:
    """ "9.975" or "5 %" as hundred-thousandths: 9975, 5000. Raises ValueError."""
    read = _RATE.fullmatch(text.strip())
    rate = int(read[1]) * 1000 + int((read[2] or "").ljust(3, "0")) if read else WHOLE + 1
    if rate > WHOLE:
        raise ValueError(f"not a rate: {text[:20]!r}")
    return rate


def rate_in_percent(rate_per_100k: int) -> str:
    """ "9.975", "5"."""
    whole, part = divmod(rate_per_100k, 1000)
    return f"{whole}.{part:03}".rstrip("0").rstrip(".")


def blank_tax(connection: Connection | Session) -> Shown:
    """The form of a new tax: last in order."""
    last = connection.scalar(select(func.max(Tax.position))) or 0
    return {"position": str(min(last + 1, LAST)), "active": "yes"}


def _shown(_connection: Connection | Session, rows: Iterable[Any]) -> list[Shown]:
    return [
        {
            "name": row.name,
            "rate": rate_in_percent(row.rate_per_100k),
            "compound": "yes" if row.compound else "",
            "position": str(row.position),
            "active": "yes" if row.active else "",
        }
        for row in rows
    ]


def _read(_session: Session, entry: Entry, _own: Tax | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": entry.line("name", 40, required=True),
        "rate_per_100k": 0,
        "compound": entry.yes("compound"),
        "position": entry.whole("position", 0, LAST),
        "active": entry.yes("active"),
    }
    try:
        values["rate_per_100k"] = parse_rate(entry.raw("rate"))
    except ValueError:
        entry.refuse("rate", _l("Rate: a percentage from 0 to 100 with at most three decimals, such as 5 or 9.975."))
    return values


def _check(session: Session, entry: Entry, values: dict[str, Any], own: Tax | None) -> None:
    if namesake(session, Tax, values["name"], own) is not None:
        entry.refuse("name", _l("There is a tax called %(name)s already.", name=values["name"]))


TAXES = Kind(
    what="tax",
    table=Tax,
    words={
        "name": _l("Name"),
        "rate": _l("Rate in percent"),
        "compound": _l("Taken on the taxes before it too"),
        "position": _l("Order"),
        "active": _l("Active"),
    },
    read=_read,
    check=_check,
    shown=_shown,
    order=(Tax.active.desc(), Tax.position, Tax.id),
)
