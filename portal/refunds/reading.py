"""View Payments: everything that was posted on an invoice, what can still be done with it, and what is open."""

from dataclasses import dataclass
from typing import Any

from flask_babel import gettext as _
from sqlalchemy import Connection, Row, and_, bindparam, func, select

from portal.clinic import Location
from portal.gateway.configured import ACTIVE, ConfiguredGateway
from portal.invoices.reading.words import means_words
from portal.invoices.tables import Adjustment, Invoice
from portal.payments.states import LIVE
from portal.payments.tables import LINK, Case, Payment, PaymentAttempt, Refund
from portal.people import Patient, User
from portal.refunds.entries import Change, Entry, Head, dashboard_link
from portal.refunds.notes import Note, notes_on
from portal.refunds.standing import Rest, rest

Found = Row[*tuple[Any, ...]]


@dataclass(frozen=True)
class PaymentsPage:
    """All that View Payments shows."""

    head: Head
    entries: list[Entry]
    notes: list[Note]
    changes: list[Change]
    gateways: list[tuple[int, str]]
    expects_refund: bool

    @property
    def reversible(self) -> list[Entry]:
        """The payments that the New Payment form can reverse."""
        return [] if self.head.is_void else [entry for entry in self.entries if entry.can_be_reversed]

    @property
    def reverses_choices(self) -> list[tuple[int, str]]:
        """The payments to choose from, newest first: "R-20919, Visa, $168.00"."""
        choices = [(one.id, f"{one.name}, {one.means}, {one.amount}") for one in self.reversible[::-1]]
        return choices or [(0, _("No payment to reverse"))]

    @property
    def has_charges(self) -> bool:
        """Whether a gateway holds money of this invoice."""
        return any(entry.link and entry.has_charge for entry in self.entries)

    def entry(self, payment_id: int) -> Entry | None:
        """One row by its id."""
        return next((entry for entry in self.entries if entry.id == payment_id), None)


_voider = User.__table__.alias("voider")

_HEAD = (
    select(
        Invoice.id,
        Invoice.number,
        Invoice.patient_id,
        Patient.given_name,
        Patient.family_name,
        Invoice.service_on,
        Invoice.currency,
        Location.timezone,
        Invoice.owed_cents,
        Invoice.paid_cents,
        Invoice.balance_cents,
        Invoice.voided_at,
        Invoice.void_reason,
        _voider.c.name.label("voided_by"),
        PaymentAttempt.id.label("live_id"),
    )
    .join(Patient, Patient.id == Invoice.patient_id)
    .join(Location, Location.id == Invoice.location_id)
    .outerjoin(_voider, _voider.c.id == Invoice.voided_by)
    .outerjoin(PaymentAttempt, and_(PaymentAttempt.invoice_id == Invoice.id, PaymentAttempt.state.in_(sorted(LIVE))))
    .where(Invoice.number == bindparam("number"))
)


def head_of(connection: Connection, number: str) -> Head | None:
    """An invoice by its number, for staff who may see invoices."""
    row = connection.execute(_HEAD, {"number": number}).first()
    if row is None:
        return None
    return Head(
        id=row.id,
        number=row.number,
        patient_id=row.patient_id,
        patient=f"{row.given_name} {row.family_name}",
        service_on=row.service_on,
        currency=row.currency,
        zone=row.timezone,
        owed_cents=row.owed_cents,
        paid_cents=row.paid_cents,
        balance_cents=row.balance_cents,
        voided_at=row.voided_at,
        void_reason=row.void_reason,
        voided_by=row.voided_by or "",
        is_being_paid=row.live_id is not None,
    )


_payer, _by = Patient.__table__.alias("payer"), User.__table__.alias("by_whom")

