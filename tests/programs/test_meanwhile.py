"""What happens to a place while it is being paid, cancelled or taken back: every two of these, deterministically, and
the process dying at every call to the gateway (P7, G1)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from portal.clock import now, shifted
from portal.errors import Refusal
from portal.invoices.books import locked_invoice
from portal.invoices.tables import Invoice
from portal.payments.outcomes import NeedsAction, Paid
from portal.payments.steps import Hold
from portal.programs import registering
from portal.programs.cancelling import cancel
from portal.programs.ending import lapse, let_place_go
from portal.programs.refusals import PlaceGone, ProgramFull, TriedTooLong
from portal.programs.registering import Details, Holder, claim, confirm_unpaid, hold, register
from portal.programs.seats import locked_program
from portal.programs.states import ENDED, Place
from portal.programs.sweeping import sweep_places
from portal.programs.tables import Program, PromoCode, Registration
from portal.refunds.asking import RefundForm, refund
from portal.refunds.following import follow_charge
from portal.refunds.voiding import void
from tests.makers import make_program
from tests.payments.stage import CrashNow
from tests.programs.stage import ProgramStage, program_staged

pytestmark = pytest.mark.promise("P7")

PRICE = 210_00
MOMENTS = [("after", "look_at_token"), ("after", "create_intent"), ("before", "confirm"), ("after", "confirm")]
PAYING = [(when, call) for call in ("look_at_token", "create_intent", "confirm") for when in ("before", "after")]


def quiet(stage: ProgramStage) -> None:
    """Let time pass, with sweeps, until nothing is under way any more."""
    for minutes in (1, 40, 61, 90):
        stage.after(minutes=minutes)


def check_paid_for_a_place_or_not_at_all(stage: ProgramStage, registration: Registration) -> None:
    """Confirmed and paid; or no place, and nothing of theirs is here."""
    one = stage.registration(registration.public_id)
    invoice = stage.invoice_of(registration.public_id)
    assert (one.state, invoice.paid_cents) == (Place.CONFIRMED, PRICE) or (
        one.state in ENDED and invoice.paid_cents == 0
    ), (one.state, one.why, invoice.paid_cents)
    stage.check_books()


# --- something else at every moment of a payment --------------------------------------------------------------------


def _time_runs_out(stage: ProgramStage, registration: Registration) -> None:
    """A request that stalls for an hour; the sweeps take its place back, and another gets it."""
    with shifted(timedelta(hours=1)):
        stage.sweep()
        stage.sweep()


def _let_go(stage: ProgramStage, registration: Registration) -> None:
    let_place_go(stage.parts, registration.public_id, stage.maya.user_id)


def _desk_confirms_and_cancels(stage: ProgramStage, registration: Registration) -> None:
    confirm_unpaid(stage.parts, registration.public_id, stage.cast.clerk.id)
    cancel(stage.parts, registration.public_id, stage.cast.clerk.id, by_staff=True)


def _desk_confirms(stage: ProgramStage, registration: Registration) -> None:
    confirm_unpaid(stage.parts, registration.public_id, stage.cast.clerk.id)


def _void(stage: ProgramStage, registration: Registration) -> None:
    void(stage.parts, registration.invoice_id or 0, "Wrong group.", {}, stage.cast.clerk.id)


def _registers_anew(stage: ProgramStage, registration: Registration) -> None:
    """The other tab: for somebody else of the family."""
    register(
        stage.parts, registration.public_id, Details(stage.cast.theo.id, {}, shown_cents=PRICE), stage.maya.user_id
    )


MEANWHILE: list[Callable[[ProgramStage, Registration], None]] = [
    _time_runs_out, _let_go, _desk_confirms, _desk_confirms_and_cancels, _void, _registers_anew,
]  # fmt: skip


@pytest.mark.parametrize(("when", "call"), MOMENTS)
@pytest.mark.parametrize("happens", MEANWHILE, ids=lambda each: each.__name__.strip("_"))
def test_whatever_happens_while_a_place_is_paid(
    database_url: str, happens: Callable[[ProgramStage, Registration], None], when: str, call: str
) -> None:
    with program_staged(database_url, capacity=1, waitlist_size=2) as stage:
        registration = stage.register(stage.maya)
        waiting = stage.wait(stage.sven)

        def it_happens() -> None:
            try:
                happens(stage, registration)
            except Refusal:
                return

        stage.during(call, it_happens, when=when)
        outcome = stage.try_to_pay_for(stage.maya, registration)
        if isinstance(outcome, Refusal):
            assert not stage.payments(), f"charged, but told {outcome}"
        quiet(stage)
        check_paid_for_a_place_or_not_at_all(stage, registration)
        is_theirs = stage.registration(registration.public_id).state == Place.CONFIRMED
        # A place that came free was the next one's; that offer is good for longer than this took.
        assert stage.registration(waiting).state == (Place.WAITING if is_theirs else Place.OFFERED)


@pytest.mark.parametrize("call", ["fetch", "cancel"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_bank_says_yes_while_the_place_is_taken_back(stage: ProgramStage, when: str, call: str) -> None:
    """Whichever Stripe saw first, the cancellation or the bank's answer, decides; the place follows."""
    registration = stage.register(stage.maya)
    assert isinstance(stage.pay_for(stage.maya, registration, "authenticationRequired"), NeedsAction)
    intent = str(stage.attempt().intent_id)

    def the_bank_answers() -> None:
        try:
            stage.sandbox.authenticate(intent)
        except ValueError:
            return  # cancelled before

    stage.during(call, the_bank_answers, when=when)
    with shifted(timedelta(minutes=40)):
        lapse(stage.parts, registration.public_id)
    quiet(stage)
    check_paid_for_a_place_or_not_at_all(stage, registration)


