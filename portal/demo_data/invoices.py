"""The demo clinic's two hundred invoices: who came when for what, and how each payment went."""

from datetime import date, timedelta
from typing import NamedTuple

from portal.clinic import Practitioner
from portal.clock import now
from portal.demo_data.alder_lane import CUSHION, MASSAGE, PEOPLE, PHONE_CALL, PHYSIO, SERVICES, moment
from portal.demo_data.clinic import Clinic
from portal.invoices.books import Line, issue_invoice, take_receipt_numbers, void_invoice
from portal.invoices.tables import Adjustment, Invoice
from portal.payments.tables import Payment

INVOICES = 200
CARDS = (("visa", "4242"), ("visa", "1881"), ("mastercard", "4444"), ("amex", "0005"), ("discover", "1117"))


class Visit(NamedTuple):
    """An invoice to be: who came when for what, and how its payment went."""

    on: date
    patient: str
    items: tuple[str, ...]
    fate: str
    riverside: bool = False


# What becomes of an invoice, and how often among the made-up visits. The first group is settled long ago or today;
# the second is still open, so its visits are recent (or, for the overdue ones, not recent enough).
SETTLED = {
    "card": 40, "cash": 14, "cheque": 6, "e-transfer": 8, "insurance": 10, "insurance, then card": 14,
    "void": 6, "credited": 6, "refunded": 4, "nothing to pay": 6,
}  # fmt: skip
OPEN = {"open": 20, "partly paid": 16, "overdue": 16, "overdue, partly paid": 8}

NOTES = ("Exchange of goods within 14 days.", "Claim form handed over at the visit.")


