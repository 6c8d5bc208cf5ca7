"""Dana finds invoices, opens their menus, takes them along as files, and closes the day, in a real browser."""

import csv
import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import openpyxl
import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy.orm import Session

from portal.clock import now
from portal.invoices.books import void_invoice
from portal.invoices.reading import local_day
from portal.invoices.tables import Invoice
from portal.people import Patient
from tests.e2e.conftest import Person, Story
from tests.makers import make_invoice, make_location, make_patient, make_payment, make_practitioner
from tests.support.axe import assert_accessible

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]
VISIT = [("Massage therapy, 60 minutes", 1, 100_00, ())]


@pytest.fixture
def today(story: Story) -> date:
    return local_day(now(), story.cast.location.timezone)


@pytest.fixture
def month(story: Story, today: date) -> dict[str, str]:
    """Invoices of this month: one of each standing, at two places; and one of long ago. Their numbers by name."""
    made: dict[str, str] = {}

    def make(session: Session) -> None:
        cast = story.cast
        riverside = make_location(session, "Riverside", prefix="R-")
        priya = make_practitioner(session, "Priya Raman", "PT", "12")
        rosa = make_patient(session, "Rosa", "=Delgado")

        def invoice(name: str, patient: Patient, **how: Any) -> Invoice:
            values = {"location": cast.location, "practitioner": cast.practitioner, "service_on": today, **how}
            one = make_invoice(session, patient, VISIT, **values)
            made[name] = one.number
            return one

        invoice("open", cast.maya)
        make_payment(session, invoice("part", cast.theo), 40_00, payer_id=cast.maya.id)
        make_payment(session, invoice("paid", rosa, location=riverside, practitioner=priya), kind="cash")
        void = invoice("void", cast.stranger)
        void_invoice(session, void.id, "The wrong visit.")
        long_ago = today.replace(day=1) - timedelta(20)
        invoice("overdue", cast.maya, service_on=long_ago, due_on=long_ago)

    story.change(make)
    return made


def row(page: Page, number: str) -> Locator:
    return page.locator("tbody tr").filter(has=page.get_by_role("link", name=number, exact=True))


def search(page: Page) -> None:
    page.get_by_role("button", name="Search", exact=True).click()


@pytest.mark.promise("O12")
def test_dana_narrows_the_search_and_reads_what_it_comes_to(
    story: Story, someone: Someone, month: dict[str, str], today: date
) -> None:
    page = someone("dana@example.com").page
    page.get_by_role("link", name="Invoices", exact=True).click()
    expect(page.get_by_label("From", exact=True)).to_have_value(str(today.replace(day=1)))
    expect(page.get_by_label("Until", exact=True)).to_have_value("")  # a visit of next week may be invoiced today
    expect(page.locator("caption")).to_contain_text("4 invoices")
    expect(page.locator("tfoot")).to_contain_text("Totals, void ones left out")
    expect(page.locator("tfoot td")).to_have_text(["$300.00", "$140.00", "$160.00", ""])
    expect(row(page, month["part"])).to_contain_text("Partly paid")
    expect(row(page, month["part"])).to_contain_text("Lindqvist, Maya")  # who pays for Theo
    expect(row(page, month["void"]).locator(".tag")).to_have_text("Void")

    page.get_by_label("Status").select_option(label="Paid")
    page.get_by_label("Location").select_option(label="Riverside")
    page.get_by_label("Practitioner").select_option(label="Priya Raman, PT")
    search(page)
    expect(page).to_have_url(re.compile("status=paid"))
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(row(page, month["paid"])).to_contain_text("=Delgado, Rosa")
    page.reload()
    expect(page.get_by_label("Location")).to_have_value(re.compile(r"\d+"))

    page.get_by_role("link", name="Clear").click()
    page.get_by_label("Patient").fill("lind maya")
    page.get_by_label("From", exact=True).fill("")
    search(page)
    expect(page.locator("caption")).to_contain_text("2 invoices, whatever the date")
    expect(row(page, month["overdue"]).locator(".tag")).to_have_text("Overdue")

    page.get_by_role("link", name="Clear").click()
    page.get_by_label("Number").fill(month["overdue"])
    search(page)
    expect(page.locator("tbody tr")).to_have_count(1)