# --- the process dies -----------------------------------------------------------------------------------------------


def die() -> None:
    raise CrashNow


@pytest.fixture
def nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed unwinds nothing: its hold stays until it lapses."""
    monkeypatch.setattr(Hold, "let_go", lambda *_: None)


@pytest.mark.promise("G1")
@pytest.mark.usefixtures("nothing_is_let_go")
@pytest.mark.parametrize(("when", "call"), PAYING)
def test_a_crash_while_a_place_is_paid(stage: ProgramStage, when: str, call: str) -> None:
    registration = stage.register(stage.maya)
    stage.during(call, die, when=when)
    with pytest.raises(CrashNow):
        stage.pay_for(stage.maya, registration)
    quiet(stage)
    check_paid_for_a_place_or_not_at_all(stage, registration)
    is_paid = (when, call) == ("after", "confirm")
    assert (stage.registration(registration.public_id).state == Place.CONFIRMED) == is_paid


@pytest.mark.promise("G1")
@pytest.mark.parametrize("call", ["refund", "look_at_charge"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_between_a_cancellation_and_its_refund(database_url: str, when: str, call: str) -> None:
    with program_staged(database_url, capacity=1, waitlist_size=1) as stage:
        registration = stage.confirmed(stage.maya)
        waiting = stage.wait(stage.sven)
        stage.during(call, die, when=when)
        with pytest.raises(CrashNow):
            cancel(stage.parts, registration.public_id, stage.maya.user_id)
        assert stage.registration(waiting).state == Place.OFFERED
        quiet(stage)
        check_paid_for_a_place_or_not_at_all(stage, registration)
        assert [one["amount"] for one in stage.sandbox.objects("refund")] == [PRICE]


@pytest.mark.promise("G1")
def test_a_crash_before_the_refund_was_even_thought_of(stage: ProgramStage, monkeypatch: pytest.MonkeyPatch) -> None:
    registration = stage.confirmed(stage.maya)
    with monkeypatch.context() as patched:
        patched.setattr("portal.programs.cancelling.give_back", lambda *_: die())
        with pytest.raises(CrashNow):
            cancel(stage.parts, registration.public_id, stage.maya.user_id)
    stage.check_books()
    stage.sweep()
    check_paid_for_a_place_or_not_at_all(stage, registration)


@pytest.mark.promise("G1")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_while_a_place_is_taken_back(stage: ProgramStage, when: str) -> None:
    registration = stage.register(stage.maya)
    stage.pay_for(stage.maya, registration, "authenticationRequired")
    stage.during("cancel", die, when=when)
    with shifted(timedelta(minutes=40)), pytest.raises(CrashNow):
        stage.sweep()
    quiet(stage)
    assert stage.registration(registration.public_id).state == Place.LAPSED
    stage.check_nothing_charged()


# --- the clock ------------------------------------------------------------------------------------------------------


def test_press_after_press_does_not_keep_a_place_for_ever(stage: ProgramStage) -> None:
    registration = stage.register(stage.maya)
    for minutes in (14, 33):
        with shifted(timedelta(minutes=minutes)):
            stage.pay_for(stage.maya, registration, "chargeDeclined")
    with shifted(timedelta(minutes=52)):
        assert isinstance(stage.try_to_pay_for(stage.maya, registration), TriedTooLong)
        assert stage.registration(registration.public_id).state == Place.HELD
    with shifted(timedelta(minutes=54)):
        assert isinstance(stage.try_to_pay_for(stage.maya, registration), PlaceGone)
        stage.sweep()
        assert stage.registration(registration.public_id).state == Place.LAPSED
    stage.check_nothing_charged()


def test_who_comes_back_a_second_after_the_end_holds_anew(stage: ProgramStage) -> None:
    """The worker has not come round yet: their old place is not in their own way."""
    first = stage.register(stage.maya)
    with shifted(timedelta(minutes=15, seconds=1)):
        second = stage.hold(stage.maya)
        assert second != first.public_id
        assert stage.registration(first.public_id).state == Place.LAPSED
        assert isinstance(stage.pay_for(stage.maya, stage.register(stage.maya, public_id=second)), Paid)
    assert stage.program().taken == 1
    stage.check_books()


def test_who_comes_back_while_their_payment_is_open_gets_that_place(stage: ProgramStage) -> None:
    registration = stage.register(stage.maya)
    assert isinstance(stage.pay_for(stage.maya, registration, "authenticationRequired"), NeedsAction)
    with shifted(timedelta(minutes=21)):
        assert stage.hold(stage.maya) == registration.public_id


# --- offers ---------------------------------------------------------------------------------------------------------


def test_more_places_are_offered_to_those_who_wait(database_url: str) -> None:
    with program_staged(database_url, capacity=1, waitlist_size=3) as stage:
        stage.confirmed(stage.maya)
        waiting = [stage.wait(who) for who in (stage.sven, stage.jonas)]
        stage.set("module_programs", "no")
        _change(stage, capacity=2)
        sweep_places(stage.parts)
        assert [stage.registration(each).state for each in waiting] == [Place.WAITING] * 2
        stage.set("module_programs", "yes")
        _change(stage, closes_at=now())
        sweep_places(stage.parts)
        assert [stage.registration(each).state for each in waiting] == [Place.WAITING] * 2
        _change(stage, closes_at=None)
        sweep_places(stage.parts)
        assert [stage.registration(each).state for each in waiting] == [Place.OFFERED, Place.WAITING]
        stage.check_books()


def test_groups_of_the_past_do_not_keep_offers_from_others(database_url: str) -> None:
    with program_staged(database_url, capacity=1, waitlist_size=3) as stage:
        for program_id in (stage.program_id, None):
            if program_id is None:
                with stage.database.transaction() as session:
                    other = make_program(session, "Another", capacity=1, waitlist_size=3)
                    stage.program_id, stage.program_public_id = other.id, other.public_id
            stage.confirmed(stage.maya)
            waiting = stage.wait(stage.sven)
            _change(stage, capacity=2, closes_at=now() if program_id else None)
        sweep_places(stage.parts, most=1)
        assert stage.registration(waiting).state == Place.OFFERED


def test_after_the_end_of_registration_the_desk_takes_who_comes(database_url: str) -> None:
    """Nobody who waits is called any more: they don't keep the last place empty."""
    with program_staged(database_url, capacity=1, waitlist_size=3) as stage:
        stage.confirmed(stage.maya)
        stage.wait(stage.sven)
        _change(stage, capacity=2)
        at_the_desk = Holder(stage.cast.clerk.id, stage.jonas.payer_id, channel="desk")
        with pytest.raises(ProgramFull):
            hold(stage.parts, stage.program_public_id, uuid4(), at_the_desk)
        _change(stage, closes_at=now())
        confirm_unpaid(
            stage.parts, hold(stage.parts, stage.program_public_id, uuid4(), at_the_desk), stage.cast.clerk.id
        )
        assert stage.program().taken == 2
        stage.check_books()


