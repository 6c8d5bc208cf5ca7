"""Dana receives payments at the desk, in a real browser, through the card fields of the sandbox."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from tests.e2e.conftest import ASKS_FOR_3D_SECURE, DEBIT_MASTERCARD, MASTERCARD, NO_MONEY, VISA, Person, Story
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]
SVEN = "Sven Lindqvist, pays for them"


class Clerk:
    """Somebody at the desk's browser."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.page = person.page

    def opens(self, number: str) -> None:
        self.person.go(f"/office/invoices/{number}/receive")
        self.fields_are_ready()

    def fields_are_ready(self) -> None:
        self.person.ready()

    def chooses(self, label: str, words: str) -> None:
        self.page.get_by_label(label, exact=True).select_option(label=words)

    def types_amount(self, amount: str) -> None:
        self.page.get_by_label(re.compile("^Amount")).fill(amount)

    def processes(self) -> None:
        self.page.get_by_role("button", name="Process Credit Card").click()

    def charges(self, card: str, *, keeps: bool = False) -> None:
        """A new card, typed on the page that is open; kept where the payer says yes."""
        self.person.types_card(card)
        if keeps:
            self.page.get_by_label("Save card").check()
        self.processes()

    def records(self) -> None:
        self.page.get_by_role("button", name=re.compile("Record payment")).click()

    def sees_received(self, amount: str) -> None:
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Payment received")
        expect(self.page.locator(".list").first).to_contain_text(amount)

    def charges_sven_who_keeps_the_card(self, number: str) -> None:
        """An invoice of Theo's, whose second payer Sven is."""
        self.opens(number)
        self.chooses("Payer", SVEN)
        expect(self.page.get_by_label("Name on the card")).to_have_value("Sven Lindqvist")
        self.charges(VISA, keeps=True)
        self.sees_received("$100.00")

    def is_told(self, text: str) -> None:
        self.person.is_told(text)


@pytest.fixture
def dana(someone: Someone) -> Clerk:
    return Clerk(someone("dana@example.com"))


@pytest.mark.promise("O8", "O15")
def test_dana_charges_a_new_card_and_the_payer_keeps_it(story: Story, dana: Clerk) -> None:
    first, second = story.invoice(), story.invoice()
    dana.opens(first)
    assert_accessible(dana.page)
    expect(dana.page.locator("main")).to_contain_text("Card readers are not supported. For Interac, use your own")
    expect(dana.page.get_by_label("Gateway")).to_have_value("process")
    dana.charges(VISA, keeps=True)
    dana.sees_received("$100.00")
    assert_accessible(dana.page)

    dana.opens(second)
    expect(dana.page.get_by_label("Visa ending 4242")).to_be_checked()
    expect(dana.page.get_by_text("saved by Dana Whitlock")).to_be_visible()
    assert_accessible(dana.page)
    dana.processes()
    dana.sees_received("$100.00")
    assert story.captured() == 200_00
    story.check_the_books()


@pytest.mark.promise("O10")
def test_a_debit_mastercard_is_refused_at_the_desk_before_money_moves(
    story: Story, dana: Clerk, new_page: Pages
) -> None:
    number = story.invoice()
    new_page.expect_console("422")
    dana.opens(number)
    dana.charges(DEBIT_MASTERCARD)
    dana.is_told("This debit card is not accepted. Nothing was charged.")
    dana.is_told("the only debit card that the gateway takes is Visa Debit")
    assert story.sandbox.charges() == []
    dana.charges(MASTERCARD)
    dana.sees_received("$100.00")
    story.check_the_books()


@pytest.mark.promise("O8")
def test_a_3d_secure_challenge_shows_on_the_desks_screen(story: Story, dana: Clerk) -> None:
    number = story.invoice()
    dana.opens(number)
    dana.charges(ASKS_FOR_3D_SECURE)
    dana.person.satisfies_the_bank()
    dana.sees_received("$100.00")
    (payment,) = story.payments(number)
    assert (payment.channel, payment.recorded_by) == ("desk", story.cast.clerk.id)
    story.check_the_books()


@pytest.mark.promise("O8")
def test_after_a_reload_the_banks_question_is_taken_up_again_at_the_desk(story: Story, dana: Clerk) -> None:
    number = story.invoice()
    dana.opens(number)
    dana.charges(ASKS_FOR_3D_SECURE)
    dana.person.sees_the_banks_question()
    dana.opens(number)
    assert_accessible(dana.page)
    dana.page.get_by_role("button", name="Continue with the bank").click()
    dana.person.satisfies_the_bank()
    dana.sees_received("$100.00")
    assert len(story.attempts(number)) == 1
    story.check_the_books()


