"""The clinic's own switches and texts, read live from the clinic database at every request.

The table is a documented contract (docs/settings.md): a row changed by plain SQL works at the next request. A switch
that holds something unreadable counts as off, and `portal check` names it: closed is the safe side.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString
from sqlalchemy import Connection, LargeBinary, String, Text, cast, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from portal.audit import record
from portal.clock import now
from portal.db import Base, Utc, upsert
from portal.errors import Refusal

CHANGED = "setting.changed"
"""The audit log's word for a change of a setting."""

YES = frozenset({"yes", "true", "on", "1"})
NO = frozenset({"no", "false", "off", "0"})


class Setting(Base):
    """One row: a key of the contract and its value as text. No row means the default."""

    __tablename__ = "settings"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
    updated_at: Mapped[datetime] = mapped_column(Utc, server_default=func.current_timestamp())


class BadSetting(Refusal):
    """The value does not fit the key; the sentence says what would."""

    status = 422
    message = _l("{key} takes {kind}, not {value}.")


class SettingsNotSaved(Refusal):
    """Some of the values of one form can't be kept, so none of them was. `wrong` has a sentence for each key."""

    status = 422
    title = _l("Nothing was saved")

    def __init__(self, wrong: Mapping[str, LazyString | str]) -> None:
        super().__init__()
        self.wrong = dict(wrong)


class UnknownSetting(Refusal):
    """No such key in the contract."""

    status = 404
    message = _l("There is no setting called {key}. “portal setting list” shows them all.")


