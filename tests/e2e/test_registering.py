"""Somebody new registers for a program on a phone, pays, and cancels; whoever waits is offered the place (P6, P7)."""

import re
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import now, shifted
from portal.mail import deliver_waiting_mail
from portal.programs.registering import Holder
from portal.programs.states import Place
from portal.programs.sweeping import sweep_places
from portal.programs.tables import Program, ProgramQuestion, PromoCode, Registration
from portal.programs.waiting import join
from tests.e2e.conftest import DECLINED, PASSWORD, VISA, Person, Story
from tests.makers import make_program
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = [pytest.mark.browser, pytest.mark.promise("P6", "P7")]

Someone = Callable[..., Person]
NEW = "four loud orange trains"
LOOKS = [
    pytest.param({"width": 320, "dark": True}, id="phone-dark"),
    pytest.param({"width": 1280, "dark": False}, id="desk-light"),
]


@pytest.fixture
def program(story: Story) -> Program:
    """A group of one, that asks something, at a clinic where newcomers can make an account."""
    for switch in ("module_programs", "portal_allow_sign_up"):
        story.setting(switch, "yes")
    with story.parts.database.transaction() as session:
        made = make_program(
            session, capacity=1, waitlist_size=3, practitioner=session.merge(story.cast.practitioner), sessions=3
        )
        questions = [("choice", "Mat or chair?", "Mat\nChair"), ("consent", "I tell the teacher when it hurts", "")]
        for position, (kind, text, choices) in enumerate(questions):
            session.add(ProgramQuestion(program_id=made.id, position=position, kind=kind, text=text, choices=choices))
        session.add(PromoCode(code="SPRING", percent=10, created_at=now()))
        return made


def looks_right(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page)


def heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def registration(story: Story) -> Registration:
    """The newest one."""
    with Session(story.parts.database.reading) as session:
        return session.scalars(select(Registration).order_by(Registration.id.desc()).limit(1)).one()


def opens_mail(person: Person, subject: str, button: str) -> None:
    """The mails go out; the one with this subject is opened, and its button pressed."""
    deliver_waiting_mail(person.story.parts)
    person.go("/demo/mails")
    person.page.get_by_role("link", name=subject).first.click()
    person.page.frame_locator("iframe").get_by_role("link", name=button).click()


def answers(page: Page) -> None:
    page.get_by_label("Mat or chair?").select_option("Chair")
    page.get_by_label("I tell the teacher when it hurts").check()


@pytest.mark.parametrize("look", LOOKS)
def test_a_newcomer_registers_pays_cancels_and_the_next_in_line_is_offered_the_place(
    story: Story, program: Program, someone: Someone, new_page: Pages, look: dict[str, int]
) -> None:
    ruth = someone(None, **look)
    page = ruth.page
    ruth.go("/programs")
    page.get_by_role("link", name="Back in motion", exact=True).click()
    page.get_by_role("button", name="Register for").click()
    heading(page, "Back in motion")
    expect(page.locator("progress")).to_be_visible()
    looks_right(page)

    page.get_by_role("link", name="I am new here").click()
    for label, text in {
        "Given name": "Ruth", "Family name": "Friesen", "Birth date": "1961-04-09", "Email": "ruth@example.com",
        "Choose a password": NEW,
    }.items():  # fmt: skip
        page.get_by_label(label).fill(text)
    looks_right(page)
    page.get_by_role("button", name="Send me the link").click()
    heading(page, "Look into your mailbox")
    looks_right(page)
    opens_mail(ruth, "Your new account", "Make my account")
    page.get_by_label("Your password").fill(NEW)
    page.get_by_role("button", name="Make my account").click()

    heading(page, "Register for Back in motion")
    new_page.expect_console("status of 422")
    page.get_by_role("button", name="Go on to pay CA$210.00").click()
    expect(page.get_by_role("link", name="Choose an answer to “Mat or chair?”")).to_be_visible()
    looks_right(page)
    answers(page)
    page.get_by_text("I have a promo code").click()
    page.get_by_label("Promo code").fill("spring")
    page.get_by_role("button", name="Use this code").click()
    expect(page.get_by_text("Your code takes $20.00 off")).to_be_visible()
    looks_right(page)
    page.get_by_role("button", name="Go on to pay CA$189.00").click()
    heading(page, "Pay for Back in motion")
    ruth.ready()
    looks_right(page)
    ruth.pays_here(DECLINED)
    ruth.is_told("You have not been charged.")
    ruth.pays_here(VISA)
    heading(page, "Back in motion")
    expect(page.get_by_text("The place is yours.")).to_be_visible()
    looks_right(page)
    assert story.captured() == 189_00
    story.check_the_books()

    sven = story.cast.second_payer_user
    join(story.parts, program.public_id, uuid4(), Holder(sven.id, story.cast.second_payer.id))
    opens_mail(ruth, "Your place is confirmed", "See the place, or cancel it")
    heading(page, "Back in motion")
    page.get_by_role("link", name="My programs", exact=True).click()
    looks_right(page)
    page.get_by_role("link", name="Back in motion", exact=True).click()
    page.get_by_role("link", name="Receipt R-").click()
    ruth.sees_receipt("189.00")
    page.go_back()
    page.get_by_role("link", name="I can't come: cancel").click()
    expect(page.get_by_text("all you have paid goes back: $189.00.")).to_be_visible()
    looks_right(page)
    page.get_by_role("button", name="Cancel, and give back $189.00").click()
    heading(page, "You have cancelled this place")
    looks_right(page)
    refunded = [charge["amount_refunded"] for charge in story.sandbox.charges() if charge["paid"]]
    assert refunded == [189_00]

    offered = registration(story)
    assert (offered.patient_id, offered.state) == (story.cast.second_payer.id, Place.OFFERED)
    his = someone("sven@example.com", **look)
    his.go("/my-programs")
    looks_right(his.page)
    his.page.get_by_role("link", name="Take the place").click()
    answers(his.page)
    his.page.get_by_role("button", name="Go on to pay CA$210.00").click()
    his.ready()
    his.pays_here(VISA)
    expect(his.page.get_by_text("The place is yours.")).to_be_visible()


