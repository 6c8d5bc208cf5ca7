"""Every page, in both themes and on a small phone: readable by everybody, and nothing sticks out."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import DECLINED, PASSWORD, VISA, Person, Story
from tests.makers import GST, PST
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]

LOOKS = [
    pytest.param({"width": 1280, "dark": False}, id="desk-light"),
    pytest.param({"width": 1280, "dark": True}, id="desk-dark"),
    pytest.param({"width": 320, "dark": False}, id="phone-light"),
    pytest.param({"width": 320, "dark": True}, id="phone-dark"),
]


def check(person: Person, path: str) -> None:
    """The page is accessible, and no wider than the window."""
    person.go(path)
    assert_accessible(person.page)
    width = person.page.viewport_size["width"] if person.page.viewport_size else 0
    assert person.page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} is wider than {width} px"


@pytest.mark.promise("P1", "P2", "P4", "P8")
@pytest.mark.of_database("sqlite")  # how pages look does not depend on where their data is
@pytest.mark.parametrize("look", LOOKS)
def test_every_page_of_the_portal_in_every_look(
    story: Story, someone: Someone, new_page: Pages, look: dict[str, object]
) -> None:
    number = story.invoice(("Massage therapy, 60 minutes", 1, 120_00, (GST,)), ("Cushion", 2, 48_00, (GST, PST)))
    paid = story.invoice(patient="theo")
    maya = someone(**look)
    for path in ("/invoices", f"/invoices/{number}", f"/invoices/{number}/pay", "/cards"):
        check(maya, path)
    maya.opens_pay_page(paid)
    maya.types_card(VISA)
    maya.page.get_by_label("Keep this card for next time").check()
    maya.presses_pay()
    maya.sees_receipt()
    receipt = story.payments(paid)[0].receipt_number
    for path in (f"/invoices/{paid}/receipts/{receipt}", f"/invoices/{paid}", "/invoices/paid", "/cards"):
        check(maya, path)
    check(maya, f"/invoices/{number}/pay")
    maya.chooses_a_new_card()
    maya.pays_here(DECLINED)
    maya.is_told("Your bank said no to this card.")
    assert_accessible(maya.page)
    for status, path in ((404, "/invoices/nobody-has-this"), (404, "/nowhere"), (409, f"/invoices/{paid}/pay")):
        new_page.expect_console(str(status))
        check(maya, path)
    new_page.expect_console("403")
    check(maya, "/office/")


@pytest.mark.promise("P1")
@pytest.mark.of_database("sqlite")  # how pages look does not depend on where their data is
@pytest.mark.parametrize("look", LOOKS)
def test_every_page_before_signing_in_in_every_look(
    story: Story, someone: Someone, new_page: Pages, look: dict[str, object]
) -> None:
    stranger = someone(None, **look)
    for path in ("/login", "/reset"):
        check(stranger, path)
    new_page.expect_console("404")
    check(stranger, "/nowhere")


def test_staff_land_in_the_office(story: Story, someone: Someone) -> None:
    dana = someone("dana@example.com")
    assert "/office/" in dana.page.url
    expect(dana.page.get_by_text("Dana Whitlock").first).to_be_visible()
    assert_accessible(dana.page)


@pytest.mark.promise("P1")
def test_maya_signs_out_and_back_does_not_bring_her_invoices_back(story: Story, maya: Person) -> None:
    story.invoice()
    maya.go("/invoices")
    maya.page.get_by_role("button", name="Sign out").click()
    expect(maya.page.get_by_role("heading", level=1)).to_have_text(re.compile("Sign in"))
    maya.page.go_back()
    expect(maya.page.get_by_role("heading", level=1)).to_have_text(re.compile("Sign in"))


@pytest.mark.promise("P1")
def test_a_wrong_password_says_so_without_telling_whether_the_account_exists(story: Story, someone: Someone) -> None:
    told = []
    for email in ("maya@example.com", "nobody@example.com"):
        person = someone(None)
        person.go("/login")
        person.page.get_by_label("Email").fill(email)
        person.page.get_by_label("Password").fill("not the password")
        person.page.get_by_role("button", name="Sign in").click()
        expect(person.page.get_by_role("alert")).to_be_visible()
        assert_accessible(person.page)
        assert person.page.get_by_label("Email").input_value() == email
        told.append(person.page.get_by_role("alert").inner_text())
    assert told[0] == told[1]


@pytest.mark.promise("P1")
def test_the_way_to_an_invoice_survives_signing_in(story: Story, someone: Someone) -> None:
    number = story.invoice()
    maya = someone(None)
    maya.go(f"/invoices/{number}")
    maya.page.get_by_label("Email").fill("maya@example.com")
    maya.page.get_by_label("Password").fill(PASSWORD)
    maya.page.get_by_role("button", name="Sign in").click()
    expect(maya.page.get_by_role("heading", level=1)).to_have_text(f"Invoice {number}")


@pytest.mark.promise("P2")
def test_a_strangers_invoice_is_not_there(story: Story, someone: Someone, new_page: Pages) -> None:
    number = story.invoice()
    jonas = someone("jonas@example.com")
    new_page.expect_console("404")
    for path in (f"/invoices/{number}", f"/invoices/{number}/pay"):
        jonas.go(path)
        expect(jonas.page.get_by_role("heading", level=1)).to_have_text("We can't find that page")


def test_the_clinics_name_and_hue_come_from_its_settings(story: Story, someone: Someone) -> None:
    story.setting("clinic_name", "Riverside Physio")
    story.setting("clinic_hue", "28")
    visitor = someone(None)
    visitor.go("/login")
    expect(visitor.page).to_have_title("Sign in · Riverside Physio")
    hue = visitor.page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--brand')")
    assert hue.strip() == "28"
    assert_accessible(visitor.page)