# An address as mail servers take it everywhere: RFC 5322's dot-atom at a host, in ASCII. Every mail names it.
_WORD = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ADDRESS = re.compile(rf"{_WORD}(\.{_WORD})*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


def _switch(text: str) -> str:
    lowered = text.strip().lower()
    if lowered in YES:
        return "yes"
    if lowered in NO:
        return "no"
    raise ValueError


def _text(text: str) -> str:
    cleaned = " ".join(text.split())
    if len(cleaned) > 500 or any(ord(mark) < 32 for mark in cleaned):
        raise ValueError
    return cleaned


def _required_text(text: str) -> str:
    cleaned = _text(text)
    if not cleaned:
        raise ValueError
    return cleaned


def _email(text: str) -> str:
    cleaned = _text(text)
    if cleaned and not _ADDRESS.fullmatch(cleaned):
        raise ValueError
    return cleaned


def _whole(least: int, most: int) -> Callable[[str], str]:
    def clean(text: str) -> str:
        if not text.strip().isascii() or not least <= int(text) <= most:
            raise ValueError
        return str(int(text))

    return clean


def _emails(text: str) -> str:
    found = [_email(part) for part in _text(text).replace(";", ",").split(",") if part.strip()]
    return ", ".join(dict.fromkeys(found))


@dataclass(frozen=True)
class Key:
    """One key of the contract: its name on the pages, what it means, what it takes, and what holds without a row."""

    name: str
    meaning: str
    kind: str
    default: str
    clean: Callable[[str], str]
    closed: str = field(default="")  # what an unreadable value counts as


def _yes_or_no(name: str, meaning: str, default: str) -> Key:
    return Key(name, meaning, "yes or no", default, _switch, closed="no")


def _days(name: str, meaning: str, most: int, default: str) -> Key:
    return Key(name, meaning, f"a whole number from 0 to {most}", default, _whole(0, most))


PROGRAM_LETTERS: Mapping[str, str] = {
    "registration": "Place confirmed",
    "program_changed": "Program changed",
    "registration_cancelled": "Place cancelled",
    "waitlisted": "On the waitlist",
    "place_offered": "A place is offered",
    "place_lapsed": "An offer is over",
    "no_place": "Paid, and no place left",
}
"""The mails about places in programs."""

LETTERS: Mapping[str, str] = {
    "pay_request": "Request to pay",
    "invoice": "Invoice",
    "receipt": "Receipt",
    "payment_failed": "Payment failed",
    "refund": "Refund",
    "reminder": "Reminder",
    "void": "Invoice void",
    **PROGRAM_LETTERS,
}
"""The mails that may carry a paragraph of the clinic's own."""

KEYS: Mapping[str, Key] = {
    "portal_enabled": _yes_or_no("Portal enabled", "Patients can use the portal at all", "yes"),
    "portal_allow_sign_up": _yes_or_no("Allow sign-up", "New patients can make an account themselves", "no"),
    "accept_payments_in_portal": _yes_or_no(
        "Accept Payments in the Portal", "Patients can pay invoices in the portal", "no"
    ),
    "email_pay_online_request": _yes_or_no(
        "Email Pay Online Request", "Staff can email a link to an invoice's pay page", "no"
    ),
    "module_payment_gateways": _yes_or_no(
        "Payment Gateways", "Cards can be charged at all, at the desk or in the portal", "no"
    ),
    "module_programs": _yes_or_no("Programs", "Group programs", "no"),
    "accept_prepaid_cards": _yes_or_no("Accept prepaid cards", "Prepaid cards are accepted", "yes"),
    "clinic_name": Key(
        "Clinic name", "The clinic's name, on every page", "1 to 500 characters", "The clinic", _required_text
    ),
    "clinic_address": Key(
        "Address", "The clinic's postal address, at the foot of pages", "up to 500 characters", "", _text
    ),
    "clinic_phone": Key("Phone", "Where patients call about a bill", "up to 500 characters", "", _text),
    "clinic_email": Key("Email", "Where patients write about a bill", "an email address, or nothing", "", _email),
    "clinic_hue": Key(
        "Colour", "The clinic's colour, as a hue", "a whole number from 0 to 360", "168", _whole(0, 360)
    ),
    "idle_minutes": Key(
        "Minutes until sign-out",
        "Minutes without activity before sign-out",
        "a whole number from 1 to 720",
        "20",
        _whole(1, 720),
    ),
    "pay_link_days": Key(
        "Days that a pay link works",
        "Days from sending until a pay link expires",
        "a whole number from 1 to 365",
        "30",
        _whole(1, 365),
    ),
    "email_receipt_pdf": _yes_or_no(
        "Attach the receipt as a PDF", "Receipts are attached for patients who agreed to that", "no"
    ),
    "email_void_addresses": Key(
        "Tell about void invoices",
        "Addresses that get a mail when an invoice is void",
        "email addresses with commas between them, or nothing",
        "",
        _emails,
    ),
    "email_reminders": _yes_or_no("Send reminders", "Patients are reminded of what is due by email", "no"),
    "reminder_days_before": _days("Days before", "Days before the due date of the first reminder; 0: none", 60, "3"),
    "reminder_days_after": _days("Days after", "Days after the due date of the first reminder; 0: none", 60, "3"),
    "reminder_every_days": _days("Every so many days", "Days between reminders after that; 0: no more", 90, "7"),
    "reminder_most": _days("Stop after", "How many reminders after the due date, in all", 12, "3"),
    "program_hold_minutes": Key(
        "Minutes to pay for a place",
        "Minutes for which a place in a program is held before it is paid",
        "a whole number from 5 to 60",
        "15",
        _whole(5, 60),
    ),
    "program_offer_hours": Key(
        "Hours to take an offered place",
        "Daytime hours for which a place that came free is kept for the next person waiting",
        "a whole number from 1 to 168",
        "24",
        _whole(1, 168),
    ),
    **{
        f"email_note_{kind}": Key(
            f"Own paragraph: {name}",
            f"The clinic's own paragraph in the email {name}",
            "up to 500 characters",
            "",
            _text,
        )
        for kind, name in LETTERS.items()
    },
}


@dataclass(frozen=True)
class Settings:
    """The clinic's settings at one moment. Built anew for each request."""

    values: Mapping[str, str]

    def yes(self, key: str) -> bool:
        """Whether a switch is on."""
        return self.values[key] == "yes"

    def text(self, key: str) -> str:
        """A text as the clinic wrote it."""
        return self.values[key]

    def number(self, key: str) -> int:
        """A whole number."""
        return int(self.values[key])

    @property
    def clinic_name(self) -> str:
        return self.values["clinic_name"]

    @property
    def portal_takes_payments(self) -> bool:
        """The two switches that must both be on before a gateway is looked for (O4)."""
        return self.yes("module_payment_gateways") and self.yes("accept_payments_in_portal")


_DEFAULTS = {key: spec.default for key, spec in KEYS.items()}
# SQLite keeps any bytes in a text. Read as text, one that is none (typed at a Latin-1 prompt) would fail every page.
_AS_IT_STANDS = Text().with_variant(LargeBinary(), "sqlite")
_ALL_ROWS = select(cast(Setting.key, _AS_IT_STANDS), cast(Setting.value, _AS_IT_STANDS))


def read_settings(connection: Connection | Session) -> Settings:
    """The settings as they stand now, in one statement."""
    values = dict(_DEFAULTS)
    for key, value in connection.execute(_ALL_ROWS):
        name, readable = _read(key, value)
        if readable is not None:
            values[name] = readable
        elif name in KEYS:
            values[name] = KEYS[name].closed or KEYS[name].default
    return Settings(values)


@lru_cache(maxsize=256)
def _read(key: str | bytes, value: str | bytes) -> tuple[str, str | None]:
    """A row's key, and its value as the contract has it; None where that can't be read."""
    name = key if isinstance(key, str) else key.decode(errors="replace")
    try:
        return name, KEYS[name].clean(value if isinstance(value, str) else value.decode())
    except (KeyError, ValueError):
        return name, None


def unreadable_rows(connection: Connection | Session) -> list[str]:
    """Keys in the table that this product can't use, for `portal check`."""
    rows = [_read(key, value) for key, value in connection.execute(_ALL_ROWS.order_by(Setting.key))]
    return [name for name, readable in rows if readable is None]


def change_setting(session: Session, key: str, value: str, *, by: int | None = None) -> tuple[str, str]:
    """Set one key; gives what stood before and what stands now. Raises UnknownSetting or BadSetting.

    Who changed it stands in the audit log; `by` None is the command line.
    """
    spec = KEYS.get(key)
    if spec is None:
        raise UnknownSetting(key=key)
    try:
        after = spec.clean(value)
    except ValueError:
        raise BadSetting(key=key, kind=spec.kind, value=repr(value)) from None
    before = read_settings(session).values[key]
    stands = {"value": after, "updated_at": now()}
    session.execute(upsert(session, Setting, {"key": key, **stands}, on=["key"], changes=stands))
    if after != before:
        record(session, CHANGED, subject_of(key), by=by, before=before, after=after)
    session.flush()
    return before, after


def subject_of(key: str) -> str:
    """What the audit log calls a setting."""
    return f"Module {KEYS[key].name}" if key.startswith("module_") else KEYS[key].name


@dataclass(frozen=True)
class Change:
    """One setting that was changed, and its values before and after."""

    key: str
    before: str
    after: str


def change_settings(
    session: Session, shown: Mapping[str, str], wanted: Mapping[str, str], *, by: int | None
) -> list[Change]:
    """Keep what a person changed in a form, all of it or nothing; gives the changes. Raises SettingsNotSaved.

    `shown` is what the form showed when it was opened, `wanted` what it says now. What the two agree on is left
    alone, whatever became of it meanwhile: two people at once do not undo each other's switches. Where both changed
    the same thing to different values, the second is told instead of having the last word unawares.
    """
    now_stands = read_settings(_locked(session))
    wrong: dict[str, LazyString | str] = {}
    to_do: dict[str, str] = {}
    for key, value in wanted.items():
        spec = KEYS[key]
        if value.strip() == shown.get(key, "").strip():
            continue
        try:
            after = spec.clean(value)
        except ValueError:
            wrong[key] = _l("%(name)s takes %(kind)s.", name=spec.name, kind=spec.kind)
            continue
        if now_stands.values[key] not in (_cleaned(spec, shown.get(key, "")), after):
            wrong[key] = _l(
                "Somebody else has changed this to “%(value)s” meanwhile. Save again to replace that.",
                value=now_stands.values[key],
            )
            continue
        to_do[key] = value
    if wrong:
        raise SettingsNotSaved(wrong)
    changed = [Change(key, *change_setting(session, key, value, by=by)) for key, value in to_do.items()]
    return [change for change in changed if change.before != change.after]


def _cleaned(spec: Key, value: str) -> str | None:
    try:
        return spec.clean(value)
    except ValueError:
        return None


def _locked(session: Session) -> Session:
    """One form at a time: a change by somebody else is wholly before this one, or wholly after it."""
    if session.get_bind().dialect.name == "postgresql":  # a key's first row is not there yet to be locked
        session.execute(text("LOCK TABLE settings IN SHARE ROW EXCLUSIVE MODE"))
    return session
