"""Every table, imported once, for the migrations and the checks."""

from portal import audit, cards, clinic, limits, outbox, paylinks, people, schedule, settings, webhooks
from portal.db import Base
from portal.gateway import configured
from portal.invoices import sums
from portal.invoices import tables as invoice_tables
from portal.payments import tables as payment_tables
from portal.programs import tables as program_tables

__all__ = ["Base", "audit", "cards", "clinic", "configured", "invoice_tables", "limits", "outbox", "paylinks",
           "payment_tables", "people", "program_tables", "schedule", "settings", "sums", "webhooks"]  # fmt: skip
