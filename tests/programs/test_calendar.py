"""The calendar file of a program, read back as a calendar would (RFC 5545)."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from portal.programs.calendar import (
    Event,
    calendar_file,
    calendar_of_program,
    calendar_of_registration,
    escaped,
    folded,
    uid_of,
)
from portal.programs.refusals import ProgramNotFound, RegistrationNotFound
from portal.programs.tables import Program, ProgramSession
from tests.programs.stage import ProgramStage

pytestmark = pytest.mark.promise("P6")

STAMP = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
STARTS = datetime(2027, 1, 12, 17, 30, tzinfo=ZoneInfo("America/Vancouver"))


def read_back(file: bytes) -> list[dict[str, str]]:
    """The events of a file: unfolded, then split and unescaped as the standard says."""
    lines = file.decode().replace("\r\n ", "").split("\r\n")
    assert lines[0] == "BEGIN:VCALENDAR" and lines[-2:] == ["END:VCALENDAR", ""]
    events: list[dict[str, str]] = []
    for line in lines:
        if line == "BEGIN:VEVENT":
            events.append({})
        elif events and ":" in line and not line.startswith("END:"):
            name, _, value = line.partition(":")
            events[-1][name] = _unescaped(value)
    return events


def _unescaped(value: str) -> str:
    text, signs = "", iter(value)
    for sign in signs:
        text += {"n": "\n"}.get(after := next(signs), after) if sign == "\\" else sign
    return text


def test_a_file_says_each_session_as_an_event_of_its_own() -> None:
    event = Event("abc", STARTS, STARTS + timedelta(hours=1), "Back in motion", "Studio 2, Riverside", changes=3)
    assert calendar_file([event], STAMP).split(b"\r\n") == [
        b"BEGIN:VCALENDAR", b"VERSION:2.0", b"PRODID:-//Patient portal//Programs//EN", b"CALSCALE:GREGORIAN",
        b"BEGIN:VEVENT", b"UID:abc", b"DTSTAMP:20270102T030405Z", b"SEQUENCE:3", b"DTSTART:20270113T013000Z",
        b"DTEND:20270113T023000Z", b"SUMMARY:Back in motion", b"LOCATION:Studio 2\\, Riverside", b"END:VEVENT",
        b"END:VCALENDAR", b"",
    ]  # fmt: skip


def test_the_hour_on_the_wall_stays_when_the_clocks_change() -> None:
    before = datetime(2027, 3, 9, 17, 30, tzinfo=ZoneInfo("America/Vancouver"))
    after = datetime(2027, 3, 16, 17, 30, tzinfo=ZoneInfo("America/Vancouver"))
    events = read_back(
        calendar_file([Event("a", day, day + timedelta(hours=1), "x") for day in (before, after)], STAMP)
    )
    assert [event["DTSTART"] for event in events] == ["20270310T013000Z", "20270317T003000Z"]


@given(
    some.text(
        some.characters(codec="utf-8", exclude_categories=["Cc"]) | some.sampled_from('\n;,\\:"é💆'), max_size=300
    )
)
def test_any_text_comes_through_whole_in_short_lines(text: str) -> None:
    file = calendar_file([Event("a", STARTS, STARTS, text or "x", text, text)], STAMP)
    assert all(len(line) <= 75 for line in file.split(b"\r\n"))
    assert b"\n" not in file.replace(b"\r\n", b"")
    assert read_back(file)[0].get("DESCRIPTION", "") == text


@given(some.text(some.characters(codec="utf-8", exclude_characters="\r\n"), max_size=400))
def test_a_folded_line_is_the_line_again(line: str) -> None:
    whole = folded(line)
    assert whole.endswith(b"\r\n")
    assert whole.replace(b"\r\n ", b"").removesuffix(b"\r\n").decode() == line
    for piece in whole.removesuffix(b"\r\n").split(b"\r\n"):
        assert len(piece) <= 75
        piece.decode()  # no letter is cut in two


def test_a_line_break_ends_no_property() -> None:
    assert escaped("a\r\nBEGIN:VEVENT\rb\0c\x85d") == "a\\nBEGIN:VEVENT\\nbcd"


# --- from the database ----------------------------------------------------------------------------------------------


def test_a_program_and_a_registration_for_it_have_the_same_events(stage: ProgramStage) -> None:
    registration = stage.confirmed(stage.maya)
    with stage.database.read() as connection:
        of_program = calendar_of_program(connection, stage.program_id)
        of_registration = calendar_of_registration(connection, registration.id)
    events = read_back(of_program)
    assert len(events) == 6 and len({event["UID"] for event in events}) == 6
    assert [event["UID"] for event in events] == [event["UID"] for event in read_back(of_registration)]
    assert events[0]["SUMMARY"] == "Back in motion"
    assert events[0]["LOCATION"].startswith("Studio 2, ")


def test_a_session_that_moves_keeps_its_id_and_counts_its_change(stage: ProgramStage) -> None:
    with stage.database.read() as connection:
        before = read_back(calendar_of_program(connection, stage.program_id, "https://clinic.test"))[0]
    with stage.database.transaction() as session:
        moved = session.query(ProgramSession).order_by(ProgramSession.starts_at).first()
        assert moved
        moved.starts_at, moved.ends_at = moved.starts_at - timedelta(hours=2), moved.ends_at - timedelta(hours=2)
        session.get_one(Program, stage.program_id).version += 1
    with stage.database.read() as connection:
        after = read_back(calendar_of_program(connection, stage.program_id, "https://clinic.test"))[0]
    assert after["UID"] == before["UID"] == uid_of(stage.program_public_id, moved.id)
    assert (before["SEQUENCE"], after["SEQUENCE"]) == ("0", "1")
    assert after["DTSTART"] < before["DTSTART"]
    assert after["URL"] == f"https://clinic.test/programs/{stage.program_public_id}"


def test_without_sessions_there_is_no_file(stage: ProgramStage) -> None:
    with stage.database.read() as connection:
        with pytest.raises(ProgramNotFound):
            calendar_of_program(connection, 4711)
        with pytest.raises(RegistrationNotFound):
            calendar_of_registration(connection, 4711)
