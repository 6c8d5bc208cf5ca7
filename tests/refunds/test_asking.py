"""Refunds (O16): in the product and in Stripe's dashboard they end up the same, once, whatever gets lost."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import update

from portal.clock import shifted
from portal.gateway.configured import store_credentials
from portal.invoices.books import ReasonMissing
from portal.payments.tables import Payment, Refund
from portal.refunds import words
from portal.refunds.asking import KEY_NOT_TAKEN, NEVER_HEARD, confirm
from portal.sandbox.faults import Kind
from tests.payments.stage import Stage
from tests.refunds.desk import ALL, Desk
from tests.support.at_once import at_once, names

pytestmark = pytest.mark.promise("O16", "G4")

LOST: tuple[Kind, ...] = ("lost_before", "lost_after", "error_before", "error_after", "rate_limited")


def stripe_gave_back(stage: Stage) -> list[int]:
    return [one["amount"] for one in stage.sandbox.objects("refund") if one["status"] not in ("failed", "canceled")]


# --- in the product -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cents", [ALL, 40_00, 1])
def test_a_refund_gives_money_back_and_is_no_longer_owed(stage: Stage, desk: Desk, cents: int) -> None:
    paid = desk.card_pays()
    made = desk.refunds(paid, cents)
    assert (made.state, made.asked_by, made.credited_cents) == ("succeeded", stage.cast.bookkeeper.id, cents)
    assert stripe_gave_back(stage) == [cents]
    row = stage.payments()[-1]
    assert (row.nature, row.amount_cents, row.reverses_id) == ("refund", -cents, paid.id)
    assert (row.charge_id, row.refund_id, row.note) == (paid.charge_id, made.refund_id, "The visit did not help.")
    assert (desk.balance, desk.net, desk.adjustments()) == (0, ALL - cents, [-cents])


def test_a_refund_that_is_still_owed_asks_for_it_again(stage: Stage, desk: Desk) -> None:
    desk.refunds(desk.card_pays(), 40_00, still_owed=True)
    assert (desk.balance, desk.adjustments()) == (40_00, [])


def test_of_what_was_paid_too_much_nothing_is_credited(desk: Desk) -> None:
    paid = desk.card_pays()
    desk.received(30_00)
    desk.refunds(paid, 50_00)
    assert (desk.balance, desk.adjustments(), desk.open_cases()) == (0, [-20_00], {})


def test_a_refund_pressed_twice_is_one(stage: Stage, desk: Desk) -> None:
    paid, request = desk.card_pays(), uuid4()
    first, second = desk.refunds(paid, 40_00, request=request), desk.refunds(paid, 40_00, request=request)
    assert first.id == second.id
    assert stripe_gave_back(stage) == [40_00]


def test_the_same_press_many_times_at_once_is_one_refund(stage: Stage, desk: Desk) -> None:
    paid, request = desk.card_pays(), uuid4()
    answers = at_once([lambda: desk.refunds(paid, 40_00, request=request)] * 5)
    assert names(answers) == {"Refund": 5}
    assert stripe_gave_back(stage) == [40_00]
    desk.looks(paid)
    assert desk.net == ALL - 40_00


def test_two_refunds_at_once_never_exceed_the_payment(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    answers = at_once([lambda: desk.refunds(paid, 80_00)] * 4)
    assert names(answers) == {"Refund": 1, "RefundTooLarge": 3}
    assert stripe_gave_back(stage) == [80_00]


def test_a_refund_and_one_in_the_dashboard_at_once(stage: Stage, desk: Desk) -> None:
    """The dashboard was quicker, and nobody here knows yet: Stripe refuses ours, and the books follow."""
    paid = desk.card_pays()
    stage.during("refund", lambda: desk.stripe_refunds(paid, 100_00))
    with pytest.raises(words.RefundNotPossible):
        desk.refunds(paid, 80_00)
    assert [(one.state, one.amount_cents) for one in desk.refund_rows()] == [("failed", 80_00), ("succeeded", 100_00)]
    assert desk.net == ALL - 100_00


@pytest.mark.parametrize("cents", [0, -1, ALL + 1, 10**9])
def test_more_or_less_than_can_go_back_is_refused(stage: Stage, desk: Desk, cents: int) -> None:
    paid = desk.card_pays()
    with pytest.raises(words.RefundTooLarge):
        desk.refunds(paid, cents)
    assert stripe_gave_back(stage) == []


def test_what_can_not_be_refunded(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    with pytest.raises(ReasonMissing):
        desk.refunds(paid, reason=" ")
    with pytest.raises(words.NotThisInvoice):
        desk.refunds(Payment(id=999_999, amount_cents=1))
    desk.refunds(paid)
    with pytest.raises(words.NothingToRefund):
        desk.refunds(paid, 1)
    with pytest.raises(words.NotAPayment):
        desk.refunds(stage.payments()[-1], 1)


def test_a_card_payment_is_not_given_back_over_the_counter(desk: Desk) -> None:
    with pytest.raises(words.RefundInDashboard):
        desk.gives_back(desk.card_pays())


def test_a_payment_keeps_its_gateway_when_that_is_switched_off(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    stage.change_gateway(status="inactive", is_default=False)
    stage.set("module_payment_gateways", "no")
    assert desk.refunds(paid).state == "succeeded"


def test_a_key_that_is_not_taken_is_said(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    stage.sandbox.revoke_key(stage.sandbox.secret_key)
    with pytest.raises(words.RefundNotPossible) as refused:
        desk.refunds(paid)
    assert refused.value.text == str(KEY_NOT_TAKEN)
    assert [one.state for one in desk.refund_rows()] == ["failed"]
    assert stripe_gave_back(stage) == []


# --- lost answers ---------------------------------------------------------------------------------------------------


@pytest.mark.promise("G1")
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("call", ["refunds.create", "charges.retrieve", "refunds.list"])
def test_a_lost_answer_never_refunds_twice(stage: Stage, desk: Desk, call: str, fault: Kind, times: int) -> None:
    paid = desk.card_pays()
    stage.sandbox.fault(call, fault, times=times)
    made = desk.refunds(paid, 40_00)
    assert made.state in ("asked", "succeeded")
    stage.sandbox.clear_faults()
    for hours in (0, 1, 30):
        desk.sweeps(hours)
    if fault == "error_after" and call == "refunds.create" and made.state == "asked":
        # Stripe repeats its own failure under that key for a day; the charge's refunds say what really happened.
        assert desk.refund_rows()[0].state in ("succeeded", "failed")
    else:
        assert desk.refund_rows()[0].state in ("succeeded", "failed")
    gave = stripe_gave_back(stage)
    assert gave in ([40_00], [])
    assert desk.net == ALL - sum(gave)
    assert desk.refund_rows()[0].state == ("succeeded" if gave else "failed")


@pytest.mark.parametrize("fault", LOST)
def test_while_an_answer_is_out_its_money_is_reserved(stage: Stage, desk: Desk, fault: Kind) -> None:
    paid = desk.card_pays()
    stage.sandbox.fault("refunds.create", fault)
    stage.sandbox.fault("charges.retrieve", "lost_before")
    assert desk.refunds(paid, 100_00).state == "asked"
    with pytest.raises(words.RefundTooLarge):
        desk.refunds(paid, 26_01)
    stage.sandbox.clear_faults()
    desk.refunds(paid, 26_00)
    desk.sweeps(1)
    assert sum(stripe_gave_back(stage)) <= ALL


def test_a_process_that_dies_while_asking_is_taken_up_by_the_sweep(stage: Stage, desk: Desk) -> None:
    class Died(BaseException):
        pass

    def die() -> None:
        raise Died

    for when in ("before", "after"):
        stage.invoice_id = stage.new_invoice()
        paid = desk.card_pays()
        stage.during("refund", die, when=when)
        with pytest.raises(Died):
            desk.refunds(paid, 40_00)
        desk.sweeps()
        assert desk.net == ALL - 40_00
    assert stripe_gave_back(stage) == [40_00, 40_00]


def test_a_key_that_is_revoked_after_a_lost_answer_says_nothing_about_the_refund(stage: Stage, desk: Desk) -> None:
    number, paid = uuid4(), desk.card_pays()
    stage.sandbox.fault("refunds.create", "lost_after")
    stage.sandbox.fault("charges.retrieve", "lost_before")
    assert desk.refunds(paid, 40_00, request=number).state == "asked"
    stage.sandbox.revoke_key(stage.sandbox.secret_key)
    assert desk.refunds(paid, 40_00, request=number).state == "asked"
    desk.sweeps(1)
    with pytest.raises(words.RefundTooLarge):
        desk.refunds(paid, 100_00)  # it may be on its way, so its money is spoken for
    token, secret = stage.sandbox.publishable_key, stage.sandbox.add_key("secret")
    with stage.database.transaction() as session:
        store_credentials(session, stage.parts.vault, stage.gateway_id, "test", token, secret, "")
    desk.sweeps(2)
    assert [one.state for one in desk.refund_rows()] == ["succeeded"]
    assert (desk.net, stripe_gave_back(stage)) == (ALL - 40_00, [40_00])


def test_a_refund_that_was_given_up_is_booked_when_it_is_there_after_all(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    stage.sandbox.fault("refunds.create", "lost_after")
    stage.sandbox.fault("charges.retrieve", "lost_before")
    desk.refunds(paid, 40_00)
    with stage.database.transaction() as session:
        session.execute(update(Refund).values(state="failed", needs_person=NEVER_HEARD))
    desk.looks(paid)
    assert [(one.state, one.needs_person) for one in desk.refund_rows()] == [("succeeded", None)]
    assert desk.net == ALL - 40_00


def test_a_refund_that_stripe_never_heard_of_ends_when_its_key_is_forgotten(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    stage.sandbox.fault("refunds.create", "lost_before", times=50)
    desk.refunds(paid, 40_00)
    desk.sweeps(22)
    assert [one.state for one in desk.refund_rows()] == ["asked"]
    desk.sweeps(24)
    assert [(one.state, one.needs_person) for one in desk.refund_rows()] == [("failed", NEVER_HEARD)]
    stage.sandbox.clear_faults()
    desk.refunds(paid, 126_00)
    assert stripe_gave_back(stage) == [126_00]


# --- in the dashboard -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("found_by", ["webhook", "sweep", "somebody"])
def test_a_refund_in_the_dashboard_ends_up_the_same(stage: Stage, desk: Desk, found_by: str) -> None:
    from portal.payments.hints import follow_hint
    from portal.webhooks import Hint

    paid = desk.card_pays()
    refund_id = desk.stripe_refunds(paid, 40_00)
    match found_by:
        case "webhook":
            intent = str(stage.attempt().intent_id)
            for kind in ("charge.refunded", "refund.created", "refund.updated", "charge.refund.updated"):
                hint = Hint(1, stage.gateway_id, "test", kind, refund_id, intent)
                assert follow_hint(stage.parts, hint) == "Followed"
        case "sweep":
            desk.sweeps()
            desk.sweeps()
        case _:
            desk.looks(paid)
    assert desk.natures() == [("payment", ALL), ("refund", -40_00)]
    assert (desk.balance, desk.adjustments()) == (0, [-40_00])
    (row,) = desk.refund_rows()
    assert (row.state, row.request_id, row.needs_person) == ("succeeded", None, "credited")


@pytest.mark.parametrize(("still_owed", "balance"), [(False, 0), (True, 40_00)])
def test_staff_confirm_what_the_dashboard_refunded(stage: Stage, desk: Desk, still_owed: bool, balance: int) -> None:
    paid = desk.card_pays()
    desk.stripe_refunds(paid, 40_00)
    desk.looks(paid)
    for _ in range(2):
        with stage.database.transaction() as session:
            confirm(session, stage.invoice_id, desk.refund_rows()[0].id, still_owed=still_owed, by=None)
    assert desk.balance == balance
    assert desk.refund_rows()[0].needs_person is None


def test_a_refund_that_is_told_of_before_its_payment(stage: Stage, desk: Desk) -> None:
    from portal.payments.hints import follow_hint
    from portal.webhooks import Hint

    stage.sandbox.fault("payment_intents.confirm", "lost_after")
    stage.try_to_press(stage.form("visa"))
    intent = str(stage.attempt().intent_id)
    refund_id = stage.sandbox.refund(intent)["id"]
    follow_hint(stage.parts, Hint(1, stage.gateway_id, "test", "charge.refunded", refund_id, intent))
    assert desk.natures() == [("payment", ALL), ("refund", -ALL)]


def test_old_looks_never_undo_newer_ones(stage: Stage, desk: Desk) -> None:
    """A look that was fetched before another one was booked is fetched again."""
    paid = desk.card_pays("refundFail")
    desk.stripe_refunds(paid)

    def meanwhile() -> None:
        stage.sandbox.advance(3600)
        desk.looks(paid)

    stage.during("look_at_charge", meanwhile, when="after")
    desk.looks(paid)
    assert [one.state for one in desk.refund_rows()] == ["failed"]
    assert desk.net == ALL


def test_many_looks_at_once_book_once(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays()
    desk.stripe_refunds(paid, 40_00)
    at_once([lambda: desk.looks(paid)] * 6)
    assert desk.natures() == [("payment", ALL), ("refund", -40_00)]


# --- pending, failing later -----------------------------------------------------------------------------------------


@pytest.mark.promise("O16")
def test_a_pending_refund_counts_as_given_back(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays("pendingRefund")
    made = desk.refunds(paid)
    assert (made.state, desk.net) == ("pending", 0)
    with pytest.raises(words.NothingToRefund):
        desk.refunds(paid, 1)
    stage.sandbox.finish_refund(str(made.refund_id))
    desk.sweeps()
    assert [one.state for one in desk.refund_rows()] == ["succeeded"]
    assert desk.natures() == [("payment", ALL), ("refund", -ALL)]


def test_a_refund_that_fails_later_is_booked_back_and_somebody_is_told(stage: Stage, desk: Desk) -> None:
    paid = desk.card_pays("refundFail")
    desk.refunds(paid)
    assert (desk.net, desk.balance) == (0, 0)
    stage.sandbox.advance(3600)
    desk.sweeps()
    assert desk.natures() == [("payment", ALL), ("refund", -ALL), ("refund failed", ALL)]
    assert desk.refund_rows()[0].needs_person == "lost_or_stolen_card"
    # It was decided that it is not owed, so the clinic holds too much until it goes back another way.
    assert (desk.net, desk.balance, desk.open_cases()) == (ALL, -ALL, {"overpaid": ALL})
    desk.sweeps()
    assert len(stage.payments()) == 3


# --- over the counter -----------------------------------------------------------------------------------------------


def test_cash_goes_back_over_the_counter_once(stage: Stage, desk: Desk) -> None:
    paid, request = desk.received(), uuid4()
    first, second = desk.gives_back(paid, 40_00, request=request), desk.gives_back(paid, 40_00, request=request)
    assert first.id == second.id
    assert (first.nature, first.kind, first.reverses_id) == ("refund", "cash", paid.id)
    assert (desk.balance, desk.adjustments()) == (0, [-40_00])
    answers = at_once([lambda: desk.gives_back(paid, 80_00)] * 3)
    assert names(answers) == {"Payment": 1, "RefundTooLarge": 2}


# --- the sweep ------------------------------------------------------------------------------------------------------


def test_a_quiet_charge_is_looked_up_less_and_less(stage: Stage, desk: Desk) -> None:
    from portal.refunds.sweeping import sweep_refunds

    desk.card_pays()
    looks = []
    for hours in range(0, 24 * 20, 3):
        with shifted(timedelta(hours=hours)):
            looks.append(sweep_refunds(stage.parts))
    assert looks[1] == 1 and 5 <= sum(looks) <= 40


def test_a_silent_gateway_is_left_in_peace(stage: Stage, desk: Desk) -> None:
    for _ in range(5):
        stage.invoice_id = stage.new_invoice()
        desk.card_pays()
    stage.sandbox.fault("charges.retrieve", "lost_before", times=100)
    assert desk.sweeps() == 3
