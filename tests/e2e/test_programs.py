"""Programs in a real browser: what anybody sees of them, signed in or not (P6)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import expect
from sqlalchemy.orm import Session

from portal.clock import now
from portal.programs.states import Place
from portal.programs.tables import Program, Registration
from tests.e2e.conftest import PASSWORD, Person, Story
from tests.makers import make_patient, make_program
from tests.support.axe import assert_accessible

pytestmark = [pytest.mark.browser, pytest.mark.promise("P6")]

Someone = Callable[..., Person]

# A Tuesday, 5:30 pm in Vancouver.
TUESDAY = datetime(2030, 1, 16, 1, 30, tzinfo=UTC)
LOOKS = [
    pytest.param({"width": 1280, "dark": False}, id="desk-light"),
    pytest.param({"width": 1280, "dark": True}, id="desk-dark"),
    pytest.param({"width": 320, "dark": False}, id="phone-light"),
    pytest.param({"width": 320, "dark": True}, id="phone-dark"),
]


@pytest.fixture
def back_in_motion(story: Story) -> Program:
    """Six Tuesdays for ten people."""
    story.setting("module_programs", "yes")
    return program(story, description="Six evenings to get a sore back moving.\n\nBring a water bottle.")


def program(story: Story, name: str = "Back in motion", taken: int = 0, waiting: int = 0, **details: Any) -> Program:
    """A program with so many places taken, and so many people in line."""
    with story.parts.database.transaction() as session:
        practitioner = session.merge(story.cast.practitioner)
        made = make_program(session, name, practitioner=practitioner, **{"first": TUESDAY, **details})
        for number in range(taken + waiting):
            state = Place.CONFIRMED if number < taken else Place.WAITING
            _take(session, made, state, make_patient(session, f"P{number}", name).id)
        return made


def _take(session: Session, made: Program, state: Place, patient_id: int) -> None:
    session.add(
        Registration(
            public_id=uuid4().hex[:20], program_id=made.id, patient_id=patient_id, channel="portal", state=state,
            held_until=now() + timedelta(minutes=15) if state in (Place.HELD, Place.OFFERED) else None,
            waiting_since=now(), price_cents=made.price_cents, created_at=now(),
        )
    )  # fmt: skip
    session.flush()


@pytest.mark.parametrize("width", [1280, 320])
def test_a_visitor_browses_opens_a_program_and_takes_its_dates_along(
    back_in_motion: Program, someone: Someone, width: int
) -> None:
    visitor = someone(None, width=width)
    visitor.go("/programs")
    page = visitor.page
    expect(page.get_by_role("heading", level=1)).to_have_text("Programs at the clinic")
    row = page.get_by_role("listitem").filter(has_text="Back in motion")
    expect(row).to_contain_text("6 Tuesdays from 15 Jan 2030, 5:30 pm")
    expect(row).to_contain_text("10 places left")
    row.get_by_role("link", name="See dates of Back in motion").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Back in motion")
    expect(page.get_by_text("$200.00 + $10.00 GST")).to_be_visible()
    with page.expect_download() as taken:
        page.get_by_role("link", name="Add the dates to your calendar").click()
    assert taken.value.suggested_filename == "back-in-motion.ics"
    file = taken.value.path().read_bytes()
    assert file.count(b"BEGIN:VEVENT\r\n") == 6 and b"DTSTART:20300116T013000Z\r\n" in file
    page.get_by_role("link", name="Back to programs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Programs at the clinic")


def test_signing_in_leads_back_to_the_program(back_in_motion: Program, someone: Someone) -> None:
    visitor = someone(None)
    visitor.go(f"/programs/{back_in_motion.public_id}")
    page = visitor.page
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Email").fill("maya@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Back in motion")
    expect(page.get_by_role("link", name="Programs", exact=True)).to_have_attribute("aria-current", "page")


@pytest.mark.of_database("sqlite")  # how pages look does not depend on where their data is
@pytest.mark.parametrize("look", LOOKS)
def test_every_state_of_a_program_in_every_look(
    story: Story, back_in_motion: Program, someone: Someone, look: dict[str, object]
) -> None:
    made = [
        back_in_motion,
        program(story, "Strong hips", taken=8, early_price_cents=18_000, early_until=TUESDAY.date()),
        program(story, "Calm jaw", taken=10, waiting=2, waitlist_size=5),
        program(story, "Full house", taken=10),
        program(story, "Open evening", price_cents=0, sessions=1),
        program(story, "Later in spring", opens_at=TUESDAY - timedelta(days=30)),
        program(story, "Too late", closes_at=now() - timedelta(days=1)),
    ]
    with story.parts.database.transaction() as session:
        for each, state in zip(made, (Place.CONFIRMED, Place.HELD, Place.WAITING), strict=False):
            _take(session, each, state, story.cast.maya.id)
    for email in (None, "maya@example.com"):
        person = someone(email, **look)
        for path in ("/programs", *(f"/programs/{each.public_id}" for each in made)):
            person.go(path)
            assert_accessible(person.page)
            assert person.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