@pytest.mark.promise("O8")
def test_an_absent_payers_bank_is_not_asked_and_the_desk_is_told(story: Story, dana: Clerk) -> None:
    first, second = story.invoice(), story.invoice()
    dana.opens(first)
    dana.charges(ASKS_FOR_3D_SECURE, keeps=True)
    dana.person.satisfies_the_bank()
    dana.sees_received("$100.00")

    dana.opens(second)
    dana.page.get_by_label("The payer is not here").check()
    dana.processes()
    dana.is_told("The bank wants the payer to confirm this payment. Nothing was charged.")
    dana.is_told("they can pay it in the portal")
    assert_accessible(dana.page)
    assert dana.person.challenge.get_by_role("button").count() == 0
    assert story.balance(second) == 100_00
    dana.page.get_by_label("The payer is not here").uncheck()
    dana.processes()
    dana.person.satisfies_the_bank()
    dana.sees_received("$100.00")
    story.check_the_books()


@pytest.mark.promise("O8")
def test_an_absent_payers_ordinary_card_is_charged(story: Story, dana: Clerk) -> None:
    first, second = story.invoice(), story.invoice()
    dana.opens(first)
    dana.charges(VISA, keeps=True)
    dana.sees_received("$100.00")
    dana.opens(second)
    dana.page.get_by_label("The payer is not here").check()
    dana.processes()
    dana.sees_received("$100.00")
    story.check_the_books()


@pytest.mark.promise("O8")
def test_a_declined_card_says_why_and_cash_goes_on_from_there(story: Story, dana: Clerk) -> None:
    number = story.invoice()
    dana.opens(number)
    dana.charges(NO_MONEY)
    dana.is_told("The bank said no to this card. Nothing was charged.")
    assert_accessible(dana.page)
    dana.chooses("Paid by", "Cash")
    dana.records()
    dana.sees_received("$100.00")
    assert [(one.kind, one.amount_cents) for one in story.payments(number)] == [("cash", 100_00)]
    assert [one.state for one in story.attempts(number)] == ["canceled"]
    assert story.captured() == 0
    story.check_the_books()


@pytest.mark.promise("O8")
def test_a_part_in_cash_and_the_rest_by_card(story: Story, dana: Clerk) -> None:
    number = story.invoice()
    dana.opens(number)
    dana.chooses("Paid by", "Cash")
    expect(dana.page.get_by_label("Gateway")).to_be_hidden()
    dana.types_amount("40")
    expect(dana.page.locator("#after")).to_have_text("$60.00")
    expect(dana.page.get_by_role("button", name="Record payment of $40.00")).to_be_visible()
    assert_accessible(dana.page)
    dana.records()
    dana.sees_received("$60.00")
    dana.page.get_by_role("link", name="Receive the rest").click()
    dana.fields_are_ready()
    expect(dana.page.get_by_label(re.compile("^Amount"))).to_have_value("60.00")
    dana.charges(MASTERCARD)
    dana.sees_received("$0.00")
    paid = [(one.kind, one.brand, one.amount_cents, one.channel) for one in story.payments(number)]
    assert paid == [("cash", None, 40_00, "desk"), ("card", "mastercard", 60_00, "desk")]
    assert story.balance(number) == 0
    story.check_the_books()


@pytest.mark.promise("O8")
def test_a_part_by_card_leaves_the_rest_receivable(story: Story, dana: Clerk) -> None:
    number = story.invoice()
    dana.opens(number)
    dana.types_amount("25.50")
    dana.charges(VISA)
    dana.sees_received("$74.50")
    assert story.captured() == 25_50
    assert story.balance(number) == 74_50
    story.check_the_books()


@pytest.mark.promise("O8")
def test_a_wrong_amount_is_refused_at_the_field_and_the_card_need_not_be_typed_again(
    story: Story, dana: Clerk, new_page: Pages
) -> None:
    number = story.invoice()
    new_page.expect_console("422")
    dana.opens(number)
    dana.person.types_card(VISA)
    for typed in ("0", "-5", "100.01", "abc"):
        dana.types_amount(typed)
        dana.processes()
        amount = dana.page.get_by_label(re.compile("^Amount"))
        expect(amount).to_have_attribute("aria-invalid", "true")
        expect(amount).to_have_value(typed)
        expect(dana.page.locator("#amount-error")).to_be_visible()
    assert_accessible(dana.page)
    assert story.attempts(number) == []
    dana.types_amount("30")
    dana.processes()
    dana.sees_received("$70.00")
    story.check_the_books()


