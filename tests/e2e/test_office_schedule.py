"""The front desk's day in a real browser: book by keyboard, open the block, check out, move, cancel."""

from collections.abc import Callable
from datetime import date, timedelta
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clinic import Service
from portal.invoices.tables import Invoice
from portal.schedule import Appointment
from portal.schedule.booking import Slot, Wish, book
from tests.e2e.conftest import Person, Story
from tests.makers import GST, PST, make_practitioner, make_service
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]
DAY = date(2026, 11, 24)
WEEK = f"/office/schedule?day={DAY}"


@pytest.fixture
def services(story: Story) -> dict[str, int]:
    """What the clinic sells, by name."""
    found: dict[str, int] = {}

    def sell(session: Session) -> None:
        for service in (
            make_service(session),
            make_service(session, "Lumbar support cushion", 4_800, (GST, PST), is_product=True),
        ):
            found[service.name] = service.id

    story.change(sell)
    return found


def booked(story: Story, services: dict[str, int], minute: int = 540, day: date = DAY) -> Appointment:
    """A massage of Maya's."""
    slot = Slot(story.cast.location.id, story.cast.practitioner.id, day, minute)
    service = services["Massage therapy, 60 minutes"]
    return book(story.parts.database, Wish(uuid4().hex, story.cast.maya.id, service, slot), story.cast.clerk.id)


def visits(story: Story) -> list[Appointment]:
    with Session(story.parts.database.reading) as session:
        return list(session.scalars(select(Appointment).order_by(Appointment.id)))


def invoices(story: Story) -> list[Invoice]:
    with Session(story.parts.database.reading) as session:
        return list(session.scalars(select(Invoice).order_by(Invoice.id)))


