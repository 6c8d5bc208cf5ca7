"""Asking for the payment of several invoices with one press, and saying what became of each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select

from portal.errors import Refusal
from portal.invoices.tables import Invoice
from portal.letters.requests import CannotBePaidOnline, RequestsOff, request_payment
from portal.parts import Parts


@dataclass(frozen=True)
class Told:
    """What became of a press: the addresses by the invoice that was sent to them, and numbers by why nothing was."""

    sent: dict[str, str] = field(default_factory=dict)
    not_sent: dict[str, list[str]] = field(default_factory=dict)


def request_payments(parts: Parts, numbers: Sequence[str], request_id: UUID, *, by: int | None) -> Told:
    """Ask for the payment of each of these invoices, one mail each, also when the same press is sent twice.

    Each is a step of its own: one that can't be sent keeps no other from being sent. Raises RequestsOff.
    """
    with parts.database.read() as connection:
        rows = connection.execute(
            select(Invoice.number, Invoice.id).where(Invoice.number.in_(numbers)).order_by(Invoice.id)
        ).all()
    told = Told()
    for number, invoice_id in rows:
        try:
            told.sent[number] = request_payment(parts, invoice_id, request_id, by=by).email
        except RequestsOff:
            raise
        except Refusal as refusal:
            told.not_sent.setdefault(_why(refusal), []).append(number)
    return told


def _why(refusal: Refusal) -> str:
    """The reason without the invoice's number, which stands beside it."""
    return refusal.text if isinstance(refusal, CannotBePaidOnline) else refusal.heading
