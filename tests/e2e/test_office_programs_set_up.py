"""Staff set a program up, with a rule that repeats its sessions and a question; copy it; and make a promo code."""

import re
from collections.abc import Callable
from datetime import timedelta
from email import message_from_bytes, policy
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import now
from portal.mail import deliver_waiting_mail
from portal.payments.tables import DESK
from portal.people import Patient
from portal.programs.states import Place
from portal.programs.tables import Program, ProgramQuestion, ProgramSession, PromoCode, Registration
from portal.schedule.times import day_of
from tests.e2e.conftest import Person, Story
from tests.makers import GST, make_program, make_tax
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = [pytest.mark.browser, pytest.mark.promise("P6")]


@pytest.fixture
def marc(story: Story, someone: Callable[..., Person]) -> Person:
    """The administrator, in a clinic that has programs."""
    story.setting("module_programs", "yes")
    story.change(lambda session: make_tax(session, GST))
    return someone("marc@example.com")


def kept(story: Story) -> list[tuple[Program, list[ProgramSession], list[ProgramQuestion]]]:
    """The programs there are, with their sessions and questions."""
    with story.parts.database.transaction() as session:
        return [
            (
                each,
                list(session.scalars(select(ProgramSession).filter_by(program_id=each.id).order_by("starts_at"))),
                list(session.scalars(select(ProgramQuestion).filter_by(program_id=each.id).order_by("position"))),
            )
            for each in session.scalars(select(Program).order_by(Program.id))
        ]


def next_tuesday() -> str:
    """A Tuesday in a few weeks, as a field for days takes it."""
    day = now().date() + timedelta(weeks=5)
    return (day + timedelta(days=(1 - day.weekday()) % 7)).isoformat()


