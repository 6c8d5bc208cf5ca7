"""What an invoice's money means for its place: the table of `portal/programs/following.py`, cell by cell (P7, I6)."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal.clock import shifted
from portal.errors import Refusal
from portal.invoices.books import adjust
from portal.invoices.sums import fold_sums
from portal.invoices.tables import Adjustment
from portal.payments import words
from portal.payments.desk import PAID_BY, DeskPayment, record_payment
from portal.payments.outcomes import Paid
from portal.payments.tables import Payment, Refund
from portal.programs import seats
from portal.programs.cancelling import _cancel, cancel
from portal.programs.refusals import NobodyNamed, PlaceGone
from portal.programs.registering import Holder, confirm_unpaid, hold, locked_with_invoice
from portal.programs.states import Place, Why
from portal.programs.tables import PromoCode, Registration
from portal.refunds.asking import RefundForm, refund
from portal.refunds.following import follow_charge
from portal.refunds.reversing import Reversal, reverse
from portal.refunds.voiding import void
from tests.makers import make_invoice, make_location
from tests.programs.stage import ProgramStage, program_staged

pytestmark = pytest.mark.promise("P7")

PRICE = 210_00


# --- what happens to it ---------------------------------------------------------------------------------------------


def lose(stage: ProgramStage, public_id: str, state: Place = Place.LAPSED) -> None:
    """As if the place had been taken back long before its payment came through."""
    with stage.database.transaction() as session:
        session.execute(
            update(Registration)
            .where(Registration.public_id == public_id)
            .values(state=state, held_until=None, why=Why.TIME)
        )


def pay_late(stage: ProgramStage, registration: Registration, meanwhile: Callable[[], object]) -> None:
    """The payment is confirmed at the gateway at the very moment when its place is lost."""
    stage.during("confirm", meanwhile)
    assert isinstance(stage.try_to_pay_for(stage.maya, registration), Paid)


def take_cash(stage: ProgramStage, registration: Registration, cents: int | None = None) -> None:
    assert registration.invoice_id is not None
    invoice = stage.invoice(registration.invoice_id)
    balance = invoice.balance_cents
    received = DeskPayment(
        uuid4(), PAID_BY["cash"], balance if cents is None else cents, balance, "CAD", invoice.version, None
    )
    record_payment(stage.parts, invoice.id, received, stage.cast.clerk.id)


def payment_of(stage: ProgramStage, registration: Registration) -> Payment:
    return [one for one in stage.payments() if (one.invoice_id, one.nature) == (registration.invoice_id, "payment")][
        -1
    ]


def dispute(stage: ProgramStage, registration: Registration, outcome: str | None = None) -> str:
    payment = payment_of(stage, registration)
    found = str(stage.sandbox.dispute(str(payment.charge_id))["id"])
    follow_charge(stage.parts, payment.id)
    if outcome:
        decide(stage, registration, found, outcome)
    return found


def decide(stage: ProgramStage, registration: Registration, found: str, outcome: str) -> None:
    stage.sandbox.close_dispute(found, outcome)  # type: ignore[arg-type]  # "won" or "lost"
    follow_charge(stage.parts, payment_of(stage, registration).id)


def books(stage: ProgramStage, registration: Registration) -> tuple[str, str, int, int]:
    """The place, why, and what its invoice owes and was paid."""
    one, invoice = stage.registration(registration.public_id), stage.invoice_of(registration.public_id)
    return one.state, one.why, invoice.owed_cents, invoice.paid_cents


def open_cases(stage: ProgramStage) -> dict[str, int]:
    return {case.kind: case.amount_cents - case.matched_cents for case in stage.cases() if case.closed_at is None}


def refunds(stage: ProgramStage) -> list[tuple[str, int]]:
    with stage.database.transaction() as session:
        return [(one.state, one.amount_cents) for one in session.scalars(select(Refund).order_by(Refund.id))]


def kinds(stage: ProgramStage) -> list[str]:
    return [kind for kind, _to in stage.mails()]


# --- money arrives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [Place.LAPSED, Place.RELEASED])
def test_money_that_comes_late_gets_a_free_place(stage: ProgramStage, state: Place) -> None:
    registration = stage.register(stage.maya)
    pay_late(stage, registration, lambda: lose(stage, registration.public_id, state))
    assert books(stage, registration) == (Place.CONFIRMED, "", PRICE, PRICE)
    stage.check_books()


@pytest.mark.parametrize("state", [Place.LAPSED, Place.RELEASED])
def test_money_that_finds_no_place_goes_back_with_a_mail(database_url: str, state: Place) -> None:
    with program_staged(database_url, capacity=1) as stage:
        registration = stage.register(stage.maya)

        def lose_to_another() -> None:
            lose(stage, registration.public_id, state)
            stage.hold(stage.sven)

        pay_late(stage, registration, lose_to_another)
        assert books(stage, registration) == (state, Why.FULL, 0, PRICE)
        assert open_cases(stage) == {"overpaid": PRICE}
        assert kinds(stage) == ["no_place", "receipt"]
        stage.check_books()
        stage.sweep()
        assert books(stage, registration) == (state, Why.FULL, 0, 0)
        assert (refunds(stage), open_cases(stage)) == ([("succeeded", PRICE)], {})
        stage.check_books()


def test_money_that_comes_late_does_not_overtake_who_waits(database_url: str) -> None:
    with program_staged(database_url, capacity=1, waitlist_size=1) as stage:
        registration = stage.register(stage.maya)
        waiting = stage.wait(stage.sven)
        pay_late(stage, registration, lambda: lose(stage, registration.public_id))
        assert books(stage, registration)[:2] == (Place.LAPSED, Why.FULL)
        stage.sweep()
        assert stage.registration(waiting).state == Place.OFFERED
        stage.check_books()


def test_money_that_comes_late_gets_no_second_place(stage: ProgramStage) -> None:
    """They gave up waiting, and registered anew."""
    registration = stage.register(stage.maya)

    def begin_anew() -> None:
        lose(stage, registration.public_id)
        stage.hold(stage.maya)

    pay_late(stage, registration, begin_anew)
    assert books(stage, registration)[:2] == (Place.LAPSED, Why.FULL)
    assert stage.program().taken == 1
    stage.check_books()


def test_money_that_comes_late_needs_no_use_of_a_code(database_url: str) -> None:
    """Somebody else has its last use by now; the price that was shown stays."""
    with program_staged(database_url) as stage:
        with stage.database.transaction() as session:
            session.add(PromoCode(code="ONCE", percent=50, uses=1, created_at=stage.cast.maya.created_at))
        registration = stage.register(stage.maya, code="once")

        def another_uses_it() -> None:
            lose(stage, registration.public_id)
            stage.register(stage.sven, code="ONCE")

        pay_late(stage, registration, another_uses_it)
        assert books(stage, registration) == (Place.CONFIRMED, "", PRICE // 2, PRICE // 2)
        stage.check_books()


def test_money_on_an_invoice_that_another_one_replaced_goes_back(stage: ProgramStage) -> None:
    registration = stage.register(stage.maya)

    def replace_it() -> None:
        with stage.database.transaction() as session:
            session.execute(update(Registration).values(invoice_id=None))

    pay_late(stage, registration, replace_it)
    assert open_cases(stage) == {"overpaid": PRICE}
    stage.check_books()
    stage.sweep()
    assert (refunds(stage), open_cases(stage)) == ([("succeeded", PRICE)], {})
    stage.check_books()


def test_a_replaced_invoice_takes_no_money(stage: ProgramStage) -> None:
    """The other tab shows the invoice of before: the same place with a code is another one."""
    with stage.database.transaction() as session:
        session.add(PromoCode(code="LESS", percent=10, created_at=stage.cast.maya.created_at))
    first = stage.register(stage.maya)
    old = first.invoice_id
    assert old is not None
    form = stage.form("visa", invoice_id=old)
    second = stage.register(stage.maya, code="LESS", public_id=first.public_id)
    assert second.invoice_id != old
    with pytest.raises(PlaceGone):
        stage.press(form, stage.maya, old)
    with pytest.raises(PlaceGone):
        take_cash(stage, first)
    stage.check_nothing_charged()


def test_a_second_payment_of_a_confirmed_place_is_a_persons(stage: ProgramStage) -> None:
    registration = stage.register(stage.maya)
    stage.during("confirm", lambda: _take_cash_beside(stage, registration))
    stage.pay_for(stage.maya, registration)
    assert books(stage, registration) == (Place.CONFIRMED, "", PRICE, 2 * PRICE)
    stage.sweep()
    assert (refunds(stage), open_cases(stage)) == ([], {"overpaid": PRICE})
    stage.check_books()


def _take_cash_beside(stage: ProgramStage, registration: Registration) -> None:
    assert registration.invoice_id is not None
    invoice = stage.invoice(registration.invoice_id)
    received = DeskPayment(uuid4(), PAID_BY["cash"], PRICE, PRICE, "CAD", invoice.version, None, take_over=True)
    record_payment(stage.parts, invoice.id, received, stage.cast.clerk.id)


def test_money_for_a_cancelled_place_goes_back_with_a_mail(stage: ProgramStage) -> None:
    """The desk had confirmed it unpaid; it is cancelled while its payment comes in."""
    registration = stage.register(stage.maya)
    confirm_unpaid(stage.parts, registration.public_id, stage.cast.clerk.id)

    def cancel_anyway() -> None:
        with stage.database.transaction() as session:
            _cancel(session, locked_with_invoice(session, registration.public_id), None, Why.STAFF, None)

    pay_late(stage, registration, cancel_anyway)
    stage.sweep()
    assert "no_place" in kinds(stage)
    assert stage.registration(registration.public_id).state == Place.CANCELLED
    assert open_cases(stage) == {"refund_pending": PRICE}
    stage.check_books()


def test_a_late_fee_of_a_cancelled_place_is_kept(stage: ProgramStage) -> None:
    registration = stage.confirmed(stage.maya)
    cancel(stage.parts, registration.public_id, stage.maya.user_id)
    with stage.database.transaction() as session:
        adjust(session, registration.invoice_id or 0, 30_00, "Late fee.", None)
    assert isinstance(stage.pay_for(stage.maya, registration), Paid)
    stage.sweep()
    assert books(stage, registration) == (Place.CANCELLED, Why.PERSON, 30_00, 30_00)
    assert (len(refunds(stage)), open_cases(stage)) == (1, {})
    stage.check_books()


def test_nobody_who_pays_is_stopped_by_a_mail(stage: ProgramStage, monkeypatch: pytest.MonkeyPatch) -> None:
    registration = stage.register(stage.maya)

    def broken(session: Session, _registration: object) -> str:
        session.execute(select(Registration.id).where(Registration.public_id.op("~~~~")("x")))
        raise AssertionError("it does not come to this")

    monkeypatch.setattr(seats, "address_of", broken)
    assert isinstance(stage.pay_for(stage.maya, registration), Paid)
    assert books(stage, registration) == (Place.CONFIRMED, "", PRICE, PRICE)
    assert kinds(stage) == ["receipt"]
    stage.check_books()


def test_nobody_who_pays_is_stopped_by_a_number_that_is_taken(stage: ProgramStage) -> None:
    """A second location whose invoices count from the same number on, by mistake."""
    registration = stage.register(stage.maya)
    with stage.database.transaction() as session:
        session.add(stage.cast.location)
        session.refresh(stage.cast.location)
        free = stage.cast.location.next_invoice_number
        twin = make_location(session, "Twin", first_number=free)
        taken = [make_invoice(session, stage.cast.maya, location=twin).number for _each in range(2)]
        assert taken == [str(free), str(free + 1)]
    assert isinstance(stage.pay_for(stage.maya, registration), Paid)
    assert stage.invoice_of(registration.public_id).number == str(free + 2)
    stage.check_books()


def test_search_sums_count_an_invoice_from_its_number_on(stage: ProgramStage) -> None:
    registration = stage.register(stage.maya)
    stage.check_books()
    fold_sums(stage.database)
    stage.check_books()
    stage.pay_for(stage.maya, registration)
    stage.check_books()
    fold_sums(stage.database)
    stage.check_books()
    cancel(stage.parts, registration.public_id, None)
    lapsed = stage.register(stage.sven)
    fold_sums(stage.database)
    stage.after(hours=2)
    fold_sums(stage.database)
    assert stage.registration(lapsed.public_id).state == Place.LAPSED
    stage.check_books()


# --- void, refund, reversal, dispute --------------------------------------------------------------------------------


def test_void_gives_a_held_place_up(stage: ProgramStage) -> None:
    registration = stage.register(stage.maya)
    void(stage.parts, registration.invoice_id or 0, "Wrong group.", {}, stage.cast.clerk.id)
    assert stage.registration(registration.public_id).state == Place.RELEASED
    with pytest.raises(Refusal):
        stage.pay_for(stage.maya, registration, shown_cents=PRICE)
    stage.check_nothing_charged()


def test_void_cancels_a_confirmed_place_and_its_money_is_a_persons(stage: ProgramStage) -> None:
    registration = stage.confirmed(stage.maya)
    void(stage.parts, registration.invoice_id or 0, "Wrong group.", {}, stage.cast.clerk.id)
    assert books(stage, registration) == (Place.CANCELLED, Why.VOID, PRICE, PRICE)
    stage.sweep()
    assert (refunds(stage), open_cases(stage)) == ([], {"refund_pending": PRICE})
    follow_charge(stage.parts, payment_of(stage, registration).id)
    assert open_cases(stage) == {"refund_pending": PRICE}
    stage.check_books()


def test_confirmed_unpaid_then_void_then_paid(stage: ProgramStage) -> None:
    registration = stage.register(stage.maya)
    confirm_unpaid(stage.parts, registration.public_id, stage.cast.clerk.id)
    form = stage.form("visa", invoice_id=registration.invoice_id)
    void(stage.parts, registration.invoice_id or 0, "Wrong group.", {}, stage.cast.clerk.id)
    with pytest.raises(words.InvoiceIsVoid):
        stage.press(form, stage.maya, registration.invoice_id)
    assert stage.registration(registration.public_id).state == Place.CANCELLED
    assert stage.program().taken == 0
    stage.check_nothing_charged()


def test_all_of_it_refunded_cancels_the_place(database_url: str) -> None:
    with program_staged(database_url, capacity=1, waitlist_size=1) as stage:
        registration = stage.confirmed(stage.maya)
        waiting = stage.wait(stage.sven)
        payment = payment_of(stage, registration)
        refund(stage.parts, payment.invoice_id, RefundForm(uuid4(), payment.id, PRICE, "Ill."), None)
        assert books(stage, registration) == (Place.CANCELLED, Why.REFUNDED, 0, 0)
        assert stage.registration(waiting).state == Place.OFFERED
        assert "registration_cancelled" in kinds(stage)
        stage.check_books()


@pytest.mark.parametrize(("cents", "still_owed"), [(PRICE, True), (100_00, False), (100_00, True)])
def test_a_part_refunded_or_still_owed_keeps_the_place(stage: ProgramStage, cents: int, still_owed: bool) -> None:
    registration = stage.confirmed(stage.maya)
    payment = payment_of(stage, registration)
    refund(stage.parts, payment.invoice_id, RefundForm(uuid4(), payment.id, cents, "Ill.", still_owed), None)
    assert stage.registration(registration.public_id).state == Place.CONFIRMED
    stage.check_books()


def test_a_reversal_keeps_the_place(stage: ProgramStage) -> None:
    registration = stage.register(stage.maya)
    take_cash(stage, registration)
    payment = payment_of(stage, registration)
    with stage.database.transaction() as session:
        reverse(session, payment.invoice_id, Reversal(uuid4(), payment.id, -PRICE, "Entered twice."), None)
    assert books(stage, registration) == (Place.CONFIRMED, "", PRICE, 0)
    stage.check_books()


def test_a_dispute_under_way_or_won_keeps_the_place(stage: ProgramStage) -> None:
    registration = stage.confirmed(stage.maya)
    found = dispute(stage, registration)
    assert books(stage, registration) == (Place.CONFIRMED, "", PRICE, 0)
    decide(stage, registration, found, "won")
    assert books(stage, registration) == (Place.CONFIRMED, "", PRICE, PRICE)
    stage.check_books()


def test_a_lost_dispute_cancels_the_place_and_nothing_is_asked_for_it(stage: ProgramStage) -> None:
    registration = stage.confirmed(stage.maya)
    dispute(stage, registration, "lost")
    assert books(stage, registration) == (Place.CANCELLED, Why.DISPUTE, 0, 0)
    with pytest.raises(words.NothingToPay):
        stage.pay_for(stage.maya, registration)
    stage.sweep()
    assert refunds(stage) == []
    stage.check_books()


@pytest.mark.parametrize("outcome", ["won", "lost"])
def test_who_cancels_while_their_bank_disputes(stage: ProgramStage, outcome: str) -> None:
    registration = stage.confirmed(stage.maya)
    found = dispute(stage, registration)
    cancel(stage.parts, registration.public_id, stage.maya.user_id)
    assert books(stage, registration) == (Place.CANCELLED, Why.PERSON, 0, 0)
    assert stage.invoice_of(registration.public_id).voided_at is None
    decide(stage, registration, found, outcome)
    stage.sweep()
    # Money that a bank has looked into is not sent anywhere by a machine.
    assert (refunds(stage), "overpaid" in open_cases(stage)) == ([], outcome == "won")
    stage.check_books()


# --- what goes back -------------------------------------------------------------------------------------------------


def test_a_refund_that_fails_after_the_place_is_anothers(database_url: str) -> None:
    with program_staged(database_url, capacity=1, waitlist_size=1) as stage:
        registration = stage.register(stage.maya)
        stage.pay_for(stage.maya, registration, "refundFail")
        waiting = stage.wait(stage.sven)
        cancel(stage.parts, registration.public_id, stage.maya.user_id)
        stage.pay_for(stage.sven, stage.register(stage.sven, public_id=waiting))
        for one in stage.sandbox.objects("refund"):
            if one["status"] != "failed":
                stage.sandbox.fail_refund(one["id"])
        follow_charge(stage.parts, payment_of(stage, registration).id)
        assert books(stage, registration) == (Place.CANCELLED, Why.PERSON, 0, PRICE)
        assert open_cases(stage) == {"overpaid": PRICE}
        for _round in range(3):
            stage.sweep()
        assert refunds(stage) == [("failed", PRICE)]
        assert stage.registration(waiting).state == Place.CONFIRMED
        stage.check_books()


def test_several_payments_give_back_what_the_rule_says(database_url: str) -> None:
    """Part at the desk, the rest by card; late, so that half is kept. What came last goes back first."""
    with program_staged(database_url, late_share_percent=50, refund_days=60) as stage:
        registration = stage.register(stage.maya)
        take_cash(stage, registration, 150_00)
        assert isinstance(stage.pay_for(stage.maya, registration), Paid)
        cancel(stage.parts, registration.public_id, stage.maya.user_id)
        assert refunds(stage) == [("succeeded", 60_00)]
        assert books(stage, registration) == (Place.CANCELLED, Why.PERSON, 105_00, 150_00)
        assert open_cases(stage) == {"overpaid": 45_00}  # of the cash: it goes back over the counter
        stage.check_books()


def test_cancelling_what_nobody_paid(database_url: str) -> None:
    with program_staged(database_url, late_share_percent=50, refund_days=20) as stage:
        for days, who in ((0, stage.maya), (15, stage.sven)):
            registration = stage.register(who)
            confirm_unpaid(stage.parts, registration.public_id, stage.cast.clerk.id)
            with shifted(timedelta(days=days)):
                cancel(stage.parts, registration.public_id, who.user_id)
            invoice = stage.invoice_of(registration.public_id)
            assert (invoice.voided_at is None, invoice.balance_cents) == ((False, 0) if not days else (True, 105_00))
        assert isinstance(stage.pay_for(stage.sven, registration), Paid)
        stage.sweep()
        assert (refunds(stage), open_cases(stage)) == ([], {})
        stage.check_books()


def test_staff_choose_the_share_themselves(stage: ProgramStage) -> None:
    registration = stage.confirmed(stage.maya)
    cancel(stage.parts, registration.public_id, stage.cast.clerk.id, by_staff=True, percent=33)
    assert refunds(stage) == [("succeeded", 69_30)]
    assert books(stage, registration) == (Place.CANCELLED, Why.STAFF, 140_70, 140_70)
    with stage.database.read() as connection:
        assert connection.scalars(select(Adjustment.amount_cents)).all() == [-69_30]
    stage.check_books()


@pytest.mark.parametrize("fault", ["lost_after", "lost_before", "error_after", "rate_limited"])
def test_a_refund_whose_answer_is_lost_is_made_once(stage: ProgramStage, fault: str) -> None:
    registration = stage.confirmed(stage.maya)
    stage.sandbox.fault("refunds.create", fault)  # type: ignore[arg-type]  # one of the kinds
    cancel(stage.parts, registration.public_id, stage.maya.user_id)
    for minutes in (1, 5, 30, 90):
        stage.after(minutes=minutes)
    assert refunds(stage) == [("succeeded", PRICE)]
    assert books(stage, registration) == (Place.CANCELLED, Why.PERSON, 0, 0)
    stage.check_books()


# --- confirmed by the desk ------------------------------------------------------------------------------------------


def test_the_desk_confirms_a_hold_that_has_no_invoice_yet(stage: ProgramStage) -> None:
    """A place is never given away without its invoice."""
    public_id = stage.hold(stage.maya)
    confirm_unpaid(stage.parts, public_id, stage.cast.clerk.id)
    invoice = stage.invoice_of(public_id)
    assert (invoice.number.isdigit(), invoice.balance_cents) == (True, PRICE)
    stage.check_books()


def test_the_desk_confirms_nobodys_place(stage: ProgramStage) -> None:
    public_id = hold(stage.parts, stage.program_public_id, uuid4(), Holder(secret="a browser's"))
    with pytest.raises(NobodyNamed):
        confirm_unpaid(stage.parts, public_id, stage.cast.clerk.id)
