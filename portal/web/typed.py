"""What people type or send, read kindly: garbage is None, never an error of ours."""

import re
from datetime import date
from uuid import UUID

LARGEST_ID = 2**31 - 1
_DIGITS = re.compile(r"\d{1,15}", re.ASCII)
_CONTROLS = {code: None for code in range(32) if code not in (9, 10, 13)} | {127: None}


def number(text: str | None, most: int = LARGEST_ID) -> int | None:
    """A whole number from 0 to `most`, such as the id of a row."""
    text = (text or "").strip()
    found = int(text) if _DIGITS.fullmatch(text) else None
    return found if found is not None and found <= most else None


def day(text: str | None) -> date | None:
    """A day of this century, as a date field sends it."""
    try:
        found = date.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return found if 2000 <= found.year < 2100 else None


def uuid(text: str | None) -> UUID | None:
    """A UUID, in any of the ways in which it is written."""
    try:
        return UUID((text or "").strip())
    except ValueError:
        return None


def words(value: str | None, most: int) -> str:
    """A text fit for the database: no control characters but line breaks, and not longer than `most`."""
    text = (value or "").translate(_CONTROLS).replace("\r\n", "\n").replace("\r", "\n")
    return text.strip()[:most]