_ENTRIES = (
    select(
        Payment.id,
        Payment.receipt_number,
        Payment.nature,
        Payment.received_at,
        Payment.kind,
        Payment.brand,
        Payment.last4,
        Payment.amount_cents,
        Payment.channel,
        Payment.charge_id,
        Payment.refund_id,
        Payment.reverses_id,
        Payment.note,
        _payer.c.given_name,
        _payer.c.family_name,
        ConfiguredGateway.name.label("gateway"),
        PaymentAttempt.intent_id,
        PaymentAttempt.mode,
        _by.c.name.label("by_name"),
    )
    .outerjoin(_payer, _payer.c.id == Payment.payer_id)
    .outerjoin(ConfiguredGateway, ConfiguredGateway.id == Payment.gateway_id)
    .outerjoin(PaymentAttempt, PaymentAttempt.id == Payment.attempt_id)
    .outerjoin(_by, _by.c.id == Payment.recorded_by)
    .where(Payment.invoice_id == bindparam("invoice"))
    .order_by(Payment.id)
)
_CASES = (
    select(Case.id, Case.kind, Case.payment_id, Case.amount_cents, Case.matched_cents, Case.stage, Case.closed_at)
    .where(Case.invoice_id == bindparam("invoice"))
    .order_by(Case.id)
)
_REFUNDS = (
    select(
        Refund.id,
        Refund.payment_id,
        Refund.refund_id,
        Refund.amount_cents,
        Refund.matched_cents,
        Refund.credited_cents,
        Refund.state,
        Refund.needs_person,
        Refund.asked_at,
        Refund.ended_at,
        Refund.request_id,
    )
    .where(Refund.invoice_id == bindparam("invoice"))
    .order_by(Refund.id)
)
_CHANGES = (
    select(Adjustment.reason, Adjustment.amount_cents, Adjustment.made_at, User.name)
    .outerjoin(User, User.id == Adjustment.made_by)
    .where(Adjustment.invoice_id == bindparam("invoice"))
    .order_by(Adjustment.id)
)
_GATEWAYS = (
    select(ConfiguredGateway.id, ConfiguredGateway.name)
    .where(ConfiguredGateway.status == ACTIVE)
    .order_by(func.lower(ConfiguredGateway.name))
)


def payments_of(connection: Connection, head: Head) -> PaymentsPage:
    """Everything about the payments of an invoice, in five statements."""
    of_invoice = {"invoice": head.id}
    rows = connection.execute(_ENTRIES, of_invoice).all()
    cases = connection.execute(_CASES, of_invoice).all()
    refunds = connection.execute(_REFUNDS, of_invoice).all()
    names = {row.id: row.receipt_number or f"#{row.id}" for row in rows}
    links = {row.id: dashboard_link(row.mode, row.intent_id) for row in rows}
    entries = [
        _entry(row, head, names, links, rest(row, rows, cases, refunds) if row.nature == "payment" else None)
        for row in rows
    ]
    return PaymentsPage(
        head=head,
        entries=entries,
        notes=notes_on(head, {entry.id: entry for entry in entries}, cases, refunds),
        changes=[
            Change(
                row.reason,
                ", ".join(filter(None, [head.moment(row.made_at), row.name])),
                head.money(row.amount_cents),
            )
            for row in connection.execute(_CHANGES, of_invoice)
        ],
        gateways=[(row.id, row.name) for row in connection.execute(_GATEWAYS)],
        expects_refund=any(case.kind == "refund_expected" and case.closed_at is None for case in cases),
    )


def _entry(row: Found, head: Head, names: dict[int, str], links: dict[int, str], left: Rest | None) -> Entry:
    return Entry(
        id=row.id,
        name=row.receipt_number or _("none"),
        nature=row.nature,
        when=head.moment(row.received_at),
        payer=f"{row.given_name} {row.family_name}" if row.given_name else "",
        means=means_words(row.kind, row.brand, row.last4),
        means_key=means_key(row.kind, row.brand),
        gateway=row.gateway or _("Do not process"),
        link=(links[row.id] or links.get(row.reverses_id, "")) if row.charge_id else "",
        by=_by_whom(row),
        cents=row.amount_cents,
        amount=head.money(row.amount_cents),
        tag=_tag(row.nature, names.get(row.reverses_id, "")),
        note=row.note,
        rest=left,
        has_charge=row.charge_id is not None,
        receipt=row.receipt_number or "",
    )


def _by_whom(row: Found) -> str:
    """Who entered a row of money; of what came in by itself, by which way."""
    if row.by_name:
        return str(row.by_name)
    if row.channel == LINK and row.nature == "payment":
        return str(_("Pay link"))
    return _("Stripe") if row.charge_id else ""


def means_key(kind: str, brand: str | None) -> str:
    """What somebody paid with, as the New Payment form tells it apart: the card's brand, or the kind."""
    return brand or kind if kind == "card" else kind


def _tag(nature: str, name: str) -> str:
    words = {
        "reversal": _("Reverses %(name)s", name=name),
        "refund": _("Refund of %(name)s", name=name) if name else _("Refund"),
        "refund failed": _("Refund of %(name)s failed", name=name),
        "dispute": _("%(name)s disputed", name=name),
        "reinstatement": _("%(name)s won back", name=name),
    }
    return str(words.get(nature, ""))
