"""An administrator sets a payment gateway up, from the keys to the first payment; each wrong key is named."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from sqlalchemy import func, select

from portal.gateway.configured import ConfiguredGateway
from portal.invoices.tables import Invoice
from portal.payments.tables import Payment, PaymentAttempt
from portal.sandbox.accounts import Account
from tests.e2e.conftest import ASKS_FOR_3D_SECURE, DEBIT_MASTERCARD, DECLINED, Person, Story
from tests.e2e.test_office_settings import MARC, everything_off, opens_settings, saves
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]


def fills_in(marc: Person, account: Account, **changes: str) -> None:
    """The form of a new gateway, with the account's test keys."""
    page = marc.page
    page.get_by_label("Clinic location").select_option(label=changes.get("location", "All locations"))
    page.get_by_label("Name", exact=True).fill(changes.get("name", "Card payment"))
    page.get_by_label("Mode").select_option(label=changes.get("mode", "Test"))
    page.get_by_label("Status").select_option(label="Active")
    page.get_by_label("Default").check()
    page.get_by_label("Token").fill(changes.get("token", account.test_publishable_key))
    page.get_by_label("Secret", exact=True).fill(changes.get("secret", account.test_secret_key))


def tries_and_saves(marc: Person) -> None:
    marc.page.get_by_role("button", name="Test the keys and save").click()


@pytest.mark.promise("O1", "O2", "O3", "O4")
@pytest.mark.parametrize("width", [1280, 320])
def test_marc_sets_everything_up_and_maya_pays_through_the_new_gateway(
    story: Story, someone: Someone, maya: Person, width: int
) -> None:
    everything_off(story)
    story.change_gateway(is_default=False, status="inactive")
    number, account = story.invoice(), story.sandbox.add_account("Alder Lane Clinic")
    marc = someone(MARC, width=width)
    opens_settings(marc, "Payment Gateways")
    assert_accessible(marc.page)
    marc.page.get_by_role("link", name="New Payment Gateway").click()
    expect(marc.page.get_by_label("Type")).to_have_value("stripe")
    assert_accessible(marc.page)
    assert marc.page.evaluate("document.documentElement.scrollWidth") <= width
    fills_in(marc, account, location="Alder Lane")
    tries_and_saves(marc)
    expect(marc.page.locator(".note.ok")).to_contain_text(f"They belong to the account {account.id}.")
    expect(marc.page.get_by_label("Secret", exact=True)).to_have_value("")
    assert account.test_secret_key not in marc.page.content()
    expect(marc.page.locator("main")).to_contain_text("Test mode")
    assert_accessible(marc.page)
    assert marc.page.evaluate("document.documentElement.scrollWidth") <= width
    opens_settings(marc, "Modules")
    marc.page.get_by_role("switch", name="Payment Gateways").check()
    saves(marc, "Save modules")
    opens_settings(marc)
    marc.page.get_by_role("switch", name="Accept Payments in the Portal").check()
    saves(marc)
    maya.go(f"/invoices/{number}")
    expect(maya.page.locator("main")).to_contain_text("Test mode: this is a rehearsal.")
    maya.pays(number)
    maya.sees_receipt()
    paid = [charge["amount"] for charge in story.sandbox.charges(account=account.id) if charge["paid"]]
    assert paid == [100_00], "the money went through the new gateway's account"
    attempt = story.attempts(number)[0]
    assert (attempt.account, attempt.mode) == (account.id, "test")


@pytest.mark.promise("O3")
def test_each_wrong_key_has_its_own_sentence(story: Story, someone: Someone, new_page: Pages) -> None:
    new_page.expect_console("422")
    sandbox = story.sandbox
    good, other = sandbox.default_account, sandbox.add_account()
    revoked, revoked_token = sandbox.add_key("secret"), sandbox.add_key("publishable")
    sandbox.revoke_key(revoked)
    sandbox.revoke_key(revoked_token)
    narrow = sandbox.add_key("restricted", permissions=["payment_intents:write", "setup_intents:write"])
    marc = someone(MARC)
    sentences = set()
    for changes, field, sentence in (
        ({"token": good.test_secret_key}, "Token", "The Token is a secret key."),
        ({"secret": good.test_publishable_key}, "Secret", "The Secret is not a secret key."),
        ({"mode": "Production", "token": good.live_publishable_key}, "Secret",
         "The Secret is a test key (it begins with sk_test_), but the mode is Production."),
        ({"token": good.live_publishable_key}, "Token",
         "The Token is a live key (it begins with pk_live_), but the mode is Test."),
        ({"secret": "sk_test_nobody"}, "Secret", "Stripe does not know this Secret."),
        ({"token": "pk_test_nobody"}, "Token", "Stripe does not know this Token."),
        ({"secret": revoked}, "Secret", "Stripe says that this Secret was revoked or has expired."),
        ({"token": revoked_token}, "Token", "Stripe says that this Token was revoked or has expired."),
        ({"token": other.test_publishable_key}, "Token", "belong to two different Stripe accounts."),
        ({"secret": narrow}, "Secret", "lacks a permission: Customers, write (rak_customer_write)."),
    ):  # fmt: skip
        marc.go("/office/settings/gateways/new")
        fills_in(marc, good, **changes)
        tries_and_saves(marc)
        expect(marc.page.get_by_role("alert")).to_contain_text(sentence)
        shown = marc.page.get_by_label(field, exact=True)
        expect(shown).to_have_attribute("aria-invalid", "true")
        expect(marc.page.get_by_label("Name", exact=True)).to_have_value("Card payment")
        sentences.add(marc.page.locator(".wrong").first.inner_text())
    assert len(sentences) == 10
    assert_accessible(marc.page)
    assert gateways(story) == 1, "none of them was kept"