@pytest.mark.promise("O8", "O9")
def test_another_payers_card_pays_and_stays_theirs(story: Story, dana: Clerk) -> None:
    number = story.invoice(patient="theo")
    dana.charges_sven_who_keeps_the_card(number)
    expect(dana.page.locator(".facts")).to_contain_text("Sven Lindqvist")

    dana.opens(story.invoice(patient="theo"))
    expect(dana.page.get_by_label("Visa ending 4242")).to_have_count(0)
    dana.page.get_by_label("Payer", exact=True).focus()
    dana.chooses("Payer", SVEN)
    expect(dana.page.get_by_label("Visa ending 4242")).to_be_checked()
    expect(dana.page.get_by_label("Payer", exact=True)).to_be_focused()
    dana.processes()
    dana.sees_received("$100.00")
    assert {one.payer_id for one in story.payments(number)} == {story.cast.second_payer.id}
    story.check_the_books()


@pytest.mark.promise("O8")
def test_someone_else_on_file_is_found_and_pays(story: Story, dana: Clerk) -> None:
    number = story.invoice()
    dana.opens(number)
    dana.person.types_card(VISA)
    dana.chooses("Payer", "Someone else on file")
    dana.page.get_by_label("Find the payer").fill("web")
    dana.page.keyboard.press("Enter")
    expect(dana.page.get_by_label("Jonas Weber")).to_be_focused()
    dana.page.keyboard.press("Space")
    expect(dana.page.get_by_label("Name on the card")).to_have_value("Jonas Weber")
    assert_accessible(dana.page)
    dana.processes()
    dana.sees_received("$100.00")
    assert [one.payer_id for one in story.payments(number)] == [story.cast.stranger.id]
    story.check_the_books()


def test_what_is_typed_while_the_page_catches_up_stays(story: Story, dana: Clerk) -> None:
    dana.opens(story.invoice())
    held: list[Route] = []
    dana.page.route("**/receive", lambda route: held.append(route))  # noqa: PLW0108  it is marked, and a method can't be
    with dana.page.expect_request("**/receive"):
        dana.chooses("Payer", "Someone else on file")
    dana.page.get_by_label("Find the payer").fill("web")
    dana.page.get_by_label("Name on the card").fill("J. Weber")
    with dana.page.expect_response("**/receive"):
        held[0].continue_()
    dana.page.wait_for_timeout(300)
    expect(dana.page.get_by_label("Find the payer")).to_have_value("web")
    expect(dana.page.get_by_label("Name on the card")).to_have_value("J. Weber")


@pytest.mark.promise("O8")
def test_do_not_process_keeps_the_books_alone(story: Story, dana: Clerk) -> None:
    number = story.invoice()
    dana.opens(number)
    dana.chooses("Paid by", "Amex")
    dana.chooses("Gateway", "Do not process")
    expect(dana.page.locator("#card-fields")).to_be_hidden()
    dana.records()
    dana.sees_received("$100.00")
    (payment,) = story.payments(number)
    assert (payment.kind, payment.brand, payment.charge_id, payment.gateway_id) == ("card", "amex", None, None)
    assert story.sandbox.objects("payment_intent") == []
    story.check_the_books()


@pytest.mark.promise("O8")
def test_closing_without_paying_leaves_the_invoice_receivable(story: Story, dana: Clerk) -> None:
    number = story.invoice()
    dana.opens(number)
    dana.person.types_card(VISA)
    dana.page.get_by_role("link", name="Close without paying", exact=True).click()
    dana.page.wait_for_url(re.compile(r"/office/invoices(/\d+)?$"))
    assert story.balance(number) == 100_00
    assert story.attempts(number) == []
    story.check_the_books()


@pytest.mark.promise("O8", "G1")
def test_a_patient_who_is_paying_is_seen_and_taken_over_knowingly(
    story: Story, dana: Clerk, maya: Person, new_page: Pages
) -> None:
    number = story.invoice()
    maya.pays(number, ASKS_FOR_3D_SECURE)
    maya.sees_the_banks_question()
    new_page.expect_console("422")
    dana.opens(number)
    expect(dana.page.get_by_role("heading", name="Somebody is paying this invoice right now")).to_be_visible()
    assert_accessible(dana.page)
    dana.charges(VISA)
    expect(dana.page.locator("#take-over-error")).to_be_visible()
    assert story.captured() == 0
    dana.page.get_by_label("Take the payment here all the same").check()
    dana.processes()
    dana.sees_received("$100.00")
    assert [one.state for one in story.attempts(number)] == ["canceled", "succeeded"]
    assert story.captured() == 100_00
    story.check_the_books()


