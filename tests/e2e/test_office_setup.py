"""A clinic starts from an empty database: its administrator goes the whole way through the screens."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import cast
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from flask import Flask
from playwright.sync_api import Page, expect
from sqlalchemy import select

from portal import create_app
from portal.accounts import create_account
from portal.audit import AuditEntry
from portal.clinic import Location, Practitioner, Service, Tax
from portal.config import Config
from portal.parts import Parts
from portal.people import Invitation
from portal.sandbox import Sandbox
from portal.vault import new_key, parse_key
from tests.e2e.conftest import PASSWORD, Person, Story, _served
from tests.makers import Cast
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = [pytest.mark.browser, pytest.mark.promise("O17")]

PAGES = (
    "first-steps", "locations", "locations/new", "locations/1", "practitioners", "practitioners/new", "services",
    "services/new", "taxes", "taxes/new", "staff", "staff/new", "staff/4", "audit", "audit/views",
)  # fmt: skip


@pytest.fixture
def empty(database_url: str) -> Iterator[Story]:
    """The product over tables without a row, but for one administrator."""
    late: dict[str, Flask] = {}

    def application(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        return late["app"](environ, start)

    with _served(application) as port:
        url = f"http://127.0.0.1:{port}"
        app = late["app"] = create_app(
            Config(
                production=False,
                database_url=database_url,
                secret_key="a key for tests, forty characters long!!",
                encryption_keys=(parse_key(new_key()),),
                base_url=url,
                mail_url="file:build/mail",
            )
        )
        parts: Parts = app.extensions["portal"]
        create_account(
            parts.database, email="nora@example.com", role="administrator", name="Nora Quill", patient_id=None,
            password=PASSWORD,
        )  # fmt: skip
        yield Story(app, url, parts, Sandbox(), cast(Cast, None), 0, "", "")
        parts.database.close()


def saves(page: Page, **fields: str) -> None:
    """Fill in a form by its labels, and press Save."""
    for label, text in fields.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(text)
    page.get_by_role("button", name="Save").click()


def begins(page: Page, step: str) -> None:
    """Press Begin at one of the first steps."""
    page.get_by_role("listitem").filter(has_text=step).get_by_role("link", name="Begin").click()


def test_a_clinic_starts_from_nothing(empty: Story, new_page: Pages) -> None:
    nora = Person(empty, new_page())
    nora.signs_in("nora@example.com")
    page = nora.page
    expect(page.get_by_role("heading", level=1)).to_have_text("First steps")
    assert_accessible(page)

    begins(page, "Add a location")
    page.get_by_label("Time zone").select_option("America/Toronto")
    page.get_by_label("Opens").select_option("09:00")
    saves(page, Name="Alder Lane", Phone="250-555-0142", Next_invoice_number="1001", Days_to_pay="30")
    expect(page.get_by_role("listitem").filter(has_text="Add a location")).to_contain_text("Done")

    begins(page, "Add the taxes")
    new_page.expect_console("status of 422")
    saves(page, Name="GST", Rate_in_percent="5,0")
    expect(page.get_by_role("alert")).to_contain_text("Rate: a percentage from 0 to 100")
    expect(page.get_by_label("Name", exact=True)).to_have_value("GST")
    assert_accessible(page)
    saves(page, Rate_in_percent="5")

    begins(page, "Add a practitioner")
    saves(page, Name="Liam Tremblay", Credentials="RMT", Registration_number="CMTBC 08842")

    begins(page, "Add a service")
    page.get_by_label("GST").check()
    saves(page, Name="Massage therapy, 60 minutes", Price="120", Minutes="60")
    expect(page.get_by_role("heading", level=1)).to_have_text("Services and prices")
    expect(page.get_by_role("row", name="Massage therapy, 60 minutes")).to_contain_text("GST120.00")

    page.get_by_role("link", name="Staff and permissions").click()
    page.get_by_role("link", name="Invite somebody").click()
    page.get_by_label("Name").fill("Dana Whitlock")
    page.get_by_label("Email").fill("dana@example.com")
    page.get_by_label("Role").select_option("front_desk")
    page.get_by_role("button", name="Send the invitation").click()
    expect(page.get_by_role("row", name="Dana Whitlock")).to_contain_text("Open until")

    page.get_by_role("link", name="Audit log").click()
    expect(page.get_by_role("row", name="location Alder Lane")).to_contain_text("Nora Quill")
    page.get_by_role("link", name="Schedule").click()
    expect(page.get_by_role("listitem").filter(has_text="Liam Tremblay")).to_be_visible()
    _was_kept(empty)


def _was_kept(story: Story) -> None:
    with story.parts.database.transaction() as session:
        place = session.scalars(select(Location)).one()
        assert (place.timezone, place.next_invoice_number, place.opens_minute) == ("America/Toronto", 1001, 540)
        assert session.scalars(select(Tax)).one().rate_per_100k == 5000
        assert session.scalars(select(Practitioner)).one().registration == "CMTBC 08842"
        assert session.scalars(select(Service)).one().price_cents == 120_00
        assert session.scalars(select(Invitation)).one().role == "front_desk"
        who = set(session.scalars(select(AuditEntry.user_id).where(AuditEntry.action.like("%.added"))))
        assert len(who) == 1 and None not in who


@pytest.mark.parametrize("width", [1280, 320])
def test_every_page_of_the_set_up_is_accessible(someone: Callable[..., Person], width: int) -> None:
    marc = someone("marc@example.com", width=width, dark=width == 320)
    for path in PAGES:
        marc.go(f"/office/settings/{path}")
        expect(marc.page.get_by_role("heading", level=1)).to_be_visible()
        assert_accessible(marc.page)
        assert marc.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} scrolls sideways"


def test_marc_looks_after_an_account(story: Story, someone: Callable[..., Person]) -> None:
    marc, dana = someone("marc@example.com"), someone("dana@example.com")
    marc.go("/office/settings/staff")
    marc.page.get_by_role("link", name="Dana Whitlock").click()
    marc.page.get_by_label("Role").select_option("billing")
    marc.page.get_by_role("button", name="Change the role").click()
    expect(marc.page.locator(".facts")).to_contain_text("Billing")
    marc.page.get_by_role("button", name="Switch off this account").click()
    expect(marc.page.locator(".facts")).to_contain_text("Inactive")
    dana.go("/office/")
    expect(dana.page).to_have_url(re.compile("/login"))
    marc.page.get_by_role("button", name="Switch on this account").click()
    expect(marc.page.locator(".facts")).to_contain_text("Active")
    marc.go("/office/settings/audit?text=Dana")
    expect(marc.page.get_by_role("row", name="Staff role changed")).to_contain_text("front_desk")
    assert story.cast.clerk.id
