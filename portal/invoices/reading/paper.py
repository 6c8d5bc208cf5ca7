"""What stands on one invoice, and one receipt of it, as far as their reader may see it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from flask_babel import gettext as _
from sqlalchemy import Connection, Integer, String, Text, bindparam, cast, literal_column, null, select, union_all

from portal.db import Utc
from portal.gateway.configured import TEST
from portal.invoices.reading.columns import Found, attempts, payments
from portal.invoices.reading.head import Head
from portal.invoices.reading.words import (
    Sum,
    large,
    listed,
    local_day,
    long_day,
    means_words,
    percent,
    short_day,
    weekday,
)  # fmt: skip
from portal.invoices.tables import Adjustment, InvoiceLine, LineTax
from portal.money import format_money
from portal.payments.tables import Payment, PaymentAttempt
from portal.people import Patient


class Line(NamedTuple):
    """One line of an invoice, in words."""

    description: str
    detail: str
    amount: str


class TaxLine(NamedTuple):
    """A tax over all lines that bear it."""

    name: str
    base: str
    amount: str


class Paid(NamedTuple):
    """Posted money, in words. A payment lowers what is left, so it is written with a minus."""

    label: str
    detail: str
    amount: str
    receipt: str
    receipt_href: str
    day: str


@dataclass(frozen=True)
class Paper:
    """What stands on an invoice, in words; without its lines and taxes where the reader isn't to see them."""

    head: Head
    lines: list[Line]
    subtotal: str
    taxes: list[TaxLine]
    adjustments: list[Line]
    total: str
    payments: list[Paid]

    @property
    def receipts(self) -> list[Paid]:
        return [payment for payment in self.payments if payment.receipt]


_LINE, _ADJUSTMENT, _PAYMENT = 1, 2, 3
_lines, _line_taxes = InvoiceLine.__table__.c, LineTax.__table__.c
_adjustments = Adjustment.__table__.c
_payers = Patient.__table__.alias("payers")


def _nothing(type_: Any) -> Any:
    return cast(null(), type_)


_STANDING = union_all(
    select(
        literal_column(str(_LINE), Integer).label("part"),
        _lines.position.label("place"),
        _lines.id.label("id"),
        _lines.description.label("words"),
        _lines.quantity.label("quantity"),
        _lines.unit_cents.label("unit_cents"),
        _lines.net_cents.label("cents"),
        _line_taxes.position.label("tax_place"),
        _line_taxes.name.label("kind"),
        _line_taxes.rate_per_100k.label("rate"),
        _line_taxes.amount_cents.label("tax_cents"),
        _nothing(Utc).label("moment"),
        _nothing(String).label("receipt"),
        _nothing(String).label("brand"),
        _nothing(String).label("last4"),
        _nothing(String).label("nature"),
        _nothing(String).label("given_name"),
        _nothing(String).label("family_name"),
        _nothing(String).label("mode"),
        _nothing(Integer).label("undoes"),
    )
    .select_from(InvoiceLine.__table__)
    .outerjoin(LineTax.__table__, _line_taxes.line_id == _lines.id)
    .where(_lines.invoice_id == bindparam("invoice")),
    select(
        literal_column(str(_ADJUSTMENT), Integer),
        literal_column("0", Integer),
        _adjustments.id,
        _adjustments.reason,
        _nothing(Integer),
        _nothing(Integer),
        _adjustments.amount_cents,
        _nothing(Integer),
        _nothing(String),
        _nothing(Integer),
        _nothing(Integer),
        _adjustments.made_at,
        _nothing(String),
        _nothing(String),
        _nothing(String),
        _nothing(String),
        _nothing(String),
        _nothing(String),
        _nothing(String),
        _nothing(Integer),
    ).where(_adjustments.invoice_id == bindparam("invoice")),
    select(
        literal_column(str(_PAYMENT), Integer),
        literal_column("0", Integer),
        payments.id,
        cast(payments.note, Text),
        _nothing(Integer),
        _nothing(Integer),
        payments.amount_cents,
        _nothing(Integer),
        payments.kind,
        _nothing(Integer),
        _nothing(Integer),
        payments.received_at,
        payments.receipt_number,
        payments.brand,
        payments.last4,
        payments.nature,
        _payers.c.given_name,
        _payers.c.family_name,
        attempts.mode,
        payments.reverses_id,
    )
    .select_from(Payment.__table__)
    .outerjoin(_payers, _payers.c.id == payments.payer_id)
    .outerjoin(PaymentAttempt.__table__, attempts.id == payments.attempt_id)
    .where(payments.invoice_id == bindparam("invoice")),
).order_by("part", "place", "id", "tax_place")


def paper_for(connection: Connection, head: Head) -> Paper:
    """What stands on an invoice that was loaded for its reader, in one statement."""
    return _paper(connection.execute(_STANDING, {"invoice": head.id}).all(), head)


