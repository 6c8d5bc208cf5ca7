"""The operations of the API, one module per resource. Importing this package registers them all."""

from portal.sandbox.resources import (
    account,
    balance,
    charges,
    confirmation_tokens,
    customers,
    disputes,
    events,
    payment_intents,
    payment_methods,
    payouts,
    refunds,
    setup_intents,
    webhook_endpoints,
)

__all__ = [
    "account",
    "balance",
    "charges",
    "confirmation_tokens",
    "customers",
    "disputes",
    "events",
    "payment_intents",
    "payment_methods",
    "payouts",
    "refunds",
    "setup_intents",
    "webhook_endpoints",
]
