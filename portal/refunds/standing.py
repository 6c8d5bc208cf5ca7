"""What can still be done with one payment: asked by the pages, and under lock by the verbs."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.invoices.tables import Invoice
from portal.payments.cases import UNDER_WAY, awaited_cents, case_of, left_of
from portal.payments.tables import Payment, Refund
from portal.refunds import words


@dataclass(frozen=True)
class Rest:
    """What is left of a payment, in minor units of its currency.

    `left_cents`: by the books. `asked_cents`: refunds that were asked for, without an answer yet. `awaited_cents`:
    reversed here, its refund still to come. `dispute`: the stage of its dispute, or nothing.
    """

    left_cents: int
    asked_cents: int = 0
    awaited_cents: int = 0
    dispute: str = ""

    @property
    def reversible_cents(self) -> int:
        """What a reversal can take out of the books: what is left, less the refunds that may be on their way."""
        return max(self.left_cents - max(self.asked_cents - self.awaited_cents, 0), 0)

    @property
    def refundable_cents(self) -> int:
        """What can go back at the gateway: what it still holds of the payment, whatever the books have reversed."""
        return max(self.left_cents + self.awaited_cents - self.asked_cents, 0)

    @property
    def is_disputed(self) -> bool:
        return self.dispute in UNDER_WAY


def rest_of(session: Session, payment: Payment) -> Rest:
    """How a payment stands now."""
    dispute = case_of(session, payment.id, "dispute")
    return Rest(
        left_cents=left_of(session, payment.invoice_id).get(payment.id, 0),
        asked_cents=asked_cents(session, payment.id),
        awaited_cents=awaited_cents(session, payment),
        dispute=dispute.stage if dispute else "",
    )


def asked_cents(session: Session, payment_id: int) -> int:
    """The refunds of a payment that were asked for and whose answer is not known."""
    asked = select(func.coalesce(func.sum(Refund.amount_cents), 0)).where(
        Refund.payment_id == payment_id, Refund.state == "asked"
    )
    return int(session.scalar(asked) or 0)


def payment_on(session: Session, invoice: Invoice, payment_id: int) -> Payment:
    """A payment that came in on this invoice. Raises NotThisInvoice or NotAPayment."""
    payment = session.get(Payment, payment_id) if 0 < payment_id < 2**31 else None
    if payment is None or payment.invoice_id != invoice.id:
        raise words.NotThisInvoice(number=invoice.number)
    if payment.nature != "payment":
        raise words.NotAPayment(payment=name_of(payment))
    return payment


def name_of(payment: Payment) -> str:
    """How people call a payment: by its number."""
    return payment.receipt_number or f"#{payment.id}"