def opens_the_visit(dana: Person) -> Page:
    """The week, with the block of Maya's visit at nine open."""
    dana.go(WEEK)
    dana.page.get_by_role("button", name="Lindqvist, Maya 9:00").click()
    return dana.page


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the target has the focus; it must come in reading order, within reach."""
    for _ in range(60):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {target}")


@pytest.mark.promise("O6")
def test_dana_books_by_keyboard_alone(story: Story, services: dict[str, int], someone: Someone) -> None:
    dana = someone("dana@example.com")
    dana.go(WEEK)
    page, keys = dana.page, dana.page.keyboard
    tab_to(page, page.get_by_role("link", name="Book an appointment"))
    keys.press("Enter")
    expect(page.get_by_label("Find a patient")).to_be_focused()
    keys.type("lind ma")
    keys.press("Enter")
    maya = page.get_by_role("radio", name="Maya Lindqvist")
    expect(maya).to_be_focused()
    expect(maya).to_be_checked()
    tab_to(page, page.get_by_label("Service"))
    keys.type("Mass")
    tab_to(page, page.get_by_role("button", name="Show times"))
    keys.press("Enter")
    expect(page.get_by_label("Time")).to_be_focused()
    assert_accessible(page)
    keys.type("9:00")
    tab_to(page, page.get_by_label("Note"))
    keys.type("Prefers the quiet room.")
    tab_to(page, page.get_by_role("button", name="Book", exact=True))
    keys.press("Enter")
    dana.is_told("Booked. Maya Lindqvist, Tue 24 Nov 2026, 9:00 to 10:00 am, with Liam Tremblay, RMT.")
    block = page.get_by_role("button", name="Lindqvist, Maya 9:00")
    expect(block).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("dialog", name="Lindqvist, Maya")).to_contain_text("Prefers the quiet room.")
    assert_accessible(page)
    keys.press("Escape")
    expect(block).to_be_focused()
    [visit] = visits(story)
    assert (visit.patient_id, visit.booked_by) == (story.cast.maya.id, story.cast.clerk.id)


@pytest.mark.promise("O6")
def test_a_taken_time_is_marked_and_refused_with_everything_kept(
    story: Story, services: dict[str, int], someone: Someone, new_page: Pages
) -> None:
    new_page.expect_console("status of 409")
    dana = someone("dana@example.com")
    massage = services["Massage therapy, 60 minutes"]
    dana.go(f"/office/schedule/book?day={DAY}&patient={story.cast.stranger.id}&service={massage}")
    page = dana.page
    booked(story, services)  # by somebody else, while the form is open
    page.get_by_label("Time").select_option("9:30 am")
    page.get_by_label("Note").fill("First visit.")
    page.get_by_role("button", name="Book", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text(
        "Liam Tremblay has Maya Lindqvist on Tue 24 Nov 2026, 9:00 to 10:00 am. Please choose another time."
    )
    assert_accessible(page)
    expect(page.get_by_label("Note")).to_have_value("First visit.")
    expect(page.get_by_role("radio", name="Jonas Weber")).to_be_checked()
    expect(page.locator("option", has_text="9:30 am – taken, Maya Lindqvist")).to_be_disabled()
    page.get_by_label("Time").select_option("10:00 am")
    page.get_by_role("button", name="Book", exact=True).click()
    dana.is_told("Booked. Jonas Weber, Tue 24 Nov 2026, 10:00 to 11:00 am")
    assert len(visits(story)) == 2


@pytest.mark.promise("O7")
def test_complete_and_invoice_with_a_product_and_a_note(
    story: Story, services: dict[str, int], someone: Someone
) -> None:
    booked(story, services)
    dana = someone("dana@example.com")
    page = opens_the_visit(dana)
    page.get_by_role("link", name="Complete & Invoice").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Appointment Checkout")
    expect(page.locator(".sum")).to_have_text("CA$126.00")
    assert_accessible(page)
    page.get_by_label("Product or service").select_option("Lumbar support cushion, $48.00")
    page.get_by_role("button", name="Add line").click()
    expect(page.get_by_label("Product or service")).to_be_focused()
    expect(page.locator(".sum")).to_have_text("CA$179.76")
    expect(page.locator("dl.list")).to_contain_text("PST 7%$3.36")
    page.get_by_label("Invoice notes").fill("Exchange within 14 days.")
    expect(page.get_by_label("Email invoice to patient")).to_be_checked()
    page.get_by_role("button", name="Checkout", exact=True).click()
    [invoice] = invoices(story)
    page.wait_for_url(f"**/office/invoices/{invoice.number}/receive")
    assert (invoice.owed_cents, invoice.note, invoice.email_wanted) == (179_76, "Exchange within 14 days.", True)
    [visit] = visits(story)
    assert (visit.status, invoice.appointment_id) == ("completed", visit.id)
    dana.go(WEEK)
    page.get_by_role("button", name="Lindqvist, Maya 9:00 completed and invoiced").click()
    expect(page.get_by_role("link", name="See the invoice")).to_be_visible()
    story.check_the_books()


@pytest.mark.promise("O7")
def test_invoice_appointment_issues_without_completing_and_only_once(
    story: Story, services: dict[str, int], someone: Someone
) -> None:
    booked(story, services)
    dana = someone("dana@example.com")
    page = opens_the_visit(dana)
    page.get_by_role("link", name="Invoice Appointment").click()
    address = page.url
    other = dana.another_tab()
    other.page.goto(address)  # a second clerk has the same form open
    page.get_by_role("button", name="Checkout", exact=True).click()
    page.wait_for_url("**/receive")
    other.page.get_by_role("button", name="Checkout", exact=True).click()
    other.page.wait_for_url("**/receive")
    [invoice] = invoices(story)
    other.is_told(f"Invoice {invoice.number} was made already. Nothing was issued a second time.")
    assert other.page.url == page.url
    page.go_back()  # to a form that has done its work
    page.wait_for_url("**/receive")
    dana.is_told(f"Invoice {invoice.number} was made already.")
    assert len(invoices(story)) == 1
    assert visits(story)[0].status == "booked"


@pytest.mark.promise("O7")
def test_a_new_price_is_shown_before_anything_is_issued(
    story: Story, services: dict[str, int], someone: Someone, new_page: Pages
) -> None:
    new_page.expect_console("status of 409")
    visit = booked(story, services)
    dana = someone("dana@example.com")
    dana.go(f"/office/checkout/new?appointment={visit.public_id}&complete=1")
    page = dana.page

    def raise_the_price(session: Session) -> None:
        session.get_one(Service, visit.service_id).price_cents = 130_00

    story.change(raise_the_price)
    page.get_by_label("Invoice notes").fill("Thank you.")
    page.get_by_role("button", name="Checkout", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("It is $136.50 now; this page showed $126.00.")
    assert_accessible(page)
    assert invoices(story) == []
    expect(page.get_by_label("Invoice notes")).to_have_value("Thank you.")
    expect(page.get_by_role("button", name="Checkout", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/receive")
    assert invoices(story)[0].owed_cents == 136_50


@pytest.mark.promise("O7")
def test_a_product_is_sold_from_the_patients_file(story: Story, services: dict[str, int], someone: Someone) -> None:
    assert services
    dana = someone("dana@example.com", width=320)
    dana.go(f"/office/patients/{story.cast.maya.id}/accounting")
    page = dana.page
    page.get_by_role("link", name="Sell a product").click()
    expect(page.get_by_text("Maya Lindqvist, a sale without a visit")).to_be_visible()
    page.get_by_label("Product or service").select_option("Lumbar support cushion, $48.00")
    page.get_by_role("button", name="Add line").click()
    assert_accessible(page)
    page.get_by_label("Price of Lumbar support cushion").fill("40.00")
    page.get_by_role("button", name="Update the total").click()
    expect(page.locator(".sum")).to_have_text("CA$44.80")
    page.get_by_role("button", name="Checkout", exact=True).click()
    [invoice] = invoices(story)
    page.wait_for_url(f"**/office/invoices/{invoice.number}/receive")
    assert (invoice.owed_cents, invoice.appointment_id, invoice.practitioner_id) == (44_80, None, None)
    story.check_the_books()


@pytest.mark.promise("O6")
def test_a_visit_is_moved_and_cancelled(story: Story, services: dict[str, int], someone: Someone) -> None:
    booked(story, services)
    dana = someone("dana@example.com")
    page = opens_the_visit(dana)
    page.get_by_role("link", name="Move").click()
    expect(page.get_by_label("Day")).to_be_focused()
    page.get_by_label("Day").fill(str(DAY + timedelta(days=1)))
    page.get_by_role("button", name="Show times").click()
    page.get_by_label("Time").select_option("2:15 pm")
    assert_accessible(page)
    page.get_by_role("button", name="Move the visit").click()
    dana.is_told("Moved. Maya Lindqvist, Wed 25 Nov 2026, 2:15 to 3:15 pm")
    block = page.get_by_role("button", name="Lindqvist, Maya 2:15")
    expect(block).to_be_focused()
    block.click()
    page.get_by_role("link", name="Cancel the visit").click()
    assert_accessible(page)
    page.get_by_role("button", name="Cancel the visit").click()
    dana.is_told("The visit is cancelled. Maya Lindqvist, Wed 25 Nov 2026, 2:15 to 3:15 pm. The time is free again.")
    expect(block).to_have_count(0)
    assert visits(story)[0].status == "cancelled"


@pytest.mark.promise("O6")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (320, False), (320, True)])
def test_the_week_of_ten_practitioners_is_readable_everywhere(
    story: Story, services: dict[str, int], someone: Someone, width: int, dark: bool
) -> None:
    story.change(lambda session: [make_practitioner(session, f"Person {letter}") for letter in "BCDEFGHIJ"])
    for day in range(7):
        booked(story, services, 540 + 60 * day, date(2026, 11, 23) + timedelta(days=day))
    dana = someone("dana@example.com", width=width, dark=dark)
    for path in (WEEK, f"{WEEK}&view=day", f"{WEEK}&practitioner={story.cast.practitioner.id}"):
        dana.go(path)
        assert_accessible(dana.page)
        assert dana.page.evaluate("document.documentElement.scrollWidth") <= width
    dana.go(WEEK)
    expect(dana.page.locator(".appt")).to_have_count(7)
    dana.page.get_by_role("button", name="Lindqvist, Maya 9:00").click()
    expect(dana.page.get_by_role("link", name="Complete & Invoice")).to_be_visible()
    assert_accessible(dana.page)


@pytest.mark.promise("O6")
def test_an_empty_place_in_a_lane_leads_to_booking_there(
    story: Story, services: dict[str, int], someone: Someone
) -> None:
    booked(story, services)
    dana = someone("dana@example.com")
    dana.go(WEEK)
    lane = dana.page.locator(".day", has_text="Tue 24").locator(".lane")
    lane.click(position={"x": 20, "y": 500})
    expect(dana.page.get_by_role("heading", level=1)).to_have_text("Book an appointment")
    expect(dana.page.get_by_label("Day")).to_have_value("2026-11-24")


@pytest.mark.promise("O6", "O7")
def test_all_of_it_works_without_script(story: Story, services: dict[str, int], new_page: Pages) -> None:
    visit = booked(story, services)
    page = new_page(javascript=False)
    dana = Person(story, page)
    dana.signs_in("dana@example.com")
    opens_the_visit(dana)
    page.get_by_role("link", name="Invoice Appointment").click()
    page.get_by_role("button", name="Checkout", exact=True).click()
    assert invoices(story)[0].appointment_id == visit.id


@pytest.mark.promise("O6")
def test_a_wide_week_opens_at_today(story: Story, someone: Someone) -> None:
    def hire(session: Session) -> None:
        for name in ("Priya Raman", "Naomi Okafor", "Grace Whitfield"):
            make_practitioner(session, name)

    story.change(hire)
    dana = someone("dana@example.com")
    dana.go("/office/schedule")
    today = dana.page.locator(".scroll .day.now")
    left, room = dana.page.evaluate(
        "day => [day.getBoundingClientRect().left, day.closest('.scroll').clientWidth]", today.element_handle()
    )
    assert 0 <= left < room - today.bounding_box()["width"] + 30  # type: ignore[index]  # it is on the page


@pytest.mark.promise("O6")
def test_a_small_screen_with_text_twice_as_large_needs_no_sideways_scrolling(someone: Someone) -> None:
    dana = someone("dana@example.com", width=320)
    dana.go("/office/patients")
    dana.page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert dana.page.evaluate("document.documentElement.scrollWidth") <= 320