def _change(stage: ProgramStage, **values: Any) -> None:
    with stage.database.transaction() as session:
        session.execute(update(Program).where(Program.id == stage.program_id).values(**values))


def test_what_staff_refunded_in_vain_is_not_sent_to_that_card_again(stage: ProgramStage) -> None:
    registration = stage.register(stage.maya)
    stage.pay_for(stage.maya, registration, "refundFail")
    payment = stage.payments()[-1]
    refund(stage.parts, payment.invoice_id, RefundForm(uuid4(), payment.id, PRICE, "Ill."), None)
    for one in stage.sandbox.objects("refund"):
        if one["status"] != "failed":
            stage.sandbox.fail_refund(one["id"])
    follow_charge(stage.parts, payment.id)
    assert stage.registration(registration.public_id).state == Place.CANCELLED
    stage.sweep()
    assert len(stage.sandbox.objects("refund")) == 1
    stage.check_books()


# --- locks ----------------------------------------------------------------------------------------------------------


@pytest.mark.of_database("postgresql")  # SQLite lets one write at a time
def test_an_invoice_that_is_made_meanwhile_is_locked_before_its_program(
    stage: ProgramStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited for a program without an invoice finds one when it has it: it lets go, and locks anew in order."""
    public_id = hold(stage.parts, stage.program_public_id, uuid4(), Holder(stage.maya.user_id, secret="s" * 20))
    free_then: list[bool] = []

    def make_it_first(session: Any, program_id: int) -> Program:
        monkeypatch.setattr(registering, "locked_program", locked_program)
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(stage.register, stage.maya, public_id=public_id).result(20)
        monkeypatch.setattr(registering, "locked_invoice", look_who_has_the_program)
        return locked_program(session, program_id)

    def look_who_has_the_program(session: Any, invoice_id: int) -> Invoice:
        with stage.database.transaction() as other:
            row = select(Program.id).where(Program.id == stage.program_id).with_for_update(skip_locked=True)
            free_then.append(other.scalar(row) is not None)
        return locked_invoice(session, invoice_id)

    monkeypatch.setattr(registering, "locked_program", make_it_first)
    claim(stage.parts, public_id, "s" * 20, stage.maya.user_id or 0)
    assert free_then == [True]
    assert stage.invoice_of(public_id).balance_cents == PRICE
    stage.check_books()


@pytest.mark.of_database("postgresql")
def test_who_is_confirmed_waits_for_nobody_who_uses_the_same_code(stage: ProgramStage) -> None:
    """Its use was counted with the hold. Else two programs that share a code could wait for each other crosswise: one
    with the code, for the next receipt's number; the other the other way round."""
    with stage.database.transaction() as session:
        session.add(PromoCode(code="LESS", percent=10, created_at=now()))
    registration = stage.register(stage.maya, code="LESS")
    with ThreadPoolExecutor(1) as elsewhere:
        with stage.database.transaction() as session:
            session.scalars(select(PromoCode).with_for_update()).one()
            paying = elsewhere.submit(stage.pay_for, stage.maya, registration)
            try:
                outcome = paying.result(8)
            except TimeoutError:
                outcome = None
        paying.result(20)
    assert isinstance(outcome, Paid)
    stage.check_books()
