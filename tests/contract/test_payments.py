"""What the product leans on when it takes a card payment."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.contract.conftest import Side, metadata, new_key

DECLINED = "pm_card_visa_chargeDeclined"


def refused(error: pytest.ExceptionInfo[stripe.InvalidRequestError]) -> dict[str, Any]:
    body: Any = error.value.json_body
    found: dict[str, Any] = body["error"]
    return found


def test_an_intent_for_cards_waits_for_a_payment_method(side: Side) -> None:
    intent = side.intent(description="Invoice 7", metadata={"attempt": "a-7"})
    assert intent.status == "requires_payment_method"
    assert intent.payment_method_types == ["card"]
    assert (intent.amount, intent.currency, intent.livemode) == (1000, "cad", False)
    assert intent.latest_charge is None
    assert intent.client_secret is not None and intent.client_secret.startswith(f"{intent.id}_secret_")
    assert metadata(side.server.v1.payment_intents.retrieve(intent.id)) == {"attempt": "a-7"}


def test_payment_method_types_may_not_be_written(side: Side) -> None:
    with pytest.raises(stripe.InvalidRequestError) as error:
        side.intent(allowed_payment_method_types=None, payment_method_types=["card"])
    assert error.value.http_status == 400
    assert error.value.code == "payment_method_types_no_longer_supported"


def test_ways_to_name_method_types_exclude_each_other(side: Side) -> None:
    with pytest.raises(stripe.InvalidRequestError) as error:
        side.intent(automatic_payment_methods={"enabled": True})
    assert error.value.http_status == 400


def test_unknown_parameters_are_refused_by_name(side: Side) -> None:
    with pytest.raises(stripe.InvalidRequestError) as error:
        side.intent(colour="green")
    assert (error.value.code, error.value.param) == ("parameter_unknown", "colour")


def test_what_is_missing_is_named(side: Side) -> None:
    with pytest.raises(stripe.InvalidRequestError) as error:
        side.intent(currency=None)
    assert error.value.param == "currency"


def test_less_than_half_a_dollar_is_too_small(side: Side) -> None:
    with pytest.raises(stripe.InvalidRequestError) as error:
        side.intent(amount=49)
    assert error.value.code == "amount_too_small"


def test_a_token_shows_the_card_before_anything_is_charged(side: Side) -> None:
    token = side.server.v1.confirmation_tokens.retrieve(side.token("pm_card_visa_debit"))
    preview: Any = token.payment_method_preview
    assert preview.type == "card"
    card = preview.card
    assert (card.brand, card.funding, card.last4) == ("visa", "debit", "5556")
    for name in ("display_brand", "country", "fingerprint", "networks", "wallet", "exp_month", "exp_year"):
        assert name in card
    assert token.expires_at == token.created + 12 * 3600
    assert token.payment_intent is None


def test_a_confirmed_intent_has_succeeded_and_names_its_charge(side: Side) -> None:
    intent = side.paid(metadata={"attempt": "a-8"})
    assert (intent.status, intent.amount_received) == ("succeeded", 1000)
    found: Any = side.server.v1.payment_intents.retrieve(intent.id, {"expand": ["latest_charge"]})
    charge = found.latest_charge
    assert (charge.object, charge.paid, charge.captured, charge.amount) == ("charge", True, True, 1000)
    assert charge.payment_method_details.card.brand == "visa"
    assert charge.payment_method_details.card.funding == "credit"
    assert metadata(charge) == {"attempt": "a-8"}
    assert charge.payment_intent == intent.id


def test_a_token_is_used_once(side: Side) -> None:
    token = side.token()
    side.confirm(side.intent().id, confirmation_token=token)
    with pytest.raises(stripe.InvalidRequestError) as error:
        side.confirm(side.intent().id, confirmation_token=token)
    assert error.value.http_status == 400


def test_the_same_key_gives_the_same_answer(side: Side) -> None:
    params: Any = {"amount": 1000, "currency": "cad", "allowed_payment_method_types": ["card"]}
    key = new_key()
    first = side.server.v1.payment_intents.create(params, {"idempotency_key": key})
    again = side.server.v1.payment_intents.create(params, {"idempotency_key": key})
    assert again.id == first.id
    headers: Any = again.last_response.headers if again.last_response else {}
    assert headers["Idempotent-Replayed"] == "true"


def test_the_same_key_for_something_else_is_refused(side: Side) -> None:
    params: Any = {"amount": 1000, "currency": "cad", "allowed_payment_method_types": ["card"]}
    key = new_key()
    side.server.v1.payment_intents.create(params, {"idempotency_key": key})
    changed: Any = {**params, "amount": 2000}
    with pytest.raises(stripe.IdempotencyError) as error:
        side.server.v1.payment_intents.create(changed, {"idempotency_key": key})
    assert error.value.http_status == 400


def test_a_request_that_was_refused_before_it_began_leaves_its_key_free(side: Side) -> None:
    key = new_key()
    bad: Any = {"amount": 1000, "currency": "cad", "colour": "green"}
    with pytest.raises(stripe.InvalidRequestError):
        side.server.v1.payment_intents.create(bad, {"idempotency_key": key})
    good: Any = {"amount": 1000, "currency": "cad", "allowed_payment_method_types": ["card"]}
    assert side.server.v1.payment_intents.create(good, {"idempotency_key": key}).amount == 1000


def test_a_decline_is_a_card_error_that_carries_the_intent(side: Side) -> None:
    intent = side.intent()
    with pytest.raises(stripe.CardError) as error:
        side.confirm(intent.id, confirmation_token=side.token(DECLINED))
    body: Any = error.value.json_body
    assert error.value.http_status == 402
    assert (error.value.code, body["error"]["decline_code"]) == ("card_declined", "generic_decline")
    assert body["error"]["payment_intent"]["id"] == intent.id
    assert body["error"]["payment_intent"]["status"] == "requires_payment_method"


def test_after_a_decline_the_intent_waits_again_and_remembers_why(side: Side) -> None:
    intent = side.intent()
    with pytest.raises(stripe.CardError):
        side.confirm(intent.id, confirmation_token=side.token("pm_card_visa_chargeDeclinedInsufficientFunds"))
    found = side.server.v1.payment_intents.retrieve(intent.id)
    assert found.status == "requires_payment_method"
    assert found.last_payment_error is not None
    assert found.last_payment_error.decline_code == "insufficient_funds"
    assert found.payment_method is None


def test_a_declined_confirm_is_replayed_and_only_a_new_key_tries_again(side: Side) -> None:
    intent, key, token = side.intent(), new_key(), side.token(DECLINED)
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            side.confirm(intent.id, key=key, confirmation_token=token)
    assert len(side.server.v1.charges.list({"payment_intent": intent.id}).data) == 1
    assert side.confirm(intent.id, confirmation_token=side.token()).status == "succeeded"


def test_the_charges_of_an_intent_are_listed_newest_first(side: Side) -> None:
    intent = side.intent()
    with pytest.raises(stripe.CardError):
        side.confirm(intent.id, confirmation_token=side.token(DECLINED))
    side.confirm(intent.id, confirmation_token=side.token())
    charges = side.server.v1.charges.list({"payment_intent": intent.id}).data
    assert [charge.status for charge in charges] == ["succeeded", "failed"]


def test_an_open_intent_can_be_cancelled_and_then_not_be_confirmed(side: Side) -> None:
    intent = side.intent()
    canceled = side.server.v1.payment_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})
    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    with pytest.raises(stripe.InvalidRequestError) as error:
        side.confirm(intent.id, confirmation_token=side.token())
    assert error.value.code == "payment_intent_unexpected_state"


def test_an_intent_that_succeeded_can_neither_be_cancelled_nor_confirmed(side: Side) -> None:
    intent = side.paid()
    with pytest.raises(stripe.InvalidRequestError) as error:
        side.server.v1.payment_intents.cancel(intent.id)
    assert error.value.code == "payment_intent_unexpected_state"
    assert refused(error)["payment_intent"]["status"] == "succeeded"
    with pytest.raises(stripe.InvalidRequestError) as error:
        side.confirm(intent.id, confirmation_token=side.token())
    assert error.value.code == "payment_intent_unexpected_state"


def test_3d_secure_in_the_page_is_a_next_action_for_stripe_js(side: Side) -> None:
    intent = side.confirm(side.intent().id, payment_method="pm_card_threeDSecure2Required", use_stripe_sdk=True)
    assert intent.status == "requires_action"
    assert intent.next_action is not None and intent.next_action.type == "use_stripe_sdk"
    assert side.server.v1.payment_intents.cancel(intent.id).status == "canceled"


def test_3d_secure_without_stripe_js_is_a_redirect(side: Side) -> None:
    intent: Any = side.confirm(side.intent().id, payment_method="pm_card_threeDSecure2Required")
    assert intent.status == "requires_action"
    assert intent.next_action.type == "redirect_to_url"
    assert intent.next_action.redirect_to_url.return_url == "https://clinic.example/return"
    assert intent.next_action.redirect_to_url.url.startswith("http")


def test_without_the_payer_a_card_that_wants_them_is_declined(side: Side) -> None:
    customer = side.server.v1.customers.create()
    intent = side.intent(customer=customer.id)
    with pytest.raises(stripe.CardError) as error:
        side.confirm(
            intent.id,
            payment_method="pm_card_authenticationRequired",
            off_session=True,
            error_on_requires_action=True,
        )
    assert error.value.code == "authentication_required"
    assert side.server.v1.payment_intents.retrieve(intent.id).status == "requires_payment_method"


def test_an_unknown_key_is_not_let_in(side: Side) -> None:
    with pytest.raises(stripe.AuthenticationError) as error:
        side.stranger.v1.payment_intents.list()
    assert error.value.http_status == 401


def test_a_publishable_key_cannot_make_an_intent(side: Side) -> None:
    with pytest.raises((stripe.PermissionError, stripe.AuthenticationError)):
        params: Any = {"amount": 1000, "currency": "cad"}
        side.browser.v1.payment_intents.create(params)


def test_a_browser_sees_an_intent_by_its_client_secret_only(side: Side) -> None:
    intent = side.intent(metadata={"attempt": "a-9"})
    assert intent.client_secret is not None
    seen = side.browser.v1.payment_intents.retrieve(intent.id, {"client_secret": intent.client_secret})
    assert (seen.id, seen.status) == (intent.id, "requires_payment_method")
    assert "metadata" not in seen
    with pytest.raises(stripe.StripeError):
        side.browser.v1.payment_intents.retrieve(intent.id, {"client_secret": intent.client_secret + "x"})
    with pytest.raises(stripe.StripeError):
        side.browser.v1.payment_intents.retrieve(intent.id)


def test_what_does_not_exist_is_a_404(side: Side) -> None:
    with pytest.raises(stripe.InvalidRequestError) as error:
        side.server.v1.payment_intents.retrieve("pi_nothing")
    assert (error.value.http_status, error.value.code) == (404, "resource_missing")


def test_keys_of_a_gateway_are_tried_together_with_a_setup_intent(side: Side) -> None:
    made = side.server.v1.setup_intents.create({"allowed_payment_method_types": ["card"]})
    assert made.client_secret is not None
    seen = side.browser.v1.setup_intents.retrieve(made.id, {"client_secret": made.client_secret})
    assert seen.id == made.id
    assert side.server.v1.setup_intents.cancel(made.id).status == "canceled"


def test_the_account_says_who_it_is(side: Side) -> None:
    account = side.server.v1.accounts.retrieve_current()
    assert account.id.startswith("acct_")
