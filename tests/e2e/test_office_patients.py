"""The front desk works with patients' files, and patients and payers see in the portal what comes of it."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal.cards import CONSENT_VERSION, Consent, SavedCard, keep_card
from portal.clock import now
from portal.gateway import CardLook
from portal.people import Patient
from portal.sign_ins import end_all_sign_ins
from tests.e2e.conftest import Person, Story
from tests.makers import make_patient
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]
LOOKS = [{"width": 1280}, {"width": 320, "dark": True}]


def no_sideways_scrolling(person: Person) -> None:
    assert person.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.fixture
def dana(someone: Someone) -> Person:
    """The front desk."""
    return someone("dana@example.com")


def some_people(story: Story) -> None:
    def add(session: Session) -> None:
        make_patient(session, "Étienne", "Gagnon", email="etienne@example.com")
        make_patient(session, "Ruth", "Friesen")

    story.change(add)


def test_dana_finds_people_as_she_types(story: Story, dana: Person) -> None:
    some_people(story)
    page = dana.page
    dana.go("/office/")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Patients").click()
    box = page.get_by_role("searchbox", name="Find a person")
    expect(box).to_be_focused()
    box.press_sequentially("gag etie", delay=30)
    expect(page.get_by_role("status")).to_have_text("One person fits.")
    expect(page.get_by_role("row")).to_have_count(2)
    assert_accessible(page)
    assert page.url.endswith("?q=gag+etie")  # so that coming back shows the same people
    box.fill("nobody at all")
    expect(page.get_by_role("status")).to_contain_text("Nobody on file fits “nobody at all”.")
    assert "q=nobody" in str(page.get_by_role("link", name="New patient").get_attribute("href"))
    box.fill("lind")
    expect(page.get_by_role("status")).to_have_text("3 people fit.")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="Maya Lindqvist")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(box).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary")).to_contain_text("Maya Lindqvist")
    page.go_back()
    expect(page.get_by_role("link", name="Theo Lindqvist")).to_be_visible()


def test_dana_finds_people_without_script(story: Story, someone: Someone) -> None:
    some_people(story)
    dana = someone("dana@example.com", javascript=False)
    dana.go("/office/patients")
    dana.page.get_by_role("searchbox").fill("gagnon é")
    dana.page.get_by_role("button", name="Find").click()
    dana.page.get_by_role("link", name="Étienne Gagnon").click()
    expect(dana.page.get_by_role("complementary")).to_contain_text("etienne@example.com")


def test_who_was_signed_out_meanwhile_is_asked_to_sign_in_and_comes_back_to_the_search(
    story: Story, dana: Person
) -> None:
    dana.go("/office/patients")
    story.change(lambda session: end_all_sign_ins(session, story.cast.clerk.id))
    dana.page.get_by_role("searchbox").press_sequentially("maya")
    expect(dana.page.get_by_label("Password")).to_be_visible()
    assert "next=/office/patients" in dana.page.url


def test_a_search_that_gets_no_answer_says_so(story: Story, dana: Person, new_page: Pages) -> None:
    dana.go("/office/patients")
    new_page.expect_console("net::ERR_FAILED")
    dana.page.route("**/office/patients?*", lambda route: route.abort())
    dana.page.get_by_role("searchbox").press_sequentially("maya")
    expect(dana.page.get_by_role("status")).to_have_text("We can't search just now. Press Find to try again.")
    dana.page.unroute("**/office/patients?*")
    dana.page.get_by_role("button", name="Find").click()
    expect(dana.page.get_by_role("link", name="Maya Lindqvist")).to_be_visible()


def test_one_row_menu_is_open_at_a_time_and_escape_closes_it(story: Story, dana: Person) -> None:
    story.invoice()
    story.invoice()
    dana.go("/office/invoices")
    first, second = dana.page.locator("details.menu").nth(0), dana.page.locator("details.menu").nth(1)
    first.locator("summary").click()
    expect(first).to_have_attribute("open", "")
    second.locator("summary").focus()
    dana.page.keyboard.press("Enter")
    expect(second).to_have_attribute("open", "")
    expect(first).not_to_have_attribute("open", "")
    dana.page.keyboard.press("Escape")
    expect(second).not_to_have_attribute("open", "")
    expect(second.locator("summary")).to_be_focused()
    first.locator("summary").click()
    dana.page.get_by_role("heading", level=1).click()
    expect(first).not_to_have_attribute("open", "")


def test_a_new_patient_who_looks_like_somebody_is_pointed_out(story: Story, dana: Person, new_page: Pages) -> None:
    page = dana.page
    dana.go("/office/patients?q=Theo")
    page.get_by_role("link", name="New patient").click()
    page.get_by_label("Given name").fill("theo")
    page.get_by_label("Family name").fill("LINDQVIST")
    page.get_by_label("Birth date").fill(str(story.cast.theo.birth_date))
    page.get_by_label("Address").fill("4 Elm Street")
    new_page.expect_console("422")
    page.get_by_role("button", name="Put on file").click()
    warning = page.get_by_role("alert")
    expect(warning).to_contain_text("This may be somebody who is on file already. Nothing was saved.")
    expect(warning.get_by_role("link", name="Theo Lindqvist")).to_be_visible()
    expect(warning).to_be_focused()
    assert_accessible(page)
    assert page.get_by_label("Address").input_value() == "4 Elm Street"
    page.get_by_label("This is another person").check()
    page.get_by_role("button", name="Put on file").click()
    expect(page.get_by_role("status").first).to_contain_text("theo LINDQVIST is on file.")
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Given name").fill("Theodor")
    page.get_by_label("Email").fill("theodor at home")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("This is not an email address.")
    assert page.get_by_label("Given name").input_value() == "Theodor"
    page.get_by_label("Email").fill("theodor@example.com")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("complementary")).to_contain_text("Theodor LINDQVIST")


@pytest.mark.promise("P9")
def test_a_linked_payer_pays_in_the_portal_and_sees_amounts_but_no_lines(
    story: Story, dana: Person, someone: Someone
) -> None:
    number = story.invoice(patient="theo")
    page = dana.page
    dana.go(f"/office/patients/{story.cast.theo.id}")
    page.get_by_role("link", name="Add a payer").click()
    page.get_by_role("searchbox").fill("jonas")
    page.get_by_role("link", name="Choose Jonas Weber").click()
    page.get_by_label("What they are to the patient").select_option("Guardian")
    expect(page.get_by_label("May see what each invoice is for")).not_to_be_checked()
    assert_accessible(page)
    page.get_by_role("button", name="Link the payer").click()
    expect(page.get_by_role("status").first).to_contain_text("Jonas Weber now pays for Theo Lindqvist.")

    jonas = someone("jonas@example.com")
    jonas.page.get_by_role("link", name=f"Invoice {number}", exact=True).click()
    expect(jonas.page.get_by_text("stays between Theo and the clinic")).to_be_visible()
    expect(jonas.page.locator("body")).not_to_contain_text("Massage")
    expect(jonas.page.locator("body")).not_to_contain_text("Tremblay")
    jonas.pays(number)
    jonas.sees_receipt()
    expect(jonas.page.locator("body")).not_to_contain_text("Massage")
    assert [payment.payer_id for payment in story.payments(number)] == [story.cast.stranger.id]

    switch = page.get_by_role("button", name="Let them see lines (Jonas Weber)")
    switch.click()
    expect(page.get_by_role("status").first).to_contain_text("Jonas Weber now sees what Theo's invoices are for.")
    expect(page.get_by_role("button", name="Show amounts only (Jonas Weber)")).to_be_focused()
    jonas.go(f"/invoices/{number}")
    expect(jonas.page.locator("body")).to_contain_text("Massage")
    story.check_the_books()


@pytest.mark.promise("P9")
def test_an_adult_alone_lets_a_payer_see_lines(story: Story, dana: Person, someone: Someone, new_page: Pages) -> None:
    number = story.invoice()
    page, cast = dana.page, story.cast
    dana.go(f"/office/patients/{cast.maya.id}/payers/new?patient={cast.stranger.id}")
    expect(page.get_by_label("May see what each invoice is for")).to_have_count(0)
    expect(page.locator("form.sheet")).to_contain_text("Only Maya can show it, in the portal")
    page.get_by_role("button", name="Link the payer").click()
    expect(page.locator("#payers").locator("xpath=../..")).to_contain_text("Jonas Weber")
    expect(page.get_by_role("button", name="Let them see lines")).to_have_count(0)

    maya, jonas = someone(), someone("jonas@example.com")
    maya.page.get_by_role("link", name="Who pays for you").click()
    expect(maya.page.get_by_role("listitem").filter(has_text="Jonas Weber")).to_contain_text("Sees amounts only")
    assert_accessible(maya.page)
    maya.page.get_by_role("button", name="Let them see Jonas Weber").click()
    maya.is_told("They now see what each of your invoices is for.")
    jonas.go(f"/invoices/{number}")
    expect(jonas.page.locator("body")).to_contain_text("Massage")
    maya.page.get_by_role("button", name="Amounts only Jonas Weber").click()
    maya.is_told("They now see amounts only.")
    jonas.page.reload()
    expect(jonas.page.locator("body")).not_to_contain_text("Massage")


def save_cards(story: Story) -> None:
    """Two cards that Maya keeps: one that she saved in the portal, one at the desk."""
    cast, parts = story.cast, story.parts

    def save(session: Session) -> None:
        for brand, last4, user in (("visa", "4242", cast.maya_user), ("mastercard", "4444", cast.clerk)):
            keep_card(
                session, parts.vault, payer_id=cast.maya.id, gateway_id=story.gateway_id, mode="test",
                method_id=f"pm_{brand}", consent=Consent(CONSENT_VERSION, now(), user.id),
                card=CardLook("card", brand=brand, funding="credit", last4=last4, exp_month=8, exp_year=2040),
            )  # fmt: skip

    story.change(save)


@pytest.mark.promise("O9")
def test_dana_sees_a_payers_cards_chooses_the_default_and_removes_one(
    story: Story, dana: Person, someone: Someone
) -> None:
    save_cards(story)
    page = dana.page
    dana.go(f"/office/patients/{story.cast.maya.id}")
    page.get_by_role("link", name="Accounting").click()
    visa = page.get_by_role("listitem").filter(has_text="Visa ending 4242")
    mastercard = page.get_by_role("listitem").filter(has_text="Mastercard ending 4444")
    expect(visa).to_contain_text("Expires 08/2040. Saved by Maya Lindqvist in the portal")
    expect(visa).to_contain_text(f"Consent, version {CONSENT_VERSION}")
    expect(visa).to_contain_text("Default")
    expect(mastercard).to_contain_text("Saved by Dana Whitlock at the desk")
    assert_accessible(page)
    mastercard.get_by_role("button", name="Make it the default").click()
    dana.is_told("This card is offered first from now on.")
    expect(mastercard.locator(".tag")).to_have_text("Default")
    visa.get_by_role("button", name="Remove").click()
    dana.is_told("The card is removed. Nobody can charge it any more.")
    expect(visa).to_have_count(0)
    with Session(story.parts.database.reading) as session:
        left = session.scalars(select(SavedCard).where(SavedCard.removed_at.is_(None))).one()
        assert (left.last4, left.is_usual) == ("4444", True)
    maya = someone()
    maya.go("/cards")
    expect(maya.page.get_by_role("listitem").filter(has_text="4444")).to_contain_text("Your usual card")
    # Her child keeps none: the page says whose cards pay.
    dana.go(f"/office/patients/{story.cast.theo.id}/accounting")
    expect(page.get_by_role("heading", name="Paid by Maya Lindqvist")).to_be_visible()
    expect(page.get_by_text("Theo Lindqvist keeps no card with the clinic.")).to_be_visible()
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)


@pytest.mark.promise("O11")
def test_the_office_and_the_portal_say_that_each_invoice_is_paid_on_its_own(
    story: Story, dana: Person, maya: Person
) -> None:
    numbers = [story.invoice(), story.invoice()]
    page = dana.page
    dana.go(f"/office/patients/{story.cast.maya.id}/accounting")
    expect(page.locator(".sum")).to_have_text("CA$200.00")
    dana.is_told("A balance can't be paid in one sum through Stripe.")
    for number in numbers:
        expect(page.get_by_role("link", name=f"Receive Payment for {number}")).to_be_visible()
    expect(page.get_by_role("button", name="Pay")).to_have_count(0)
    page.get_by_role("link", name=f"Receive Payment for {numbers[0]}").click()
    assert page.url.endswith(f"/office/invoices/{numbers[0]}/receive")
    maya.go("/invoices")
    expect(maya.page.locator("main")).to_contain_text("Each invoice is paid on its own")
    expect(maya.page.get_by_role("link", name=re.compile("^Pay invoice"))).to_have_count(2)


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_of_the_files_in_every_look(story: Story, someone: Someone, look: dict[str, object]) -> None:
    save_cards(story)
    story.invoice()
    story.invoice(patient="theo")
    story.change(
        lambda s: s.execute(update(Patient).where(Patient.given_name == "Maya").values(phone="250-555-0118"))
    )
    dana = someone("dana@example.com", **look)
    maya, theo = story.cast.maya.id, story.cast.theo.id
    for path in (
        "", "?q=lind", "?q=lind&for=/office/schedule", "/new", f"/{maya}", f"/{maya}/edit", f"/{maya}/appointments",
        f"/{maya}/accounting", f"/{maya}/statement", f"/{theo}", f"/{theo}/accounting",
        f"/{theo}/payers/new?patient={story.cast.stranger.id}",
    ):  # fmt: skip
        dana.go(f"/office/patients{path}")
        expect(dana.page.get_by_role("heading", level=1)).to_be_visible()
        assert_accessible(dana.page)
        no_sideways_scrolling(dana)
    portal = someone("maya@example.com", **look)
    portal.go("/me/payers")
    assert_accessible(portal.page)
    no_sideways_scrolling(portal)
