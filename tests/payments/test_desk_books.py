"""What the desk receives without our gateway goes into the books alone, each sum once."""

from dataclasses import replace

import pytest

from portal.invoices.books import void_invoice
from portal.payments import words
from portal.payments.desk import PAID_BY
from portal.payments.hints import follow_hint
from portal.payments.reading import receivable
from portal.webhooks import Hint
from tests.payments.desk import Desk
from tests.payments.stage import Stage


@pytest.mark.promise("O8")
@pytest.mark.parametrize("paid_by", PAID_BY)
def test_each_way_to_pay_goes_into_the_books(desk: Desk, stage: Stage, paid_by: str) -> None:
    paid = desk.record(desk.received(26_00, paid_by, note="114"))
    (payment,) = stage.payments()
    assert (payment.kind, payment.brand) == (PAID_BY[paid_by].kind, PAID_BY[paid_by].brand)
    assert (payment.amount_cents, payment.channel, payment.nature) == (26_00, "desk", "payment")
    assert (payment.receipt_number, payment.note) == (paid.receipt_number, "114")
    assert (payment.gateway_id, payment.charge_id, payment.attempt_id) == (None, None, None)
    assert payment.recorded_by == desk.dana
    assert stage.invoice().balance_cents == 100_00
    assert stage.calls == []
    stage.check_books()


@pytest.mark.promise("O8", "G1")
def test_a_payment_recorded_twice_is_posted_once(desk: Desk, stage: Stage) -> None:
    payment = desk.received(26_00)
    assert desk.record(payment) == desk.record(payment) == desk.record(payment, by=desk.ines)
    assert len(stage.payments()) == 1
    stage.check_books()


def test_a_request_on_another_invoice_is_refused(desk: Desk, stage: Stage) -> None:
    payment = desk.received(26_00)
    desk.record(payment)
    stage.invoice_id = stage.new_invoice()
    with pytest.raises(words.FormUsedUp):
        desk.record(payment)
    assert len(stage.payments()) == 1


@pytest.mark.promise("O8")
def test_too_much_is_not_recorded(desk: Desk, stage: Stage) -> None:
    with pytest.raises(words.MoreThanIsLeft):
        desk.record(desk.received(126_01))
    assert stage.payments() == []


@pytest.mark.promise("O8", "G1")
def test_a_form_that_shows_an_older_balance_records_nothing(desk: Desk, stage: Stage) -> None:
    payment = desk.received(50_00)
    desk.record(desk.received(50_00))
    with pytest.raises(words.AmountChanged):
        desk.record(payment, by=desk.ines)
    assert stage.invoice().balance_cents == 76_00


def test_nothing_is_received_on_a_paid_or_void_invoice(desk: Desk, stage: Stage) -> None:
    late = desk.received(26_00)
    desk.record(desk.received(126_00))
    with pytest.raises(words.NothingToPay):
        desk.record(late)
    stage.invoice_id = stage.new_invoice()
    late, by_card = desk.received(26_00), desk.form(26_00)
    with stage.database.transaction() as session:
        void_invoice(session, stage.invoice_id, "Entered twice")
    with pytest.raises(words.InvoiceIsVoid):
        desk.record(late)
    with pytest.raises(words.InvoiceIsVoid):
        desk.charge(by_card)
    stage.check_books()


@pytest.mark.promise("O8")
def test_nothing_more_is_received_while_a_bank_looks_into_an_earlier_payment(desk: Desk, stage: Stage) -> None:
    desk.charge(desk.form(50_00))
    (payment,) = stage.payments()
    dispute = stage.sandbox.dispute(str(payment.charge_id))
    intent = str(stage.attempt().intent_id)
    follow_hint(stage.parts, Hint(1, stage.gateway_id, "test", "charge.dispute.created", dispute["id"], intent))
    cash, card = desk.received(20_00), desk.form(20_00)
    with pytest.raises(words.PaymentDisputed):
        desk.record(cash)
    with pytest.raises(words.PaymentDisputed):
        desk.charge(card)
    with stage.database.read() as connection:
        found = receivable(connection, stage.invoice().number)
    assert found is not None
    assert found.is_disputed


@pytest.mark.promise("O8")
def test_a_form_that_comes_back_with_other_details_records_nothing(desk: Desk, stage: Stage) -> None:
    payment = desk.received(50_00)
    paid = desk.record(payment)
    for other in (replace(payment, amount_cents=30_00), replace(payment, paid_by=PAID_BY["cheque"])):
        with pytest.raises(words.FormUsedUp):
            desk.record(other)
    assert desk.record(payment) == paid
    assert [one.amount_cents for one in stage.payments()] == [50_00]
