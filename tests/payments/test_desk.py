"""The desk charges a card: part of what is left or all of it, whoever pays. Each sum once."""

from dataclasses import replace

import pytest

from portal.errors import Refusal
from portal.invoices.books import adjust
from portal.payments import staff_words, words
from portal.payments.outcomes import Declined, NeedsAction, Paid
from portal.payments.settle import settle
from portal.payments.states import State
from tests.payments.desk import Desk, entries, kept_cards
from tests.payments.stage import Stage


@pytest.mark.promise("O8")
def test_a_part_now_and_the_rest_later(desk: Desk, stage: Stage) -> None:
    assert isinstance(desk.charge(desk.form(26_00)), Paid)
    assert stage.invoice().balance_cents == 100_00
    assert isinstance(desk.charge(desk.form(100_00, "amex")), Paid)
    assert stage.invoice().balance_cents == 0
    assert [(one.amount_cents, one.brand, one.channel) for one in stage.payments()] == [
        (26_00, "visa", "desk"), (100_00, "amex", "desk"),
    ]  # fmt: skip
    assert {one.recorded_by for one in stage.payments()} == {desk.dana}
    stage.check_books()


@pytest.mark.promise("O8")
def test_who_received_a_card_payment_stands_in_the_audit_log(desk: Desk, stage: Stage) -> None:
    desk.charge(desk.form(26_00))
    desk.record(desk.received(10_00))
    by_card, in_cash = entries(stage, "payment.received")
    assert (by_card.user_id, by_card.patient_id) == (desk.dana, stage.cast.theo.id)
    assert "CA$26.00, visa, receipt R-" in by_card.after
    assert "CA$10.00, cash, receipt R-" in in_cash.after


@pytest.mark.promise("O8", "P3")
@pytest.mark.parametrize("cents", [126_01, 999_999])
def test_more_than_the_balance_is_never_charged(desk: Desk, stage: Stage, cents: int) -> None:
    with pytest.raises(words.MoreThanIsLeft):
        desk.charge(desk.form(cents))
    stage.check_nothing_charged()


