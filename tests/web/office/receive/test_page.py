"""Receive Payment as the desk's browser meets it: what is sent, what is refused, what lands in the books."""

from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.audit import AuditEntry, RecordView
from portal.gateway.configured import ConfiguredGateway
from portal.invoices.books import void_invoice
from portal.payments.states import State
from tests.makers import make_attempt, make_payment
from tests.web.conftest import words
from tests.web.office.receive.conftest import JSON, Desk

# --- the page -------------------------------------------------------------------------------------------------------


@pytest.mark.promise("O8")
def test_the_form_is_filled_in_and_says_which_gateway_it_uses(desk: Desk) -> None:
    page = desk.dana.get(desk.path())
    assert page.status_code == 200
    fields = desk.form()
    assert (fields["amount"], fields["paid_by"], fields["gateway"]) == ("126.00", "visa", "process")
    assert fields["payer"] == str(desk.site.cast.maya.id)
    said = words(page)
    assert "Stripe, Alder Lane Clinic" in said
    assert "Test mode" in said


@pytest.mark.promise("O15")
def test_the_page_says_that_readers_are_not_supported_and_what_to_do_for_interac(desk: Desk) -> None:
    said = words(desk.dana.get(desk.path()))
    assert "Card readers are not supported. For Interac, use your own terminal" in said


@pytest.mark.promise("O8")
def test_a_new_card_is_charged_and_booked_as_what_stripe_reports(desk: Desk) -> None:
    answer = desk.press(card="mastercard", paid_by="visa")
    assert answer["outcome"] == "paid", answer
    (payment,) = desk.payments()
    assert (payment.brand, payment.channel, payment.nature) == ("mastercard", "desk", "payment")
    assert payment.recorded_by == desk.site.cast.clerk.id
    assert payment.payer_id == desk.site.cast.maya.id
    assert desk.taken == payment.amount_cents == 126_00
    page = desk.dana.get(answer["location"])
    assert "Payment received" in words(page)
    assert f"Receipt {payment.receipt_number}" in words(page)


@pytest.mark.promise("O8")
def test_cash_goes_into_the_books_alone(desk: Desk) -> None:
    answer = desk.send(paid_by="cash", amount="26.00")
    assert answer.status_code == 303
    (payment,) = desk.payments()
    assert (payment.kind, payment.amount_cents, payment.channel, payment.charge_id) == ("cash", 26_00, "desk", None)
    assert desk.row().balance_cents == 100_00
    said = words(desk.dana.get(answer.location))
    assert "Left to pay on invoice" in said
    assert "Receive the rest" in said
    assert desk.attempts() == []


# --- the receipt ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("O3")
def test_the_receipt_of_a_rehearsed_payment_says_that_no_money_moved(desk: Desk) -> None:
    rehearsed = "Test mode: this payment was a rehearsal. No money moved"
    card = desk.press(amount="26.00")["location"]
    assert rehearsed in words(desk.dana.get(card))
    cash = desk.send(paid_by="cash", amount="10.00").headers["Location"]
    assert rehearsed not in words(desk.dana.get(cash))


# --- what can't be received -----------------------------------------------------------------------------------------


@pytest.mark.promise("O8")
def test_a_paid_and_a_void_invoice_have_nothing_to_receive(desk: Desk) -> None:
    fields = {**desk.form(), "paid_by": "cash"}
    desk.site.change(lambda session: make_payment(session, session.merge(desk.row())))
    assert "There is nothing left to pay on it." in words(desk.dana.get(desk.path()))
    void = desk.invoice()
    desk.site.change(lambda session: void_invoice(session, desk.row(void).id, "Entered twice"))
    assert "This invoice is void. Nothing was charged." in words(desk.dana.get(desk.path(void)))
    for number in (desk.number, void):
        late = desk.dana.post(desk.path(number), data=fields)
        assert late.status_code == 409
        assert "There is nothing" in words(late)
    assert len(desk.payments()) == 1


