"""View Payments: everything that was posted on an invoice, what can still be done with it, and what is open."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from flask_babel import gettext as _
from sqlalchemy import Connection, Row, and_, bindparam, func, select

from portal.clinic import Location
from portal.gateway.configured import ACTIVE, PRODUCTION, ConfiguredGateway
from portal.invoices.reading.words import means_words, plain_day
from portal.invoices.tables import Adjustment, Invoice
from portal.money import currency_mark, exponent, format_money
from portal.payments.cases import UNDER_WAY
from portal.payments.states import LIVE
from portal.payments.tables import Case, Payment, PaymentAttempt, Refund
from portal.people import Patient, User
from portal.refunds.standing import Rest

DASHBOARD = "https://dashboard.stripe.com/"


def dashboard_link(mode: str | None, intent_id: str | None) -> str:
    """Where Stripe shows this very payment to the clinic; empty for one that it does not have."""
    if not intent_id or not mode:
        return ""
    return f"{DASHBOARD}{'' if mode == PRODUCTION else 'test/'}payments/{intent_id}"


@dataclass(frozen=True)
class Head:
    """An invoice as its corrections see it."""

    id: int
    number: str
    patient_id: int
    patient: str
    service_on: date
    currency: str
    zone: str
    owed_cents: int
    paid_cents: int
    balance_cents: int
    voided_at: datetime | None
    void_reason: str
    voided_by: str
    is_being_paid: bool

    @property
    def is_void(self) -> bool:
        return self.voided_at is not None

    @property
    def summary(self) -> str:
        """ "Rosa Delgado, 23 Nov 2026, total $168.00, balance $0.00" """
        words = _(
            "%(patient)s, %(day)s, total %(total)s, balance %(balance)s",
            patient=self.patient,
            day=plain_day(self.service_on),
            total=self.money(self.owed_cents),
            balance=self.money(self.balance_cents),
        )
        return str(words)

    @property
    def state(self) -> tuple[str, str]:
        """Its tag: how it looks, and the word."""
        if self.is_void:
            return ("late", _("Void, refund pending")) if self.paid_cents > 0 else ("void", _("Void"))
        if self.balance_cents < 0:
            return "late", _("Paid too much")
        if self.balance_cents == 0:
            return "paid", _("Paid")
        return ("part", _("Partly paid")) if self.paid_cents > 0 else ("due", _("Receivable"))

    def money(self, cents: int) -> str:
        """An amount of this invoice."""
        return format_money(cents, self.currency)

    def figures(self, cents: int) -> str:
        """An amount as one types it: "168.00"."""
        places = exponent(self.currency)
        digits = str(abs(cents)).rjust(places + 1, "0")
        return f"{digits[:-places]}.{digits[-places:]}" if places else digits

    @property
    def mark(self) -> str:
        """The unmistakable sign of its currency: "CA$"."""
        return currency_mark(self.currency)

    def moment(self, at: datetime) -> str:
        """ "23 Nov, 11:32", by the location's clock."""
        return format_datetime(at.astimezone(ZoneInfo(self.zone)), "d MMM, HH:mm", locale="en")


@dataclass(frozen=True)
class Entry:
    """One row of posted money, in words, with what can still be done with it."""

    id: int
    name: str
    nature: str
    when: str
    payer: str
    means: str
    means_key: str
    gateway: str
    link: str
    by: str
    cents: int
    amount: str
    tag: str
    note: str
    rest: Rest | None
    has_charge: bool
    receipt: str

    @property
    def can_be_reversed(self) -> bool:
        return self.rest is not None and self.rest.reversible_cents > 0 and not self.rest.is_disputed

    @property
    def can_be_refunded(self) -> bool:
        return self.rest is not None and self.rest.refundable_cents > 0 and not self.rest.is_disputed


@dataclass(frozen=True)
class Note:
    """Something that is open, or that a person should see: where it stands, and the link to do something about it."""

    look: str
    heading: str
    text: str
    link: str = ""
    refund_id: int = 0
    asks_still_owed: bool = False
    case_id: int = 0


@dataclass(frozen=True)
class Change:
    """A credit, a write-off or an extra amount owed."""

    reason: str
    detail: str
    amount: str


@dataclass(frozen=True)
class PaymentsPage:
    """All that View Payments shows."""

    head: Head
    entries: list[Entry]
    notes: list[Note]
    changes: list[Change]
    gateways: list[tuple[int, str]]

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
        Payment.charge_id,
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
        Refund.amount_cents,
        Refund.credited_cents,
        Refund.state,
        Refund.needs_person,
        Refund.asked_at,
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

Found = Row[*tuple[Any, ...]]


def payments_of(connection: Connection, head: Head) -> PaymentsPage:
    """Everything about the payments of an invoice, in five statements."""
    of_invoice = {"invoice": head.id}
    rows = connection.execute(_ENTRIES, of_invoice).all()
    cases = connection.execute(_CASES, of_invoice).all()
    refunds = connection.execute(_REFUNDS, of_invoice).all()
    names = {row.id: row.receipt_number or f"#{row.id}" for row in rows}
    links = {row.id: dashboard_link(row.mode, row.intent_id) for row in rows}
    entries = [_entry(row, head, names, links, _rest(row, rows, cases, refunds)) for row in rows]
    return PaymentsPage(
        head=head,
        entries=entries,
        notes=_notes(head, {entry.id: entry for entry in entries}, cases, refunds),
        changes=[
            Change(
                row.reason,
                ", ".join(filter(None, [head.moment(row.made_at), row.name])),
                head.money(row.amount_cents),
            )
            for row in connection.execute(_CHANGES, of_invoice)
        ],
        gateways=[(row.id, row.name) for row in connection.execute(_GATEWAYS)],
    )


