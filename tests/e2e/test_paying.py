"""A patient pays an invoice, in a real browser, through the card fields of the sandbox."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from portal.invoices.books import adjust, void_invoice
from tests.e2e.conftest import (
    ASKS_FOR_3D_SECURE,
    DEBIT_MASTERCARD,
    DECLINED,
    MASTERCARD,
    NO_MONEY,
    PASSWORD,
    VISA,
    VISA_DEBIT,
    Person,
    Story,
)
from tests.makers import GST, PST, make_payment
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]


def pays_and_keeps_the_card(maya: Person, number: str) -> None:
    maya.opens_pay_page(number)
    maya.types_card(VISA)
    maya.page.get_by_label("Keep this card for next time").check()
    maya.presses_pay()
    maya.sees_receipt()


@pytest.mark.promise("P2", "P3", "P4")
def test_maya_opens_her_invoice_and_pays_it_with_a_new_card(story: Story, maya: Person) -> None:
    number = story.invoice(
        ("Massage therapy, 60 minutes", 1, 120_00, (GST,)), ("Lumbar support cushion", 1, 48_00, (GST, PST))
    )
    maya.go("/invoices")
    maya.page.get_by_role("link", name=f"Invoice {number}", exact=True).click()
    expect(maya.page.get_by_role("row", name=re.compile("GST"))).not_to_have_count(0)
    expect(maya.page.get_by_role("row", name=re.compile("PST 7%"))).to_contain_text("$3.36")
    maya.page.get_by_role("link", name="Pay this invoice").click()
    maya.ready()
    assert_accessible(maya.page)
    maya.pays_here(VISA)
    maya.sees_receipt("179.76")
    assert_accessible(maya.page)
    assert story.captured() == 179_76
    assert story.balance(number) == 0
    story.check_the_books()


@pytest.mark.promise("P3")
def test_a_3d_secure_card_pays_once_the_bank_is_satisfied(story: Story, maya: Person) -> None:
    number = story.invoice()
    maya.pays(number, ASKS_FOR_3D_SECURE)
    maya.satisfies_the_bank()
    maya.sees_receipt()
    story.check_the_books()


@pytest.mark.promise("P3", "P5")
def test_after_a_failed_3d_secure_the_same_form_pays_with_another_card(story: Story, maya: Person) -> None:
    number = story.invoice()
    maya.pays(number, ASKS_FOR_3D_SECURE)
    maya.fails_the_bank()
    maya.is_told("Your bank could not confirm that it is you. You have not been charged.")
    assert story.captured() == 0
    maya.pays_here(VISA)
    maya.sees_receipt()
    assert len(story.attempts(number)) == 1
    story.check_the_books()


@pytest.mark.promise("P5")
def test_a_declined_card_says_why_and_the_next_card_works(story: Story, maya: Person) -> None:
    number = story.invoice()
    maya.pays(number, NO_MONEY)
    maya.is_told("Your bank said no to this card. You have not been charged.")
    maya.is_told("There was not enough money or credit on the card.")
    assert_accessible(maya.page)
    assert story.captured() == 0
    maya.pays_here(MASTERCARD)
    maya.sees_receipt()
    assert [payment.brand for payment in story.payments(number)] == ["mastercard"]
    story.check_the_books()


@pytest.mark.promise("P5")
def test_after_a_decline_a_reload_goes_on_with_the_same_attempt(story: Story, maya: Person) -> None:
    number = story.invoice()
    maya.pays(number, DECLINED)
    maya.is_told("Your bank said no to this card.")
    maya.pays(number, VISA)
    maya.sees_receipt()
    assert len(story.attempts(number)) == 1
    story.check_the_books()


@pytest.mark.promise("O10")
def test_a_debit_mastercard_is_refused_before_any_money_moves(story: Story, maya: Person, new_page: Pages) -> None:
    number = story.invoice()
    new_page.expect_console("422")
    maya.pays(number, DEBIT_MASTERCARD)
    maya.is_told("the only debit card we can take online is Visa Debit")
    maya.is_told("You have not been charged.")
    assert_accessible(maya.page)
    assert story.sandbox.charges() == []
    maya.pays_here(VISA_DEBIT)
    maya.sees_receipt()
    assert [(p.brand, p.funding) for p in story.payments(number)] == [("visa", "debit")]
    story.check_the_books()


@pytest.mark.promise("P3", "P8")
def test_maya_keeps_a_card_pays_the_next_invoice_with_it_and_removes_it(story: Story, maya: Person) -> None:
    first, second = story.invoice(), story.invoice()
    pays_and_keeps_the_card(maya, first)

    maya.opens_pay_page(second)
    expect(maya.page.get_by_label("Visa ending 4242")).to_be_checked()
    assert_accessible(maya.page)
    maya.presses_pay()
    maya.sees_receipt()

    maya.go("/cards")
    assert_accessible(maya.page)
    expect(maya.page.get_by_role("heading", name="Visa ending 4242")).to_be_visible()
    maya.page.get_by_role("button", name=re.compile("Remove")).click()
    expect(maya.page.get_by_role("heading", name="Visa ending 4242")).to_have_count(0)
    assert all(method["customer"] is None for method in story.sandbox.objects("payment_method"))
    story.check_the_books()


@pytest.mark.promise("P3", "G1")
def test_a_double_click_charges_once(story: Story, maya: Person) -> None:
    number = story.invoice()
    maya.opens_pay_page(number)
    maya.types_card(VISA)
    maya.page.get_by_role("button", name="Pay CA$").dblclick()
    maya.sees_receipt()
    assert story.captured() == 100_00
    story.check_the_books()


@pytest.mark.promise("P3", "P5", "G1", "G2")
def test_a_reload_while_paying_says_that_we_are_checking_and_ends_at_the_receipt(story: Story, maya: Person) -> None:
    number = story.invoice()
    story.sandbox.fault("payment_intents.confirm", "latency", latency_s=2.0)
    maya.opens_pay_page(number)
    maya.pays_here(VISA)
    story.wait_for_state(number, "confirming")
    maya.go(f"/invoices/{number}/pay")
    expect(maya.page.get_by_role("heading", level=1)).to_have_text("We are checking your payment")
    assert_accessible(maya.page)
    maya.page.wait_for_url(re.compile("/receipts/"))
    maya.sees_receipt()
    assert story.captured() == 100_00
    story.check_the_books()


@pytest.mark.promise("P3")
def test_going_back_after_paying_offers_no_second_payment(story: Story, maya: Person, new_page: Pages) -> None:
    number = story.invoice()
    maya.pays(number)
    maya.sees_receipt()
    new_page.expect_console("409")
    maya.page.go_back()
    expect(maya.page.get_by_role("heading", level=1)).to_contain_text("This invoice is paid")
    expect(maya.page.get_by_role("button", name="Pay CA$")).to_have_count(0)
    assert story.captured() == 100_00


@pytest.mark.promise("P3", "G1")
def test_two_tabs_charge_once(story: Story, maya: Person, new_page: Pages) -> None:
    number = story.invoice()
    tab = maya.another_tab()
    for person in (maya, tab):
        person.opens_pay_page(number)
        person.types_card(VISA)
    maya.presses_pay()
    maya.sees_receipt()
    new_page.expect_console("409")
    tab.presses_pay()
    expect(tab.page.get_by_role("heading", level=1)).to_contain_text("This invoice is paid")
    assert story.captured() == 100_00
    story.check_the_books()


@pytest.mark.promise("P3")
def test_an_amount_that_changed_while_the_page_was_open_is_never_charged(
    story: Story, maya: Person, new_page: Pages
) -> None:
    number = story.invoice()
    maya.opens_pay_page(number)
    invoice = story.invoice_row(number)
    story.change(lambda session: adjust(session, invoice.id, -40_00, "Insurance paid its part", None))
    maya.types_card(VISA)
    new_page.expect_console("409")
    maya.presses_pay()
    maya.is_told("The amount has changed. You have not been charged.")
    expect(maya.page.locator(".sum")).to_contain_text("60.00")
    assert story.captured() == 0
    maya.ready()
    maya.pays_here(VISA)
    maya.sees_receipt("60.00")
    story.check_the_books()


@pytest.mark.promise("P3", "P5")
def test_an_abandoned_3d_secure_blocks_nobody(story: Story, someone: Someone, maya: Person) -> None:
    number = story.invoice(patient="theo")
    maya.pays(number, ASKS_FOR_3D_SECURE)
    maya.sees_the_banks_question()
    maya.page.close()
    sven = someone("sven@example.com")
    sven.pays(number)
    sven.sees_receipt()
    assert story.captured() == 100_00
    assert [attempt.state for attempt in story.attempts(number)] == ["canceled", "succeeded"]
    story.check_the_books()


@pytest.mark.promise("P3")
def test_after_a_reload_the_banks_question_can_be_taken_up_again(story: Story, maya: Person) -> None:
    number = story.invoice()
    maya.pays(number, ASKS_FOR_3D_SECURE)
    maya.sees_the_banks_question()
    maya.opens_pay_page(number)
    assert_accessible(maya.page)
    maya.page.get_by_role("button", name="Continue with your bank").click()
    maya.satisfies_the_bank()
    maya.sees_receipt()
    assert len(story.attempts(number)) == 1
    story.check_the_books()


@pytest.mark.promise("P3")
def test_a_void_made_while_the_page_was_open_stops_the_payment(story: Story, maya: Person, new_page: Pages) -> None:
    number = story.invoice()
    maya.opens_pay_page(number)
    invoice = story.invoice_row(number)
    story.change(lambda session: void_invoice(session, invoice.id, "Entered twice"))
    maya.types_card(VISA)
    new_page.expect_console("409")
    maya.presses_pay()
    expect(maya.page.get_by_role("heading", level=1)).to_contain_text("This invoice is void")
    assert story.captured() == 0


@pytest.mark.promise("O4")
@pytest.mark.parametrize("switch", ["accept_payments_in_portal", "module_payment_gateways", "gateway", "default"])
def test_any_one_switch_takes_the_button_away_and_the_route_refuses(
    story: Story, maya: Person, new_page: Pages, switch: str
) -> None:
    number = story.invoice()
    maya.opens_pay_page(number)
    maya.types_card(VISA)
    match switch:
        case "gateway":
            story.change_gateway(status="inactive")
        case "default":
            story.change_gateway(is_default=False)
        case _:
            story.setting(switch, "no")
    new_page.expect_console("409")
    maya.presses_pay()
    expect(maya.page.get_by_role("heading", level=1)).to_contain_text("isn't taking payments online")
    expect(maya.page.locator("main")).to_contain_text("250-555-0142")
    assert_accessible(maya.page)
    maya.go(f"/invoices/{number}")
    expect(maya.page.get_by_role("link", name="Pay this invoice")).to_have_count(0)
    expect(maya.page.locator("main")).to_contain_text("isn't taking payments online")
    assert story.captured() == 0


@pytest.mark.promise("P5", "G1", "G2")
def test_a_lost_answer_says_that_we_are_checking_and_settles_by_itself(story: Story, maya: Person) -> None:
    number = story.invoice()
    maya.opens_pay_page(number)
    story.sandbox.fault("payment_intents.confirm", "lost_after")
    maya.pays_here(VISA)
    maya.page.wait_for_url(re.compile("/receipts/"))
    maya.sees_receipt()
    assert story.captured() == 100_00
    story.check_the_books()


@pytest.mark.promise("P5")
def test_when_stripe_is_away_the_page_says_so_and_keeps_what_was_typed(
    story: Story, maya: Person, new_page: Pages
) -> None:
    number = story.invoice()
    maya.opens_pay_page(number)
    maya.page.get_by_label("Name on the card").fill("M. Lindqvist")
    story.sandbox.fault("payment_intents.create", "lost_before")
    maya.types_card(VISA)
    new_page.expect_console("503")
    maya.presses_pay()
    maya.is_told("We can't reach the card processor just now")
    expect(maya.page.get_by_label("Name on the card")).to_have_value("M. Lindqvist")
    maya.presses_pay()
    maya.sees_receipt()
    assert story.captured() == 100_00
    story.check_the_books()


@pytest.mark.promise("P3")
def test_missing_card_details_are_named_above_and_beside_the_fields(story: Story, maya: Person) -> None:
    number = story.invoice()
    maya.opens_pay_page(number)
    maya.page.get_by_label("Name on the card").fill("")
    maya.presses_pay()
    summary = maya.page.locator(".note.bad")
    expect(summary).to_be_focused()
    expect(summary.get_by_role("link", name="Enter the name as it is on the card")).to_be_visible()
    expect(maya.page.get_by_label("Name on the card")).to_have_attribute("aria-invalid", "true")
    assert_accessible(maya.page)
    assert story.attempts(number) == []


@pytest.mark.promise("P3")
def test_maya_pays_by_keyboard_alone_on_a_small_phone(story: Story, someone: Someone) -> None:
    number = story.invoice()
    maya = someone(width=320, height=640)
    maya.go("/invoices")
    wide = maya.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 320
    maya.page.get_by_role("link", name=re.compile(f"Pay.*{number}")).focus()
    maya.page.keyboard.press("Enter")
    maya.ready()
    assert maya.page.evaluate("document.documentElement.scrollWidth") <= 320
    maya.page.locator("h1").click()
    for _ in range(12):
        maya.page.keyboard.press("Tab")
        if maya.page.evaluate("document.activeElement.tagName") == "IFRAME":
            break
    maya.page.keyboard.type(VISA)
    maya.page.keyboard.press("Tab")
    maya.page.keyboard.type("1234")
    maya.page.keyboard.press("Tab")
    maya.page.keyboard.type("123")
    for _ in range(8):
        maya.page.keyboard.press("Tab")
        if maya.page.evaluate("document.activeElement.classList.contains('big')"):
            break
    maya.page.keyboard.press("Enter")
    maya.sees_receipt()
    assert maya.page.evaluate("document.documentElement.scrollWidth") <= 320
    story.check_the_books()


@pytest.mark.promise("P3")
def test_without_javascript_a_sentence_says_what_to_do(story: Story, someone: Someone, new_page: Pages) -> None:
    number = story.invoice()
    new_page.expect_console("422")
    maya = someone(javascript=False)
    maya.go(f"/invoices/{number}/pay")
    expect(maya.page.locator("noscript, main").filter(has_text="They need JavaScript").first).to_be_attached()
    maya.presses_pay()
    expect(maya.page.locator("main")).to_contain_text("You have not been charged")
    assert story.attempts(number) == []


@pytest.mark.promise("P8")
def test_without_javascript_a_saved_card_pays(story: Story, maya: Person, someone: Someone) -> None:
    first, second = story.invoice(), story.invoice()
    pays_and_keeps_the_card(maya, first)
    again = someone(javascript=False)
    again.go(f"/invoices/{second}/pay")
    again.presses_pay()
    again.sees_receipt()
    story.check_the_books()


@pytest.mark.promise("O4")
def test_a_desk_payment_made_meanwhile_leaves_nothing_to_charge(story: Story, maya: Person, new_page: Pages) -> None:
    number = story.invoice()
    maya.opens_pay_page(number)
    invoice = story.invoice_row(number)
    story.change(lambda session: make_payment(session, session.merge(invoice), 100_00, kind="cash"))
    maya.types_card(VISA)
    new_page.expect_console("409")
    maya.presses_pay()
    expect(maya.page.get_by_role("heading", level=1)).to_contain_text("This invoice is paid")
    assert story.captured() == 0


@pytest.mark.promise("P3")
def test_who_was_signed_out_while_typing_signs_in_and_is_back(story: Story, maya: Person, new_page: Pages) -> None:
    number = story.invoice()
    maya.opens_pay_page(number)
    maya.types_card(VISA)
    maya.page.context.clear_cookies(name="portal")
    new_page.expect_console("40")
    maya.presses_pay()
    maya.page.get_by_label("Password").wait_for()
    maya.page.get_by_label("Email").fill("maya@example.com")
    maya.page.get_by_label("Password").fill(PASSWORD)
    maya.page.get_by_role("button", name="Sign in").click()
    expect(maya.page.get_by_role("heading", level=1)).to_contain_text(number)
    assert story.captured() == 0
