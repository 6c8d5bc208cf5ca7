"""What the product leans on for saved cards, refunds, events and the books."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.contract.conftest import Side, metadata


def saved_card(side: Side, card: str = "pm_card_visa") -> tuple[str, str]:
    """A customer, and their card, saved by a payment."""
    customer = side.server.v1.customers.create({"metadata": {"payer": "p-1"}})
    intent = side.intent(customer=customer.id, setup_future_usage="off_session")
    paid = side.confirm(intent.id, payment_method=card)
    assert paid.status == "succeeded"
    return customer.id, str(paid.payment_method)


def test_a_payment_can_save_the_card_with_its_customer(side: Side) -> None:
    customer, method = saved_card(side)
    found = side.server.v1.payment_methods.retrieve(method)
    assert (found.customer, found.type) == (customer, "card")
    assert [one.id for one in side.server.v1.customers.payment_methods.list(customer).data] == [method]


def test_a_saved_card_pays_without_the_payer(side: Side) -> None:
    customer, method = saved_card(side)
    intent = side.intent(customer=customer)
    paid = side.confirm(intent.id, payment_method=method, off_session=True, error_on_requires_action=True)
    assert paid.status == "succeeded"


def test_a_saved_card_pays_for_its_own_customer_only(side: Side) -> None:
    _, method = saved_card(side)
    other = side.server.v1.customers.create()
    with pytest.raises(stripe.InvalidRequestError):
        side.confirm(side.intent(customer=other.id).id, payment_method=method)
    with pytest.raises(stripe.InvalidRequestError):
        side.confirm(side.intent().id, payment_method=method)


def test_a_card_that_was_not_saved_pays_once(side: Side) -> None:
    paid = side.paid()
    with pytest.raises(stripe.InvalidRequestError):
        side.confirm(side.intent().id, payment_method=str(paid.payment_method))


def test_a_detached_card_is_gone_for_good(side: Side) -> None:
    customer, method = saved_card(side)
    assert side.server.v1.payment_methods.detach(method).customer is None
    with pytest.raises(stripe.InvalidRequestError):
        side.confirm(side.intent(customer=customer).id, payment_method=method)
    with pytest.raises(stripe.InvalidRequestError):
        side.server.v1.payment_methods.attach(method, {"customer": customer})


def test_a_customers_own_data_come_back_and_go(side: Side) -> None:
    customer = side.server.v1.customers.create({"metadata": {"payer": "p-2"}})
    assert metadata(side.server.v1.customers.retrieve(customer.id)) == {"payer": "p-2"}
    assert side.server.v1.customers.delete(customer.id).deleted
    assert side.server.v1.customers.retrieve(customer.id).deleted


def test_refunds_never_exceed_what_was_captured(side: Side) -> None:
    intent = side.paid()
    part = side.server.v1.refunds.create({"payment_intent": intent.id, "amount": 400, "metadata": {"case": "c-1"}})
    assert (part.amount, part.payment_intent, metadata(part)) == (400, intent.id, {"case": "c-1"})
    with pytest.raises(stripe.InvalidRequestError):
        side.server.v1.refunds.create({"payment_intent": intent.id, "amount": 601})
    rest = side.server.v1.refunds.create({"payment_intent": intent.id})
    assert rest.amount == 600
    charge = side.server.v1.charges.retrieve(str(intent.latest_charge))
    assert (charge.amount_refunded, charge.refunded) == (1000, True)
    assert [one.id for one in side.server.v1.refunds.list({"charge": charge.id}).data] == [rest.id, part.id]


def test_what_was_refunded_is_not_refunded_again(side: Side) -> None:
    intent = side.paid()
    side.server.v1.refunds.create({"payment_intent": intent.id})
    with pytest.raises(stripe.InvalidRequestError) as error:
        side.server.v1.refunds.create({"payment_intent": intent.id})
    assert error.value.code == "charge_already_refunded"


def test_the_refunds_of_a_charge_can_be_had_with_it(side: Side) -> None:
    intent = side.paid()
    refund = side.server.v1.refunds.create({"payment_intent": intent.id, "amount": 100})
    charge: Any = side.server.v1.charges.retrieve(str(intent.latest_charge), {"expand": ["refunds"]})
    assert [one.id for one in charge.refunds.data] == [refund.id]


def test_a_charge_has_a_balance_transaction_with_a_fee(side: Side) -> None:
    intent = side.paid()

    def look() -> Any:
        charge: Any = side.server.v1.charges.retrieve(str(intent.latest_charge), {"expand": ["balance_transaction"]})
        return charge.balance_transaction

    transaction = side.eventually(look)
    assert transaction.amount == transaction.net + transaction.fee
    assert transaction.source == intent.latest_charge
    assert transaction.type == "charge"


def test_lists_come_newest_first_page_by_page(side: Side) -> None:
    ids = [side.intent().id for _ in range(3)]
    first = side.server.v1.payment_intents.list({"limit": 2})
    assert [one.id for one in first.data] == [ids[2], ids[1]]
    assert first.has_more
    second = side.server.v1.payment_intents.list({"limit": 1, "starting_after": ids[1]})
    assert [one.id for one in second.data] == [ids[0]]
    back = side.server.v1.payment_intents.list({"limit": 1, "ending_before": ids[0]})
    assert [one.id for one in back.data] == [ids[1]]


def test_a_list_can_be_narrowed_by_time(side: Side) -> None:
    intent = side.intent()
    found = side.server.v1.payment_intents.list({"created": {"gte": intent.created}, "limit": 100})
    assert intent.id in [one.id for one in found.data]
    assert side.server.v1.payment_intents.list({"created": {"lt": 1}}).data == []


def test_what_happened_can_be_asked_for(side: Side) -> None:
    intent = side.paid(metadata={"attempt": "a-10"})

    def look() -> stripe.Event | None:
        events = side.server.v1.events.list({"types": ["payment_intent.succeeded"], "limit": 20}).data
        return next((one for one in events if one.data.object["id"] == intent.id), None)

    event = side.eventually(look)
    assert event.livemode is False
    assert event.data.object["status"] == "succeeded"
    assert metadata(event.data.object) == {"attempt": "a-10"}


def test_an_endpoint_tells_its_secret_once(side: Side) -> None:
    made = side.server.v1.webhook_endpoints.create(
        {
            "url": "https://clinic.example/hooks/stripe",
            "enabled_events": ["payment_intent.succeeded"],
            "api_version": "2026-10-28.endive",
        }
    )
    try:
        assert made.secret is not None and made.secret.startswith("whsec_")
        assert made.api_version == "2026-10-28.endive"
        again = side.server.v1.webhook_endpoints.retrieve(made.id)
        assert "secret" not in again
        assert again.status == "enabled"
    finally:
        assert side.server.v1.webhook_endpoints.delete(made.id).deleted


def test_a_declining_card_can_be_saved_when_its_bank_lets_it(side: Side) -> None:
    customer = side.server.v1.customers.create()
    attached = side.server.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer.id})
    assert attached.customer == customer.id
    with pytest.raises(stripe.CardError) as error:
        side.confirm(side.intent(customer=customer.id).id, payment_method=attached.id)
    assert error.value.code == "card_declined"


@pytest.mark.parametrize(
    ("card", "brand", "funding"),
    [
        ("pm_card_visa", "visa", "credit"),
        ("pm_card_visa_debit", "visa", "debit"),
        ("pm_card_mastercard_debit", "mastercard", "debit"),
        ("pm_card_mastercard_prepaid", "mastercard", "prepaid"),
        ("pm_card_amex", "amex", "credit"),
        ("pm_card_discover", "discover", "credit"),
    ],
)
def test_a_charge_names_brand_and_funding_of_its_card(side: Side, card: str, brand: str, funding: str) -> None:
    intent: Any = side.paid(card)
    charge: Any = side.server.v1.charges.retrieve(intent.latest_charge)
    details = charge.payment_method_details.card
    assert (details.brand, details.funding) == (brand, funding)
