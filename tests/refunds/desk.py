"""What the front desk and the bookkeeper do to an invoice of the stage, and what came of it."""

from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import select, update

from portal.clock import shifted
from portal.gateway import GatewayError
from portal.invariants import broken_invariants
from portal.invoices.books import adjust
from portal.invoices.tables import Adjustment, Invoice
from portal.payments.outcomes import Paid
from portal.payments.tables import Case, ChargeLook, Payment, Refund
from portal.refunds.asking import RefundForm, refund
from portal.refunds.by_hand import give_back, give_back_instead
from portal.refunds.following import follow_charge
from portal.refunds.reversing import Reversal, reverse
from portal.refunds.sweeping import sweep_refunds
from portal.refunds.voiding import void
from tests.makers import make_payment
from tests.payments.stage import Stage

ALL = 126_00
"""What the stage's invoice comes to."""


class Desk:
    """Staff at work on the stage's invoice."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.parts = stage.parts

    # money comes in

    def card_pays(self, card: str = "visa") -> Payment:
        """A payer pays what is left through the gateway."""
        assert isinstance(self.stage.press(self.stage.form(card)), Paid)
        return self.stage.payments()[-1]

    def received(self, cents: int | None = None, kind: str = "cash", **details: object) -> Payment:
        """Money over the counter, without looking at the balance: as when two people take it at once."""
        from portal.payments.cases import follow_books

        with self.stage.database.transaction() as session:
            invoice = session.get_one(Invoice, self.stage.invoice_id)
            payment = make_payment(session, invoice, cents, kind, **details)
            follow_books(session, invoice)
            return payment

    def visa_without_gateway(self, cents: int = ALL) -> Payment:
        """A Visa payment that was typed in with the gateway "Do not process"."""
        return self.received(cents, "card", brand="visa", funding="credit")

    # corrections

    def reverses(
        self,
        payment: Payment,
        cents: int | None = None,
        *,
        request: UUID | None = None,
        reason: str = "Entered twice.",
    ) -> Payment:
        order = Reversal(request or uuid4(), payment.id, -(payment.amount_cents if cents is None else cents), reason)
        with self.stage.database.transaction() as session:
            return reverse(session, self.stage.invoice_id, order, self.stage.cast.clerk.id)

    def refunds(
        self, payment: Payment, cents: int | None = None, *, request: UUID | None = None, still_owed: bool = False,
        reason: str = "The visit did not help.",
    ) -> Refund:  # fmt: skip
        form = RefundForm(
            request or uuid4(), payment.id, payment.amount_cents if cents is None else cents, reason, still_owed
        )
        return refund(self.parts, self.stage.invoice_id, form, self.stage.cast.bookkeeper.id)

    def gives_back(
        self, payment: Payment, cents: int | None = None, kind: str = "cash", *, request: UUID | None = None,
        still_owed: bool = False,
    ) -> Payment:  # fmt: skip
        form = RefundForm(
            request or uuid4(), payment.id, payment.amount_cents if cents is None else cents, "Back.", still_owed
        )
        with self.stage.database.transaction() as session:
            return give_back(self.parts, session, self.stage.invoice_id, form, kind, self.stage.cast.bookkeeper.id)

    def gives_back_instead(
        self, payment: Payment, cents: int | None = None, kind: str = "cash", *, request: UUID | None = None,
        still_owed: bool = False,
    ) -> Payment:  # fmt: skip
        """Of a card payment whose refund has failed."""
        form = RefundForm(
            request or uuid4(), payment.id, payment.amount_cents if cents is None else cents, "Back.", still_owed
        )
        return give_back_instead(self.parts, self.stage.invoice_id, form, kind, self.stage.cast.bookkeeper.id)

    def voids(self, given_back: dict[int, str] | None = None, reason: str = "Wrong patient.") -> Invoice:
        return void(self.parts, self.stage.invoice_id, reason, given_back or {}, self.stage.cast.clerk.id)

    def adjusts(self, cents: int, reason: str = "The visit began late.") -> Adjustment:
        with self.stage.database.transaction() as session:
            return adjust(session, self.stage.invoice_id, cents, reason, self.stage.cast.clerk)

    # at Stripe

    def stripe_refunds(self, payment: Payment, cents: int | None = None) -> str:
        """Somebody refunds in Stripe's dashboard; gives the refund's id."""
        return str(self.stage.sandbox.refund(str(payment.charge_id), cents)["id"])

    def looks(self, payment: Payment) -> None:
        """The charge is looked up, as a webhook, the sweep, or a person asks for it."""
        follow_charge(self.parts, payment.id)

    def sweeps(self, hours: float = 0) -> int:
        """The worker's sweep, so much later, with every look due."""
        with self.stage.database.transaction() as session:
            session.execute(update(ChargeLook).values(next_look_at=self.stage.cast.maya.created_at))
            session.execute(update(Refund).values(next_look_at=self.stage.cast.maya.created_at))
        with shifted(timedelta(hours=hours)):
            return sweep_refunds(self.parts)

    # what came of it

    @property
    def balance(self) -> int:
        return self.stage.invoice().balance_cents

    @property
    def net(self) -> int:
        """What was paid on the invoice, less what went back."""
        return self.stage.invoice().paid_cents

    def refund_rows(self) -> list[Refund]:
        with self.stage.database.transaction() as session:
            return list(session.scalars(select(Refund).order_by(Refund.id)))

    def adjustments(self) -> list[int]:
        with self.stage.database.transaction() as session:
            return list(session.scalars(select(Adjustment.amount_cents).order_by(Adjustment.id)))

    def natures(self) -> list[tuple[str, int]]:
        """What was posted: natures and amounts."""
        return [(one.nature, one.amount_cents) for one in self.stage.payments()]

    def open_cases(self) -> dict[str, int]:
        """The kinds of open cases, with what each still covers."""
        return {case.kind: case.amount_cents - case.matched_cents for case in self._cases() if case.closed_at is None}

    def _cases(self) -> list[Case]:
        return self.stage.cases()

    def check(self) -> None:
        """What must always hold; and I2, once every charge was looked up."""
        assert broken_invariants(self.stage.database) == []
        self.stage.sandbox.clear_faults()
        for payment in self.stage.payments():
            if payment.nature == "payment" and payment.charge_id:
                try:
                    self.looks(payment)
                except GatewayError:
                    continue
        self.stage.check_books()