class Invoices:
    """Writes the demo clinic's invoices into its session."""

    def __init__(self, clinic: Clinic) -> None:
        self.session = clinic.session
        self.chance = clinic.chance
        self.clinic = clinic
        self.taxes = {name: taxes for name, _, taxes, _ in SERVICES}

    def visits(self) -> list[Visit]:
        """All two hundred, oldest first, so that the numbers follow the dates."""
        fixed = self._mayas()
        others = [name for name in PEOPLE if "Lindqvist" not in name]
        fates = [fate for fate, times in (SETTLED | OPEN).items() for _ in range(times)]
        made_up = [self._visit(fate, others) for fate in fates[: INVOICES - len(fixed)]]
        assert len(fixed) + len(made_up) == INVOICES, "the fates add up"
        return sorted([*fixed, *made_up], key=lambda visit: visit.on)

    def _mayas(self) -> list[Visit]:
        """What Maya sees: one partly paid, one of Theo's overdue, two new ones, and twenty-two in the past."""
        maya, theo = "Maya Lindqvist", "Theo Lindqvist"
        return [
            Visit(self._ago(7), maya, (MASSAGE, CUSHION), "partly paid"),
            Visit(self._ago(18), theo, (PHYSIO,), "overdue"),
            Visit(self._ago(1), maya, ("Chiropractic, first visit",), "open"),
            Visit(self._ago(3), maya, ("Acupuncture, 60 minutes", "Hot and cold pack"), "open", riverside=True),
            *(Visit(self._ago(28 + 17 * turn), maya, (MASSAGE,), "card") for turn in range(14)),
            *(Visit(self._ago(36 + 40 * turn), theo, (PHYSIO,), "card") for turn in range(4)),
            Visit(self._ago(62), maya, ("Massage therapy, 90 minutes", "Foam roller"), "insurance, then card"),
            Visit(self._ago(96), maya, (MASSAGE,), "insurance"),
            Visit(self._ago(48), maya, ("Chiropractic, adjustment",), "void"),
            Visit(self._ago(131), maya, (PHONE_CALL,), "nothing to pay"),
        ]

    def _visit(self, fate: str, people: list[str]) -> Visit:
        days = self.chance.randrange(1, 13) if fate in OPEN else self.chance.randrange(2, 400)
        if fate.startswith("overdue"):
            days = self.chance.randrange(16, 90)
        return Visit(self._ago(days), self.chance.choice(people), self._items(fate), fate, self.chance.random() < 0.3)

    def _items(self, fate: str) -> tuple[str, ...]:
        if fate == "nothing to pay":
            return (PHONE_CALL,)
        treatment = self.chance.choice([name for name, price, _, whose in SERVICES if whose and price])
        product = self.chance.choice([name for name, _, _, whose in SERVICES if not whose])
        return (treatment, product) if self.chance.random() < 0.25 else (treatment,)

    def _ago(self, days: int) -> date:
        return self.clinic.today - timedelta(days=days)

    # --- an invoice, and what becomes of it -------------------------------------------------------------------------

    def write(self, visit: Visit) -> None:
        """Issue the invoice of a visit and let its fate happen."""
        invoice = issue_invoice(
            self.session,
            location=self.clinic.locations[visit.riverside],
            patient_id=self.clinic.patients[visit.patient].id,
            practitioner_id=self._who_treats(visit.items).id,
            service_on=visit.on,
            lines=[self._line(item) for item in visit.items],
            note=self.chance.choice(NOTES) if CUSHION in visit.items else "",
            issued_at=moment(visit.on, self.chance.randrange(9, 17), self.chance.randrange(60)),
        )
        match visit.fate:
            case "void":
                void_invoice(self.session, invoice.id, "Entered for the wrong visit.")
                # The moment of the act would be now; an old invoice was voided long ago.
                invoice.voided_at = invoice.issued_at + timedelta(days=1)
            case "credited":
                self._credit(invoice, invoice.balance_cents // 4, "Courtesy credit: the visit began late.")
                self.pay(invoice, "card")
            case "refunded":
                self._refund(invoice, self.pay(invoice, "cash"))
            case "insurance, then card":
                self.pay(invoice, "insurance", share_of_all=2, days=6)
                self.pay(invoice, "card", days=9)
            case "partly paid" | "overdue, partly paid":
                self.pay(invoice, "insurance", cents=40_00, days=2)
            case "card" | "cash" | "cheque" | "e-transfer" | "insurance":
                self.pay(invoice, visit.fate, days=5 if visit.fate in ("insurance", "cheque") else 0)
            case "open" | "overdue" | "nothing to pay":
                pass
            case _:
                raise AssertionError(f"no such fate: {visit.fate}")

    def _who_treats(self, items: tuple[str, ...]) -> Practitioner:
        return next(self.clinic.practitioners[whose] for name, _, _, whose in SERVICES if whose and name in items)

    def _line(self, item: str) -> Line:
        service = self.clinic.services[item]
        return Line(item, service.price_cents, 1, self.taxes[item], service.id)

    def pay(self, invoice: Invoice, kind: str, *, cents: int = 0, share_of_all: int = 1, days: int = 0) -> Payment:
        """Post money. A card's was taken on the clinic's old terminal, before the portal: it names neither gateway
        nor charge, so that the reconciliation doesn't look for it in a Stripe account that never saw it."""
        due = invoice.balance_cents
        payment = Payment(
            receipt_number=take_receipt_numbers(self.session)[0],
            invoice_id=invoice.id,
            payer_id=None if kind == "insurance" else self._payer_of(invoice),
            kind=kind,
            amount_cents=min(cents, due) if cents else due // share_of_all,
            currency=invoice.currency,
            received_at=min(invoice.issued_at + timedelta(days=days, minutes=4), now()),
            recorded_by=self.clinic.staff["Dana Whitlock"].id,
            note=f"Extended health plan, claim {self.chance.randrange(60, 90)}-{self.chance.randrange(1000, 9999)}"
            if kind == "insurance"
            else "",
        )
        if kind == "card":
            payment.brand, payment.last4 = self.chance.choice(CARDS)
            payment.funding = "credit"
        self.session.add(payment)
        self.session.flush()
        self.session.refresh(invoice)
        return payment

    def _payer_of(self, invoice: Invoice) -> int:
        theo, maya = self.clinic.patients["Theo Lindqvist"], self.clinic.patients["Maya Lindqvist"]
        return maya.id if invoice.patient_id == theo.id else invoice.patient_id

    def _refund(self, invoice: Invoice, payment: Payment) -> None:
        """Money back, and no longer owed: a negative payment and an equal credit."""
        self.session.add(
            Payment(
                invoice_id=invoice.id,
                payer_id=payment.payer_id,
                kind=payment.kind,
                amount_cents=-payment.amount_cents,
                currency=invoice.currency,
                reverses_id=payment.id,
                note="Refunded at the desk: the visit did not help.",
                received_at=min(payment.received_at + timedelta(days=3), now()),
                recorded_by=self.clinic.staff["Marc Oduya"].id,
            )
        )
        self.session.flush()
        self._credit(invoice, payment.amount_cents, "Refunded, no longer owed.")

    def _credit(self, invoice: Invoice, cents: int, reason: str) -> None:
        self.session.add(
            Adjustment(
                invoice_id=invoice.id,
                amount_cents=-cents,
                reason=reason,
                made_at=min(invoice.issued_at + timedelta(days=4), now()),
                made_by=self.clinic.staff["Marc Oduya"].id,
            )
        )
        self.session.flush()
        self.session.refresh(invoice)