@pytest.mark.promise("O8", "G1")
def test_cash_taken_while_a_card_is_being_checked_opens_a_case_by_itself(
    story: Story, dana: Clerk, maya: Person
) -> None:
    number = story.invoice()
    story.sandbox.fault("payment_intents.confirm", "latency", latency_s=6.0)
    maya.opens_pay_page(number)
    maya.pays_here(VISA)
    story.wait_for_state(number, "confirming")
    dana.opens(number)
    dana.chooses("Paid by", "Cash")
    expect(dana.page.get_by_role("heading", name="A card payment of CA$100.00 is being checked")).to_be_visible()
    dana.page.get_by_label("Take the payment here all the same").check()
    dana.records()
    dana.sees_received("$0.00")
    maya.sees_receipt()
    assert story.balance(number) == -100_00
    story.check_the_books()


@pytest.mark.promise("O8", "G1", "G2")
def test_a_lost_answer_at_the_desk_says_that_we_are_checking_and_settles_by_itself(story: Story, dana: Clerk) -> None:
    number = story.invoice()
    dana.opens(number)
    story.sandbox.fault("payment_intents.confirm", "lost_after")
    dana.charges(VISA)
    expect(dana.page.get_by_role("heading", level=1)).to_have_text("We are checking the payment")
    assert_accessible(dana.page)
    dana.sees_received("$100.00")
    assert story.captured() == 100_00
    story.check_the_books()


@pytest.mark.promise("O8", "G1")
def test_a_double_click_at_the_desk_takes_the_payment_once(story: Story, dana: Clerk) -> None:
    by_card, in_cash = story.invoice(), story.invoice()
    dana.opens(by_card)
    dana.types_amount("50")
    dana.person.types_card(VISA)
    dana.page.get_by_role("button", name="Process Credit Card").dblclick()
    dana.sees_received("$50.00")
    dana.opens(in_cash)
    dana.types_amount("50")
    dana.chooses("Paid by", "Cash")
    dana.page.get_by_role("button", name=re.compile("Record payment")).dblclick()
    dana.sees_received("$50.00")
    assert story.captured() == 50_00
    assert [one.amount_cents for one in story.payments(in_cash)] == [50_00]
    story.check_the_books()


@pytest.mark.promise("O8")
def test_without_a_gateway_the_page_says_why_and_takes_cash(story: Story, dana: Clerk) -> None:
    number = story.invoice()
    story.change_gateway(status="inactive")
    dana.person.go(f"/office/invoices/{number}/receive")
    expect(dana.page.get_by_text("Alder Lane has no active gateway. No card can be processed.")).to_be_attached()
    expect(dana.page.get_by_label("Paid by")).to_have_value("cash")
    dana.chooses("Paid by", "Visa")
    expect(dana.page.get_by_text("Alder Lane has no active gateway. No card can be processed.")).to_be_visible()
    assert_accessible(dana.page)
    dana.chooses("Paid by", "Cheque")
    dana.page.get_by_label("Reference").fill("Cheque 114")
    dana.records()
    dana.sees_received("$100.00")
    assert [(one.kind, one.note) for one in story.payments(number)] == [("cheque", "Cheque 114")]
    story.check_the_books()


@pytest.mark.promise("O8")
def test_without_javascript_a_saved_card_of_another_payer_pays(
    story: Story, dana: Clerk, someone: Someone, new_page: Pages
) -> None:
    dana.charges_sven_who_keeps_the_card(story.invoice(patient="theo"))
    number = story.invoice(patient="theo")
    plain = Clerk(someone("dana@example.com", javascript=False))
    plain.person.go(f"/office/invoices/{number}/receive")
    plain.chooses("Payer", SVEN)
    plain.types_amount("80")
    plain.page.get_by_role("button", name="Show this payer's cards").click()
    expect(plain.page.get_by_label("Visa ending 4242")).to_be_checked()
    expect(plain.page.get_by_label(re.compile("^Amount"))).to_have_value("80")
    plain.processes()
    plain.sees_received("$20.00")
    story.check_the_books()


@pytest.mark.promise("O8")
@pytest.mark.parametrize("dark", [False, True])
def test_the_desk_works_on_a_small_screen(story: Story, someone: Someone, dark: bool) -> None:
    number = story.invoice()
    dana = Clerk(someone("dana@example.com", width=320, height=640, dark=dark))
    dana.opens(number)
    assert dana.page.evaluate("document.documentElement.scrollWidth") <= 320
    assert_accessible(dana.page)
    dana.chooses("Paid by", "E-transfer")
    dana.records()
    dana.sees_received("$100.00")
    assert dana.page.evaluate("document.documentElement.scrollWidth") <= 320
    assert_accessible(dana.page)
    story.check_the_books()
