"""What a person sets in Stripe's dashboard for this product: the version, the events, a restricted key's rights."""

from typing import NamedTuple

API_VERSION = "2026-10-28.endive"
"""The version of Stripe's API that this product speaks; webhooks are asked for in the same one."""

WEBHOOK_EVENTS = (
    "payment_intent.succeeded",
    "payment_intent.processing",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "payment_intent.requires_action",
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)
"""What a webhook endpoint is to hear of: everything that moves money or ends a payment."""


class Permission(NamedTuple):
    """One row of Stripe's form for a restricted key."""

    resource: str
    access: str

    def __str__(self) -> str:
        return f"{self.resource}, {self.access}"


SETUP_INTENTS = Permission("SetupIntents", "write")
PAYMENT_INTENTS = Permission("PaymentIntents", "write")
CUSTOMERS = Permission("Customers", "write")
PAYMENT_METHODS = Permission("PaymentMethods", "write")
CONFIRMATION_TOKENS = Permission("Confirmation tokens", "read")
CHARGES = Permission("Charges", "read")
REFUNDS = Permission("Refunds", "write")
DISPUTES = Permission("Disputes", "read")
WEBHOOK_ENDPOINTS = Permission("Webhook Endpoints", "write")
ACCOUNT = Permission("Accounts", "read")

PERMISSIONS = (PAYMENT_INTENTS, SETUP_INTENTS, CUSTOMERS, PAYMENT_METHODS, CONFIRMATION_TOKENS, CHARGES, REFUNDS,
               DISPUTES)  # fmt: skip
"""What a restricted key needs. For the button that makes the webhook it needs WEBHOOK_ENDPOINTS too."""
