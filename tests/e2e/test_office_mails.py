"""Dana asks for payments by mail and by QR code, and sees what became of every mail, in a real browser."""

import email
import email.policy
import re
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import update
from sqlalchemy.orm import Session

from portal.clock import now
from portal.mail import deliver_waiting_mail
from portal.outbox import OutboxMessage
from portal.paylinks import paper_token
from portal.schedule.booking import Slot, Wish, book
from tests.e2e.conftest import VISA, Person, Story
from tests.makers import make_service
from tests.support.axe import assert_accessible
from tests.support.browser import Pages
from tests.support.qr import drawn, says

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]
SEARCH = "/office/invoices"


@pytest.fixture(autouse=True)
def requests_on(story: Story) -> None:
    story.setting("email_pay_online_request", "yes")


def delivered(story: Story) -> list[EmailMessage]:
    """Let the worker send what waits; gives all mails there are, the newest last."""
    while deliver_waiting_mail(story.parts):
        pass
    folder = Path(story.parts.config.mail_url.removeprefix("file:"))
    files = sorted(folder.glob("*.eml"), key=lambda file: file.stat().st_mtime_ns)
    return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]


def link_in(story: Story, mail: EmailMessage) -> str:
    """The button of a request to pay, as the path that it leads to."""
    body = mail.get_body(("plain",))
    assert body is not None
    found = re.search(re.escape(story.url) + r"(/pay/[\w-]{43})\b", body.get_content())
    assert found, body.get_content()
    return found[1]


def pays_by(holder: Person, link: str, number: str) -> None:
    """Open a pay link on a phone, without signing in, and pay."""
    holder.go(link)
    expect(holder.page.get_by_role("heading", level=1)).to_contain_text(number)
    holder.ready()
    holder.types_card(VISA)
    holder.page.get_by_label("Name on the card").fill("Maya Lindqvist")
    holder.presses_pay()
    holder.sees_receipt()


def news(page: Page, text: str) -> None:
    expect(page.locator("main .note[role=status]").filter(has_text=text)).to_be_visible()


def fits(page: Page) -> None:
    """Nothing but tables needs scrolling sideways."""
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), page.url
    assert_accessible(page)


@pytest.mark.promise("E1", "E4")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (320, True)])
def test_one_press_on_the_invoice_gets_it_paid_from_the_mail(
    story: Story, someone: Someone, width: int, dark: bool
) -> None:
    number = story.invoice()
    dana = someone("dana@example.com", width=width, dark=dark)
    dana.go(f"{SEARCH}/{number}")
    expect(dana.page.get_by_text("An email to maya@example.com, with a link to pay this invoice")).to_be_visible()
    fits(dana.page)
    dana.page.get_by_role("button", name="Request payment").click()
    news(dana.page, f"For invoice {number} to maya@example.com.")
    expect(dana.page.get_by_role("button", name="Request payment")).to_be_focused()
    expect(dana.page.get_by_role("row").filter(has_text="Request to pay")).to_contain_text("Queued")

    (mail,) = delivered(story)
    assert mail["To"] == "maya@example.com"
    dana.page.reload()
    expect(dana.page.get_by_role("row").filter(has_text="Request to pay")).to_contain_text("Sent")
    dana.page.get_by_role("button", name="Email invoice").click()
    expect(dana.page.get_by_role("button", name="Email invoice")).to_be_focused()
    fits(dana.page)
    mail = delivered(story)[-1]  # its link has replaced the first

    pays_by(someone(None, width=390), link_in(story, mail), number)
    story.check_the_books()

    dana.go(f"{SEARCH}/{number}")
    expect(dana.page.get_by_role("button", name="Request payment")).to_have_count(0)
    expect(dana.page.get_by_role("row").filter(has_text="Nothing left to pay")).to_have_count(1)
    dana.page.get_by_role("link", name="View Payments").click()
    expect(dana.page.get_by_role("cell", name="Pay link", exact=True)).to_be_visible()


@pytest.mark.promise("E1", "O12")
@pytest.mark.parametrize("javascript", [True, False])
def test_all_that_are_ticked_are_asked_for_with_one_press(story: Story, someone: Someone, javascript: bool) -> None:
    first, second, third = (story.invoice(patient=who) for who in ("maya", "theo", "stranger"))
    dana = someone("dana@example.com", javascript=javascript)
    page = dana.page
    dana.go(SEARCH)
    if javascript:
        page.get_by_label(f"Actions for invoice {third}").or_(
            page.locator("summary").filter(has_text=f"Actions for invoice {third}")
        ).click()
        page.get_by_role("button", name="Request payment jonas@example.com").click()
        news(page, f"For invoice {third} to jonas@example.com.")
        fits(page)
    for number in (first, second):
        page.get_by_label(f"Request payment of {number} from maya@example.com").check()
    page.get_by_role("button", name="Request payment of those ticked").click()
    news(page, "2 requests to pay are on their way.")
    if javascript:
        expect(page.get_by_role("button", name="Request payment of those ticked")).to_be_focused()
    sent = [mail["To"] for mail in delivered(story)]
    assert sorted(sent) == sorted(["maya@example.com"] * 2 + ["jonas@example.com"] * javascript)


