"""An administrator opens Settings, turns the module and the switches on, and the portal follows at the next page."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Person, Story
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]
MARC = "marc@example.com"


def opens_settings(marc: Person, page: str = "General") -> None:
    """By the menu, as anybody would."""
    if marc.page.get_by_role("button", name="Menu").is_visible():
        marc.page.get_by_role("button", name="Menu").click()
    marc.page.get_by_role("navigation", name="Main").get_by_role("link", name="Settings").click()
    here = marc.page.get_by_role("button", name="Settings: ")
    if here.is_visible():
        here.click()
    marc.page.get_by_role("navigation", name="Settings").get_by_role("link", name=page, exact=True).click()


def saves(marc: Person, button: str = "Save settings") -> None:
    marc.page.get_by_role("button", name=button).click()
    expect(marc.page.locator(".note.ok")).to_contain_text("Saved.")


def everything_off(story: Story) -> None:
    for key in ("module_payment_gateways", "accept_payments_in_portal"):
        story.setting(key, "no")


@pytest.mark.promise("O1", "O2", "O4")
@pytest.mark.parametrize("width", [1280, 320])
def test_marc_turns_the_module_and_the_switches_on_and_maya_can_pay(
    story: Story, someone: Someone, maya: Person, width: int
) -> None:
    everything_off(story)
    number = story.invoice()
    maya.go(f"/invoices/{number}")
    expect(maya.page.get_by_role("link", name="Pay this invoice")).to_have_count(0)
    marc = someone(MARC, width=width)
    opens_settings(marc, "Modules")
    assert_accessible(marc.page)
    begins = marc.page.get_by_role("heading", level=1).bounding_box()
    assert begins and begins["y"] < 200, "the menu of the settings pushes them off a phone's first screen"
    marc.page.get_by_role("switch", name="Payment Gateways").check()
    saves(marc, "Save modules")
    opens_settings(marc)
    assert_accessible(marc.page)
    assert marc.page.evaluate("document.documentElement.scrollWidth") <= width
    marc.page.get_by_role("switch", name="Accept Payments in the Portal").check()
    marc.page.get_by_role("switch", name="Email Pay Online Request").check()
    saves(marc)
    expect(marc.page.locator(".note.ok")).to_contain_text("Accept Payments in the Portal is now: Yes.")
    expect(marc.page.get_by_role("row", name="Marc Oduya Accept Payments in the Portal No Yes")).to_be_visible()
    assert_accessible(marc.page)
    maya.pays(number)
    maya.sees_receipt()
    story.check_the_books()


@pytest.mark.promise("O4", "O5")
@pytest.mark.parametrize(
    ("page", "switch", "button"),
    [
        ("Modules", "Payment Gateways", "Save modules"),
        ("General", "Accept Payments in the Portal", "Save settings"),
    ],
)
def test_a_switch_turned_off_takes_the_button_and_stops_who_is_about_to_pay(
    story: Story, someone: Someone, maya: Person, new_page: Pages, page: str, switch: str, button: str
) -> None:
    number = story.invoice()
    maya.opens_pay_page(number)
    maya.types_card("4242424242424242")
    marc = someone(MARC)
    opens_settings(marc, page)
    marc.page.get_by_role("switch", name=switch).uncheck()
    saves(marc, button)
    new_page.expect_console("409")
    maya.presses_pay()
    expect(maya.page.locator("main")).to_contain_text("The clinic isn't taking payments online at the moment")
    expect(maya.page.locator("main")).to_contain_text("250-555-0142")
    assert story.captured() == 0
    maya.go(f"/invoices/{number}")
    expect(maya.page.get_by_role("link", name="Pay this invoice")).to_have_count(0)


@pytest.mark.promise("O1")
def test_a_wrong_value_stays_in_the_form_with_its_sentence(story: Story, someone: Someone, new_page: Pages) -> None:
    new_page.expect_console("422")
    marc = someone(MARC)
    opens_settings(marc)
    marc.page.get_by_label("Email", exact=True).fill("front desk")
    marc.page.get_by_role("switch", name="Allow sign-up").check()
    marc.page.get_by_role("button", name="Save settings").click()
    expect(marc.page.get_by_role("alert")).to_contain_text("Email takes an email address, or nothing.")
    expect(marc.page.get_by_label("Email", exact=True)).to_have_value("front desk")
    expect(marc.page.get_by_role("switch", name="Allow sign-up")).to_be_checked()
    assert_accessible(marc.page)
    marc.page.get_by_label("Email", exact=True).fill("frontdesk@example.com")
    saves(marc)


@pytest.mark.promise("O5")
def test_the_front_desk_sees_no_settings(story: Story, someone: Someone, new_page: Pages) -> None:
    new_page.expect_console("403")
    dana = someone("dana@example.com")
    expect(dana.page.get_by_role("link", name="Settings")).to_have_count(0)
    dana.go("/office/settings")
    expect(dana.page.get_by_role("heading", level=1)).to_contain_text("isn't for your account")
    expect(dana.page.get_by_text("Your role, front desk, doesn't include this.")).to_be_visible()
