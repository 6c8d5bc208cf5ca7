"""What the office sees of one invoice beyond its paper: how it came about, and what a person must still put right."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from flask_babel import gettext as _
from sqlalchemy import Connection, select

from portal.invoices.reading import local_day, plain_day
from portal.invoices.reading.columns import invoices
from portal.invoices.tables import Invoice
from portal.money import format_money
from portal.payments.tables import Case
from portal.people import User
from portal.schedule import Appointment


class OpenCase(NamedTuple):
    """Money that a person must put right."""

    look: str
    heading: str
    text: str
    kind: str


@dataclass(frozen=True)
class Story:
    """How an invoice came about and what became of it."""

    note: str
    issued_on: str
    issued_by: str
    voided_on: str
    voided_by: str
    void_reason: str
    appointment: str | None
    cases: list[OpenCase]

    @property
    def expects_refund(self) -> bool:
        """Whether a payment was reversed whose refund Stripe has not reported yet."""
        return any(case.kind == "refund_expected" for case in self.cases)


_issuers, _voiders = User.__table__.alias("issuers"), User.__table__.alias("voiders")
_appointments = Appointment.__table__.c

_STORY = (
    select(
        invoices.note, invoices.issued_at, _issuers.c.name.label("issued_by"),
        invoices.voided_at, _voiders.c.name.label("voided_by"), invoices.void_reason,
        _appointments.public_id,
    )
    .select_from(Invoice.__table__)
    .outerjoin(_issuers, _issuers.c.id == invoices.created_by)
    .outerjoin(_voiders, _voiders.c.id == invoices.voided_by)
    .outerjoin(Appointment.__table__, _appointments.id == invoices.appointment_id)
)  # fmt: skip


def story_of(connection: Connection, invoice_id: int, currency: str, zone: str) -> Story:
    """The story of an invoice that was loaded for staff, with its open cases."""
    row = connection.execute(_STORY.where(invoices.id == invoice_id)).one()

    def day(moment: datetime | None) -> str:
        return plain_day(local_day(moment, zone)) if moment else ""

    return Story(
        row.note,
        day(row.issued_at),
        row.issued_by or "",
        day(row.voided_at),
        row.voided_by or "",
        row.void_reason,
        row.public_id,
        _cases(connection, invoice_id, currency),
    )


def _cases(connection: Connection, invoice_id: int, currency: str) -> list[OpenCase]:
    cases = Case.__table__.c
    rows = connection.execute(
        select(cases.kind, cases.amount_cents - cases.matched_cents, cases.reason)
        .where(cases.invoice_id == invoice_id, cases.closed_at.is_(None))
        .order_by(cases.id)
    )
    return [
        OpenCase("warn", _heading(kind, format_money(cents, currency)), reason, kind) for kind, cents, reason in rows
    ]


def _heading(kind: str, amount: str) -> str:
    words = {
        "overpaid": _("%(amount)s too much was paid", amount=amount),
        "refund_due": _("%(amount)s is to be refunded", amount=amount),
        "refund_pending": _("Void: %(amount)s goes back once it is refunded", amount=amount),
        "refund_expected": _("Reversed in the books: %(amount)s is still to be refunded in Stripe", amount=amount),
        "dispute": _("%(amount)s is disputed by the card's holder", amount=amount),
    }
    return str(words[kind])
