"""An administrator looks at what patients get by email, adds the clinic's own paragraph, and sees it in place."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Person, Story
from tests.e2e.test_office_settings import opens_settings, saves
from tests.support.axe import assert_accessible

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]


@pytest.mark.promise("E3")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (320, True)])
def test_marc_sees_each_mail_and_adds_the_clinics_own_paragraph(
    story: Story, someone: Someone, width: int, dark: bool
) -> None:
    marc = someone("marc@example.com", width=width, dark=dark)
    opens_settings(marc, "Emails")
    assert_accessible(marc.page)
    marc.page.get_by_role("switch", name="Send reminders").check()
    marc.page.get_by_label("Days before").fill("5")
    saves(marc, "Save emails")
    assert_accessible(marc.page)
    assert marc.page.evaluate("document.documentElement.scrollWidth") <= width
    marc.page.get_by_role("link", name="Request to pay").click()
    mail = marc.page.frame_locator("iframe[title='Preview of the email']")
    expect(mail.get_by_role("link", name="Pay CA$139.76 online")).to_be_visible()
    marc.page.get_by_label("Your own paragraph").fill("We are closed on Friday 20 November.")
    saves(marc, "Save paragraph")
    expect(mail.get_by_text("We are closed on Friday 20 November.")).to_be_visible()
    expect(marc.page.locator(".letter-text")).to_contain_text("We are closed on Friday 20 November.")
    assert_accessible(marc.page)
    assert marc.page.evaluate("document.documentElement.scrollWidth") <= width
    assert mail.locator("html").evaluate("page => page.scrollWidth <= page.clientWidth")
