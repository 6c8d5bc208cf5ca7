"""A mail of every kind, to somebody made up."""

from collections.abc import Mapping
from typing import Any

from portal.letters.samples import sample
from portal.letters.writing import Written, write
from portal.settings import KEYS, LETTERS, Settings

BASE = "https://pay.example.com"
ACCOUNTS: Mapping[str, Mapping[str, Any]] = {
    "invitation": {"name": "Maya", "staff": False, "link": f"{BASE}/invited/x", "days": 7},
    "password_changed": {"name": "Maya"},
    "password_reset": {"name": "Maya", "link": f"{BASE}/reset/x"},
    "sign_up": {"name": "Maya", "link": f"{BASE}/sign-up/x"},
    "sign_up_done": {"name": "Maya"},
    "sign_up_known": {"name": "Maya"},
    "sign_up_refused": {"name": "Maya"},
}
KINDS = [*LETTERS, *ACCOUNTS]


def settings(**values: str) -> Settings:
    clinic = {
        "clinic_name": "Alder Lane Clinic", "clinic_phone": "250-555-0142", "clinic_email": "desk@example.com",
        "clinic_address": "118 Alder Lane, Kelowna BC V1Y 0A1",
    }  # fmt: skip
    return Settings({**{key: spec.default for key, spec in KEYS.items()}, **clinic, **values})


def made_up(kind: str, **values: str) -> Written:
    """A mail of any kind, to somebody made up."""
    if kind in LETTERS:
        return sample(kind, settings(**values), BASE)
    return write(kind, ACCOUNTS[kind], settings(**values), BASE)
