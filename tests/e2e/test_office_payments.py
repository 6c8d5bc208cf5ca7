"""Staff put mistakes right in a real browser: void (O13), undo an extra payment (O14), refund (O16)."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal.clock import now, shifted
from portal.invariants import broken_invariants
from portal.invoices.tables import Invoice
from portal.payments.cases import follow_books
from portal.people import SignIn
from portal.refunds.sweeping import sweep_refunds
from portal.worker import follow_hints
from tests.e2e.conftest import ASKS_FOR_3D_SECURE, PASSWORD, Person, Story
from tests.makers import make_payment
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]


def searches(staff: Person, number: str) -> None:
    """Invoice Search, narrowed to one invoice."""
    staff.go("/office/invoices")
    staff.page.get_by_label("Number").fill(number)
    staff.page.get_by_role("button", name="Search", exact=True).click()


def views_payments(staff: Person, number: str) -> None:
    """Invoice Search › View Payments."""
    searches(staff, number)
    staff.page.get_by_label(f"Actions for invoice {number}").or_(
        staff.page.locator("summary").filter(has_text=f"Actions for invoice {number}")
    ).first.click()
    staff.page.get_by_role("link", name="View Payments").click()
    expect(staff.page.get_by_role("heading", level=1)).to_contain_text(f"Payments of invoice {number}")


def accessible_at_both_widths(page: Page) -> None:
    for width in (1280, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"scrolls sideways at {width}"
    page.set_viewport_size({"width": 1280, "height": 800})


def types_it_in_again(story: Story, number: str) -> None:
    """The mistake: the card was charged once, and somebody recorded it a second time by hand."""

    def post(session: Session) -> None:
        invoice = session.scalars(select(Invoice).where(Invoice.number == number)).one()
        make_payment(session, invoice, 100_00, "card", brand="visa", recorded_by=story.cast.clerk.id)
        follow_books(session, invoice)

    story.change(post)


def paid_online(story: Story, someone: Someone) -> str:
    number = story.invoice()
    maya = someone("maya@example.com")
    maya.pays(number)
    maya.sees_receipt()
    return number


def dashboard_link(staff: Person, story: Story, number: str) -> str:
    return f"https://dashboard.stripe.com/test/payments/{story.attempts(number)[-1].intent_id}"


@pytest.mark.promise("O14")
def test_an_extra_payment_entered_in_error_is_undone(story: Story, someone: Someone, new_page: Pages) -> None:
    number = paid_online(story, someone)
    types_it_in_again(story, number)
    dana = someone("dana@example.com")
    views_payments(dana, number)
    expect(dana.page.get_by_role("heading", name="Paid too much: $100.00")).to_be_visible()
    accessible_at_both_widths(dana.page)
    form = dana.page.get_by_role("form", name="New Payment")
    form.get_by_label("Paid by").select_option("Visa")
    form.get_by_label("Gateway").select_option("Do not process")
    form.get_by_label("Reverses").select_option(label="R-20002, Visa, $100.00")
    form.get_by_label("Amount").fill("-200")
    form.get_by_label("Reason").fill("Entered twice at the desk; the card was charged once.")
    new_page.expect_console("422")
    form.get_by_role("button", name="Record the reversal").click()
    expect(dana.page.get_by_role("alert")).to_contain_text("The most it can be is −$100.00")
    expect(form.get_by_label("Reason")).to_have_value("Entered twice at the desk; the card was charged once.")
    accessible_at_both_widths(dana.page)
    form.get_by_label("Amount").fill("-100.00")
    form.get_by_role("button", name="Record the reversal").click()
    dana.is_told("No money moved, and Stripe was not called.")
    expect(form.get_by_role("button", name="Record the reversal")).to_be_focused()
    expect(dana.page.get_by_role("row", name=re.compile("Reverses R-20002"))).to_contain_text("−$100.00")
    expect(dana.page.get_by_role("row", name=re.compile("Net paid"))).to_contain_text("$100.00")
    expect(dana.page.get_by_text("Paid too much")).to_have_count(0)
    assert story.balance(number) == 0
    assert story.sandbox.objects("refund") == []
    story.check_the_books()


@pytest.mark.promise("O14")
def test_a_reversed_stripe_payment_meets_its_refund(story: Story, someone: Someone) -> None:
    number = paid_online(story, someone)
    types_it_in_again(story, number)
    dana = someone("dana@example.com")
    views_payments(dana, number)
    form = dana.page.get_by_role("form", name="New Payment")
    form.get_by_label("Reverses").select_option(label="R-20001, Visa ending 4242, $100.00")
    form.get_by_label("Amount").fill("-100.00")
    form.get_by_label("Reason").fill("Paid in person as well.")
    form.get_by_role("button", name="Record the reversal").click()
    dana.is_told("Refund expected: $100.00")
    note = dana.page.locator(".note").filter(has_text="Refund expected")
    expect(note.get_by_role("link")).to_have_attribute("href", dashboard_link(dana, story, number))
    story.sandbox.refund(str(story.attempts(number)[-1].intent_id))
    dana.page.get_by_role("button", name="Ask Stripe now").click()
    dana.is_told("Stripe was asked just now.")
    expect(dana.page.get_by_text("Refund expected")).to_have_count(0)
    expect(dana.page.get_by_role("row", name=re.compile("Net paid"))).to_contain_text("$100.00")
    assert story.balance(number) == 0
    assert broken_invariants(story.parts.database) == []


@pytest.mark.promise("O13")
def test_an_invoice_paid_through_stripe_is_void_and_closes_by_itself(story: Story, someone: Someone) -> None:
    number = paid_online(story, someone)
    dana = someone("dana@example.com")
    views_payments(dana, number)
    dana.page.get_by_role("link", name="Void this invoice").click()
    expect(dana.page.get_by_role("heading", name="$100.00 goes back only in Stripe")).to_be_visible()
    expect(dana.page.get_by_role("link", name=re.compile("in Stripe"))).to_have_attribute(
        "href", dashboard_link(dana, story, number)
    )
    accessible_at_both_widths(dana.page)
    dana.page.get_by_label("Reason").fill("Billed to the wrong patient.")
    dana.page.get_by_role("button", name=f"Void invoice {number}").click()
    dana.is_told("Void, refund pending: $100.00")
    accessible_at_both_widths(dana.page)
    story.sandbox.add_webhook_endpoint(story.webhook_address, secret=story.webhook_secret)
    story.sandbox.refund(str(story.attempts(number)[-1].intent_id))
    story.sandbox.deliver_webhooks()
    follow_hints(story.parts)
    dana.page.reload()
    expect(dana.page.get_by_text("refund pending")).to_have_count(0)
    expect(dana.page.locator("h1 + .tag")).to_have_text("Void")
    expect(dana.page.get_by_role("row", name=re.compile("Net paid"))).to_contain_text("$0.00")
    assert broken_invariants(story.parts.database) == []


@pytest.mark.promise("O13")
def test_an_invoice_paid_in_cash_asks_how_that_goes_back(story: Story, someone: Someone) -> None:
    number = story.invoice()
    story.change(lambda session: make_payment(session, story.invoice_row(number), 40_00, "cash"))
    dana = someone("dana@example.com")
    views_payments(dana, number)
    dana.page.get_by_role("link", name="Void this invoice").click()
    dana.page.get_by_label("How is $40.00 of payment R-20001 given back?").select_option("E-transfer")
    dana.page.get_by_label("Reason").fill("The visit did not take place.")
    accessible_at_both_widths(dana.page)
    dana.page.get_by_role("button", name=f"Void invoice {number}").click()
    dana.is_told("Nothing is owed on it any more.")
    assert [(p.nature, p.kind, p.amount_cents) for p in story.payments(number)] == [
        ("payment", "cash", 40_00),
        ("refund", "e-transfer", -40_00),
    ]
    assert broken_invariants(story.parts.database) == []


@pytest.mark.promise("O13")
def test_voiding_cancels_a_payment_that_is_under_way(story: Story, someone: Someone) -> None:
    number = story.invoice()
    maya, dana = someone("maya@example.com"), someone("dana@example.com")
    maya.pays(number, ASKS_FOR_3D_SECURE)
    story.wait_for_state(number, "requires_action")
    dana.go(f"/office/invoices/{number}/void")
    expect(dana.page.get_by_text("Somebody is paying this invoice just now.")).to_be_visible()
    dana.page.get_by_label("Reason").fill("Wrong patient.")
    dana.page.get_by_role("button", name=f"Void invoice {number}").click()
    dana.is_told("Nothing is owed on it any more.")
    assert story.captured() == 0
    assert story.sandbox.objects("payment_intent")[0]["status"] == "canceled"


@pytest.mark.promise("O16")
def test_a_refund_in_the_product_after_the_password(story: Story, someone: Someone) -> None:
    number = paid_online(story, someone)
    ines = someone("ines@example.com")

    def long_ago(session: Session) -> None:
        session.execute(update(SignIn).values(confirmed_at=now() - timedelta(minutes=6)))

    views_payments(ines, number)
    ines.page.get_by_role("link", name=re.compile("^Refund")).click()
    expect(ines.page.get_by_label("Amount")).to_have_value("100.00")
    accessible_at_both_widths(ines.page)
    story.change(long_ago)
    ines.page.get_by_label("Amount").fill("30.00")
    ines.page.get_by_label("Reason").fill("Half of the time was missing.")
    ines.page.get_by_role("button", name="Refund to Visa ending 4242").click()
    expect(ines.page.get_by_role("heading", level=1)).to_have_text("Your password again, please")
    assert story.sandbox.objects("refund") == []
    ines.page.get_by_role("textbox", name="Password").fill(PASSWORD)
    ines.page.get_by_role("button", name="Continue").click()
    ines.is_told("$30.00 is on its way back to Visa ending 4242.")
    expect(ines.page.get_by_role("row", name=re.compile("Refund of R-20001"))).to_contain_text("−$30.00")
    expect(ines.page.get_by_text("Refunded, no longer owed.")).to_be_visible()
    accessible_at_both_widths(ines.page)
    assert [one["amount"] for one in story.sandbox.objects("refund")] == [30_00]
    assert story.balance(number) == 0
    assert broken_invariants(story.parts.database) == []


@pytest.mark.promise("O16")
def test_a_refund_that_the_card_company_sent_back_is_given_in_cash(
    story: Story, someone: Someone, new_page: Pages
) -> None:
    number = paid_online(story, someone)
    refund = story.sandbox.refund(str(story.attempts(number)[-1].intent_id))
    ines = someone("ines@example.com")
    views_payments(ines, number)
    ines.page.get_by_role("button", name="Ask Stripe now").click()
    ines.is_told("Stripe was asked just now.")
    story.sandbox.fail_refund(refund["id"])
    ines.page.get_by_role("button", name="Ask Stripe now").click()
    expect(ines.page.get_by_role("heading", name="A refund of $100.00 has failed")).to_be_visible()
    accessible_at_both_widths(ines.page)
    ines.page.get_by_role("link", name="Give it back another way").click()
    expect(ines.page.get_by_role("heading", name="The card company sent the refund back")).to_be_visible()
    expect(ines.page.get_by_label("Amount")).to_have_value("100.00")
    accessible_at_both_widths(ines.page)
    ines.page.get_by_label("Reason").fill("The card is closed.")
    ines.page.get_by_label("Amount").fill("100.01")
    ines.page.locator("label[for=kind-cash]").click()
    new_page.expect_console("422")
    ines.page.get_by_role("button", name="Give it back").click()
    expect(ines.page.get_by_role("alert")).to_contain_text("At most $100.00 of payment R-20001 can still go back.")
    expect(ines.page.get_by_label("Cash")).to_be_checked()
    ines.page.get_by_label("Amount").fill("100.00")
    ines.page.get_by_role("button", name="Give it back").click()
    ines.is_told("$100.00 is booked as given back.")
    expect(ines.page.get_by_text("has failed")).to_have_count(0)
    expect(ines.page.get_by_role("row", name=re.compile("^R-20002|^R-20003")).last).to_contain_text("Cash")
    expect(ines.page.get_by_role("row", name=re.compile("Net paid"))).to_contain_text("$0.00")
    accessible_at_both_widths(ines.page)
    assert story.balance(number) == 0
    assert [one["status"] for one in story.sandbox.objects("refund")] == ["failed"]
    assert broken_invariants(story.parts.database) == []


@pytest.mark.promise("O16", "G4")
def test_a_refund_in_the_dashboard_is_found_and_confirmed(story: Story, someone: Someone) -> None:
    number = paid_online(story, someone)
    story.sandbox.refund(str(story.attempts(number)[-1].intent_id), 30_00)
    with shifted(timedelta(minutes=11)):
        assert sweep_refunds(story.parts) == 1
    dana = someone("dana@example.com")
    views_payments(dana, number)
    dana.is_told("Refunded in Stripe: $30.00")
    accessible_at_both_widths(dana.page)
    dana.page.get_by_role("button", name="No, it is still owed").click()
    dana.is_told("Noted.")
    assert story.balance(number) == 30_00
    assert broken_invariants(story.parts.database) == []


def test_a_credit_and_a_write_off(story: Story, someone: Someone) -> None:
    number = story.invoice()
    dana = someone("dana@example.com")
    views_payments(dana, number)
    dana.page.get_by_role("link", name="Credit or write off").click()
    accessible_at_both_widths(dana.page)
    dana.page.locator("label[for=what-write-off]").click()
    dana.page.get_by_label("Amount, CA$").fill("100")
    dana.page.get_by_label("Reason").fill("Moved abroad.")
    dana.page.get_by_role("button", name="Record the change").click()
    expect(dana.page.get_by_text("Written off: Moved abroad.")).to_be_visible()
    assert story.balance(number) == 0
