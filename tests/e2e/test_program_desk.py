"""The front desk and a program, in a real browser: register and take money, note who came, move, cancel."""

import re
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import now
from portal.invariants import broken_invariants
from portal.programs.registering import Details, Holder, hold, register
from portal.programs.states import Place
from portal.programs.tables import Program, ProgramQuestion, Registration
from tests.e2e.conftest import VISA, Person, Story
from tests.makers import make_program
from tests.support.axe import assert_accessible

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]


@pytest.fixture
def program(story: Story) -> Program:
    """Back in motion: four places, one may wait; the first session was yesterday. And a dearer one to move to."""
    story.setting("module_programs", "yes")
    made: list[Program] = []

    def group(session: Session) -> None:
        began = now() - timedelta(days=1)
        made.append(make_program(session, capacity=3, waitlist_size=1, first=began, late_share_percent=50))
        make_program(session, "Strong hips", price_cents=250_00)
        asked = ProgramQuestion(program_id=made[0].id, position=1, kind="text", text="Anything that hurts?")
        session.add(asked)

    story.change(group)
    return made[0]


def registrations(story: Story) -> list[Registration]:
    with Session(story.parts.database.reading) as session:
        return list(session.scalars(select(Registration).order_by(Registration.id)))


class Desk:
    """Dana at the program's page."""

    def __init__(self, person: Person, program: Program) -> None:
        self.person, self.page, self.program = person, person.page, program

    def opens(self, rest: str = "") -> Page:
        self.person.go(f"/office/programs/{self.program.public_id}{rest}")
        return self.page

    def finds(self, name: str) -> None:
        """From the program's page, by keyboard as far as the name."""
        self.opens().get_by_role("link", name="Register somebody").click()
        field = self.page.get_by_label("Find a patient")
        expect(field).to_be_focused()
        self.page.keyboard.type(name)
        self.page.keyboard.press("Enter")
        expect(self.page.get_by_role("radio", name=re.compile(name))).to_be_checked()

    def goes_on_to_pay(self) -> None:
        self.page.get_by_role("button", name="Go on to the payment").click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Receive Payment")

    def takes_cash(self) -> None:
        self.page.get_by_label("Paid by", exact=True).select_option(label="Cash")
        self.page.get_by_role("button", name=re.compile("Record payment")).click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Payment received")

    def row(self, name: str) -> Locator:
        return self.page.get_by_role("row", name=re.compile(name))

    def chooses(self, name: str, action: str) -> None:
        """An action from somebody's menu."""
        self.page.locator("summary", has_text=f"Actions for {name}").click()
        self.page.get_by_role("link", name=action, exact=True).click()


@pytest.mark.promise("P7")
@pytest.mark.parametrize("width", [1280, 320])
def test_dana_registers_takes_cash_notes_who_came_moves_and_cancels(
    story: Story, someone: Someone, program: Program, width: int
) -> None:
    dana = Desk(someone("dana@example.com", width=width), program)
    page = dana.page

    dana.finds("Maya")
    assert_accessible(page)
    page.get_by_label("Anything that hurts?").fill("The left knee")
    dana.goes_on_to_pay()
    expect(page.locator("main")).to_contain_text("A place in Back in motion for Maya Lindqvist")
    assert_accessible(page)
    dana.takes_cash()
    page.get_by_role("link", name="Back to Back in motion").click()
    expect(dana.row("Maya")).to_contain_text("$210.00 paid")
    expect(dana.row("Maya")).to_contain_text("The left knee")

    dana.finds("Jonas")
    page.get_by_role("button", name="Register, to be paid later").click()
    dana.person.is_told("Jonas Weber is registered for Back in motion")
    expect(dana.row("Jonas")).to_contain_text("$210.00 to pay")

    dana.finds("Sven")
    dana.goes_on_to_pay()
    dana.person.ready()
    dana.person.types_card(VISA)
    page.get_by_role("button", name="Process Credit Card").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Payment received")
    assert story.captured() == 210_00

    dana.finds("Theo")  # three places are taken
    page.get_by_role("button", name="Put on the waitlist").click()
    expect(dana.row("Theo")).to_contain_text("Waiting, number 1")
    assert_accessible(page)

    page.locator("aside").get_by_role("link").first.click()
    page.get_by_label("Maya Lindqvist").check()
    assert_accessible(page)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("aside")).to_contain_text("1 of 3 came")

    dana.chooses("Jonas Weber", "Move to another program")
    expect(page.locator("main")).to_contain_text("$52.50 more")
    page.get_by_text("Strong hips").click()
    assert_accessible(page)
    page.get_by_role("button", name="Move them").click()
    dana.person.is_told("Jonas Weber has moved to Strong hips. $52.50 more is owed on their invoice.")
    expect(dana.row("Jonas")).to_contain_text("$262.50 to pay")

    dana.opens()
    dana.chooses("Sven Lindqvist", "Cancel")
    expect(page.locator("main")).to_contain_text("later 50 % of it")
    expect(page.locator("main")).to_contain_text("If you cancel now: $105.00 goes back.")
    assert_accessible(page)
    page.get_by_role("button", name="Cancel the place").click()
    dana.person.is_told("Sven Lindqvist is taken off Back in motion. $105.00 goes back to the card")
    [refund] = story.sandbox.objects("refund")
    assert refund["amount"] == 105_00
    page.get_by_text("Cancelled, let go, or run out: 2").click()
    expect(dana.row("Sven")).to_contain_text("$105.00 paid")
    states = [(one.patient_id, one.state) for one in registrations(story)]
    assert (story.cast.second_payer.id, Place.CANCELLED) in states
    assert broken_invariants(story.parts.database) == []


@pytest.mark.promise("P7")
def test_a_place_that_somebody_holds_in_the_portal_is_not_sold_at_the_desk(
    story: Story, someone: Someone, program: Program, new_page: Callable[..., Page]
) -> None:
    def one_place(session: Session) -> None:
        session.get_one(Program, program.id).capacity = 1
        session.get_one(Program, program.id).closes_at = now() + timedelta(days=1)

    story.change(one_place)
    maya = Holder(story.cast.maya_user.id, story.cast.maya.id)
    public_id = hold(story.parts, program.public_id, uuid4(), maya)
    register(story.parts, public_id, Details(story.cast.maya.id, {}), story.cast.maya_user.id)
    dana = Desk(someone("dana@example.com"), program)
    dana.finds("Jonas")
    expect(dana.page.locator("main")).to_contain_text("Every place is taken or held.")
    dana.opens()
    expect(dana.row("Maya")).to_contain_text("Held until")
    dana.page.locator("summary", has_text="Actions for Maya Lindqvist").click()
    dana.page.get_by_role("button", name="Confirm unpaid").click()
    dana.person.is_told("The place of Maya Lindqvist is confirmed. $210.00 is still to pay.")
    assert_accessible(dana.page)
    dana.opens("/roster")
    assert_accessible(dana.page)
    story.check_the_books()
