"""From the mail's link to the receipt without signing in, in a real browser, on a small phone."""

import re
from collections.abc import Callable
from uuid import uuid4

import pytest
from playwright.sync_api import expect
from sqlalchemy import select, update

from portal.invoices.tables import Invoice
from portal.letters.requests import request_payment
from portal.outbox import OutboxMessage, claim_letter
from portal.paylinks import PAPER, PayLink, make_link
from portal.settings import read_settings
from tests.e2e.conftest import ASKS_FOR_3D_SECURE, NO_MONEY, VISA, Person, Story
from tests.makers import make_payment
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]
SMALL = {"width": 320, "height": 640}


@pytest.fixture(autouse=True)
def requests_are_on(story: Story) -> None:
    story.setting("email_pay_online_request", "yes")


def link_in_the_mail(story: Story, number: str) -> str:
    """Ask for a payment; gives the link that stands in the mail."""
    request_payment(story.parts, story.invoice_row(number).id, uuid4(), by=None)
    return link_of_newest_mail(story)


def link_of_newest_mail(story: Story) -> str:
    """The link in the last request to pay that waits to be sent."""
    links = []
    with story.parts.database.transaction() as session:
        while (letter := claim_letter(session, story.parts.vault)) is not None:
            links += [str(letter.words["link"])] if letter.kind == "pay_request" else []
            session.flush()
    return links[-1]


def opens(holder: Person, link: str) -> None:
    """Click the link in the mail."""
    holder.page.goto(link)
    if holder.page.locator("#card-element").count():
        holder.ready()


def looks_right(holder: Person) -> None:
    """Fits a small phone, passes axe, and tells no token."""
    assert holder.page.evaluate("document.documentElement.scrollWidth") <= holder.page.viewport_size["width"]  # type: ignore[index]  # it has one
    assert_accessible(holder.page)


@pytest.mark.promise("E2", "P3")
@pytest.mark.parametrize("look", [SMALL, {"dark": True}], ids=["small", "wide and dark"])
def test_from_the_mail_to_the_receipt_with_one_click_before_the_card(
    story: Story, someone: Someone, look: dict[str, object]
) -> None:
    number = story.invoice()
    link = link_in_the_mail(story, number)
    holder = someone(None, **look)
    clicks = 1
    opens(holder, link)
    assert link.rpartition("/")[2] not in holder.page.url
    expect(holder.page.locator(".sum")).to_contain_text("100.00")
    expect(holder.page.get_by_role("heading", level=1)).to_contain_text(f"Invoice {number}, due")
    expect(holder.card_fields.get_by_label("Card number")).to_be_visible()
    assert clicks <= 3
    looks_right(holder)
    holder.types_card(VISA)
    holder.page.get_by_label("Name on the card").fill("Sam Holder")
    holder.presses_pay()
    holder.sees_receipt()
    holder.is_told("Thank you, your payment went through.")
    looks_right(holder)
    for hidden in ("Maya", "Massage", "Liam"):
        expect(holder.page.locator("main")).not_to_contain_text(hidden)
    assert story.balance(number) == 0
    story.check_the_books()


@pytest.mark.promise("E2", "P5")
def test_a_wrong_address_and_a_declined_card_are_told_and_nothing_typed_is_lost(
    story: Story, someone: Someone, new_page: Pages
) -> None:
    number = story.invoice()
    holder = someone(None, **SMALL)
    opens(holder, link_in_the_mail(story, number))
    new_page.expect_console("422")
    holder.types_card(NO_MONEY)
    holder.page.get_by_label("Name on the card").fill("Sam Holder")
    holder.page.get_by_label("Send the receipt to").fill("sam at example.com")
    holder.presses_pay()
    holder.is_told("The address for the receipt needs a correction. Nothing was charged.")
    expect(holder.page.get_by_label("Send the receipt to")).to_have_attribute("aria-invalid", "true")
    looks_right(holder)
    holder.page.get_by_label("Send the receipt to").fill("sam@example.com")
    holder.presses_pay()
    holder.is_told("Your bank said no to this card. You have not been charged.")
    expect(holder.page.get_by_label("Send the receipt to")).to_have_value("sam@example.com")
    looks_right(holder)
    holder.pays_here(VISA)
    holder.sees_receipt()
    expect(holder.page.locator("main")).to_contain_text("s•••@example.com")
    with story.parts.database.read() as connection:
        receipts = select(OutboxMessage.recipient).where(OutboxMessage.kind == "receipt")
        assert list(connection.scalars(receipts)) == ["sam@example.com"]
    story.check_the_books()


@pytest.mark.promise("E2", "P3")
def test_3d_secure_through_a_link(story: Story, someone: Someone) -> None:
    number = story.invoice()
    holder = someone(None, **SMALL)
    opens(holder, link_in_the_mail(story, number))
    holder.page.get_by_label("Name on the card").fill("Sam Holder")
    holder.pays_here(ASKS_FOR_3D_SECURE)
    holder.fails_the_bank()
    holder.is_told("Your bank could not confirm that it is you. You have not been charged.")
    holder.pays_here(ASKS_FOR_3D_SECURE)
    holder.satisfies_the_bank()
    holder.sees_receipt()
    assert len(story.attempts(number)) == 1
    story.check_the_books()


