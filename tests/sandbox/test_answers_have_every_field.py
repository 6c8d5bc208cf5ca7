"""The sandbox's answers carry the fields that Stripe's do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import stripe

from portal.sandbox import Sandbox

FIXTURES = Path(__file__).parents[3] / "shared" / "stripe" / "fixtures3.json"

# What an answer has only under a condition, and so not here.
_CONDITIONAL = {
    "account": {"company", "deleted", "groups", "individual"},
    "balance_transaction": set[str](),
    "charge": {
        "authorization_code",
        "level3",
        "presentment_details",
        "radar_options",
        "refunds",  # only when expanded, since 2022-11-15
        "transfer",
    },
    "confirmation_token": {"metadata"},
    "customer": {
        "business_name",
        "cash_balance",
        "customer_account",
        "deleted",
        "individual_name",
        "invoice_credit_balance",
        "sources",
        "subscriptions",
        "tax",
        "tax_ids",
    },
    "dispute": {"intended_submission_method", "network_reason_code"},
    "event": {"account", "context"},
    "payment_intent": {"hooks", "payment_details", "payment_record", "presentment_details"},
    "payout": set[str](),
    "refund": {
        "description",
        "failure_balance_transaction",
        "failure_reason",
        "instructions_email",
        "next_action",
        "pending_reason",
        "presentment_details",
    },
    "setup_intent": {"attach_to_self", "managed_payments"},
    "webhook_endpoint": {"deleted", "secret"},
}
_CLASSES: dict[str, Any] = {
    "account": stripe.Account,
    "balance_transaction": stripe.BalanceTransaction,
    "charge": stripe.Charge,
    "confirmation_token": stripe.ConfirmationToken,
    "customer": stripe.Customer,
    "dispute": stripe.Dispute,
    "event": stripe.Event,
    "payment_intent": stripe.PaymentIntent,
    "payout": stripe.Payout,
    "refund": stripe.Refund,
    "setup_intent": stripe.SetupIntent,
    "webhook_endpoint": stripe.WebhookEndpoint,
}


@pytest.fixture
def answers(sandbox: Sandbox, api: stripe.StripeClient) -> dict[str, Any]:
    """One of each kind."""
    customer = api.v1.customers.create()
    token = api.v1.test_helpers.confirmation_tokens.create({"payment_method": "pm_card_visa"})
    intent: Any = api.v1.payment_intents.create(
        {
            "amount": 1000,
            "currency": "cad",
            "customer": customer.id,
            "setup_future_usage": "off_session",
            "confirm": True,
            "payment_method": "pm_card_visa",
            "allowed_payment_method_types": ["card"],
            "expand": ["payment_method", "latest_charge.balance_transaction"],
        }
    )
    refund = api.v1.refunds.create({"payment_intent": intent.id, "amount": 100})
    sandbox.dispute(intent.id)
    sandbox.process_payouts()
    found = {
        "account": api.v1.accounts.retrieve_current(),
        "balance_transaction": intent.latest_charge.balance_transaction,
        "charge": intent.latest_charge,
        "confirmation_token": token,
        "customer": customer,
        "dispute": api.v1.disputes.list().data[0],
        "event": api.v1.events.list().data[0],
        "payment_intent": intent,
        "payment_method": intent.payment_method,
        "payout": api.v1.payouts.list().data[0],
        "refund": refund,
        "setup_intent": api.v1.setup_intents.create(),
        "webhook_endpoint": api.v1.webhook_endpoints.create(
            {"url": "https://clinic.example/hooks", "enabled_events": ["*"]}
        ),
    }
    return {kind: thing.to_dict() for kind, thing in found.items()}


@pytest.mark.parametrize("kind", sorted(_CLASSES))
def test_an_answer_has_each_field_that_the_library_knows(answers: dict[str, Any], kind: str) -> None:
    known = {name for name in _CLASSES[kind].__annotations__ if name != "OBJECT_NAME"}
    assert known - set(answers[kind]) - _CONDITIONAL[kind] == set()


@pytest.mark.parametrize("kind", sorted(_CONDITIONAL))
def test_an_answer_has_no_field_that_the_library_does_not_know(answers: dict[str, Any], kind: str) -> None:
    # Stripe's own answers carry a null `source` on these two beside what the library's types say.
    assert set(answers[kind]) - set(_CLASSES[kind].__annotations__) <= {"source"}


@pytest.mark.parametrize(
    ("kind", "path", "model"),
    [
        ("payment_method", "card", stripe.PaymentMethod.Card),
        ("charge", "payment_method_details.card", stripe.Charge.PaymentMethodDetails.Card),
        ("charge", "outcome", stripe.Charge.Outcome),
        ("charge", "billing_details", stripe.Charge.BillingDetails),
        ("confirmation_token", "payment_method_preview.card", stripe.ConfirmationToken.PaymentMethodPreview.Card),
        ("dispute", "evidence", stripe.Dispute.Evidence),
        ("dispute", "evidence_details", stripe.Dispute.EvidenceDetails),
    ],
)
def test_the_parts_of_an_answer_have_their_fields_too(
    answers: dict[str, Any], kind: str, path: str, model: Any
) -> None:
    part = answers[kind]
    for name in path.split("."):
        part = part[name]
    conditional = {
        "cartes_bancaires",
        "description",
        "iin",
        "issuer",
        "moto",
        "partial_authorization",
        "risk_score",
        "rule",
        "decremental_authorization",
        "capture_before",
        "location",
        "reader",
        "submission_method",
        "electronic_commerce_indicator",
        "setup_credential_usage",
        "stored_credential_usage",
        "appeal",
    }
    missing = set(model.__annotations__) - {"_inner_class_types"} - set(part) - conditional
    assert missing == set()


if FIXTURES.exists():  # Stripe's published fixtures are not ours to keep; where they are at hand, they are compared

    @pytest.mark.parametrize("kind", [*sorted(_CLASSES), "payment_method"])
    def test_an_answer_has_each_field_of_stripes_published_fixture(answers: dict[str, Any], kind: str) -> None:
        fixture = json.loads(FIXTURES.read_text())["resources"][kind]
        assert _missing(fixture, answers[kind]) - _WHERE_FIXTURES_DIFFER == set()


# A fixture fills in objects that are null in a plain card payment; and some fields are there when expanded only.
_WHERE_FIXTURES_DIFFER = {"refunds", "payment_method_preview.us_bank_account"}


def _missing(expected: dict[str, Any], given: dict[str, Any], path: str = "") -> set[str]:
    lacking = {f"{path}{name}" for name in expected if name not in given}
    for name, value in expected.items():
        inner = given.get(name)
        if isinstance(value, dict) and isinstance(inner, dict) and name not in ("metadata", "object"):
            lacking |= _missing(value, inner, f"{path}{name}.")
    return lacking
