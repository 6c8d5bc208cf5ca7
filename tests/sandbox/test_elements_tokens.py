"""Confirmation tokens that Elements made: they must agree with the intent, are used once, and do not last."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from portal.sandbox import Sandbox
from tests.sandbox.conftest import client_of
from tests.sandbox.makers import confirm, elements_token, error_of, intent


@pytest.fixture
def browser(sandbox: Sandbox) -> stripe.StripeClient:
    """The payer's browser, with the publishable key."""
    return client_of(sandbox, sandbox.publishable_key)


def test_a_token_that_agrees_pays(api: stripe.StripeClient, browser: stripe.StripeClient) -> None:
    token = elements_token(browser)
    paid = confirm(api, intent(api).id, confirmation_token=token)
    assert paid.status == "succeeded"
    assert api.v1.confirmation_tokens.retrieve(token).payment_intent == paid.id


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amount", 1100),
        ("currency", "usd"),
        ("mode", "setup"),
        ("allowed_payment_method_types", None),
        ("setup_future_usage", "off_session"),
    ],
)
def test_elements_that_differ_from_the_intent_are_refused(
    api: stripe.StripeClient, browser: stripe.StripeClient, name: str, value: Any
) -> None:
    token = elements_token(browser, **{name: value})
    waiting = intent(api)
    with pytest.raises(stripe.InvalidRequestError) as error:
        confirm(api, waiting.id, confirmation_token=token)
    assert (error.value.http_status, error.value.param) == (400, name)
    assert api.v1.payment_intents.retrieve(waiting.id).status == "requires_payment_method"
    assert api.v1.confirmation_tokens.retrieve(token).payment_intent is None


def test_saving_has_to_be_asked_for_on_both_sides(api: stripe.StripeClient, browser: stripe.StripeClient) -> None:
    customer = api.v1.customers.create().id
    saving = intent(api, customer=customer, setup_future_usage="off_session")
    with pytest.raises(stripe.InvalidRequestError) as error:
        confirm(api, saving.id, confirmation_token=elements_token(browser))
    assert error.value.param == "setup_future_usage"
    paid = confirm(api, saving.id, confirmation_token=elements_token(browser, setup_future_usage="off_session"))
    assert api.v1.payment_methods.retrieve(paid.payment_method).customer == customer


def test_a_token_expires_after_twelve_hours(
    sandbox: Sandbox, api: stripe.StripeClient, browser: stripe.StripeClient
) -> None:
    token = elements_token(browser)
    sandbox.advance(12 * 3600)
    with pytest.raises(stripe.InvalidRequestError, match="expired"):
        confirm(api, intent(api).id, confirmation_token=token)


def test_a_token_of_elements_is_finished_in_the_page(api: stripe.StripeClient, browser: stripe.StripeClient) -> None:
    token = api.v1.test_helpers.confirmation_tokens.create({"payment_method": "pm_card_authenticationRequired"}).id
    waiting = confirm(api, intent(api).id, confirmation_token=token)
    assert waiting.next_action.type == "use_stripe_sdk"
    token = api.v1.test_helpers.confirmation_tokens.create({"payment_method": "pm_card_authenticationRequired"}).id
    waiting = confirm(api, intent(api).id, confirmation_token=token, use_stripe_sdk=False)
    assert waiting.next_action.type == "redirect_to_url"


def test_a_server_cannot_make_tokens_but_by_the_test_helper(api: stripe.StripeClient) -> None:
    with pytest.raises(stripe.PermissionError):
        elements_token(api)


def test_a_browser_can_confirm_with_the_client_secret_but_not_change_the_amount(
    api: stripe.StripeClient, browser: stripe.StripeClient
) -> None:
    waiting = intent(api)
    params: Any = {"client_secret": waiting.client_secret, "payment_method": "pm_card_visa"}
    more: Any = {**params, "amount_to_confirm": 1}
    with pytest.raises(stripe.InvalidRequestError) as error:
        browser.v1.payment_intents.confirm(waiting.id, more)
    assert error_of(error)["code"] == "parameter_unknown"
    with pytest.raises(stripe.PermissionError):
        browser.v1.payment_intents.update(waiting.id, {"amount": 1})
    seen = browser.v1.payment_intents.confirm(waiting.id, params)
    assert seen.status == "succeeded"
    assert "customer" not in seen and "latest_charge" not in seen


def test_a_card_number_is_nowhere_in_what_the_sandbox_keeps(sandbox: Sandbox, browser: stripe.StripeClient) -> None:
    elements_token(browser)
    kept = repr([sandbox.objects(kind) for kind in ("confirmation_token", "event")]) + repr(sandbox.requests)
    kept += repr(sandbox.world.store.table("objects"))
    assert "424242424242" not in kept
    assert "4242" in kept


def test_a_test_can_type_a_card_without_a_browser(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    token = sandbox.elements_token("mastercard_debit", amount=1000)
    paid: Any = confirm(api, intent(api).id, confirmation_token=token, expand=["latest_charge"])
    assert paid.latest_charge.payment_method_details.card.funding == "debit"
    wrong = sandbox.elements_token(amount=1100)
    with pytest.raises(stripe.InvalidRequestError):
        confirm(api, intent(api).id, confirmation_token=wrong)
    with pytest.raises(ValueError, match="No such PaymentMethod"):
        sandbox.elements_token("gold", amount=1000)