@pytest.mark.promise("O8", "G1")
def test_an_invoice_that_changed_meanwhile_is_shown_anew(desk: Desk) -> None:
    fields = {**desk.form(), "paid_by": "cash", "amount": "100"}
    desk.send(paid_by="cash", amount="50")
    answer = desk.dana.post(desk.path(), data=fields)
    assert answer.status_code == 422  # 76.00 are left: said at the field
    answer = desk.dana.post(desk.path(), data={**fields, "amount": "50"})
    assert answer.status_code == 303
    assert "There is now CA$76.00 left to pay." in words(desk.dana.get(answer.location))
    assert len(desk.payments()) == 1


@pytest.mark.promise("O8", "G1")
def test_somebody_who_is_paying_is_told_of_and_taken_over_only_with_a_word(desk: Desk) -> None:
    def begin(session: Session) -> None:
        invoice = session.merge(desk.row())
        gateway = session.scalars(select(ConfiguredGateway)).one()
        user = desk.site.cast.maya_user.id
        make_attempt(session, invoice, gateway, State.CREATED, user_id=user)

    fields = {**desk.form(), "paid_by": "cash"}
    desk.site.change(begin)
    late = desk.dana.post(desk.path(), data=fields, headers=JSON)
    assert (late.status_code, late.get_json()["reload"]) == (422, True)
    page = desk.dana.get(desk.path())
    assert "Somebody is paying this invoice right now (since" in words(page)
    refused = desk.send(paid_by="cash")
    assert refused.status_code == 422
    assert 'id="take-over-error"' in refused.text
    assert desk.payments() == []
    assert desk.send(paid_by="cash", take_over="y").status_code == 303
    assert [one.state for one in desk.attempts()] == ["failed"]


# --- who may, and what is written down ------------------------------------------------------------------------------


def test_only_those_who_may_receive_open_it(desk: Desk) -> None:
    assert desk.site.visitor("liam@example.com").get(desk.path()).status_code == 403
    assert desk.dana.get(desk.path("nobody's")).status_code == 404
    assert desk.dana.get(f"{desk.path()}/{uuid4()}").status_code == 404
    assert desk.dana.get(f"/office/invoices/{desk.number}/received/R-1").status_code == 404


@pytest.mark.promise("O8")
def test_looking_and_receiving_are_written_down(desk: Desk) -> None:
    desk.send(paid_by="cash", amount="26.00")
    with Session(desk.site.parts.database.reading) as session:
        views = list(session.scalars(select(RecordView).order_by(RecordView.id)))
        (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.action == "payment.received"))
    assert {(one.user_id, one.patient_id, one.page) for one in views} == {
        (desk.site.cast.clerk.id, desk.site.cast.maya.id, "receive payment")
    }
    assert entry.user_id == desk.site.cast.clerk.id
    assert entry.patient_id == desk.site.cast.maya.id
    assert "CA$26.00, cash" in entry.after


@pytest.mark.promise("O8", "G1")
def test_a_repeated_post_answers_the_same_receipt(desk: Desk) -> None:
    for paid_by in ("cash", "visa"):
        fields = {**desk.form(), "paid_by": paid_by, "amount": "20.00", "card": "new"}
        fields["confirmation_token"] = desk.sandbox.elements_token("visa", amount=20_00, currency="cad")
        answers = [desk.dana.post(desk.path(), data=fields) for _ in range(3)]
        assert {answer.status_code for answer in answers} == {303}
        assert len({answer.location for answer in answers}) == 1
    assert [one.amount_cents for one in desk.payments()] == [20_00, 20_00]
    assert desk.taken == 20_00


def test_the_page_takes_few_statements(desk: Desk) -> None:
    desk.dana.get(desk.path())
    with desk.site.counting() as sent:
        desk.dana.get(desk.path())
    assert len([one for one in sent if not one.startswith(("BEGIN", "INSERT"))]) <= 6