def presses(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_a_program_is_set_up_copied_and_gets_a_promo_code(story: Story, marc: Person, new_page: Pages) -> None:
    new_page.expect_console("status of 422")
    page = marc.page
    page.get_by_role("link", name="Programs", exact=True).click()
    page.get_by_role("link", name="New program").first.click()
    _fills_in_the_rule(page)
    expect(page.get_by_label("Room of session 8")).to_have_value("Studio 2")
    presses(page, "Remove session 8")
    expect(page.locator("aside")).to_contain_text("7, from Tue ")

    page.get_by_label("Price", exact=True).fill("200")
    page.get_by_label("GST").check()
    page.get_by_label("Early price").fill("180")
    page.get_by_label("Places", exact=True).fill("12")
    page.get_by_label("Patients can see it").check()
    presses(page, "Add a question")
    expect(page.get_by_label("What do you ask?")).to_be_focused()
    page.keyboard.type("Which mat size?")
    page.get_by_label("How it is answered").select_option("One of a list")
    page.get_by_label("The answers to choose from").fill("Small\nLarge")
    presses(page, "Save")
    expect(page.get_by_role("alert")).to_contain_text("Until when is the early price?")
    expect(page.get_by_label("The answers to choose from")).to_have_value("Small\nLarge")
    assert_accessible(page)
    page.get_by_role("link", name="Until when is the early price?").click()
    page.get_by_label("Until the end of").fill((now().date() + timedelta(weeks=2)).isoformat())
    expect(page.locator("aside")).to_contain_text("$210.00")
    presses(page, "Save")
    marc.is_told("Back in motion is as you entered it. Patients can see it.")

    page.get_by_role("link", name="Programs", exact=True).click()
    row = page.get_by_role("row", name="Back in motion")
    expect(row).to_contain_text("7 sessions from Tue ")
    expect(row).to_contain_text("$180.00")
    row.get_by_role("link", name="Copy Back in motion").click()
    expect(page.locator(".note").first).to_contain_text("This is a copy of Back in motion, a term later.")
    expect(page.get_by_label("Patients can see it")).not_to_be_checked()
    page.get_by_label("Name", exact=True).fill("Back in motion, second term")
    presses(page, "Save")
    marc.is_told("Patients don't see it yet.")
    _was_kept(story)

    _makes_a_code(page)
    expect(page.get_by_role("row", name="SPRING-20")).to_contain_text("Works now20%Back in motionalways0 of 30")
    assert_accessible(page)
    with story.parts.database.transaction() as session:
        assert session.scalars(select(PromoCode)).one().percent == 20


def _fills_in_the_rule(page: Page) -> None:
    """Eight Tuesdays and Thursdays, every second week."""
    page.get_by_label("Name", exact=True).fill("Back in motion")
    page.get_by_label("Description").fill("Six weeks to get a sore lower back moving again.")
    page.get_by_label("Led by").select_option("Liam Tremblay, RMT")
    page.get_by_label("First day").fill(next_tuesday())
    page.get_by_label("From", exact=True).fill("17:30")
    page.get_by_label("To", exact=True).fill("18:30")
    page.get_by_label("Room", exact=True).fill("Studio 2")
    page.get_by_label("Tuesday").check()
    page.get_by_label("Thursday").check()
    page.get_by_label("Every so many weeks").fill("2")
    page.get_by_label("So many times").fill("8")
    presses(page, "Add sessions")


def _makes_a_code(page: Page) -> None:
    page.get_by_role("link", name="Programs", exact=True).click()
    page.get_by_role("link", name="Promo codes").click()
    page.get_by_role("link", name="New promo code").click()
    page.get_by_label("Code", exact=True).fill("spring-20")
    page.get_by_text("An amount", exact=True).click()
    expect(page.get_by_label("Percent")).to_be_hidden()
    page.get_by_text("A share of the price", exact=True).click()
    page.get_by_label("Percent").fill("20")
    choices = page.get_by_label("For", exact=True)
    choices.select_option(choices.get_by_role("option", name="Back in motion, from").first.get_attribute("value"))
    page.get_by_label("How often in all").fill("30")
    presses(page, "Save")


def _was_kept(story: Story) -> None:
    (first, meets, asks), (second, meets_again, asks_again) = kept(story)
    days = [day_of(each.starts_at, "America/Vancouver") for each in meets]
    assert len(meets) == len(meets_again) == 7
    assert [(later - earlier).days for earlier, later in pairwise(days)] == [2, 12, 2, 12, 2, 12]
    assert {each.room for each in meets} == {"Studio 2"}
    assert (first.price_cents, first.early_price_cents, first.capacity, first.visible) == (200_00, 180_00, 12, True)
    assert [(each.text, each.kind, each.choices) for each in asks] == [("Which mat size?", "choice", "Small\nLarge")]
    assert [each.text for each in asks_again] == ["Which mat size?"] and not second.visible
    assert day_of(meets_again[0].starts_at, "America/Vancouver") > days[-1]


@pytest.mark.promise("E3")
@pytest.mark.parametrize("width", [1280, 320])
def test_new_dates_are_told_to_who_has_a_place(
    story: Story, someone: Callable[..., Person], width: int, marc: Person
) -> None:
    story.change(_maya_has_a_place)
    ((program, meets, _asks),) = kept(story)
    looker = someone("marc@example.com", width=width, dark=width == 320)
    looker.go(f"/office/programs/{program.public_id}/edit")
    page = looker.page
    tells = page.get_by_label("Tell the person who has a place")
    expect(tells).to_be_checked()
    page.get_by_label("Move all, so that the first is on").fill(next_tuesday())
    presses(page, "Move all sessions")
    expect(tells).to_be_checked()
    assert_accessible(page)
    presses(page, "Save")
    looker.is_told("1 person is told")
    assert deliver_waiting_mail(story.parts) == 1
    (file,) = Path(story.parts.config.mail_url.removeprefix("file:")).iterdir()
    mail = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert (mail["To"], mail["Subject"]) == ("maya@example.com", f"New dates or location: {program.name}")
    assert [each.get_filename() for each in mail.iter_attachments()] == ["sessions.ics"]
    ((_program, later, _asks),) = kept(story)
    assert [each.id for each in later] == [each.id for each in meets] and later[0].starts_at != meets[0].starts_at


def _maya_has_a_place(session: Session) -> None:
    program, maya = make_program(session), session.scalars(select(Patient).where(Patient.given_name == "Maya")).one()
    session.add(
        Registration(
            public_id="maya", program_id=program.id, patient_id=maya.id, channel=DESK, state=Place.CONFIRMED,
            price_cents=0, created_at=now(),
        )
    )  # fmt: skip


@pytest.mark.parametrize("width", [1280, 320])
def test_every_page_of_setting_up_is_accessible(
    story: Story, someone: Callable[..., Person], width: int, marc: Person
) -> None:
    story.change(lambda session: session.add(PromoCode(code="TEN", percent=10, uses=5, created_at=now())))
    story.change(make_program)
    with story.parts.database.transaction() as session:
        program, code = session.scalars(select(Program)).one(), session.scalars(select(PromoCode)).one()
    looker = someone("marc@example.com", width=width, dark=width == 320)
    for path in ("", "?show=over", "/new", f"/{program.public_id}/edit", f"/{program.public_id}/copy", "/codes",
                 "/codes/new", f"/codes/{code.id}"):  # fmt: skip
        looker.go(f"/office/programs{path}")
        expect(looker.page.get_by_role("heading", level=1)).to_be_visible()
        assert_accessible(looker.page)
        assert looker.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} scrolls sideways"


def test_a_program_is_set_up_without_script_and_enter_saves(
    story: Story, someone: Callable[..., Person], marc: Person
) -> None:
    looker = someone("marc@example.com", javascript=False, width=320)
    looker.go("/office/programs/new")
    page = looker.page
    _fills_in_the_rule(page)
    page.get_by_label("Price", exact=True).fill("0")
    page.get_by_label("Name", exact=True).press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Back in motion"))
    ((program, meets, _asks),) = kept(story)
    assert (program.price_cents, len(meets)) == (0, 8)