@pytest.mark.promise("O12")
def test_the_menu_of_a_row_leads_to_what_can_be_done(story: Story, someone: Someone, month: dict[str, str]) -> None:
    page = someone("dana@example.com").page
    page.goto(f"{story.url}/office/invoices")
    menu = row(page, month["open"]).locator("details")
    menu.get_by_text(f"Actions for invoice {month['open']}").locator("..").focus()
    page.keyboard.press("Enter")
    expect(menu.get_by_role("link")).to_have_text(["View", "Receive Payment", "View Payments", "Void"])
    expect(row(page, month["void"]).locator("details a")).to_have_text(["View", "View Payments"])
    menu.get_by_role("link", name="View", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Invoice {month['open']}")
    expect(page.get_by_role("link", name="Receive Payment")).to_be_visible()
    page.go_back()
    row(page, month["open"]).locator("summary").click()
    row(page, month["open"]).get_by_role("link", name="Void").click()
    expect(page).to_have_url(re.compile(f"/office/invoices/{month['open']}/void"))


@pytest.mark.promise("O12")
def test_what_was_found_is_taken_along_as_files(
    story: Story, someone: Someone, month: dict[str, str], today: date
) -> None:
    page = someone("dana@example.com").page
    page.goto(f"{story.url}/office/invoices?status=paid")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    assert download.value.suggested_filename == f"invoices-from-{today.replace(day=1)}.csv"
    with download.value.path().open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(each["Number"], each["Patient"], each["Total"], each["Balance"]) for each in rows] == [
        (month["paid"], "'=Delgado, Rosa", "100.00", "0.00")
    ]
    with page.expect_download() as download:
        page.get_by_role("link", name="Export XLSX").click()
    sheet = openpyxl.load_workbook(download.value.path().rename(download.value.path().with_suffix(".xlsx"))).active
    assert sheet is not None
    cells = [cell.value for cell in sheet[2]]
    assert cells[0] == month["paid"] and cells[3] == "=Delgado, Rosa" and sheet["D2"].data_type == "s"
    assert (cells[8], cells[9], cells[11]) == ("CAD", 100, 0)


def test_dana_closes_the_day(story: Story, someone: Someone, month: dict[str, str], today: date) -> None:
    page = someone("dana@example.com").page
    page.get_by_role("link", name="Day sheet").click()
    expect(page.locator(".figures")).to_contain_text("$140.00")
    expect(page.get_by_role("img", name=re.compile("Received on each day"))).to_be_visible()
    expect(page.get_by_role("button", name="Print")).to_be_visible()
    page.get_by_label("Location").select_option(label="Riverside")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("Cash to count")).to_be_visible()
    expect(page.locator(".list").last).to_contain_text("$100.00")
    page.emulate_media(media="print")
    expect(page.get_by_text("Counted by")).to_be_visible()
    expect(page.get_by_role("button", name="Show")).to_be_hidden()


LOOKS = [
    pytest.param({"width": 1280, "dark": False}, id="desk-light"),
    pytest.param({"width": 1280, "dark": True}, id="desk-dark"),
    pytest.param({"width": 320, "dark": False}, id="phone-light"),
    pytest.param({"width": 320, "dark": True}, id="phone-dark"),
]


@pytest.mark.promise("O12")
@pytest.mark.parametrize("look", LOOKS)
def test_every_page_in_every_look(
    story: Story, someone: Someone, month: dict[str, str], look: dict[str, object]
) -> None:
    person = someone("dana@example.com", **look)
    for path in (
        "/office/invoices",
        "/office/invoices?status=lost&from=x",
        "/office/invoices?number=99999",
        f"/office/invoices/{month['part']}",
        f"/office/invoices/{month['void']}",
        "/office/day-sheet",
    ):
        person.go(path)
        assert_accessible(person.page)
        width = person.page.viewport_size["width"] if person.page.viewport_size else 0
        assert person.page.evaluate("document.documentElement.scrollWidth") <= width, path
