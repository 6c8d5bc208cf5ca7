"""Which mail is queued when: with what it tells, once, to the right person, and never in the way of the money."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from portal.checkout import Item, Order, check_out, priced
from portal.clock import shifted
from portal.mail import written
from portal.outbox import Letter, OutboxMessage, claim_letter
from portal.paylinks import PayLink
from portal.payments.outcomes import Checking, Declined
from portal.payments.settle import look_up, settle
from portal.people import PayerLink
from portal.settings import read_settings
from tests.makers import make_service
from tests.payments.stage import Stage
from tests.refunds.desk import Desk


@pytest.fixture
def desk(stage: Stage) -> Desk:
    return Desk(stage)


def letters(stage: Stage, kind: str) -> list[Letter]:
    """What is queued of a kind, as the worker would read it."""
    with stage.database.transaction() as session:
        found = []
        while (letter := claim_letter(session, stage.parts.vault)) is not None:
            found.append(letter)
    with stage.database.transaction() as session:  # let go of them again
        session.execute(update(OutboxMessage).values(next_try_at=OutboxMessage.queued_at))
    return [letter for letter in found if letter.kind == kind]


def text_of(stage: Stage, letter: Letter) -> str:
    with stage.database.read() as connection:
        mail = written(letter, read_settings(connection), "file:unused", stage.parts.config.base_url)
    body = mail.get_body(("plain",))
    assert body is not None
    return " ".join(f"{mail['Subject']} {body.get_content()}".split())


# --- the invoice ----------------------------------------------------------------------------------------------------


def checks_out(stage: Stage, *, email_wanted: bool = True) -> Order:
    """Dana checks out a sale to Theo."""
    with stage.database.transaction() as session:
        service = make_service(session, f"Sale {uuid4()}")
    item = Item(service.id)
    with stage.database.read() as connection:
        shown = priced(connection, [item]).total_cents
    order = Order(
        uuid4(), (item,), shown, patient_id=stage.cast.theo.id, location_id=stage.cast.location.id,
        email_wanted=email_wanted,
    )  # fmt: skip
    check_out(stage.parts, order, stage.cast.clerk.id)
    return order


@pytest.mark.promise("E3", "O7")
def test_an_invoice_is_mailed_at_checkout_where_that_was_ticked(stage: Stage) -> None:
    order = checks_out(stage)
    check_out(stage.parts, order, stage.cast.clerk.id)  # pressed again
    checks_out(stage, email_wanted=False)
    (letter,) = letters(stage, "invoice")
    assert letter.recipient == stage.cast.maya.email  # Theo is a child: whoever pays for him gets it
    assert "/pay/" in letter.words["link"]
    assert "Pay online" in text_of(stage, letter)
    assert letters(stage, "pay_request") == []


@pytest.mark.promise("E3")
@pytest.mark.parametrize("switch", ["email_pay_online_request", "accept_payments_in_portal"])
def test_an_invoice_that_can_not_be_paid_by_link_leads_to_sign_in(stage: Stage, switch: str) -> None:
    stage.set(switch, "no")
    checks_out(stage)
    (letter,) = letters(stage, "invoice")
    said = text_of(stage, letter)
    assert "Pay online" not in said and "To see the invoice, sign in: https://pay.example.com/invoices/" in said
    with stage.database.transaction() as session:
        assert session.scalars(select(PayLink)).all() == []


@pytest.mark.promise("E3")
def test_nobody_to_write_to_stops_nothing(stage: Stage, desk: Desk) -> None:
    payment = desk.received()
    with stage.database.transaction() as session:
        session.execute(delete(PayerLink))
    checks_out(stage)
    desk.gives_back(payment)
    desk.voids()
    assert letters(stage, "invoice") == letters(stage, "refund") == letters(stage, "void") == []
    assert stage.invoice().voided_at is not None


@pytest.mark.promise("E3", "G1")
def test_a_mail_that_can_not_be_queued_stops_no_money(
    stage: Stage, desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage.set("email_void_addresses", "books@example.com")

    def breaks(session: Session, *_args: object, **_words: object) -> bool:
        session.execute(text("SELECT 'maya@example.com' FROM no_such_table"))
        return True

    monkeypatch.setattr("portal.letters.queueing.queue_mail", breaks)
    checks_out(stage)
    counter = desk.received(26_00)
    desk.refunds(desk.card_pays())
    desk.voids({counter.id: "cash"})
    assert [one.state for one in desk.refund_rows()] == ["succeeded"]
    assert stage.invoice().voided_at is not None and desk.net == 0
    for kind in ("invoice", "receipt", "refund", "void"):
        assert f"no mail ({kind}) was queued" in caplog.text
    assert "maya@example.com" not in caplog.text
    desk.check()


# --- money that went back -------------------------------------------------------------------------------------------


@pytest.mark.promise("E3", "O16")
def test_a_refund_is_mailed_when_it_is_done_to_whoever_paid(stage: Stage, desk: Desk) -> None:
    stage.press(stage.form("visa"), stage.sven)
    payment = stage.payments()[-1]
    desk.refunds(payment, 40_00)
    desk.looks(payment)
    desk.sweeps(1)
    (letter,) = letters(stage, "refund")
    assert letter.recipient == stage.cast.second_payer.email
    said = text_of(stage, letter)
    assert "We gave back CA$40.00" in said and "To: Visa 4242" in said and "five to ten days" in said


@pytest.mark.promise("E3", "G4")
def test_a_refund_made_in_the_dashboard_is_mailed_once(stage: Stage, desk: Desk) -> None:
    payment = desk.card_pays()
    desk.stripe_refunds(payment, 30_00)
    desk.looks(payment)
    desk.looks(payment)
    assert [letter.words["amount"] for letter in letters(stage, "refund")] == ["CA$30.00"]


@pytest.mark.promise("E3", "O16")
def test_a_refund_that_is_under_way_is_not_mailed_yet(stage: Stage, desk: Desk) -> None:
    payment = desk.card_pays("pendingRefund")
    refund = desk.refunds(payment, 30_00)
    assert letters(stage, "refund") == []
    stage.sandbox.finish_refund(str(refund.refund_id))
    desk.looks(payment)
    assert len(letters(stage, "refund")) == 1


@pytest.mark.promise("E3", "O16")
def test_cash_that_is_given_back_is_mailed_once(stage: Stage, desk: Desk) -> None:
    payment, press = desk.received(payer_id=stage.cast.maya.id), uuid4()
    desk.gives_back(payment, 25_00, request=press)
    desk.gives_back(payment, 25_00, request=press)
    (letter,) = letters(stage, "refund")
    assert letter.recipient == stage.cast.maya.email and "In cash" in text_of(stage, letter)


@pytest.mark.promise("E3")
def test_what_an_insurer_gets_back_is_no_mail_to_the_patient(stage: Stage, desk: Desk) -> None:
    desk.gives_back(desk.received(kind="insurance"), kind="cheque")
    assert letters(stage, "refund") == []


# --- void -----------------------------------------------------------------------------------------------------------


@pytest.mark.promise("E3", "O13")
def test_a_void_invoice_is_told_to_each_address_without_its_reason(stage: Stage, desk: Desk) -> None:
    stage.set("email_void_addresses", "books@example.com; owner@example.com, books@example.com")
    desk.received()
    desk.voids({stage.payments()[-1].id: "cash"}, reason="Depression was not treated.")
    told = letters(stage, "void")
    assert sorted(letter.recipient for letter in told) == ["books@example.com", "owner@example.com"]
    said = text_of(stage, told[0])
    assert stage.invoice().number in said and "CA$126.00" in said and "Voided by: Dana" in said
    assert "epression" not in said
    assert len(letters(stage, "refund")) == 1


@pytest.mark.promise("E3")
def test_nobody_is_told_where_no_address_is_set(stage: Stage, desk: Desk) -> None:
    desk.voids()
    assert letters(stage, "void") == []


# --- a payment that failed when nobody looked -----------------------------------------------------------------------


def is_processing(stage: Stage) -> Checking:
    """Maya has paid with what takes a while, and left."""
    outcome = stage.press(stage.form("sandbox_processing"))
    assert isinstance(outcome, Checking)
    return outcome


def fails_later(stage: Stage) -> None:
    """The bank says no after all."""
    intent_id = stage.attempt().intent_id
    assert intent_id is not None
    stage.sandbox.finish_processing(intent_id, succeed=False)


@pytest.mark.promise("E3")
def test_a_payment_that_fails_when_nobody_looks_is_mailed_once(stage: Stage) -> None:
    outcome = is_processing(stage)
    fails_later(stage)
    assert isinstance(look_up(stage.parts, outcome.attempt_id), Declined)
    look_up(stage.parts, outcome.attempt_id)
    (letter,) = letters(stage, "payment_failed")
    assert letter.recipient == stage.cast.maya.email
    said = text_of(stage, letter)
    assert said.startswith("Nothing was charged") and "sign in" in said


@pytest.mark.promise("E3")
def test_a_payment_that_fails_before_its_payers_eyes_needs_no_mail(stage: Stage) -> None:
    outcome = is_processing(stage)
    fails_later(stage)
    assert isinstance(settle(stage.parts, outcome.attempt_id), Declined)
    stage.sweep()
    assert letters(stage, "payment_failed") == []


@pytest.mark.promise("E3")
def test_a_plain_decline_needs_no_mail(stage: Stage) -> None:
    stage.press(stage.form("chargeDeclinedInsufficientFunds"))
    with shifted(timedelta(hours=1)):
        stage.sweep()
    assert letters(stage, "payment_failed") == []
