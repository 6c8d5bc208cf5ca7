"""Stripe's objects, each with every field that Stripe's answers carry, and the values of a fresh one."""

from portal.sandbox.shapes.books import balance_transaction_shape, payout_shape
from portal.sandbox.shapes.charges import charge_shape, dispute_shape, refund_shape
from portal.sandbox.shapes.intents import confirmation_token_shape, payment_intent_shape, setup_intent_shape
from portal.sandbox.shapes.methods import address, billing_details, card_shape, payment_method_shape
from portal.sandbox.shapes.office import (
    API_VERSION,
    account_shape,
    customer_shape,
    event_shape,
    webhook_endpoint_shape,
)

__all__ = [
    "API_VERSION",
    "account_shape",
    "address",
    "balance_transaction_shape",
    "billing_details",
    "card_shape",
    "charge_shape",
    "confirmation_token_shape",
    "customer_shape",
    "dispute_shape",
    "event_shape",
    "payment_intent_shape",
    "payment_method_shape",
    "payout_shape",
    "refund_shape",
    "setup_intent_shape",
    "webhook_endpoint_shape",
]