@pytest.mark.promise("E1")
def test_a_request_ticked_at_checkout_goes_out_with_the_invoice(story: Story, someone: Someone) -> None:
    def visit(session: Session) -> int:
        return make_service(session).id

    made: list[int] = []
    story.change(lambda session: made.append(visit(session)))
    slot = Slot(story.cast.location.id, story.cast.practitioner.id, now().date(), 9 * 60)
    wish = Wish(uuid4().hex, story.cast.maya.id, made[0], slot)
    booked = book(story.parts.database, wish, story.cast.clerk.id)
    dana = someone("dana@example.com")
    dana.go(f"/office/checkout/new?appointment={booked.public_id}")
    dana.page.get_by_label("Email invoice to patient").uncheck()
    dana.page.get_by_label("Email a request to pay online").check()
    fits(dana.page)
    dana.page.get_by_role("button", name="Checkout", exact=True).click()
    news(dana.page, "It goes to maya@example.com.")
    (mail,) = delivered(story)
    holder = someone(None)
    holder.go(link_in(story, mail))
    expect(holder.page.locator(".sum").first).to_contain_text("126.00")


@pytest.mark.promise("E4")
@pytest.mark.parametrize("width", [1280, 320])
def test_a_mail_that_failed_says_why_and_goes_again_with_a_new_link(
    story: Story, someone: Someone, new_page: Pages, width: int
) -> None:
    number = story.invoice()
    dana = someone("dana@example.com", width=width)
    page = dana.page
    dana.go(f"{SEARCH}/{number}")
    page.get_by_role("button", name="Request payment").click()
    news(page, "on its way")
    (mail,) = delivered(story)
    refused = {"sent_at": None, "failed_at": now(), "last_error": "no such address: 550"}
    story.change(lambda session: session.execute(update(OutboxMessage).values(**refused)))
    page.reload()
    expect(page.get_by_text("The mail server said that this address does not exist.")).to_be_visible()
    fits(page)
    page.get_by_role("button", name="Send again Request to pay").click()
    news(page, "It goes to maya@example.com.")
    new = delivered(story)[-1]
    assert link_in(story, new) != link_in(story, mail)

    expect(page.get_by_role("row").filter(has_text="Replaced by a newer one")).to_have_count(1)
    page.get_by_role("button", name="Revoke").click()
    news(page, "The pay link is revoked.")
    expect(page.get_by_role("button", name="Revoke")).to_have_count(0)
    new_page.expect_console("status of 4")
    holder = someone(None)
    holder.go(link_in(story, new))
    expect(holder.page.locator("#card-element")).to_have_count(0)

    page.get_by_role("link", name="Maya Lindqvist", exact=True).click()
    page.get_by_role("link", name="Emails", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="Request to pay")).to_have_count(2)
    fits(page)


@pytest.mark.promise("E2")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (320, True)])
def test_the_patient_pays_from_the_chair_by_the_code_on_the_screen(
    story: Story, someone: Someone, width: int, dark: bool
) -> None:
    number = story.invoice()
    dana = someone("dana@example.com", width=width, dark=dark)
    page = dana.page
    dana.go(f"{SEARCH}/{number}/receive")
    expect(page.get_by_role("button", name="Make a QR code")).to_be_hidden()
    page.get_by_text("The patient can pay on their own phone").click()
    page.get_by_role("button", name="Make a QR code").click()
    code = page.get_by_role("img", name=f"QR code that opens the page to pay invoice {number}")
    expect(code).to_be_visible()
    box = code.bounding_box()
    assert box and box["width"] == pytest.approx(box["height"], abs=2) and box["width"] >= 240
    fits(page)

    with story.parts.database.read() as connection:
        token = paper_token(connection, story.parts.vault, story.invoice_row(number).id)
    assert drawn(page.content()) == [says(f"{story.url}/pay/{token}")]
    assert page.locator(".qr path").first.evaluate("path => getComputedStyle(path).fill") == "rgb(255, 255, 255)"
    pays_by(someone(None, width=390), f"/pay/{token}", number)
    dana.go(f"{SEARCH}/{number}/receive")
    expect(page.get_by_text("The patient can pay on their own phone")).to_have_count(0)


@pytest.mark.promise("E2")
def test_the_code_is_printed_with_the_invoice_large_enough_for_a_camera(story: Story, someone: Someone) -> None:
    number = story.invoice()
    dana = someone("dana@example.com", dark=True)
    dana.go(f"{SEARCH}/{number}")
    dana.page.get_by_role("button", name="Make a QR code").click()
    news(dana.page, "The QR code is ready.")
    code = dana.page.get_by_role("img", name="QR code that opens the page")
    expect(code).to_have_count(0)
    dana.page.emulate_media(media="print")
    box = code.bounding_box()
    assert box and 30 <= box["width"] / 96 * 25.4 <= 42
    expect(dana.page.get_by_text("Point your phone's camera at this code.")).to_be_visible()
    expect(dana.page.get_by_role("heading", name="Emails and pay links")).to_be_hidden()
