"""The test cards: what each is, how it behaves, and the sandbox's own for the card policy."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from portal.sandbox import Sandbox
from portal.sandbox.cards import CARDS, passes_luhn
from tests.sandbox.makers import confirm, error_of, intent, paid


def preview(api: stripe.StripeClient, card: str) -> Any:
    token: Any = api.v1.test_helpers.confirmation_tokens.create({"payment_method": card})
    return token.payment_method_preview.card


@pytest.mark.parametrize("name", sorted(CARDS))
def test_every_number_is_a_real_looking_number_and_its_own(name: str) -> None:
    assert passes_luhn(CARDS[name].number)
    assert [card.name for card in CARDS.values() if card.number == CARDS[name].number] == [name]


@pytest.mark.parametrize(
    ("name", "code", "decline_code"),
    [
        ("chargeDeclined", "card_declined", "generic_decline"),
        ("chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("chargeDeclinedExpiredCard", "expired_card", None),
        ("chargeDeclinedIncorrectCvc", "incorrect_cvc", None),
        ("chargeDeclinedProcessingError", "processing_error", None),
    ],
)
def test_a_declining_card_says_why(api: stripe.StripeClient, name: str, code: str, decline_code: str | None) -> None:
    with pytest.raises(stripe.CardError) as error:
        paid(api, f"pm_card_{name}")
    assert (error.value.code, error_of(error).get("decline_code")) == (code, decline_code)
    charge = api.v1.charges.retrieve(error_of(error)["charge"])
    assert (charge.status, charge.paid, charge.failure_code) == ("failed", False, code)


@pytest.mark.parametrize(
    ("name", "brand", "funding", "wallet"),
    [
        ("sandbox_visa_prepaid", "visa", "prepaid", None),
        ("sandbox_unknown_funding", "visa", "unknown", None),
        ("sandbox_unknown_brand", "unknown", "credit", None),
        ("sandbox_link_brand", "link", "unknown", None),
        ("sandbox_link_wallet", "visa", "credit", "link"),
    ],
)
def test_there_is_a_card_for_each_doubt_of_the_card_policy(
    api: stripe.StripeClient, name: str, brand: str, funding: str, wallet: str | None
) -> None:
    card = preview(api, f"pm_card_{name}")
    assert (card.brand, card.funding, card.wallet and card.wallet.type) == (brand, funding, wallet)


def test_a_card_may_be_charged_as_another_than_it_seemed(api: stripe.StripeClient) -> None:
    assert preview(api, "pm_card_sandbox_turns_into_debit").funding == "credit"
    charge: Any = api.v1.charges.retrieve(paid(api, "pm_card_sandbox_turns_into_debit").latest_charge)
    card = charge.payment_method_details.card
    assert (card.brand, card.funding) == ("mastercard", "debit")


@pytest.mark.parametrize(("succeed", "status"), [(True, "succeeded"), (False, "requires_payment_method")])
def test_a_payment_may_stay_processing(
    sandbox: Sandbox, api: stripe.StripeClient, succeed: bool, status: str
) -> None:
    waiting = paid(api, "pm_card_sandbox_processing")
    assert waiting.status == "processing"
    assert waiting.latest_charge is None
    sandbox.finish_processing(waiting.id, succeed=succeed)
    assert api.v1.payment_intents.retrieve(waiting.id).status == status


def test_3d_secure_can_be_passed_failed_or_left(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    passed, failed, left = (
        confirm(api, intent(api).id, payment_method="pm_card_authenticationRequired") for _ in range(3)
    )
    sandbox.authenticate(passed.id)
    sandbox.authenticate(failed.id, succeed=False)
    found: Any = api.v1.payment_intents.retrieve(passed.id, {"expand": ["latest_charge"]})
    assert found.latest_charge.payment_method_details.card.three_d_secure.result == "authenticated"
    again: Any = api.v1.payment_intents.retrieve(failed.id)
    assert again.status == "requires_payment_method"
    assert again.last_payment_error.code == "payment_intent_authentication_failure"
    assert api.v1.payment_intents.retrieve(left.id).status == "requires_action"
    assert api.v1.payment_intents.cancel(left.id).status == "canceled"


def test_a_card_that_was_set_up_pays_without_the_payer(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    customer = api.v1.customers.create().id
    first = intent(api, customer=customer, setup_future_usage="off_session")
    asked = confirm(api, first.id, payment_method="pm_card_authenticationRequiredOnSetup")
    assert asked.status == "requires_action"
    method = sandbox.authenticate(first.id)["payment_method"]
    absent = confirm(api, intent(api, customer=customer).id, payment_method=method, off_session=True)
    assert absent.status == "succeeded"
    present = confirm(api, intent(api, customer=customer).id, payment_method=method)
    assert present.status == "requires_action"


def test_a_card_that_always_asks_is_declined_without_the_payer(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    customer = api.v1.customers.create().id
    first = intent(api, customer=customer, setup_future_usage="off_session")
    confirm(api, first.id, payment_method="pm_card_authenticationRequired")
    method = sandbox.authenticate(first.id)["payment_method"]
    second = intent(api, customer=customer)
    with pytest.raises(stripe.CardError) as error:
        confirm(api, second.id, payment_method=method, off_session=True, error_on_requires_action=True)
    assert error_of(error)["decline_code"] == "authentication_required"
    assert error_of(error)["payment_intent"]["last_payment_error"]["payment_method"]["id"] == method


def test_a_setup_intent_keeps_a_card_without_charging_it(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    customer = api.v1.customers.create().id
    setup = api.v1.setup_intents.create({"customer": customer, "allowed_payment_method_types": ["card"]})
    done: Any = api.v1.setup_intents.confirm(setup.id, {"payment_method": "pm_card_visa"})
    assert done.status == "succeeded"
    assert api.v1.payment_methods.retrieve(done.payment_method).customer == customer
    assert sandbox.charges() == []


def test_money_can_be_held_and_captured_later(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    held = paid(api, capture_method="manual")
    assert (held.status, held.amount_capturable) == ("requires_capture", 1000)
    assert sandbox.captured_cents(held.id) == 0
    assert api.v1.payment_intents.capture(held.id, {"amount_to_capture": 700}).status == "succeeded"
    assert sandbox.captured_cents(held.id) == 700


def test_an_unknown_test_card_does_not_exist(api: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as error:
        preview(api, "pm_card_gold")
    assert error.value.code == "resource_missing"