@pytest.mark.parametrize(("cents", "refusal"), [(0, words.NothingToPay), (-5, words.NothingToPay)])
def test_nothing_and_less_is_never_charged(desk: Desk, stage: Stage, cents: int, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        desk.charge(desk.form(cents, token="ctoken_any"))
    stage.check_nothing_charged()


def test_below_what_a_card_can_be_charged(desk: Desk, stage: Stage) -> None:
    with pytest.raises(words.TooSmallForCards):
        desk.charge(desk.form(49, token="ctoken_any"))
    stage.check_nothing_charged()


@pytest.mark.promise("P3")
def test_the_portal_still_charges_the_balance_and_nothing_else(stage: Stage) -> None:
    """A patient who sends an amount of their own is charged what was shown."""
    assert isinstance(stage.press(stage.form("visa", asked_cents=100)), Paid)
    stage.check_paid_once()


@pytest.mark.promise("O8", "G1")
def test_the_same_press_twice_charges_a_part_once(desk: Desk, stage: Stage) -> None:
    form = desk.form(50_00)
    first = desk.charge(form)
    assert desk.charge(form) == first
    assert desk.charge(replace(form, token=stage.token(cents=60_00), asked_cents=60_00)) == first
    assert stage.invoice().balance_cents == 76_00
    stage.check_books()


@pytest.mark.promise("O8", "G1")
def test_a_form_that_shows_an_older_balance_charges_nothing(desk: Desk, stage: Stage) -> None:
    forms = [desk.form(50_00), desk.form(50_00)]
    desk.charge(forms[0])
    with pytest.raises(words.AmountChanged):
        desk.charge(forms[1], by=desk.ines)
    assert stage.invoice().balance_cents == 76_00
    stage.check_books()


@pytest.mark.promise("O8", "G1")
def test_a_balance_that_is_the_same_again_is_not_the_one_that_was_shown(desk: Desk, stage: Stage) -> None:
    """Paid down and credited back meanwhile: the sum looks alike, and the version tells."""
    form = desk.form(50_00)
    with stage.database.transaction() as session:
        adjust(session, stage.invoice_id, 10_00, "A second cushion", None)
        adjust(session, stage.invoice_id, -10_00, "Taken back", None)
    with pytest.raises(words.AmountChanged):
        desk.charge(form)
    stage.check_nothing_charged()


@pytest.mark.promise("O8", "G1")
@pytest.mark.parametrize("call", ["look_at_token", "create_intent"])
def test_the_last_look_sees_what_changed_meanwhile(desk: Desk, stage: Stage, call: str) -> None:
    stage.during(call, lambda: desk.record(desk.received(100_00, take_over=True), by=desk.ines), when="after")
    with pytest.raises(words.AmountChanged):
        desk.charge(desk.form(50_00))
    assert stage.paid_charges() == []
    assert stage.invoice().balance_cents == 26_00
    stage.check_books()


@pytest.mark.promise("O8")
def test_after_a_decline_the_next_try_may_be_another_payers_over_another_amount(desk: Desk, stage: Stage) -> None:
    form = desk.form(50_00, "chargeDeclined")
    assert isinstance(desk.charge(form), Declined)
    retry = replace(form, token=stage.token(cents=40_00), asked_cents=40_00)
    assert isinstance(desk.charge(retry, stage.cast.second_payer.id), Paid)
    (payment,) = stage.payments()
    assert (payment.amount_cents, payment.payer_id) == (40_00, stage.cast.second_payer.id)
    assert sorted(one.state for one in stage.attempts()) == [State.CANCELED, State.SUCCEEDED]
    stage.check_books()


@pytest.mark.promise("O8")
def test_after_a_decline_the_same_payment_goes_on_with_its_attempt(desk: Desk, stage: Stage) -> None:
    form = desk.form(50_00, "chargeDeclined")
    assert isinstance(desk.charge(form), Declined)
    assert isinstance(desk.charge(replace(form, token=stage.token(cents=50_00))), Paid)
    assert len(stage.attempts()) == 1
    stage.check_books()


@pytest.mark.promise("O8")
def test_another_amount_is_not_answered_with_the_banks_question_about_the_first(desk: Desk, stage: Stage) -> None:
    first = desk.charge(desk.form(26_00, "authenticationRequired", saves=True))
    assert isinstance(first, NeedsAction)
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    settle(stage.parts, first.attempt_id)
    (card,) = kept_cards(stage)
    form = desk.form(50_00, saved_card=card.public_id)
    asked = desk.charge(form)
    assert isinstance(asked, NeedsAction)
    again = desk.charge(replace(form, asked_cents=40_00))
    assert isinstance(again, NeedsAction)
    assert again.attempt_id != asked.attempt_id
    states = {one.amount_cents: one.state for one in stage.attempts()}
    assert states == {26_00: State.SUCCEEDED, 50_00: State.CANCELED, 40_00: State.REQUIRES_ACTION}
    stage.check_books()


def test_another_clerks_attempt_is_out_of_reach(desk: Desk, stage: Stage) -> None:
    form = desk.form(50_00, "chargeDeclined")
    desk.charge(form)
    with pytest.raises(words.AttemptNotFound):
        desk.charge(replace(form, token=stage.token(cents=50_00)), by=desk.ines)


def test_a_patient_can_not_take_up_an_attempt_of_the_desk(desk: Desk, stage: Stage) -> None:
    for key in ("accept_payments_in_portal", "portal_enabled"):
        stage.set(key, "yes")
    form = desk.form(50_00, "chargeDeclined")
    desk.charge(form)
    with pytest.raises(words.AttemptNotFound):
        stage.press(stage.form("visa", attempt_id=form.attempt_id))


@pytest.mark.promise("O8")
@pytest.mark.parametrize("how", ["module", "gateway", "default"])
def test_without_a_gateway_no_card_is_charged(desk: Desk, stage: Stage, how: str) -> None:
    form = desk.form(50_00)
    match how:
        case "module":
            stage.set("module_payment_gateways", "no")
        case "gateway":
            stage.change_gateway(status="inactive")
        case _:
            stage.change_gateway(is_default=False)
    with pytest.raises(words.OnlinePaymentOff):
        desk.charge(form)
    stage.check_nothing_charged()


@pytest.mark.promise("O10")
def test_the_card_policy_holds_at_the_desk_before_money_moves(desk: Desk, stage: Stage) -> None:
    refused = desk.try_to_charge(desk.form(50_00, "mastercard_debit"))
    assert isinstance(refused, Refusal)
    heading, text = staff_words.refused(refused)
    assert heading == "This debit card is not accepted. Nothing was charged."
    assert "the only debit card that the gateway takes is Visa Debit" in text
    assert "create_intent" not in stage.calls
    assert isinstance(desk.charge(desk.form(50_00, "visa_debit")), Paid)
    stage.check_books()


# --- in words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [*staff_words._REASONS, "declined", None])
def test_every_reason_tells_staff_first_that_nothing_was_charged(reason: str | None) -> None:
    heading, sentence = staff_words.why_declined(reason)
    assert "Nothing was charged" in heading
    assert "your" not in f"{heading} {sentence}".lower().replace("your terminal", "")


def test_every_reason_of_the_patients_words_has_one_for_staff() -> None:
    assert set(words._REASONS) == set(staff_words._REASONS)