def _rest(row: Found, rows: Sequence[Found], cases: Sequence[Found], refunds: Sequence[Found]) -> Rest | None:
    """As `standing.rest_of`, from what the page has read already."""
    if row.nature != "payment":
        return None
    own = {case.kind: case for case in cases if case.payment_id == row.id}
    expected, dispute = own.get("refund_expected"), own.get("dispute")
    return Rest(
        left_cents=row.amount_cents + sum(one.amount_cents for one in rows if one.reverses_id == row.id),
        asked_cents=sum(one.amount_cents for one in refunds if (one.payment_id, one.state) == (row.id, "asked")),
        awaited_cents=expected.amount_cents - expected.matched_cents if expected else 0,
        dispute=dispute.stage if dispute else "",
    )


def _entry(row: Found, head: Head, names: dict[int, str], links: dict[int, str], rest: Rest | None) -> Entry:
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
        by=row.by_name or (_("Stripe") if row.charge_id else ""),
        cents=row.amount_cents,
        amount=head.money(row.amount_cents),
        tag=_tag(row.nature, names.get(row.reverses_id, "")),
        note=row.note,
        rest=rest,
        has_charge=row.charge_id is not None,
        receipt=row.receipt_number or "",
    )


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


# --- what is open ---------------------------------------------------------------------------------------------------


def _notes(head: Head, entries: dict[int, Entry], cases: Sequence[Found], refunds: Sequence[Found]) -> list[Note]:
    notes = [_case_note(head, entries[case.payment_id], case) for case in cases if case.closed_at is None]
    notes += [_refund_note(head, entries[one.payment_id], one) for one in refunds]
    if head.is_being_paid:
        notes.append(
            Note(
                "wait", _("Somebody is paying this invoice"), _("The payment appears here once its outcome is known.")
            )
        )
    return [note for note in notes if note is not None]


def _case_note(head: Head, entry: Entry, case: Found) -> Note | None:
    amount = head.money(case.amount_cents - case.matched_cents)
    words = {"amount": amount, "name": entry.name}
    if case.kind == "dispute":
        return _dispute_note(head, entry, case)
    if case.kind == "overpaid" and head.is_void:
        return None
    heading, text = {
        "overpaid": (
            _("Paid too much: %(amount)s", **words),
            _("More was paid than is owed. Was payment %(name)s entered in error? Reverse it. Was the money really "
              "taken? Refund it.", **words),
        ),
        "refund_due": (
            _("%(amount)s of payment %(name)s is to be refunded", **words),
            _("The card turned out to be one that the clinic does not accept."),
        ),
        "refund_pending": (
            _("Void, refund pending: %(amount)s", **words),
            _("This invoice is void. The %(amount)s of payment %(name)s goes back once it is refunded in Stripe, and "
              "then this closes by itself.", **words)
            if entry.has_charge
            else _("This invoice is void. Give the %(amount)s of payment %(name)s back and record it here.", **words),
        ),
        "refund_expected": (
            _("Refund expected: %(amount)s", **words),
            _("Payment %(name)s was reversed here, but Stripe still has its %(amount)s. Refund it in Stripe; it is "
              "matched with the reversal by itself.", **words),
        ),
    }[case.kind]  # fmt: skip
    return Note("warn", heading, text, entry.link)


def _dispute_note(head: Head, entry: Entry, case: Found) -> Note:
    words = {"amount": head.money(case.amount_cents), "name": entry.name}
    if case.stage in UNDER_WAY:
        text = (
            _("The bank asks about %(amount)s of payment %(name)s. No money has been taken back so far. Answer in "
              "Stripe's dashboard in time.", **words)
            if case.stage == "inquiry"
            else _("The bank has taken back %(amount)s of payment %(name)s until it is decided. Answer in Stripe's "
                   "dashboard in time. Nothing is refunded and nobody is reminded meanwhile.", **words)
        )  # fmt: skip
        return Note("warn", _("Payment %(name)s is disputed", **words), text, entry.link)
    return Note(
        "bad",
        _("The dispute of payment %(name)s is lost", **words),
        _("The bank keeps the %(amount)s, and the invoice is owed again. Write it off, or talk to the patient; no "
          "reminder goes out by itself.", **words),
        entry.link,
        case_id=case.id,
    )  # fmt: skip


def _refund_note(head: Head, entry: Entry, refund: Found) -> Note | None:
    words = {"amount": head.money(refund.amount_cents), "name": entry.name, "when": head.moment(refund.asked_at)}
    if refund.needs_person == "credited":
        return Note(
            "warn",
            _("Refunded in Stripe: %(amount)s", **words),
            _("Somebody refunded %(amount)s of payment %(name)s in Stripe's dashboard. It was credited here too, so "
              "that it is not owed again. Is that right?", **words),
            entry.link, refund.id, asks_still_owed=True,
        )  # fmt: skip
    if refund.state == "asked":
        return Note(
            "wait",
            _("We are checking a refund of %(amount)s", **words),
            _("It was asked for on %(when)s, and Stripe has not answered yet. Please don't refund again; this "
              "settles by itself.", **words),
            entry.link,
        )  # fmt: skip
    if refund.state == "pending":
        return Note("wait", _("A refund of %(amount)s is on its way", **words),
                    _("Stripe has taken it; the bank has not confirmed it yet."), entry.link)  # fmt: skip
    if refund.needs_person is not None:
        return Note(
            "bad",
            _("A refund of %(amount)s has failed", **words),
            _("The money of payment %(name)s did not arrive and is back with the clinic. Look at the "
                "payment in Stripe, and refund it again.",
                **words),
            entry.link, refund.id,
        )  # fmt: skip
    return None
