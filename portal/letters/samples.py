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
_PLACE: Mapping[str, Any] = {
    "who": "",
    "program": "Back in motion",
    "registration_path": "/registrations/example",
    "program_path": "/programs/example",
    "when": ["5:30 to 6:30 pm", *(f"Tue {day} 2027" for day in ("12 Jan", "19 Jan", "26 Jan", "2 Feb"))],
    "more": 0,
    "where": ["Riverside", "Studio 2", "118 Alder Lane, Kelowna BC"],
    "led_by": "Priya Raman, PT",
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
    "registration": {
        **_PLACE,
        "full_until": "5 January 2027",
        "late_percent": 50,
        "paid": format_money(210_00, "CAD", full=True),
        "owed": "",
        "has_calendar": True,
        "instead_of": "",
    },
    "place_offered": {
        **_PLACE,
        "until": "Wednesday 18 November 2026 at 2:00 pm",
        "until_short": "Wed 18 Nov, 2:00 pm",
        "price": format_money(210_00, "CAD", full=True),
    },
    "place_lapsed": {**_PLACE, "has_list": True},
    "registration_cancelled": {
        **_PLACE,
        "is_by_bank": False,
        "is_back": False,
        "back": format_money(105_00, "CAD", full=True),
        "how": "card",
        "kept": format_money(105_00, "CAD", full=True),
        "owed": "",
    },
    "no_place": {**_PLACE, "back": format_money(210_00, "CAD", full=True), "how": "card", "has_list": True},
    "program_changed": {
        **_PLACE,
        "costs": True,
        "full_until": "5 January 2027",
        "late_percent": 50,
        "has_calendar": True,
    },
    "waitlisted": {**_PLACE, "place_in_line": 3, "hours": 24},
}


def sample(kind: str, settings: Settings, base_url: str) -> Written:
    """A mail of this kind as it would be written now, to somebody made up. KeyError for an unknown kind."""
    links = {"link": f"{base_url}/pay/example", "unsubscribe": f"{base_url}/reminders/example"}
    return write(kind, {**_ALL, **links, **_ITS_OWN[kind]}, settings, base_url)
