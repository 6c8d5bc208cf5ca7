"""A program's sessions as a calendar file (RFC 5545), for anybody's calendar.

Every session is an event of its own, at moments in UTC: a calendar shows them by its owner's clock, and no rule about
daylight saving has to travel along. An event keeps its UID, and a later file has a higher SEQUENCE: taken in twice, a
session is there once, as it was changed last.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from sqlalchemy import ColumnElement, Connection, Select, select

from portal.clinic import Location, Practitioner
from portal.clock import now
from portal.invoices.reading.words import with_credentials
from portal.programs.refusals import ProgramNotFound, RegistrationNotFound
from portal.programs.tables import Program, ProgramSession, Registration

MEDIA_TYPE = "text/calendar"
EVENTS = UUID("b1a6c3ce-5f0f-4d0e-9c51-6f0d3f0a7a52")
"""The namespace of the events' ids."""
LONGEST_LINE = 75
"""Octets of one line; what is longer is folded (RFC 5545, 3.1)."""


class Event(NamedTuple):
    """One session, as a calendar needs it. `changes`: how often it was changed; `url`: where to read more."""

    uid: str
    starts_at: datetime
    ends_at: datetime
    summary: str
    location: str = ""
    description: str = ""
    url: str = ""
    changes: int = 0


# --- writing (pure) -------------------------------------------------------------------------------------------------


def calendar_file(events: Iterable[Event], stamp: datetime) -> bytes:
    """The events as the bytes of an .ics file, made at that moment."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Patient portal//Programs//EN",
        "CALSCALE:GREGORIAN",
        *(line for event in events for line in _lines(event, stamp)),
        "END:VCALENDAR",
    ]
    return b"".join(folded(line) for line in lines)


def _lines(event: Event, stamp: datetime) -> Iterator[str]:
    yield "BEGIN:VEVENT"
    yield f"UID:{escaped(event.uid)}"
    yield f"DTSTAMP:{_moment(stamp)}"
    yield f"SEQUENCE:{event.changes}"
    yield f"DTSTART:{_moment(event.starts_at)}"
    yield f"DTEND:{_moment(event.ends_at)}"
    yield f"SUMMARY:{escaped(event.summary)}"
    for name, text in (("LOCATION", event.location), ("DESCRIPTION", event.description)):
        if text:
            yield f"{name}:{escaped(text)}"
    if event.url:
        yield f"URL:{_without_controls(event.url)}"
    yield "END:VEVENT"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def escaped(text: str) -> str:
    """A text as a value (RFC 5545, 3.3.11): what parts values is escaped, line breaks are written as such."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\\", "\\\\")
    for sign in ";,":
        text = text.replace(sign, f"\\{sign}")
    return _without_controls(text.replace("\n", "\\n"))


def _without_controls(text: str) -> str:
    return "".join(sign for sign in text if unicodedata.category(sign) not in ("Cc", "Cs"))


def folded(line: str) -> bytes:
    """A line with its end, in pieces of at most 75 octets; no letter is cut in two (RFC 5545, 3.1)."""
    pieces, piece, room = [], bytearray(), LONGEST_LINE
    for sign in line:
        octets = sign.encode()
        if len(piece) + len(octets) > room:
            pieces.append(bytes(piece))
            piece, room = bytearray(), LONGEST_LINE - 1  # the space that begins a piece counts
        piece += octets
    return b"\r\n ".join([*pieces, bytes(piece)]) + b"\r\n"


# --- reading --------------------------------------------------------------------------------------------------------


def calendar_of_program(connection: Connection, program_id: int, base_url: str = "") -> bytes:
    """All sessions of a program. `base_url` begins the link to its page; without it there is none.

    Raises ProgramNotFound where there are none.
    """
    events = _events(connection, _sessions(Program.id == program_id), base_url)
    if not events:
        raise ProgramNotFound
    return calendar_file(events, now())


def calendar_of_registration(connection: Connection, registration_id: int, base_url: str = "") -> bytes:
    """The sessions of the program that somebody is registered for: the same events as the program's own.

    Raises RegistrationNotFound where there are none.
    """
    whose = _sessions(Registration.id == registration_id).join(Registration, Registration.program_id == Program.id)
    events = _events(connection, whose, base_url)
    if not events:
        raise RegistrationNotFound
    return calendar_file(events, now())


def _sessions(condition: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    return (
        select(
            ProgramSession.id, ProgramSession.starts_at, ProgramSession.ends_at, ProgramSession.room,
            Program.name, Program.public_id, Program.version,
            Location.name.label("place"), Location.address,
            Practitioner.name.label("practitioner"), Practitioner.credentials,
        )
        .select_from(Program)
        .join(ProgramSession, ProgramSession.program_id == Program.id)
        .join(Location, Location.id == Program.location_id)
        .outerjoin(Practitioner, Practitioner.id == Program.practitioner_id)
        .where(condition)
        .order_by(ProgramSession.starts_at, ProgramSession.id)
    )  # fmt: skip


def _events(connection: Connection, sessions: Select[*tuple[Any, ...]], base_url: str) -> list[Event]:
    return [_event(row, base_url) for row in connection.execute(sessions)]


def _event(row: Any, base_url: str) -> Event:
    return Event(
        uid=uid_of(row.public_id, row.id),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        summary=row.name,
        location=", ".join(filter(None, (row.room, row.place, " ".join(row.address.split())))),
        description=with_credentials(row.practitioner, row.credentials) if row.practitioner else "",
        url=f"{base_url}/programs/{row.public_id}" if base_url else "",
        changes=row.version - 1,
    )


def uid_of(program_public_id: str, session_id: int) -> str:
    """The id of a session in every calendar, whichever file it came by."""
    return str(uuid5(EVENTS, f"{program_public_id}/{session_id}"))
