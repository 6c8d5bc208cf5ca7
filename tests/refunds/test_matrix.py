"""What can be done with an invoice in which state: one table, each cell allowed or refused with its sentence."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from portal.errors import Refusal
from portal.invoices.books import AlreadyVoid, CreditTooLarge
from portal.payments import words as pay_words
from portal.refunds import words
from tests.payments.stage import Stage
from tests.refunds.desk import ALL, Desk

ONLY_GROWS = IntegrityError


def opened(_stage: Stage, _desk: Desk) -> None:
    """Nothing has been paid."""


def partly_paid(_stage: Stage, desk: Desk) -> None:
    desk.received(26_00)


def paid(_stage: Stage, desk: Desk) -> None:
    desk.card_pays()


def void(_stage: Stage, desk: Desk) -> None:
    desk.voids()


def refund_pending(_stage: Stage, desk: Desk) -> None:
    desk.card_pays()
    desk.voids()


def refund_expected(_stage: Stage, desk: Desk) -> None:
    desk.reverses(desk.card_pays())


def refund_failed(stage: Stage, desk: Desk) -> None:
    """The card company sent back a refund of all of it, which was still owed."""
    payment = desk.card_pays()
    made = desk.refunds(payment, still_owed=True)
    stage.sandbox.fail_refund(str(made.refund_id))
    desk.looks(payment)


def given_by_hand(stage: Stage, desk: Desk) -> None:
    refund_failed(stage, desk)
    desk.gives_back_instead(_payment(stage), still_owed=True)


def disputed(stage: Stage, desk: Desk) -> None:
    payment = desk.card_pays()
    stage.sandbox.dispute(str(payment.charge_id))
    desk.looks(payment)


def pay(stage: Stage, _desk: Desk) -> None:
    balance = stage.invoice().balance_cents
    stage.press(stage.form(None, token=stage.token("visa", cents=balance if balance > 0 else ALL)))


def _payment(stage: Stage) -> Any:
    """The invoice's payment; one that does not exist where it has none."""
    from portal.payments.tables import Payment

    return next(iter(stage.payments()), Payment(id=999_999, amount_cents=1_00, charge_id="ch_none"))


def reverse(stage: Stage, desk: Desk) -> None:
    desk.reverses(_payment(stage), 10_00)


def refund(stage: Stage, desk: Desk) -> None:
    payment = _payment(stage)
    (desk.refunds if payment.charge_id else desk.gives_back)(payment, 10_00)


def by_hand(stage: Stage, desk: Desk) -> None:
    """In cash: what came over the counter, and what a card sent back."""
    payment = _payment(stage)
    (desk.gives_back_instead if payment.charge_id else desk.gives_back)(payment, 10_00)


def void_it(stage: Stage, desk: Desk) -> None:
    desk.voids({payment.id: "cash" for payment in stage.payments()})


def edit(stage: Stage, _desk: Desk) -> None:
    """Nothing that was posted is ever changed."""
    with stage.database.transaction() as session:
        session.execute(
            text("UPDATE invoice_lines SET net_cents = 1 WHERE invoice_id = :id"), {"id": stage.invoice_id}
        )


def adjust(_stage: Stage, desk: Desk) -> None:
    desk.adjusts(-10_00)


Cell = type[Exception] | None
# state:           pay, reverse, refund, by_hand, void, edit, adjust
TABLE: list[tuple[Callable[..., None], tuple[Cell, ...]]] = [
    (opened, (None, words.NotThisInvoice, words.NotThisInvoice, words.NotThisInvoice, None, ONLY_GROWS, None)),
    (partly_paid, (None, None, None, None, None, ONLY_GROWS, None)),
    (paid, (pay_words.NothingToPay, None, None, words.RefundInDashboard, None, ONLY_GROWS, CreditTooLarge)),
    (void, (pay_words.InvoiceIsVoid, words.NotThisInvoice, words.NotThisInvoice, words.NotThisInvoice, AlreadyVoid,
            ONLY_GROWS, AlreadyVoid)),
    (refund_pending, (pay_words.InvoiceIsVoid, words.InvoiceIsVoid, None, words.RefundInDashboard, AlreadyVoid,
                      ONLY_GROWS, AlreadyVoid)),
    (refund_expected, (None, words.NothingIsLeft, None, words.RefundInDashboard, None, ONLY_GROWS, None)),
    (refund_failed, (pay_words.NothingToPay, None, None, None, None, ONLY_GROWS, CreditTooLarge)),
    (given_by_hand, (None, words.NothingIsLeft, words.NothingToRefund, words.NothingToRefund, None, ONLY_GROWS,
                     None)),
    (disputed, (pay_words.PaymentDisputed, words.BeingDisputed, words.BeingDisputed, words.BeingDisputed,
                words.BeingDisputed, ONLY_GROWS, None)),
]  # fmt: skip
ACTIONS = (pay, reverse, refund, by_hand, void_it, edit, adjust)
CELLS = [
    pytest.param(state, action, cell, id=f"{state.__name__}-{action.__name__}")
    for state, cells in TABLE
    for action, cell in zip(ACTIONS, cells, strict=True)
]


@pytest.mark.promise("O13", "O14", "O16", "G3")
@pytest.mark.parametrize(("state", "action", "refusal"), CELLS)
def test_each_cell_is_allowed_or_refused_with_its_sentence(
    stage: Stage, desk: Desk, state: Callable[..., None], action: Callable[..., None], refusal: Cell
) -> None:
    state(stage, desk)
    before = (desk.natures(), desk.adjustments(), desk.balance, desk.open_cases(), stage.invoice().voided_at)
    if refusal is None:
        action(stage, desk)
        assert (desk.natures(), desk.adjustments(), desk.balance, stage.invoice().voided_at) != (
            *before[:3],
            before[4],
        ) or (desk.open_cases() != before[3])
        return
    with pytest.raises(refusal) as said:
        action(stage, desk)
    if isinstance(said.value, Refusal):
        assert said.value.text.endswith(".")
    else:
        assert "only grow" in str(said.value)
    assert (desk.natures(), desk.adjustments(), desk.balance, desk.open_cases(), stage.invoice().voided_at) == before
