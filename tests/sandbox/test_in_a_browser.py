"""The stand-in for Stripe.js in a real browser, on a page under a strict Content-Security-Policy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import stripe
from playwright.sync_api import Browser, FrameLocator, Page, expect

from portal.sandbox import Sandbox
from tests.sandbox.host import Shop, open_shop
from tests.sandbox.makers import intent
from tests.support.axe import assert_accessible

pytestmark = pytest.mark.browser


@pytest.fixture
def shop(remote_api: stripe.StripeClient, base_url: str) -> Iterator[Shop]:
    with open_shop(remote_api, base_url) as shop:
        yield shop


@pytest.fixture
def page(browser: Browser, shop: Shop) -> Iterator[Page]:
    page = browser.new_page()
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(shop.url)
    page.wait_for_selector("body[data-ready]")
    yield page
    page.close()
    assert complaints == []


def the_frame(page: Page) -> FrameLocator:
    return page.frame_locator("iframe[title='Secure card payment input frame']")


def pay_with(page: Page, number: str, *, expiry: str = "12 / 34", cvc: str = "123") -> None:
    frame = the_frame(page)
    frame.get_by_label("Card number").press_sequentially(number)
    frame.get_by_label("Expiration date").fill(expiry)
    frame.get_by_label("Security code").fill(cvc)
    page.get_by_role("button", name="Pay").click()


def outcome(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.locator("#outcome")).to_have_text(text)


def the_challenge(page: Page) -> FrameLocator:
    return page.frame_locator("dialog iframe")


def test_the_first_test_card_pays(page: Page, shop: Shop, sandbox: Sandbox) -> None:
    pay_with(page, "4242424242424242")
    outcome(page, "succeeded")
    assert sandbox.captured_cents(shop.intents[0]) == 1000


def test_a_declined_card_says_so(page: Page, shop: Shop, sandbox: Sandbox) -> None:
    pay_with(page, "4000000000000002")
    outcome(page, "declined: card_declined")
    assert sandbox.captured_cents(shop.intents[0]) == 0


def test_a_payer_who_passes_3d_secure_has_paid(page: Page, shop: Shop, sandbox: Sandbox) -> None:
    pay_with(page, "4000002760003184")
    complete = the_challenge(page).get_by_role("button", name="Complete authentication")
    expect(complete).to_be_focused()
    complete.click()
    outcome(page, "after action: succeeded")
    assert sandbox.captured_cents(shop.intents[0]) == 1000
    expect(page.get_by_role("button", name="Pay")).to_be_focused()


@pytest.mark.parametrize("choice", ["Fail authentication", "Cancel"])
def test_a_payer_who_does_not_pass_3d_secure_has_not_paid(
    page: Page, shop: Shop, sandbox: Sandbox, choice: str
) -> None:
    pay_with(page, "4000002760003184")
    the_challenge(page).get_by_role("button", name=choice).click()
    outcome(page, "action failed: payment_intent_authentication_failure")
    assert sandbox.get(shop.intents[0])["status"] == "requires_payment_method"


def test_escape_cancels_3d_secure(page: Page, shop: Shop) -> None:
    pay_with(page, "4000002760003184")
    expect(the_challenge(page).get_by_role("button", name="Complete authentication")).to_be_focused()
    page.keyboard.press("Escape")
    outcome(page, "action failed: payment_intent_authentication_failure")


def test_a_card_may_be_declined_after_3d_secure(page: Page) -> None:
    pay_with(page, "4000008400001629")
    the_challenge(page).get_by_role("button", name="Complete authentication").click()
    outcome(page, "action failed: card_declined")


def test_a_page_left_during_3d_secure_leaves_the_intent_waiting(page: Page, shop: Shop, sandbox: Sandbox) -> None:
    pay_with(page, "4000002760003184")
    expect(the_challenge(page).get_by_role("button", name="Complete authentication")).to_be_focused()
    page.goto("about:blank")
    assert sandbox.get(shop.intents[0])["status"] == "requires_action"


def test_without_stripe_js_3d_secure_is_a_redirect_there_and_back(page: Page, shop: Shop) -> None:
    shop.confirm_params = {"use_stripe_sdk": False}
    pay_with(page, "4000002760003184")
    page.get_by_role("heading", name="3D Secure 2 test page").wait_for()
    page.get_by_role("button", name="Complete authentication").click()
    page.wait_for_url(re.compile(r"/done\?"))
    assert f"payment_intent={shop.intents[0]}" in page.url
    assert "payment_intent_client_secret=pi_" in page.url
    assert "redirect_status=succeeded" in page.url


def test_an_incomplete_form_says_what_is_missing_beside_the_field(page: Page, shop: Shop) -> None:
    page.get_by_role("button", name="Pay").click()
    outcome(page, "validation_error: Enter your card number.")
    number = the_frame(page).get_by_label("Card number")
    expect(number).to_be_focused()
    expect(number).to_have_attribute("aria-invalid", "true")
    expect(number).to_have_accessible_description("Enter your card number.")
    assert shop.intents == []


def test_typing_is_put_in_groups(page: Page) -> None:
    frame = the_frame(page)
    number = frame.get_by_label("Card number")
    number.press_sequentially("4242424242424242")
    expect(number).to_have_value("4242 4242 4242 4242")
    number.fill("")
    number.press_sequentially("378282246310005")
    expect(number).to_have_value("3782 822463 10005")
    expiry = frame.get_by_label("Expiration date")
    expiry.press_sequentially("934")
    expect(expiry).to_have_value("09 / 34")


def test_a_number_that_is_no_test_card_is_refused(page: Page, shop: Shop) -> None:
    pay_with(page, "4111111111111111")
    outcome(page, re.compile("^card_declined: .*non test card"))
    assert shop.intents == []


def test_the_page_never_sees_the_card_number(page: Page) -> None:
    pay_with(page, "4242424242424242", cvc="987")
    outcome(page, "succeeded")
    heard = json.dumps(page.evaluate("window.heard")) + page.content()
    assert "4242" in heard  # the last four digits, in the token's preview
    assert "424242" not in heard.replace(" ", "")
    assert "987" not in heard


def test_the_frame_is_as_tall_as_its_content(page: Page) -> None:
    height = page.locator("iframe").evaluate("frame => frame.clientHeight")
    content = the_frame(page).locator("body").evaluate("body => body.scrollHeight")
    assert content <= height <= content + 20
    page.get_by_role("button", name="Pay").click()
    expect(page.locator("#outcome")).to_contain_text("validation_error")
    # Asked from here: the page's own policy lets nothing be evaluated in it again and again.
    for _ in range(100):
        if page.locator("iframe").evaluate("frame => frame.clientHeight") > height:
            return
        page.wait_for_timeout(50)
    raise AssertionError("the frame stayed as it was beside a longer message")


def test_everything_works_by_keyboard_alone(page: Page) -> None:
    the_frame(page).get_by_label("Card number").focus()
    page.keyboard.type("4242424242424242")
    page.keyboard.press("Tab")
    page.keyboard.type("1234")
    page.keyboard.press("Tab")
    page.keyboard.type("123")
    page.keyboard.press("Tab")
    expect(the_frame(page).get_by_label("Country")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Pay")).to_be_focused()
    page.keyboard.press("Enter")
    outcome(page, "succeeded")


def test_the_frame_takes_the_colours_of_the_page(page: Page) -> None:
    colour = (
        the_frame(page)
        .locator("html")
        .evaluate("html => getComputedStyle(html).getPropertyValue('--colorPrimary').trim()")
    )
    assert colour == "#004488"


def test_a_page_can_confirm_by_itself(page: Page, api: stripe.StripeClient, sandbox: Sandbox) -> None:
    waiting = intent(api)
    the_frame(page).get_by_label("Card number").fill("4242424242424242")
    the_frame(page).get_by_label("Expiration date").fill("12 / 34")
    the_frame(page).get_by_label("Security code").fill("123")
    status = page.evaluate(
        "clientSecret => stripe.confirmPayment({elements, clientSecret, redirect: 'if_required',"
        " confirmParams: {return_url: 'https://clinic.example/'}}).then(done => done.paymentIntent.status)",
        waiting.client_secret,
    )
    assert status == "succeeded"
    assert sandbox.captured_cents(waiting.id) == 1000


@pytest.mark.parametrize("path", ["/frame/payment-element", "/challenge/pi_1", "/"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_of_the_sandbox_is_accessible_and_fits_a_small_screen(
    browser: Browser, base_url: str, api: stripe.StripeClient, path: str, scheme: str
) -> None:
    api.v1.payment_intents.create({"amount": 1000, "currency": "cad", "description": "Invoice 1"})
    context = browser.new_context(
        viewport={"width": 320, "height": 640}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(base_url + path)
    assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert "test double, not Stripe" in page.content()
    context.close()


def test_the_form_is_accessible_where_it_is_used_and_with_its_errors(page: Page) -> None:
    page.get_by_role("button", name="Pay").click()
    outcome(page, re.compile("validation_error"))
    for frame in page.frames:
        assert_accessible(frame)


def test_the_banks_page_is_accessible_where_it_is_used(page: Page) -> None:
    pay_with(page, "4000002760003184")
    expect(the_challenge(page).get_by_role("button", name="Complete authentication")).to_be_focused()
    for frame in page.frames:
        assert_accessible(frame)
