"""What a patient reads: their invoices, one invoice, one receipt. Loading is authorising.

Every statement is built once, asks for columns only, and names the payer's own patients in its WHERE: there is no
way to get a row that isn't theirs.
"""

from portal.invoices.reading.head import Head, invoice_for, invoice_for_staff
from portal.invoices.reading.lists import (
    PAGE,
    Key,
    Modes,
    Page,
    Totals,
    closed_invoices,
    open_invoices,
    read_key,
    totals,
)  # fmt: skip
from portal.invoices.reading.paper import Paper, Receipt, paper_for, receipt_for
from portal.invoices.reading.payers import Payee, Payer
from portal.invoices.reading.words import (
    BOUND,
    Sum,
    full_day,
    greeting,
    large,
    listed,
    local_day,
    long_day,
    plain_day,
    short_day,
    weekday,
)  # fmt: skip

__all__ = [
    "BOUND", "PAGE", "Head", "Key", "Modes", "Page", "Paper", "Payee", "Payer", "Receipt", "Sum", "Totals",
    "closed_invoices", "full_day", "greeting", "invoice_for", "invoice_for_staff", "large", "listed", "local_day",
    "long_day", "open_invoices", "paper_for", "plain_day", "read_key", "receipt_for", "short_day", "totals",
    "weekday",
]  # fmt: skip
