"""Dana receives payments at the desk, in a real browser, through the card fields of the sandbox."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import DEBIT_MASTERCARD, MASTERCARD, VISA, Person, Story
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]


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

    def records(self) -> None:
        self.page.get_by_role("button", name=re.compile("Record payment")).click()

    def sees_received(self, amount: str) -> None:
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Payment received")
        expect(self.page.locator(".list").first).to_contain_text(amount)

    def is_told(self, text: str) -> None:
        self.person.is_told(text)


@pytest.fixture
def dana(someone: Someone) -> Clerk:
    return Clerk(someone("dana@example.com"))


@pytest.mark.promise("O8")
def test_dana_charges_a_new_card_and_the_payer_keeps_it(story: Story, dana: Clerk) -> None:
    first, second = story.invoice(), story.invoice()
    dana.opens(first)
    assert_accessible(dana.page)
    expect(dana.page.get_by_label("Gateway")).to_have_value("process")
    dana.person.types_card(VISA)
    dana.page.get_by_label("Save card").check()
    dana.processes()
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
    dana.person.types_card(DEBIT_MASTERCARD)
    dana.processes()
    dana.is_told("This debit card is not accepted. Nothing was charged.")
    dana.is_told("the only debit card that the gateway takes is Visa Debit")
    assert story.sandbox.charges() == []
    dana.person.types_card(MASTERCARD)
    dana.processes()
    dana.sees_received("$100.00")
    story.check_the_books()
