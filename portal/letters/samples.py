"""Made-up words for each kind of mail, so that staff see what it looks like before anybody gets one."""

from collections.abc import Mapping
from typing import Any

from portal.letters.writing import Written, write
from portal.money import format_money
from portal.settings import Settings

_ALL = {
    "name": "Maya",
    "number": "10482",
    "due": "1 December 2026",
    "balance": format_money(139_76, "CAD", full=True),
    "amount": format_money(139_76, "CAD", full=True),
    "until": "17 December 2026",
}
_ITS_OWN: Mapping[str, Mapping[str, Any]] = {
    "pay_request": {},
    "invoice": {"is_owed": True},
    "receipt": {
        "receipt": "R-20931",
        "paid_on": "17 November 2026",
        "card": "Visa 4242",
        "is_settled": True,
        "has_pdf": False,
    },
    "payment_failed": {"tried_on": "17 November 2026", "has_link": False},
    "refund": {"given_back_on": "17 November 2026", "how": "", "card": "Visa 4242"},
    "reminder": {"is_overdue": False},
    "void": {"who": "Dana Whitfield", "void_on": "17 November 2026"},
}


def sample(kind: str, settings: Settings, base_url: str) -> Written:
    """A mail of this kind as it would be written now, to somebody made up. KeyError for an unknown kind."""
    links = {"link": f"{base_url}/pay/example", "unsubscribe": f"{base_url}/reminders/example"}
    return write(kind, {**_ALL, **links, **_ITS_OWN[kind]}, settings, base_url)
