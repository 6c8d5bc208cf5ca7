"""Rosters, who came, and the sessions of a day."""

import csv
import io
from datetime import datetime
from zoneinfo import ZoneInfo

import openpyxl
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.audit import AuditEntry
from portal.clock import now
from portal.programs.states import Place
from portal.programs.tables import Attendance, Program, Registration
from tests.makers import make_location, make_patient, make_program
from tests.web.conftest import Site, Visitor, words
from tests.web.office.programs.at_desk.desk import (
    path,
    register,
    registrations,
    sessions_of,
    shown,
    somebody,
)

# --- the roster, and who came ---------------------------------------------------------------------------------------


def test_who_came_is_noted_and_shown_on_the_roster(site: Site, dana: Visitor, program: Program) -> None:
    ana = somebody(site, "Ana")
    register(dana, program, ana)
    register(dana, program, site.cast.maya.id)
    first, second = registrations(site)
    meeting = sessions_of(site, program)[0]
    page = path(program, f"/sessions/{meeting}")
    sent = dana.post(page, data={**shown(dana, page), "came": [first.public_id]})
    assert sent.status_code == 303
    assert "1 of 2 came" in words(dana.get(path(program)))
    roster = dana.get(path(program, "/roster"))
    assert roster.text.count('aria-label="came"') == 1 and roster.text.count('aria-label="did not come"') == 1
    assert roster.text.count('aria-label="not noted"') == 10
    entry = site.change(lambda session: session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first())
    assert (entry.action, entry.after) == ("attendance.marked", "1 came, 1 did not")
    assert second.public_id not in sent.text


def test_two_who_mark_at_once_do_not_undo_each_other(site: Site, dana: Visitor, program: Program) -> None:
    register(dana, program, somebody(site, "Ana"))
    register(dana, program, site.cast.maya.id)
    first, second = registrations(site)
    page = path(program, f"/sessions/{sessions_of(site, program)[0]}")
    dana.post(page, data=shown(dana, page))  # nobody came
    stale, liam = shown(dana, page), site.visitor("liam@example.com")
    liam.post(page, data={**shown(liam, page), "came": [second.public_id]})
    dana.post(page, data={**stale, "came": [first.public_id]})
    came = site.change(lambda session: list(session.scalars(select(Attendance.present))))
    assert came == [True, True]


def test_a_list_that_was_opened_before_anybody_noted_takes_no_tick_away(
    site: Site, dana: Visitor, program: Program
) -> None:
    register(dana, program, somebody(site, "Ana"))
    register(dana, program, site.cast.maya.id)
    first, second = registrations(site)
    page = path(program, f"/sessions/{sessions_of(site, program)[0]}")
    early, liam = shown(dana, page), site.visitor("liam@example.com")
    liam.post(page, data={**shown(liam, page), "came": [second.public_id]})
    dana.post(page, data=early)
    came = select(Attendance.registration_id).where(Attendance.present)
    assert site.change(lambda session: list(session.scalars(came))) == [second.id]
    dana.post(page, data={**early, "came": [first.public_id]})
    assert site.change(lambda session: sorted(session.scalars(came))) == [first.id, second.id]


def test_garbage_marks_nobody(site: Site, dana: Visitor, program: Program) -> None:
    register(dana, program, site.cast.maya.id)
    page = path(program, f"/sessions/{sessions_of(site, program)[0]}")
    bad = {**shown(dana, page), "shown": ["\x00:no", "nope:-", ":", "x" * 500], "came": ["\x00", "nope"]}
    assert dana.post(page, data=bad).status_code == 303
    assert site.change(lambda session: session.scalar(select(func.count()).select_from(Attendance))) == 0


def test_the_roster_is_exported_without_formulas(site: Site, dana: Visitor, program: Program) -> None:
    def odd(session: Session) -> int:
        return make_patient(session, "=cmd()", "Åkesson", email="odd@example.com").id

    register(dana, program, site.change(odd))
    file = dana.get(path(program, "/roster.csv"))
    head, row = list(csv.reader(io.StringIO(file.data.decode("utf-8-sig"))))
    assert head[:6] == ["Name", "Born", "Phone", "Email", "Since", "Money"] and len(head) == 12
    assert row[0] == "'=cmd() Åkesson" and row[5] == "$210.00 to pay"
    book = openpyxl.load_workbook(io.BytesIO(dana.get(path(program, "/roster.xlsx")).data))
    cell = book.worksheets[0]["A2"]
    assert (cell.value, cell.data_type) == ("=cmd() Åkesson", "s")
    entry = site.change(lambda session: session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first())
    assert (entry.action, entry.after) == ("roster.exported", "1 people")


# --- the days of the clinic -----------------------------------------------------------------------------------------


def in_vancouver(day: int, hour: int) -> datetime:
    """That hour of a day around the night when clocks go forward there, on 14 March 2027."""
    return datetime(2027, 3, day, hour, tzinfo=ZoneInfo("America/Vancouver"))


def test_sessions_stand_on_their_own_day_by_the_clock_of_the_place(site: Site, dana: Visitor) -> None:
    def late(session: Session) -> list[Program]:
        place = site.cast.location
        toronto = make_location(session, "Harbour", timezone="America/Toronto", prefix="H")
        return [
            make_program(session, "Late swim", location=place, first=in_vancouver(13, 23), sessions=1),
            make_program(session, "Day of change", location=place, first=in_vancouver(14, 0), sessions=1),
            make_program(session, "Last hour", location=place, first=in_vancouver(14, 23), sessions=1),
            make_program(session, "East", location=toronto, first=in_vancouver(13, 23), sessions=1),
        ]

    site.change(late)
    saturday, sunday = (words(dana.get(f"/office/day-sheet?day=2027-03-{day}")) for day in (13, 14))
    assert "Late swim" in saturday and "Day of change" not in saturday and "East" not in saturday
    assert all(name in sunday for name in ("Day of change", "Last hour", "East")) and "Late swim" not in sunday
    assert "Sun 14 Mar 2027, 2:00 to 3:00 am" not in sunday and "Harbour" in sunday
    week = words(dana.get(f"/office/schedule?day=2027-03-14&location={site.cast.location.id}"))
    assert "Sat 13 Mar 2027, 11:00 pm to 12:00 am, Studio 2" in week and "Last hour" in week and "East" not in week
    next_week = words(dana.get("/office/schedule?day=2027-03-15"))
    assert "Last hour" not in next_week
    site.setting("module_programs", "no")
    assert "Late swim" not in words(dana.get("/office/schedule?day=2027-03-13"))


def test_the_desks_page_of_a_big_group_takes_few_statements(site: Site, dana: Visitor) -> None:
    def crowd(session: Session) -> Program:
        big = make_program(session, "Big group", capacity=500, location=site.cast.location)
        for turn in range(120):
            patient = make_patient(session, f"Ann{turn}", "Smith")
            session.add(
                Registration(
                    public_id=f"key-{turn:012}",
                    program_id=big.id,
                    patient_id=patient.id,
                    channel="desk",
                    state=Place.CONFIRMED,
                    price_cents=0,
                    created_at=now(),
                )
            )
        return big

    big = site.change(crowd)
    for page, most in (("", 7), ("/roster", 7)):
        dana.get(path(big, page))
        with site.counting() as sent:
            dana.get(path(big, page))
        assert len(sent) <= most, sent
