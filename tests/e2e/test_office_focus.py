"""After a button of the office was pressed, the focus is on that button or on the news, never lost at the top."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.gateway.configured import ConfiguredGateway
from portal.invoices.tables import Invoice
from tests.e2e.conftest import Person, Story
from tests.makers import make_payment, make_service
from tests.support.browser import Pages

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]


class Act(NamedTuple):
    """Fill in a form and press its button; then look where the focus is."""

    path: str
    button: str
    then: Callable[[Page, str], None]
    typed: dict[str, str] = {}  # noqa: RUF012  nobody changes it
    role: str = ""


def on_the_button(page: Page, name: str) -> None:
    """The work goes on where it was; what became of it is in sight."""
    expect(page.locator("main .note[role=status]")).to_be_in_viewport()
    expect(page.get_by_role("button", name=name, exact=True)).to_be_focused()


def on_the_news(page: Page, _name: str) -> None:
    """On another page, or where the button has gone."""
    expect(page.locator("main .note[role=status]")).to_be_focused()


def on_what_to_mend(page: Page, _name: str) -> None:
    expect(page.locator("#errors")).to_be_focused()


SETTINGS = "/office/settings"
OF_INVOICE = "/office/invoices/{number}"
WHY = {"Reason": "Agreed at the desk."}
ROOMS = {
    "settings": [
        Act(SETTINGS, "Save settings", on_the_button, {"Clinic name": "Elm Clinic"}),
        Act(SETTINGS, "Save settings", on_what_to_mend, {"Clinic name": ""}),
        Act(f"{SETTINGS}/modules", "Save modules", on_the_button),
        Act(f"{SETTINGS}/gateways/{{gateway}}", "Test the keys and save", on_the_button, {"Name": "Elm gateway"}),
        Act(f"{SETTINGS}/gateways/{{gateway}}", "Test the keys and save", on_what_to_mend, {"Name": ""}),
    ],
    "setup": [
        act
        for room in ("locations", "practitioners", "services", "taxes")
        for act in (
            Act(f"{SETTINGS}/{room}/1", "Save", on_the_news),
            Act(f"{SETTINGS}/{room}/1", "Save", on_what_to_mend, {"Name": ""}),
        )
    ],
    "staff": [
        Act(f"{SETTINGS}/staff/new", "Send the invitation", on_what_to_mend),
        Act(f"{SETTINGS}/staff/new", "Send the invitation", on_the_news,
            {"Name": "Nora Quill", "Email": "nora@example.com"}, role="billing"),
        Act(f"{SETTINGS}/staff", "Send again to Nora Quill", on_the_news),  # the new link has a row of its own
        Act(f"{SETTINGS}/staff", "Take back from Nora Quill", on_the_news),
        Act(f"{SETTINGS}/staff/{{clerk}}", "Change the role", on_the_button, role="billing"),
        Act(f"{SETTINGS}/staff/{{clerk}}", "Switch off this account", on_the_news),
    ],
    "payments": [
        Act(f"{OF_INVOICE}/adjust", "Record the change", on_what_to_mend, {"Amount, CA$": "0", **WHY}),
        Act(f"{OF_INVOICE}/adjust", "Record the change", on_the_news, {"Amount, CA$": "10", **WHY}),
        Act(f"{OF_INVOICE}/payments/{{payment}}/refund", "Record what was given back", on_what_to_mend,
            {"Amount, CA$": "9999", **WHY}),
        Act(f"{OF_INVOICE}/payments/{{payment}}/refund", "Record what was given back", on_the_news,
            {"Amount, CA$": "10", **WHY}),
        Act("/office/invoices/{unpaid}/void", "Void invoice {unpaid}", on_what_to_mend, {"Reason": " "}),
        Act("/office/invoices/{unpaid}/void", "Void invoice {unpaid}", on_the_news, WHY),
    ],
}  # fmt: skip


@pytest.fixture
def names(story: Story) -> dict[str, object]:
    """What stands in the addresses: an invoice with a payment in cash, the gateway, somebody of the staff."""
    number = story.invoice()

    def live(session: Session) -> None:
        invoice = session.scalars(select(Invoice).where(Invoice.number == number)).one()
        make_payment(session, invoice, 50_00)
        make_service(session)

    story.change(live)
    with story.parts.database.read() as connection:
        gateway = connection.scalar(select(ConfiguredGateway.public_id))
    return {
        "number": number,
        "unpaid": story.invoice(),
        "payment": story.payments(number)[0].id,
        "gateway": gateway,
        "clerk": story.cast.clerk.id,
    }


@pytest.mark.of_database("sqlite")  # where the focus is does not depend on where the data is
@pytest.mark.parametrize("room", ROOMS)
def test_the_focus_stays_with_the_work(
    story: Story, names: dict[str, object], someone: Someone, new_page: Pages, room: str
) -> None:
    new_page.expect_console("status of 422")
    marc = someone("marc@example.com")
    for act in ROOMS[room]:
        marc.go(act.path.format_map(names))
        button = act.button.format_map(names)
        for label, text in act.typed.items():
            marc.page.get_by_label(label, exact=True).fill(text)
        if act.role:
            marc.page.get_by_label("Role").select_option(act.role)
        marc.page.get_by_role("button", name=button, exact=True).click()
        act.then(marc.page, button)
