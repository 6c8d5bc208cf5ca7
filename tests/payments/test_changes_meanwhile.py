"""What changes between the page and the charge: amounts, switches, gateways, keys. Nothing is charged that was not
shown, and nothing through a gateway that is off."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from portal.errors import Refusal
from portal.gateway.configured import store_credentials
from portal.invoices.books import InvoiceBeingPaid, adjust, void_invoice
from portal.invoices.tables import Invoice
from portal.payments import words
from portal.payments.outcomes import Declined, NeedsAction, Paid
from portal.payments.settle import settle
from portal.payments.states import State
from portal.payments.tables import PaymentAttempt
from portal.settings import change_setting
from tests.makers import make_gateway, make_payment
from tests.payments.stage import Stage

CALLS_BEFORE_THE_LAST_LOOK = ("look_at_token", "create_intent")


def pay_at_the_desk(stage: Stage, cents: int | None = None) -> None:
    with stage.database.transaction() as session:
        make_payment(session, session.get_one(Invoice, stage.invoice_id), cents)


def credit(stage: Stage, cents: int = -1_000) -> None:
    with stage.database.transaction() as session:
        adjust(session, stage.invoice_id, cents, "a kindness", None)


def charge_more(stage: Stage) -> None:
    credit(stage, 1_000)


def credit_and_take_back(stage: Stage) -> None:
    """The amount is the same again; the invoice is not."""
    credit(stage, -1_000)
    credit(stage, 1_000)


def void_by_hand(stage: Stage) -> None:
    """By plain SQL: the verb itself refuses while somebody is paying."""
    with stage.database.transaction() as session:
        session.execute(
            text("UPDATE invoices SET voided_at = :now WHERE id = :id"),
            {"now": "2026-11-22 00:00:00+00:00" if not stage.database.is_sqlite else "2026-11-22 00:00:00.000000",
             "id": stage.invoice_id},
        )  # fmt: skip


def set_switch(key: str) -> Callable[[Stage], None]:
    return lambda stage: stage.set(key, "no")


def switch_gateway_off(stage: Stage) -> None:
    stage.change_gateway(status="inactive")


CHANGES: dict[str, tuple[Callable[[Stage], None], type[Refusal]]] = {
    "paid at the desk": (pay_at_the_desk, words.NothingToPay),
    "partly paid at the desk": (lambda stage: pay_at_the_desk(stage, 5_000), words.AmountChanged),
    "a credit": (credit, words.AmountChanged),
    "more owed": (charge_more, words.AmountChanged),
    "void": (void_by_hand, words.InvoiceIsVoid),
    "the module is off": (set_switch("module_payment_gateways"), words.OnlinePaymentOff),
    "payments are off": (set_switch("accept_payments_in_portal"), words.OnlinePaymentOff),
    "the portal is off": (set_switch("portal_enabled"), words.OnlinePaymentOff),
    "the gateway is inactive": (switch_gateway_off, words.OnlinePaymentOff),
}
DURING = CHANGES | {"changed and changed back": (credit_and_take_back, words.AmountChanged)}


@pytest.mark.promise("P3", "O4")
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_while_the_page_is_open_stops_the_press(stage: Stage, name: str) -> None:
    change, refusal = CHANGES[name]
    form = stage.form("visa")
    change(stage)
    with pytest.raises(refusal):
        stage.press(form)
    assert stage.attempts() == []
    assert stage.sandbox.objects("payment_intent") == []


@pytest.mark.promise("P3", "O4")
@pytest.mark.parametrize("call", CALLS_BEFORE_THE_LAST_LOOK)
@pytest.mark.parametrize("name", DURING)
def test_a_change_before_the_last_look_stops_the_charge(stage: Stage, name: str, call: str) -> None:
    change, refusal = DURING[name]
    form = stage.form("visa")
    stage.during(call, lambda: change(stage), when="after")
    with pytest.raises(refusal):
        stage.press(form)
    assert stage.sandbox.charges() == []
    assert stage.attempt().state in (State.CANCELED, State.FAILED)
    assert [one["status"] for one in stage.sandbox.objects("payment_intent")] == ["canceled"]


@pytest.mark.promise("P3")
def test_the_new_amount_can_be_paid_at_once(stage: Stage) -> None:
    form = stage.form("visa")
    stage.during("create_intent", lambda: credit(stage))
    with pytest.raises(words.AmountChanged) as refusal:
        stage.press(form)
    assert "$116.00" in refusal.value.text
    assert isinstance(stage.press(stage.form("visa")), Paid)
    assert stage.paid_charges()[0]["amount"] == 11_600
    stage.check_paid_once()


def test_a_change_after_a_decline_makes_a_new_attempt(stage: Stage) -> None:
    form = stage.form("chargeDeclined")
    stage.press(form)
    credit(stage)
    assert isinstance(stage.press(stage.form("visa", attempt_id=form.attempt_id)), Paid)
    assert len(stage.sandbox.objects("payment_intent")) == 2
    stage.check_paid_once()


@pytest.mark.promise("P3")
def test_the_browser_does_not_decide_the_amount(stage: Stage) -> None:
    for wrong in (1, 12_599, -12_600, 0, 10**12):
        with pytest.raises(words.AmountChanged):
            stage.press(stage.form("visa", shown_cents=wrong))
    with pytest.raises(words.AmountChanged):
        stage.press(stage.form("visa", shown_currency="USD"))
    stage.check_nothing_charged()


def test_a_small_amount_is_paid_at_the_desk(stage: Stage) -> None:
    pay_at_the_desk(stage, stage.invoice().balance_cents - 49)
    with pytest.raises(words.TooSmallForCards):
        stage.press(stage.form(None, token="ctoken_none"))


def test_nobody_voids_an_invoice_that_is_being_paid(stage: Stage) -> None:
    refused: list[Refusal] = []

    def void() -> None:
        try:
            with stage.database.transaction() as session:
                void_invoice(session, stage.invoice_id, "a mistake")
        except InvoiceBeingPaid as refusal:
            refused.append(refusal)

    stage.during("create_intent", void)
    assert isinstance(stage.press(stage.form("visa")), Paid)
    assert len(refused) == 1
    stage.check_paid_once()


def test_cash_at_the_desk_during_the_confirmation_opens_an_overpaid_case(stage: Stage) -> None:
    stage.during("confirm", lambda: pay_at_the_desk(stage))
    assert isinstance(stage.press(stage.form("visa")), Paid)
    (case,) = stage.cases()
    assert (case.kind, case.amount_cents) == ("overpaid", 12_600)
    assert stage.invoice().balance_cents == -12_600
    stage.check_books()


@pytest.mark.promise("G1")
@pytest.mark.parametrize("cash", [1, 5_000, 12_599, 12_600])
def test_an_overpayment_is_covered_to_the_cent(stage: Stage, cash: int) -> None:
    outcome = stage.press(stage.form("authenticationRequired"))
    assert isinstance(outcome, NeedsAction)
    pay_at_the_desk(stage, cash)
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    assert isinstance(settle(stage.parts, outcome.attempt_id), Paid)
    (case,) = stage.cases()
    assert (case.kind, case.amount_cents) == ("overpaid", cash)
    settle(stage.parts, outcome.attempt_id)
    assert len(stage.cases()) == 1
    stage.check_books()


@pytest.mark.promise("G1")
@pytest.mark.parametrize("ended", [State.CANCELED, State.FAILED])
def test_money_for_an_attempt_that_had_ended_is_posted_all_the_same(stage: Stage, ended: State) -> None:
    outcome = stage.press(stage.form("authenticationRequired"))
    assert isinstance(outcome, NeedsAction)
    set_state_ignoring_the_table(stage, ended)
    pay_at_the_desk(stage)
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    settle(stage.parts, outcome.attempt_id)
    assert stage.attempt().state == State.SUCCEEDED
    assert [(case.kind, case.amount_cents) for case in stage.cases()] == [("overpaid", 12_600)]
    stage.check_books()


def set_state_ignoring_the_table(stage: Stage, state: State) -> None:
    """As if the gateway had told us something else than what came to be."""
    with stage.database.transaction() as session:
        session.get_one(PaymentAttempt, stage.attempt().id).state = state


# --- gateways and keys ----------------------------------------------------------------------------------------------


def second_gateway(stage: Stage) -> Any:
    account = stage.sandbox.add_account()
    with stage.database.transaction() as session:
        make_gateway(session, stage.parts.vault, name="Another", secret=account.test_secret_key)
    return account


@pytest.mark.promise("G6")
@pytest.mark.parametrize("call", ["look_at_token", "create_intent", "confirm"])
def test_a_gateway_switched_in_the_middle_keeps_the_attempt(stage: Stage, call: str) -> None:
    form = stage.form("visa")
    stage.during(call, lambda: second_gateway(stage))
    assert isinstance(stage.press(form), Paid)
    assert stage.attempt().gateway_id == stage.payments()[0].gateway_id == stage.gateway_id
    stage.check_paid_once()


@pytest.mark.promise("G6")
def test_a_declined_attempt_stays_with_its_gateway(stage: Stage) -> None:
    form = stage.form("chargeDeclined")
    stage.press(form)
    second_gateway(stage)
    assert isinstance(stage.press(stage.form("visa", attempt_id=form.attempt_id)), Paid)
    assert stage.payments()[0].gateway_id == stage.gateway_id
    stage.check_paid_once()


@pytest.mark.promise("G6")
def test_a_page_of_the_new_gateway_does_not_get_stuck_with_the_old_attempt(stage: Stage) -> None:
    form = stage.form("chargeDeclined")
    stage.press(form)
    account = second_gateway(stage)
    fresh = stage.form(None, attempt_id=form.attempt_id, token=stage.token("visa", key=account.test_publishable_key))
    with pytest.raises(words.FormOutdated):
        stage.press(fresh)
    again = stage.form(None, token=stage.token("visa", key=account.test_publishable_key))
    assert isinstance(stage.press(again), Paid)
    assert stage.invoice().balance_cents == 0


@pytest.mark.promise("G6", "O4")
def test_an_inactive_gateway_takes_nothing_even_if_another_would(stage: Stage) -> None:
    def replace_gateway() -> None:
        second_gateway(stage)
        switch_gateway_off(stage)

    stage.during("create_intent", replace_gateway)
    with pytest.raises(words.FormOutdated):
        stage.press(stage.form("visa"))
    stage.check_nothing_charged()


@pytest.mark.promise("G6")
def test_a_mode_changed_in_the_middle_keeps_the_attempt(stage: Stage) -> None:
    def go_live() -> None:
        with stage.database.transaction() as session:
            store_credentials(
                session, stage.parts.vault, stage.gateway_id, "production", "pk_live_x", "sk_live_sandbox", ""
            )
        stage.change_gateway(mode="production")

    stage.during("create_intent", go_live)
    assert isinstance(stage.press(stage.form("visa")), Paid)
    assert stage.attempt().mode == "test"
    stage.check_paid_once()


def nothing_is_charged_until_the_next_press(stage: Stage) -> None:
    stage.sweep_until_quiet()
    stage.check_nothing_charged()
    assert isinstance(stage.press(stage.form("visa")), Paid)
    stage.check_paid_once()


def rotate_key(stage: Stage) -> None:
    key = stage.sandbox.add_key("secret")
    with stage.database.transaction() as session:
        store_credentials(session, stage.parts.vault, stage.gateway_id, "test", "pk_test_sandbox", key, "")
    stage.sandbox.revoke_key(stage.sandbox.secret_key)


@pytest.mark.promise("G6")
@pytest.mark.parametrize("call", ["look_at_token", "create_intent"])
def test_a_key_rotated_before_the_confirmation_charges_nothing(stage: Stage, call: str) -> None:
    stage.during(call, lambda: rotate_key(stage))
    with pytest.raises(words.GatewayDown):
        stage.press(stage.form("visa"))
    nothing_is_charged_until_the_next_press(stage)


@pytest.mark.promise("G6")
def test_a_key_rotated_at_the_confirmation_settles_with_the_new_one(stage: Stage) -> None:
    stage.during("confirm", lambda: rotate_key(stage))
    stage.press(stage.form("visa"))
    nothing_is_charged_until_the_next_press(stage)


@pytest.mark.promise("G6")
def test_a_key_rotated_while_the_bank_asks_settles_with_the_new_one(stage: Stage) -> None:
    outcome = stage.press(stage.form("authenticationRequired"))
    assert isinstance(outcome, NeedsAction)
    rotate_key(stage)
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    assert isinstance(settle(stage.parts, outcome.attempt_id), Paid)
    stage.check_paid_once()


@pytest.mark.promise("O3")
def test_in_production_a_test_gateway_takes_no_payment(stage: Stage) -> None:
    from dataclasses import replace

    production = replace(stage.parts, config=replace(stage.parts.config, production=True))
    stage.parts = production
    with pytest.raises(words.OnlinePaymentOff):
        stage.press(stage.form("visa"))
    stage.check_nothing_charged()


@pytest.mark.promise("O4")
def test_an_unreadable_switch_counts_as_off(stage: Stage) -> None:
    with stage.database.transaction() as session:
        change_setting(session, "accept_payments_in_portal", "no")
        session.execute(text("UPDATE settings SET value = 'maybe' WHERE key = 'accept_payments_in_portal'"))
    with pytest.raises(words.OnlinePaymentOff):
        stage.press(stage.form("visa"))


@pytest.mark.promise("G6")
def test_a_stranger_of_an_intent_is_never_posted(stage: Stage) -> None:
    """Another mode, amount, currency or attempt: a person must look."""
    outcome = stage.press(stage.form("authenticationRequired"))
    assert isinstance(outcome, NeedsAction)
    intent = stage.sandbox.world.store.find(str(stage.attempt().intent_id))
    assert intent is not None
    intent["metadata"] = {"attempt": "somebody else's"}
    stage.sandbox.authenticate(intent["id"])
    settle(stage.parts, outcome.attempt_id)
    assert stage.payments() == []
    assert stage.attempt().needs_person == "the intent names another attempt"


def test_a_decline_names_its_reason_after_the_attempt_was_ended(stage: Stage) -> None:
    form = stage.form("chargeDeclinedInsufficientFunds")
    stage.press(form)
    stage.sweep_until_quiet()
    assert settle(stage.parts, form.attempt_id) == Declined(form.attempt_id, "insufficient_funds", again=False)
