"""The number of a form belongs to what it was sent for: on another invoice, or as another verb, it does nothing."""

from uuid import uuid4

import pytest

from portal.invoices.books import SentBefore, adjust
from tests.payments.stage import Stage
from tests.refunds.desk import Desk


def test_a_reversals_number_does_nothing_on_another_invoice(stage: Stage, desk: Desk) -> None:
    number, first = uuid4(), desk.visa_without_gateway(50_00)
    desk.reverses(first, request=number)
    stage.invoice_id = stage.new_invoice()
    second = desk.visa_without_gateway(50_00)
    with pytest.raises(SentBefore):
        desk.reverses(second, request=number)
    assert desk.net == 50_00


def test_money_that_was_given_back_has_a_number_of_its_own(stage: Stage, desk: Desk) -> None:
    number, first = uuid4(), desk.received(50_00)
    desk.gives_back(first, request=number)
    stage.invoice_id = stage.new_invoice()
    second = desk.received(50_00)
    with pytest.raises(SentBefore):
        desk.gives_back(second, request=number)
    assert desk.net == 50_00


def test_a_refunds_number_does_nothing_for_another_payment(stage: Stage, desk: Desk) -> None:
    number, first = uuid4(), desk.card_pays()
    desk.refunds(first, 10_00, request=number)
    stage.invoice_id = stage.new_invoice()
    second = desk.card_pays()
    with pytest.raises(SentBefore):
        desk.refunds(second, 10_00, request=number)
    assert desk.net == second.amount_cents


def test_an_adjustments_number_does_nothing_on_another_invoice(stage: Stage, desk: Desk) -> None:
    number = uuid4()
    for refused in (False, True):
        with stage.database.transaction() as session:
            if refused:
                with pytest.raises(SentBefore):
                    adjust(session, stage.invoice_id, -10_00, "Late.", stage.cast.clerk, number)
            else:
                adjust(session, stage.invoice_id, -10_00, "Late.", stage.cast.clerk, number)
        stage.invoice_id = stage.new_invoice()


def test_other_details_are_not_taken_for_the_same_press(stage: Stage, desk: Desk) -> None:
    """A page that the browser brings back after the press, with another amount typed into it."""
    number, cash = uuid4(), desk.received(60_00)
    desk.reverses(cash, 10_00, request=number)
    with pytest.raises(SentBefore):
        desk.reverses(cash, 20_00, request=number)
    with pytest.raises(SentBefore):
        desk.gives_back(cash, 10_00, request=number)
    number = uuid4()
    desk.gives_back(cash, 10_00, request=number)
    for cents, kind in ((20_00, "cash"), (10_00, "cheque")):
        with pytest.raises(SentBefore):
            desk.gives_back(cash, cents, kind, request=number)
    assert desk.net == 40_00


def test_a_refund_over_another_sum_is_not_told_as_done(stage: Stage, desk: Desk) -> None:
    number, paid = uuid4(), desk.card_pays()
    desk.refunds(paid, 10_00, request=number)
    for cents, still_owed in ((20_00, False), (10_00, True)):
        with pytest.raises(SentBefore):
            desk.refunds(paid, cents, request=number, still_owed=still_owed)
    assert desk.refunds(paid, 10_00, request=number).amount_cents == 10_00
    assert desk.net == paid.amount_cents - 10_00
