"""Which mails somebody wants: chosen by themselves, ended from a reminder, or told to the desk, in a real browser."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from portal.letters.choices import choices_of, unsubscribe_url
from tests.e2e.conftest import Person, Story
from tests.support.axe import assert_accessible

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]


@pytest.fixture(autouse=True)
def pdf_is_offered(story: Story) -> None:
    story.setting("email_receipt_pdf", "yes")


def chosen(story: Story) -> tuple[bool, bool]:
    """Whether Maya gets reminders, and whether she agreed to receipts as a PDF."""
    with story.parts.database.read() as connection:
        return choices_of(connection, story.cast.maya.id)


def fits(page: Page) -> None:
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), page.url
    assert_accessible(page)


@pytest.mark.promise("E3", "P4")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (320, True)])
def test_maya_chooses_her_emails(story: Story, someone: Someone, width: int, dark: bool) -> None:
    maya = someone("maya@example.com", width=width, dark=dark)
    maya.go("/invoices")
    maya.page.get_by_role("link", name="Your emails").click()
    expect(maya.page.get_by_role("heading", level=1)).to_have_text("Your emails")
    fits(maya.page)
    maya.page.get_by_role("switch", name="Reminders").uncheck()
    maya.page.get_by_role("switch", name="Receipts as a PDF").check()
    maya.page.get_by_role("button", name="Save").click()
    expect(maya.page.get_by_text("Your choices are saved.")).to_be_visible()
    expect(maya.page.get_by_role("switch", name="Reminders")).not_to_be_checked()
    fits(maya.page)
    assert chosen(story) == (False, True)


@pytest.mark.promise("E3")
@pytest.mark.parametrize(("width", "dark"), [(1280, True), (320, False)])
def test_one_press_ends_reminders_without_signing_in(story: Story, someone: Someone, width: int, dark: bool) -> None:
    reader = someone(None, width=width, dark=dark)
    path = unsubscribe_url(story.parts.config, story.cast.maya.id).removeprefix(story.parts.config.base_url)
    reader.go(path)
    expect(reader.page.get_by_role("heading", level=1)).to_have_text("Stop reminders?")
    fits(reader.page)
    assert chosen(story)[0]
    reader.page.get_by_role("button", name="Stop reminders").click()
    expect(reader.page.get_by_role("heading", level=1)).to_have_text("You get no more reminders")
    fits(reader.page)
    assert not chosen(story)[0]
    reader.go(path[:-4])
    expect(reader.page.get_by_role("heading", level=1)).to_have_text("This link is not complete")
    fits(reader.page)


@pytest.mark.promise("E3", "P4")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (320, True)])
def test_dana_keeps_what_maya_tells_her(story: Story, someone: Someone, width: int, dark: bool) -> None:
    dana = someone("dana@example.com", width=width, dark=dark)
    dana.go(f"/office/patients/{story.cast.maya.id}")
    dana.page.get_by_role("navigation", name="Patient file").get_by_role("link", name="Emails").click()
    fits(dana.page)
    dana.page.get_by_role("button", name="They agree (Receipts as a PDF)").click()
    expect(dana.page.get_by_text("agreed to receipts as a PDF.")).to_be_visible()
    expect(dana.page.get_by_role("button", name="Take back (Receipts as a PDF)")).to_be_focused()
    dana.page.get_by_role("button", name="Stop (Reminders)").click()
    expect(dana.page.get_by_text("gets no more reminders.")).to_be_visible()
    expect(dana.page.get_by_role("button", name="Start again (Reminders)")).to_be_focused()
    fits(dana.page)
    assert chosen(story) == (False, True)
    dana.page.get_by_role("button", name="Start again (Reminders)").click()
    dana.page.get_by_role("button", name="Take back (Receipts as a PDF)").click()
    expect(dana.page.get_by_text("wants no receipts as a PDF.")).to_be_visible()
    assert chosen(story) == (True, False)