def gateways(story: Story) -> int:
    with story.parts.database.read() as connection:
        return len(connection.execute(select(ConfiguredGateway.id)).all())


@pytest.mark.promise("O3")
def test_a_right_secret_need_not_be_typed_again_after_a_wrong_token(
    story: Story, someone: Someone, new_page: Pages
) -> None:
    new_page.expect_console("422")
    account, marc = story.sandbox.default_account, someone(MARC)
    marc.go("/office/settings/gateways/new")
    fills_in(marc, account, token="pk_test_nobody")
    tries_and_saves(marc)
    expect(marc.page.get_by_role("alert")).to_contain_text("Stripe does not know this Token.")
    assert account.test_secret_key not in marc.page.content()
    marc.page.get_by_role("link", name=re.compile("Stripe does not know this Token")).click()
    expect(marc.page.get_by_label("Token")).to_be_focused()
    marc.page.get_by_label("Token").fill(account.test_publishable_key)
    tries_and_saves(marc)
    expect(marc.page.locator(".note.ok")).to_contain_text("Saved.")


@pytest.mark.promise("O3")
def test_the_credentials_speak_of_the_mode_that_is_chosen(story: Story, someone: Someone) -> None:
    marc = someone(MARC)
    marc.go("/office/settings/gateways/new")
    expect(marc.page.get_by_role("heading", name="Credentials for Production")).to_be_visible()
    expect(marc.page.locator("#token-hint")).to_contain_text("pk_live_", use_inner_text=True)
    marc.page.get_by_label("Mode").select_option(label="Test")
    expect(marc.page.get_by_role("heading", name="Credentials for Test")).to_be_visible()
    expect(marc.page.locator("#token-hint")).to_contain_text("pk_test_", use_inner_text=True)


@pytest.mark.promise("O3")
def test_one_button_makes_the_webhook_and_its_events_arrive(story: Story, someone: Someone, maya: Person) -> None:
    marc = someone(MARC)
    opens_settings(marc, "Payment Gateways")
    marc.page.get_by_role("row").get_by_role("link").first.click()
    expect(marc.page.locator("main")).to_contain_text("None yet")
    marc.page.get_by_role("button", name="Make the webhook in Stripe").click()
    expect(marc.page.locator(".note.ok")).to_contain_text("The webhook is made.")
    assert_accessible(marc.page)
    number = story.invoice()
    maya.pays(number)
    maya.sees_receipt()
    assert story.sandbox.deliver_webhooks(everything=True) > 0
    marc.page.reload()
    expect(marc.page.locator("dl", has_text="Last event received")).not_to_contain_text("None yet")
    assert_accessible(marc.page)


@pytest.mark.promise("O4")
def test_a_gateway_switched_off_takes_the_pay_button(story: Story, someone: Someone, maya: Person) -> None:
    number = story.invoice()
    maya.go(f"/invoices/{number}")
    expect(maya.page.get_by_role("link", name="Pay this invoice")).to_be_visible()
    marc = someone(MARC)
    opens_settings(marc, "Payment Gateways")
    marc.page.get_by_role("row").get_by_role("link").first.click()
    marc.page.get_by_label("Status").select_option(label="Inactive")
    tries_and_saves(marc)
    expect(marc.page.locator(".note.ok")).to_contain_text("Saved.")
    maya.page.reload()
    expect(maya.page.get_by_role("link", name="Pay this invoice")).to_have_count(0)
    expect(maya.page.locator("main")).to_contain_text("The clinic isn't taking payments online at the moment.")
    assert story.attempts(number) == []


@pytest.mark.promise("O3")
@pytest.mark.parametrize("width", [1280, 320])
def test_a_practice_invoice_shows_that_the_gateway_works_outside_the_books(
    story: Story, someone: Someone, width: int
) -> None:
    marc = someone(MARC, width=width)
    opens_settings(marc, "Payment Gateways")
    marc.page.get_by_role("row").get_by_role("link").first.click()
    marc.page.get_by_role("link", name="Pay the practice invoice").click()
    marc.ready()
    expect(marc.page.locator("main")).to_contain_text("Test mode: this is a rehearsal.")
    assert_accessible(marc.page)
    assert marc.page.evaluate("document.documentElement.scrollWidth") <= width
    button = marc.page.get_by_role("button", name="Pay CA$10.00 in Test mode")
    marc.types_card(DECLINED)
    button.click()
    marc.is_told("The bank said no to this card.")
    marc.types_card(DEBIT_MASTERCARD)
    button.click()
    marc.is_told("This debit card is not accepted.")
    marc.types_card(ASKS_FOR_3D_SECURE)
    button.click()
    marc.satisfies_the_bank()
    expect(marc.page.locator(".note.ok")).to_contain_text("The practice payment went through.")
    assert story.captured() == 10_00
    with story.parts.database.read() as connection:
        for table in (Invoice, Payment, PaymentAttempt):
            assert connection.scalar(select(func.count()).select_from(table)) == 0, "nothing is in the books"
    marc.go("/office/settings/gateways")
    expect(marc.page.get_by_role("row", name=re.compile("Practice payment"))).to_contain_text("went through")
