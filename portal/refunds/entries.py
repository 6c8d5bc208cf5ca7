"""An invoice and what was posted on it, in the words of View Payments."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from flask_babel import gettext as _

from portal.gateway.configured import PRODUCTION
from portal.invoices.reading.words import plain_day
from portal.money import currency_mark, exponent, format_money
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

    @property
    def can_go_by_hand(self) -> bool:
        """Whether money of a card can be given back another way, because its refund has failed."""
        return self.has_charge and self.rest is not None and self.can_be_refunded and self.rest.by_hand_cents > 0


@dataclass(frozen=True)
class Change:
    """A credit, a write-off or an extra amount owed."""

    reason: str
    detail: str
    amount: str
