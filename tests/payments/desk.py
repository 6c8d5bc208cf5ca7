"""The desk of a test: Dana there, and Inès at another one."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

from sqlalchemy import select

from portal.audit import AuditEntry
from portal.cards import SavedCard
from portal.errors import Refusal
from portal.payments.desk import PAID_BY, DeskPayment, record_payment
from portal.payments.outcomes import Outcome, Paid
from portal.payments.pay import PayerRef, PayForm, pay
from portal.payments.tables import DESK
from tests.payments.stage import RETURN_URL, Stage


class Desk:
    """Dana at the desk, and Inès at another one."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.dana, self.ines = stage.cast.clerk.id, stage.cast.bookkeeper.id
        self.maya = stage.cast.maya.id

    def form(self, cents: int, card: str = "visa", *, saves: bool = False, **also: Any) -> PayForm:
        invoice = self.stage.invoice()
        has_own = also.get("saved_card") or also.get("token")
        typed = None if has_own else self.stage.token(card, saves=saves, cents=cents)
        form = PayForm(
            uuid4(), invoice.balance_cents, invoice.currency, token=typed, save_card=saves,
            asked_cents=cents, shown_version=invoice.version,
        )  # fmt: skip
        return replace(form, **also)

    def charge(self, form: PayForm, payer_id: int | None = None, by: int = 0) -> Outcome:
        payer = PayerRef(payer_id or self.maya, by or self.dana, DESK)
        return pay(self.stage.parts, self.stage.invoice_id, form, payer, RETURN_URL)

    def try_to_charge(self, form: PayForm, payer_id: int | None = None, by: int = 0) -> Outcome | Refusal:
        try:
            return self.charge(form, payer_id, by)
        except Refusal as refusal:
            return refusal

    def received(self, cents: int, paid_by: str = "cash", **also: Any) -> DeskPayment:
        invoice = self.stage.invoice()
        payment = DeskPayment(
            uuid4(), PAID_BY[paid_by], cents, invoice.balance_cents, invoice.currency, invoice.version, self.maya
        )
        return replace(payment, **also)

    def record(self, payment: DeskPayment, by: int = 0) -> Paid:
        return record_payment(self.stage.parts, self.stage.invoice_id, payment, by or self.dana)


def kept_cards(stage: Stage) -> list[SavedCard]:
    with stage.database.transaction() as session:
        return list(session.scalars(select(SavedCard).where(SavedCard.removed_at.is_(None)).order_by(SavedCard.id)))


def entries(stage: Stage, action: str) -> list[AuditEntry]:
    with stage.database.transaction() as session:
        return list(session.scalars(select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.id)))