@pytest.mark.promise("E2", "P5")
def test_a_lost_answer_says_that_we_are_checking_and_becomes_the_receipt(story: Story, someone: Someone) -> None:
    number = story.invoice()
    holder = someone(None, **SMALL)
    opens(holder, link_in_the_mail(story, number))
    story.sandbox.fault("payment_intents.confirm", "lost_after")
    story.sandbox.fault("payment_intents.retrieve", "error_before", times=2)
    holder.page.get_by_label("Name on the card").fill("Sam Holder")
    holder.pays_here(VISA)
    expect(holder.page.get_by_role("heading", level=1)).to_contain_text("We are checking your payment")
    looks_right(holder)
    story.sandbox.clear_faults()
    holder.sees_receipt()
    story.check_the_books()


@pytest.mark.promise("E2", "P3")
def test_two_links_in_two_tabs_and_one_link_in_two(story: Story, someone: Someone, new_page: Pages) -> None:
    one, two = story.invoice(), story.invoice()
    first = someone(None)
    link = link_in_the_mail(story, one)
    opens(first, link)
    same, other = first.another_tab(), first.another_tab()
    opens(same, link)
    opens(other, link_in_the_mail(story, two))
    for tab in (first, same, other):
        tab.page.get_by_label("Name on the card").fill("Sam Holder")
    first.pays_here(VISA)
    first.sees_receipt()
    new_page.expect_console("409")
    same.pays_here(VISA)
    expect(same.page.get_by_role("heading", level=1)).to_contain_text("is paid. You have not been charged again.")
    looks_right(same)
    other.pays_here(VISA)
    other.sees_receipt()
    assert story.captured() == 200_00
    story.check_the_books()


@pytest.mark.promise("E2")
def test_an_expired_link_sends_a_new_one_that_pays(story: Story, someone: Someone, new_page: Pages) -> None:
    number = story.invoice()
    link = link_in_the_mail(story, number)
    story.change(lambda session: session.execute(update(PayLink).values(expires_at=PayLink.made_at)))
    holder = someone(None, **SMALL)
    new_page.expect_console("410")
    opens(holder, link)
    expect(holder.page.get_by_role("heading", level=1)).to_contain_text("This payment link has expired.")
    looks_right(holder)
    holder.page.get_by_role("button", name="Send me a new link").click()
    expect(holder.page.get_by_role("heading", level=1)).to_contain_text("Look for an email from us")
    looks_right(holder)
    opens(holder, link)
    expect(holder.page.get_by_role("heading", level=1)).to_contain_text("There is a newer payment link.")
    looks_right(holder)
    opens(holder, link_of_newest_mail(story))
    holder.page.get_by_label("Name on the card").fill("Sam Holder")
    holder.pays_here(VISA)
    holder.sees_receipt()
    story.check_the_books()


@pytest.mark.promise("E2")
def test_what_is_over_and_what_never_was_are_told_apart_from_nothing_else(
    story: Story, someone: Someone, new_page: Pages
) -> None:
    number = story.invoice()
    link = link_in_the_mail(story, number)
    holder = someone(None, **SMALL)
    for status in ("403", "404", "409", "410"):
        new_page.expect_console(status)
    opens(holder, link)
    address = holder.page.url
    stranger = someone(None, **SMALL)
    stranger.page.goto(address)
    expect(stranger.page.get_by_role("heading", level=1)).to_have_text("Please open the link again")
    looks_right(stranger)
    opens(stranger, link[:-3])
    expect(stranger.page.get_by_role("heading", level=1)).to_have_text("We don't know this link")
    looks_right(stranger)
    story.change(lambda session: session.execute(update(PayLink).values(revoked_at=PayLink.made_at)))
    opens(holder, link)
    expect(holder.page.get_by_role("heading", level=1)).to_contain_text("taken back. Nothing was charged.")
    looks_right(holder)
    story.change(lambda session: make_payment(session, session.merge(story.invoice_row(number)), 100_00))
    opens(holder, link_on_paper(story, number))
    expect(holder.page.get_by_role("heading", level=1)).to_contain_text("This invoice is paid.")
    looks_right(holder)


def link_on_paper(story: Story, number: str) -> str:
    with story.parts.database.transaction() as session:
        invoice = session.scalars(select(Invoice).where(Invoice.number == number)).one()
        made = make_link(session, story.parts.vault, read_settings(session), invoice, PAPER, by=None)
    return f"{story.url}/pay/{made.token}"


@pytest.mark.promise("E2")
def test_who_is_signed_in_gets_the_whole_page_with_their_cards(story: Story, maya: Person) -> None:
    number = story.invoice()
    opens(maya, link_in_the_mail(story, number))
    expect(maya.page).to_have_url(re.compile(f"/invoices/{number}/pay$"))
    expect(maya.page.get_by_label("Keep this card for next time")).to_be_visible()