def test_who_has_an_account_signs_in_on_the_way(story: Story, program: Program, someone: Someone) -> None:
    jonas = someone(None, width=390)
    jonas.go(f"/programs/{program.public_id}")
    jonas.page.get_by_role("button", name="Register for").click()
    jonas.page.get_by_role("link", name="I have an account").click()
    heading(jonas.page, "Sign in to go on with your place")
    looks_right(jonas.page)
    jonas.page.get_by_label("Email").fill("jonas@example.com")
    jonas.page.get_by_label("Password").fill(PASSWORD)
    jonas.page.get_by_role("button", name="Sign in").click()
    heading(jonas.page, "Register for Back in motion")
    looks_right(jonas.page)


def test_the_clock_runs_and_is_said_aloud_when_little_time_is_left(
    story: Story, program: Program, someone: Someone
) -> None:
    jonas = someone("jonas@example.com")
    page = jonas.page
    page.clock.install()
    jonas.go(f"/programs/{program.public_id}")
    page.get_by_role("button", name="Register for").click()
    clock, said = page.locator("[data-shown]"), page.locator("[data-say]")
    expect(clock).to_have_text("About 15 minutes left.")
    page.wait_for_load_state()  # the script counts from when it began
    page.clock.fast_forward("08:00")
    expect(clock).to_have_text("About 7 minutes left.")
    expect(said).to_have_text("")
    page.clock.fast_forward("02:00")
    expect(said).to_have_text("About 5 minutes left.")
    page.clock.fast_forward("04:00")
    expect(said).to_have_text("About a minute left.")
    page.clock.fast_forward("01:00")
    expect(said).to_contain_text("The time is over. Load this page again")
    expect(page.get_by_role("progressbar")).to_have_count(0)  # which screen readers would tell at every change
    expect(page.locator("progress")).to_have_attribute("value", re.compile("^0$"))
    assert_accessible(page)


@pytest.mark.parametrize("look", LOOKS)
def test_whoever_is_too_late_reads_that_nothing_was_charged_and_can_try_again(
    story: Story, program: Program, someone: Someone, new_page: Pages, look: dict[str, int]
) -> None:
    new_page.expect_console("status of 409")
    jonas = someone("jonas@example.com", **look)
    page = jonas.page
    jonas.go(f"/programs/{program.public_id}")
    page.get_by_role("button", name="Register for").click()
    answers(page)
    page.get_by_role("button", name="Go on to pay").click()
    jonas.ready()
    with shifted(timedelta(minutes=16)):
        sweep_places(story.parts)
        jonas.types_card(VISA)
        jonas.presses_pay()
        heading(page, "We no longer hold a place for you")
        looks_right(page)
        page.get_by_role("button", name="Register again").click()
        heading(page, "Register for Back in motion")
    assert story.captured() == 0


def test_without_script_a_free_place_is_had(story: Story, program: Program, someone: Someone) -> None:
    with story.parts.database.transaction() as session:
        free = make_program(session, "A talk about sleep", price_cents=0, taxes=(), sessions=1)
    jonas = someone("jonas@example.com", javascript=False, width=320)
    jonas.go(f"/programs/{free.public_id}")
    jonas.page.get_by_role("button", name="Register, free of charge").click()
    expect(jonas.page.get_by_text("About 15 minutes left.")).to_be_visible()
    jonas.page.get_by_role("button", name="Register, free of charge").click()
    expect(jonas.page.get_by_text("The place is yours.")).to_be_visible()
    jonas.page.get_by_role("link", name="I can't come: cancel").click()
    expect(jonas.page.get_by_text("It was free of charge: no money moves.")).to_be_visible()
    jonas.page.get_by_role("button", name="Cancel my place").click()
    heading(jonas.page, "You have cancelled this place")
