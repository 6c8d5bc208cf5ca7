"""Every table, imported once, for the migrations and the checks."""

from portal import cards, clinic, limits, outbox, people, settings, webhooks
from portal.db import Base
from portal.gateway import configured
from portal.invoices import tables as invoice_tables
from portal.payments import tables as payment_tables

__all__ = ["Base", "cards", "clinic", "configured", "invoice_tables", "limits", "outbox", "payment_tables",
           "people", "settings", "webhooks"]  # fmt: skip