def _paper(rows: Sequence[Found], head: Head) -> Paper:
    lines = [row for row in rows if row.part == _LINE]
    currency = head.currency
    return Paper(
        head=head,
        lines=_line_words(lines, currency) if head.sees_lines else [],
        subtotal=format_money(sum(row.cents for row in _firsts(lines)), currency),
        taxes=_tax_words(lines, currency) if head.sees_lines else [],
        adjustments=[
            Line(
                _("Credit") if row.cents < 0 else _("Added"),
                row.words if head.sees_lines else "",
                format_money(row.cents, currency),
            )
            for row in rows
            if row.part == _ADJUSTMENT
        ],
        total=format_money(head.owed_cents, currency),
        payments=[_payment_words(row, head) for row in rows if row.part == _PAYMENT],
    )


def _firsts(rows: Sequence[Found]) -> Iterator[Found]:
    """One row per line; a line with two taxes comes twice."""
    seen = set()
    for row in rows:
        if row.id not in seen:
            seen.add(row.id)
            yield row


def _line_words(rows: Sequence[Found], currency: str) -> list[Line]:
    taxes: dict[int, list[str]] = {}
    for row in rows:
        if row.kind:
            taxes.setdefault(row.id, []).append(row.kind)
    return [
        Line(
            row.words,
            ", ".join(
                filter(
                    None, [f"{row.quantity} × {format_money(row.unit_cents, currency)}", listed(taxes.get(row.id))]
                )
            ),
            format_money(row.cents, currency),
        )
        for row in _firsts(rows)
    ]


def _tax_words(rows: Sequence[Found], currency: str) -> list[TaxLine]:
    sums: dict[tuple[str, int], list[int]] = {}
    for row in rows:
        if row.kind:
            total = sums.setdefault((row.kind, row.rate), [0, 0])
            total[0] += row.cents
            total[1] += row.tax_cents
    return [
        TaxLine(
            f"{name} {percent(rate)}",
            _("on %(amount)s", amount=format_money(base, currency)),
            format_money(cents, currency),
        )
        for (name, rate), (base, cents) in sums.items()
    ]


def _payment_words(row: Found, head: Head) -> Paid:
    label = means_words(row.kind, row.brand, row.last4)
    if row.nature != "payment":
        label = _went_back(row.nature, label, row.kind)
    day = local_day(row.moment, head.zone)
    details = [weekday(day)]
    if row.kind == "insurance" and row.words and row.nature == "payment":  # a correction's words are the staff's own
        details.append(row.words)
    receipt = row.receipt if row.receipt and row.nature == "payment" else ""
    return Paid(
        label,
        ", ".join(details),
        format_money(-row.cents, head.currency),
        receipt,
        f"{head.href}/receipts/{quote(receipt, safe='')}" if receipt else "",
        short_day(day),
    )


def _went_back(nature: str, means: str, kind: str) -> str:
    """What happened to money that had been paid, in the patient's words."""
    words = {
        "refund": _("Refund to %(means)s", means=means)
        if kind == "card"
        else _("Given back: %(means)s", means=means),
        "refund failed": _("Refund that did not arrive"),
        "reversal": _("Correction"),
        "dispute": _("Taken back by the bank"),
        "reinstatement": _("Returned by the bank"),
    }
    return str(words[nature])


# --- one receipt ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Receipt:
    """What one payment paid, with the invoice as it stands. `went_back`: how much of it did since; empty for nothing.
    `is_test`: a rehearsal, in which no money moved.
    """

    number: str
    paid: Sum
    went_back: str
    paid_words: str
    paid_on: str
    means: str
    paid_by: str
    paper: Paper
    others: list[Paid]
    in_full: bool
    is_test: bool


def receipt_for(connection: Connection, head: Head, receipt_number: str) -> Receipt | None:
    """One receipt of an invoice that was loaded for its reader; None where the invoice has no such receipt."""
    rows = connection.execute(_STANDING, {"invoice": head.id}).all()
    posted = [row for row in rows if row.part == _PAYMENT]
    found = next((row for row in posted if row.receipt == receipt_number and row.nature == "payment"), None)
    if found is None:
        return None
    name = f"{found.given_name} {found.family_name}" if found.given_name else ""
    back_cents = -sum(row.cents for row in posted if row.undoes == found.id)
    return Receipt(
        number=receipt_number,
        paid=large(found.cents, head.currency),
        went_back=format_money(back_cents, head.currency, full=True) if back_cents > 0 else "",
        paid_words=format_money(found.cents, head.currency),
        paid_on=long_day(local_day(found.moment, head.zone)),
        means=means_words(found.kind, found.brand, found.last4),
        paid_by=name,
        paper=_paper(rows, head),
        others=[_payment_words(row, head) for row in posted if row is not found],
        in_full=head.balance_cents <= 0 and not head.voided,
        is_test=found.mode == TEST,
    )
