"""What can still be done with one payment: asked by the pages, and under lock by the verbs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.invoices.tables import Invoice
from portal.payments.cases import GOES_BACK, UNDER_WAY
from portal.payments.tables import Case, Payment, Refund
from portal.refunds import words


@dataclass(frozen=True)
class Rest:
    """What is left of a payment, in minor units of its currency.

    `left_cents`: by the books. `asked_cents`: refunds that were asked for, without an answer yet. `awaited_cents`:
    reversed here, its refund still to come (`cases.awaited_cents`). `failed_cents`: of refunds that the card company
    sent back, what has not been given back since. `dispute`: the stage of its dispute, or nothing.
    """

    left_cents: int
    asked_cents: int = 0
    awaited_cents: int = 0
    failed_cents: int = 0
    dispute: str = ""

    @property
    def reversible_cents(self) -> int:
        """What a reversal can take out of the books: what is left, less the refunds that may be on their way."""
        return max(self.left_cents - max(self.asked_cents - self.awaited_cents, 0), 0)

    @property
    def refundable_cents(self) -> int:
        """What can still go back: what nobody was given yet, at the gateway or by hand, whatever was reversed."""
        return max(self.left_cents + self.awaited_cents - self.asked_cents, 0)

    @property
    def by_hand_cents(self) -> int:
        """What of a card payment can be given back by hand: what failed to reach the card, and nothing else."""
        return min(self.failed_cents, self.refundable_cents)

    @property
    def is_disputed(self) -> bool:
        return self.dispute in UNDER_WAY


def rest_of(session: Session, payment: Payment) -> Rest:
    """How a payment stands now."""
    against = session.scalars(select(Payment).where(Payment.reverses_id == payment.id)).all()
    cases = session.scalars(select(Case).where(Case.payment_id == payment.id)).all()
    refunds = session.scalars(select(Refund).where(Refund.payment_id == payment.id).order_by(Refund.id)).all()
    return rest(payment, against, cases, refunds)


def rest(payment: Any, rows: Iterable[Any], cases: Iterable[Any], refunds: Iterable[Any]) -> Rest:
    """How a payment stands, by rows that were read already; those of other payments are passed over."""
    against = [row for row in rows if row.reverses_id == payment.id]
    own = [refund for refund in refunds if refund.payment_id == payment.id]
    dispute = next((case for case in cases if (case.payment_id, case.kind) == (payment.id, "dispute")), None)
    awaited = 0
    if payment.charge_id is not None:
        taken_out = -sum(row.amount_cents for row in against if row.nature == "reversal" or gives_up_reversal(row))
        came_back = sum(refund.matched_cents for refund in own if refund.state in GOES_BACK)
        awaited = taken_out - came_back - (dispute.matched_cents if dispute else 0)
    return Rest(
        left_cents=payment.amount_cents + sum(row.amount_cents for row in against),
        asked_cents=sum(refund.amount_cents for refund in own if refund.state == "asked"),
        awaited_cents=awaited,
        failed_cents=_failed(own, [row for row in against if is_by_hand(row)]),
        dispute=dispute.stage if dispute else "",
    )


def gives_up_reversal(row: Any) -> bool:
    """Whether the row takes a reversal back (`cases.GIVEN_UP`)."""
    return row.nature == "refund failed" and row.refund_id is None


def is_by_hand(row: Any) -> bool:
    """Whether the row gave money back past the gateway."""
    return row.nature == "refund" and row.refund_id is None


def was_sent_back(refund: Any) -> bool:
    """Whether the gateway took the refund and the card company then sent it back: that is for good."""
    return refund.state == "failed" and refund.refund_id is not None


def _failed(refunds: Iterable[Any], by_hand: Iterable[Any]) -> int:
    """What the card company sent back and nobody was given since, by another refund or by hand.

    Told in the order in which it happened: only what was asked for after a failure makes up for it.
    """
    gone = [(refund.asked_at, 1, -refund.amount_cents) for refund in refunds if _is_tried(refund)]
    gone += [(row.received_at, 1, row.amount_cents) for row in by_hand]
    failed = [(refund.ended_at, 0, refund.amount_cents) for refund in refunds if was_sent_back(refund)]
    open_cents = 0
    for _at, _order, cents in sorted([*gone, *failed]):
        open_cents = max(open_cents + cents, 0)
    return open_cents


def _is_tried(refund: Any) -> bool:
    return refund.state in ("asked", *GOES_BACK) or was_sent_back(refund)


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


def row_against(payment: Payment, nature: str, amount_cents: int, **also: Any) -> Payment:
    """A new row that goes against a payment, by the same means and of the same payer. `amount_cents` is signed."""
    return Payment(
        invoice_id=payment.invoice_id,
        payer_id=payment.payer_id,
        nature=nature,
        kind=payment.kind,
        brand=payment.brand,
        funding=payment.funding,
        last4=payment.last4,
        amount_cents=amount_cents,
        currency=payment.currency,
        reverses_id=payment.id,
        **also,
    )
