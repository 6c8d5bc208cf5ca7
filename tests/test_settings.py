"""The settings table: a contract that plain SQL may use."""

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from portal.db import Database
from portal.settings import (
    KEYS,
    BadSetting,
    SettingsNotSaved,
    UnknownSetting,
    change_setting,
    change_settings,
    read_settings,
    unreadable_rows,
)

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "settings.md"


def put(clinic: Database, key: str, value: str) -> None:
    """What an administrator types into a SQL prompt."""
    with clinic.transaction() as session:
        session.execute(text("DELETE FROM settings WHERE key = :key"), {"key": key})
        session.execute(text("INSERT INTO settings (key, value) VALUES (:key, :value)"), {"key": key, "value": value})


def yes(clinic: Database, key: str) -> bool:
    with clinic.read() as connection:
        return read_settings(connection).yes(key)


@pytest.mark.promise("O1")
@pytest.mark.parametrize("value", ["yes", "YES", "true", "on", "1", " Yes "])
def test_plain_sql_turns_a_switch_on(clinic: Database, value: str) -> None:
    assert not yes(clinic, "accept_payments_in_portal")
    put(clinic, "accept_payments_in_portal", value)
    assert yes(clinic, "accept_payments_in_portal")


@pytest.mark.promise("O1")
@pytest.mark.parametrize("value", ["no", "off", "0", "FALSE", "", "maybe", "yes please", "１"])
def test_whatever_is_not_clearly_yes_is_off(clinic: Database, value: str) -> None:
    put(clinic, "portal_enabled", value)
    assert not yes(clinic, "portal_enabled")


def test_rows_that_cannot_be_read_are_named(clinic: Database) -> None:
    put(clinic, "portal_enabled", "maybe")
    put(clinic, "clinic_hue", "teal")
    put(clinic, "nobody_knows_this", "yes")
    put(clinic, "clinic_name", "Alder Lane Clinic")
    with clinic.read() as connection:
        assert unreadable_rows(connection) == ["clinic_hue", "nobody_knows_this", "portal_enabled"]
        assert read_settings(connection).number("clinic_hue") == 168


@pytest.mark.of_database("sqlite")  # the other database refuses what is no text
@pytest.mark.parametrize("raw", ["x'ff00fe'", "x'00'", "CAST(x'436c696e69717565e9' AS TEXT)"])
def test_bytes_that_are_no_text_close_no_page(clinic: Database, raw: str) -> None:
    for key in KEYS:
        with clinic.transaction() as session:
            session.execute(text(f"INSERT INTO settings (key, value) VALUES ('{key}', {raw})"))
    with clinic.transaction() as session:
        session.execute(text(f"INSERT INTO settings (key, value) VALUES (CAST(x'ff' AS TEXT), {raw})"))
    with clinic.read() as connection:
        settings = read_settings(connection)
        assert not settings.yes("portal_enabled") and settings.clinic_name == "The clinic"
        assert set(KEYS) < set(unreadable_rows(connection))


def test_a_change_tells_before_and_after(clinic: Database) -> None:
    with clinic.transaction() as session:
        assert change_setting(session, "clinic_hue", "28") == ("168", "28")
        assert change_setting(session, "clinic_hue", " 029 ") == ("28", "29")


@pytest.mark.parametrize(
    ("key", "value"),
    [("portal_enabled", "perhaps"), ("clinic_hue", "361"), ("clinic_hue", "²"), ("clinic_name", "  "),
     ("idle_minutes", "0"), ("clinic_phone", "x" * 501), ("clinic_email", "Front desk"),
     ("clinic_email", "a@b, c@d"), ("clinic_email", "réception@example.com")],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused_in_a_sentence(clinic: Database, key: str, value: str) -> None:
    with clinic.transaction() as session, pytest.raises(BadSetting) as caught:
        change_setting(session, key, value)
    assert key in caught.value.text


def test_an_unknown_key_is_refused(clinic: Database) -> None:
    with clinic.transaction() as session, pytest.raises(UnknownSetting):
        change_setting(session, "portal_enable", "yes")


def test_the_document_lists_every_key_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", DOCUMENT.read_text(), re.MULTILINE))
    for key, spec in KEYS.items():
        assert rows[key] == (spec.default or "empty"), key


def saves(clinic: Database, shown: dict[str, str], wanted: dict[str, str]) -> str:
    """One administrator presses the button; gives what came of it."""
    try:
        with clinic.transaction() as session:
            change_settings(session, shown, wanted, by=None)
    except SettingsNotSaved:
        return "told"
    return "saved"


def test_of_two_at_once_one_is_told_and_nothing_of_either_is_lost(clinic: Database) -> None:
    for turn in range(5):
        with clinic.read() as connection:
            shown = dict(read_settings(connection).values)
        forms = [
            {**shown, "clinic_phone": f"250-{turn}", "portal_allow_sign_up": "yes" if turn % 2 else "no"},
            {**shown, "clinic_phone": f"604-{turn}"},
            {**shown, "clinic_hue": str(turn)},
        ]
        with ThreadPoolExecutor(3) as pool:
            came = list(pool.map(partial(saves, clinic, shown), forms))
        assert sorted(came[:2]) == ["saved", "told"], came
        assert came[2] == "saved"
        with clinic.read() as connection:
            stands = read_settings(connection)
        assert stands.text("clinic_phone") == forms[came.index("saved")]["clinic_phone"]
        assert stands.number("clinic_hue") == turn
