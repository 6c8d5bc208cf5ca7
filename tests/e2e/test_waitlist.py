"""A full program in a real browser: get in line, be offered a place by email, take it, pay; or let it go by (P7)."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from portal.clock import shifted
from portal.mail import deliver_waiting_mail
from portal.payments.tables import DESK
from portal.programs.registering import Details, Holder, confirm_unpaid, hold, register
from portal.programs.sweeping import sweep_places
from portal.programs.tables import Program
from tests.e2e.conftest import VISA, Person, Story
from tests.makers import make_patient, make_program, make_user
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = [pytest.mark.browser, pytest.mark.promise("P7")]

Someone = Callable[..., Person]
SMALL, LARGE = {"width": 320, "dark": True}, {"width": 1280, "dark": False}


@pytest.fixture
def program(story: Story) -> Program:
    """A group of one, with room for three in line; Nadia has an account too."""
    story.setting("module_programs", "yes")
    with story.parts.database.transaction() as session:
        nadia = make_patient(session, "Nadia", "Newcomer", email="nadia@example.com")
        make_user(session, "nadia@example.com", patient=nadia)
        return make_program(
            session,
            "Calm jaw, quiet head",
            capacity=1,
            waitlist_size=3,
            practitioner=session.merge(story.cast.practitioner),
        )


@pytest.fixture
def svens(story: Story, program: Program) -> str:
    """Sven has the only place, which the desk gave him."""
    sven, clerk = story.cast.second_payer.id, story.cast.clerk.id
    place = hold(story.parts, program.public_id, uuid4(), Holder(clerk, sven, channel=DESK))
    register(story.parts, place, Details(sven, {}), clerk)
    confirm_unpaid(story.parts, place, clerk)
    return place


def looks_right(person: Person) -> None:
    assert person.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(person.page)


def joins(person: Person, program: Program) -> None:
    """From the list of programs into the line."""
    person.go("/programs")
    person.page.get_by_role("link", name=f"Join waitlist of {program.name}").click()
    person.page.get_by_role("button", name="Join the waitlist").click()
    expect(person.page.get_by_text("On the waitlist").first).to_be_visible()


def cancels(person: Person, place: str) -> None:
    person.go(f"/registrations/{place}/cancel")
    person.page.get_by_role("button", name="Cancel").click()
    expect(person.page.get_by_role("heading", level=1)).to_contain_text("cancelled")


def opens_mail(person: Person, subject: str, button: str) -> None:
    """The mails go out; the one with this subject is opened, and its button pressed."""
    deliver_waiting_mail(person.story.parts)
    person.go("/demo/mails")
    person.page.get_by_role("link", name=subject).click()
    person.page.frame_locator("iframe").get_by_role("link", name=button).click()


@pytest.mark.parametrize("look", [SMALL, LARGE], ids=["small and dark", "wide"])
def test_somebody_cancels_and_the_next_in_line_takes_the_place_from_the_mail(
    story: Story, someone: Someone, program: Program, svens: str, look: dict[str, object]
) -> None:
    jonas = someone("jonas@example.com", **look)
    joins(jonas, program)
    expect(jonas.page.get_by_text("Next in line.")).to_be_visible()
    looks_right(jonas)
    sven = someone("sven@example.com", **look)
    cancels(sven, svens)
    opens_mail(jonas, "A place is free for you until", "Take the place")
    expect(jonas.page.get_by_role("heading", name="A place came free. It is kept for you until")).to_be_visible()
    looks_right(jonas)
    jonas.page.get_by_role("button", name="Go on to pay CA$210.00").click()
    jonas.ready()
    jonas.types_card(VISA)
    jonas.page.get_by_label("Name on the card").fill("Jonas Okafor")
    jonas.presses_pay()
    expect(jonas.page.get_by_text("The place is yours.")).to_be_visible()
    looks_right(jonas)
    opens_mail(jonas, "Your place is confirmed: Calm jaw", "See the place")
    expect(jonas.page.get_by_text("The place is yours.")).to_be_visible()
    assert story.captured() == 210_00
    story.check_the_books()


def test_an_offer_that_nobody_takes_goes_to_the_next_in_line(
    story: Story, someone: Someone, program: Program, svens: str
) -> None:
    jonas, nadia = someone("jonas@example.com", **SMALL), someone("nadia@example.com", **LARGE)
    joins(jonas, program)
    joins(nadia, program)
    expect(nadia.page.get_by_text("Number 2 in line.")).to_be_visible()
    cancels(someone("sven@example.com"), svens)
    with shifted(timedelta(days=4)):
        sweep_places(story.parts)
        deliver_waiting_mail(story.parts)
    opens_mail(jonas, "The time to take the place is over", "See the program")
    expect(jonas.page.get_by_role("heading", level=1)).to_have_text(program.name)
    opens_mail(nadia, "A place is free for you until", "Take the place")
    expect(nadia.page.get_by_role("heading", name="A place came free. It is kept for you until")).to_be_visible()
    story.check_the_books()


@pytest.mark.parametrize("look", [SMALL, LARGE], ids=["small and dark", "wide"])
def test_maya_chooses_who_waits_and_says_no_to_the_place(
    story: Story, someone: Someone, new_page: Pages, program: Program, svens: str, look: dict[str, object]
) -> None:
    new_page.expect_console("422")
    maya = someone("maya@example.com", **look)
    maya.go(f"/programs/{program.public_id}")
    maya.page.get_by_role("button", name="Join the waitlist").click()
    looks_right(maya)
    maya.page.get_by_role("button", name="Join the waitlist").click()
    expect(maya.page.get_by_role("link", name="Choose who is to wait.")).to_be_visible()
    looks_right(maya)
    maya.page.get_by_text(story.cast.theo.given_name).first.click()
    maya.page.get_by_role("button", name="Join the waitlist").click()
    expect(maya.page.get_by_text("Next in line.")).to_be_visible()
    nadia = someone("nadia@example.com", **look)
    joins(nadia, program)
    cancels(someone("sven@example.com"), svens)
    maya.go("/my-programs")
    expect(maya.page.get_by_role("heading", name=f"A place came free in {program.name}")).to_be_visible()
    looks_right(maya)
    maya.page.get_by_role("button", name="No, thank you").click()
    maya.is_told("Thank you for telling us.")
    looks_right(maya)
    nadia.go("/my-programs")
    nadia.page.get_by_role("button", name="No, thank you").click()
    nadia.is_told("The place goes to the next in line.")
    story.check_the_books()
