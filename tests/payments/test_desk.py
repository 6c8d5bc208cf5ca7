"""The desk receives money: part of it or all, by a card of whoever pays, or into the books alone. Each sum once."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from portal.audit import AuditEntry
from portal.cards import CONSENT_VERSION, SPOKEN_CONSENT_VERSION, CardNotFound, SavedCard, make_usual, remove_card
from portal.clock import shifted
from portal.errors import Refusal
from portal.invoices.books import adjust, void_invoice
from portal.payments import staff_words, words
from portal.payments.desk import PAID_BY, DeskPayment, record_payment
from portal.payments.hints import follow_hint
from portal.payments.outcomes import Checking, Declined, NeedsAction, Outcome, Paid
from portal.payments.pay import PayerRef, PayForm, pay
from portal.payments.reading import receivable
from portal.payments.settle import settle
from portal.payments.states import State
from portal.payments.tables import DESK
from portal.webhooks import Hint
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


@pytest.fixture
def desk(stage: Stage) -> Desk:
    for key in ("accept_payments_in_portal", "portal_enabled"):
        stage.set(key, "no")  # at the desk they do not count
    return Desk(stage)


def kept_cards(stage: Stage) -> list[SavedCard]:
    with stage.database.transaction() as session:
        return list(session.scalars(select(SavedCard).where(SavedCard.removed_at.is_(None)).order_by(SavedCard.id)))


def entries(stage: Stage, action: str) -> list[AuditEntry]:
    with stage.database.transaction() as session:
        return list(session.scalars(select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.id)))


# --- a card, part or all --------------------------------------------------------------------------------------------


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


# --- saved cards ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("O9")
def test_a_card_saved_at_the_desk_is_its_payers_with_the_spoken_consent(desk: Desk, stage: Stage) -> None:
    assert SPOKEN_CONSENT_VERSION != CONSENT_VERSION
    desk.charge(desk.form(50_00, saves=True), stage.cast.second_payer.id)
    (card,) = kept_cards(stage)
    assert card.payer_id == stage.cast.second_payer.id
    assert (card.consent_version, card.consented_by) == (SPOKEN_CONSENT_VERSION, desk.dana)
    (entry,) = entries(stage, "card.saved")
    assert (entry.user_id, entry.patient_id, entry.after) == (desk.dana, card.payer_id, "consent 2026-11 spoken")
    assert isinstance(desk.charge(desk.form(50_00, saved_card=card.public_id), stage.cast.second_payer.id), Paid)
    with pytest.raises(words.CardDetailsLost):
        desk.charge(desk.form(26_00, saved_card=card.public_id), desk.maya)
    stage.check_books()


@pytest.mark.promise("O9")
def test_no_card_is_saved_for_a_payer_without_a_name(desk: Desk, stage: Stage) -> None:
    nobody = PayerRef(None, desk.dana, DESK)
    with pytest.raises(words.CardDetailsLost):
        pay(stage.parts, stage.invoice_id, desk.form(50_00, saves=True), nobody, RETURN_URL)
    assert isinstance(pay(stage.parts, stage.invoice_id, desk.form(50_00), nobody, RETURN_URL), Paid)
    assert [one.payer_id for one in stage.payments()] == [None]
    assert kept_cards(stage) == []
    stage.check_books()


@pytest.mark.promise("O8")
def test_while_the_payer_is_away_their_bank_is_not_asked(desk: Desk, stage: Stage) -> None:
    outcome = desk.charge(desk.form(50_00, "authenticationRequired", saves=True))
    assert isinstance(outcome, NeedsAction)
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    assert isinstance(settle(stage.parts, outcome.attempt_id), Paid)
    (card,) = kept_cards(stage)
    declined = desk.charge(desk.form(76_00, saved_card=card.public_id, payer_absent=True))
    assert isinstance(declined, Declined)
    assert declined.reason == "authentication_required"
    heading, text = staff_words.why_declined(declined.reason)
    assert heading == "The bank wants the payer to confirm this payment. Nothing was charged."
    assert "portal" in text
    assert stage.invoice().balance_cents == 76_00
    stage.check_books()


@pytest.mark.promise("O8")
def test_a_new_card_needs_its_payer(desk: Desk, stage: Stage) -> None:
    with pytest.raises(words.PayerIsNeeded):
        desk.charge(desk.form(50_00, payer_absent=True))
    stage.check_nothing_charged()


@pytest.mark.promise("O9")
def test_another_card_is_made_the_usual_one(desk: Desk, stage: Stage) -> None:
    for card in ("visa", "amex"):
        desk.charge(desk.form(10_00, card, saves=True))
    first, second = kept_cards(stage)
    assert (first.is_usual, second.is_usual) == (True, False)
    make_usual(stage.parts, desk.maya, second.public_id, by=desk.dana)
    make_usual(stage.parts, desk.maya, second.public_id, by=desk.dana)
    assert [one.is_usual for one in kept_cards(stage)] == [False, True]
    (entry,) = entries(stage, "card.made_usual")
    assert (entry.subject, entry.user_id, entry.patient_id) == ("American Express ending 0005", desk.dana, desk.maya)
    with pytest.raises(CardNotFound):
        make_usual(stage.parts, stage.cast.second_payer.id, first.public_id, by=desk.dana)
    remove_card(stage.parts, desk.maya, second.public_id, by=desk.dana)
    assert [one.is_usual for one in kept_cards(stage)] == [True]
    assert [one.user_id for one in entries(stage, "card.removed")] == [desk.dana]
    with pytest.raises(CardNotFound):
        make_usual(stage.parts, desk.maya, second.public_id, by=desk.dana)


# --- into the books alone -------------------------------------------------------------------------------------------


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


# --- somebody else meanwhile ----------------------------------------------------------------------------------------


@pytest.fixture
def open_portal(desk: Desk, stage: Stage) -> None:
    for key in ("accept_payments_in_portal", "portal_enabled"):
        stage.set(key, "yes")


@pytest.mark.promise("O8", "G1")
@pytest.mark.usefixtures("open_portal")
def test_a_patient_who_is_at_their_bank_is_ended_knowingly_or_not_at_all(desk: Desk, stage: Stage) -> None:
    outcome = stage.press(stage.form("authenticationRequired"))
    assert isinstance(outcome, NeedsAction)
    with pytest.raises(words.SomebodyIsPaying):
        desk.charge(desk.form(126_00))
    with pytest.raises(words.SomebodyIsPaying):
        desk.record(desk.received(126_00))
    assert stage.attempt().state == State.REQUIRES_ACTION
    desk.record(desk.received(126_00, take_over=True))
    assert stage.attempt().state == State.CANCELED
    assert stage.paid_charges() == []
    stage.check_books()


@pytest.mark.promise("O8", "G1")
@pytest.mark.usefixtures("open_portal")
def test_a_patient_who_has_just_paid_is_found_out_when_taken_over(desk: Desk, stage: Stage) -> None:
    outcome = stage.press(stage.form("authenticationRequired"))
    assert isinstance(outcome, NeedsAction)
    cash, card = desk.received(126_00, take_over=True), desk.form(126_00, take_over=True)
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    with pytest.raises(words.NothingToPay):
        desk.record(cash)
    with pytest.raises(words.NothingToPay):
        desk.charge(card)
    stage.check_paid_once()


@pytest.mark.promise("O8", "G1")
@pytest.mark.usefixtures("open_portal")
def test_cash_and_a_card_that_was_being_checked_open_a_case_by_themselves(desk: Desk, stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    assert isinstance(stage.press(stage.form("visa")), Checking)
    assert isinstance(desk.charge(desk.form(126_00, take_over=True)), Checking)
    with pytest.raises(words.SomebodyIsPaying):
        desk.record(desk.received(126_00))
    desk.record(desk.received(126_00, take_over=True))
    stage.sweep_until_quiet()
    assert stage.invoice().balance_cents == -126_00
    assert [(one.kind, one.amount_cents) for one in stage.cases()] == [("overpaid", 126_00)]
    stage.check_books()


@pytest.mark.promise("O8")
def test_the_clerks_own_declined_card_is_ended_without_a_word(desk: Desk, stage: Stage) -> None:
    desk.charge(desk.form(50_00, "chargeDeclined"))
    with pytest.raises(words.SomebodyIsPaying):
        desk.record(desk.received(126_00), by=desk.ines)
    desk.record(desk.received(126_00))
    assert stage.attempt().state == State.CANCELED
    stage.check_books()


@pytest.mark.promise("O8", "G1")
def test_the_clerks_own_unknown_payment_needs_a_word(desk: Desk, stage: Stage) -> None:
    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    assert isinstance(desk.charge(desk.form(126_00)), Checking)
    with pytest.raises(words.SomebodyIsPaying):
        desk.record(desk.received(126_00))
    stage.sweep_until_quiet()
    stage.check_paid_once()


@pytest.mark.promise("O8", "G1")
def test_cash_is_recorded_though_the_gateway_does_not_answer(desk: Desk, stage: Stage) -> None:
    """A waiting card that can't be ended now may go through later: then a case says so."""
    outcome = desk.charge(desk.form(126_00, "authenticationRequired"))
    assert isinstance(outcome, NeedsAction)
    stage.sandbox.fault("payment_intents.cancel", "lost_before")
    desk.record(desk.received(126_00))
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    with shifted(timedelta(minutes=1)):
        assert isinstance(settle(stage.parts, outcome.attempt_id), Paid)
    assert [(one.kind, one.amount_cents) for one in stage.cases()] == [("overpaid", 126_00)]
    stage.check_books()


# --- in words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [*staff_words._REASONS, "declined", None])
def test_every_reason_tells_staff_first_that_nothing_was_charged(reason: str | None) -> None:
    heading, sentence = staff_words.why_declined(reason)
    assert "Nothing was charged" in heading
    assert "your" not in f"{heading} {sentence}".lower().replace("your terminal", "")


def test_every_reason_of_the_patients_words_has_one_for_staff() -> None:
    assert set(words._REASONS) == set(staff_words._REASONS)


@pytest.mark.promise("O8")
def test_a_form_that_comes_back_with_other_details_records_nothing(desk: Desk, stage: Stage) -> None:
    payment = desk.received(50_00)
    paid = desk.record(payment)
    for other in (replace(payment, amount_cents=30_00), replace(payment, paid_by=PAID_BY["cheque"])):
        with pytest.raises(words.FormUsedUp):
            desk.record(other)
    assert desk.record(payment) == paid
    assert [one.amount_cents for one in stage.payments()] == [50_00]
