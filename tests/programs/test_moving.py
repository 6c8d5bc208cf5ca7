"""Moving a person to another program: both places at once, the price follows, and money goes back by itself."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import now
from portal.errors import Refusal
from portal.invoices.tables import Invoice
from portal.payments.outcomes import NeedsAction
from portal.payments.tables import Case
from portal.programs.desk.moving import Move, Moved, move
from portal.programs.desk.registering import put_in_line, take_place
from portal.programs.pricing import price_of
from portal.programs.refusals import (
    CannotMove,
    NotConfirmed,
    PriceChanged,
    ProgramFull,
    ProgramNotFound,
    RegisteredAlready,
    RegistrationNotFound,
    WaitsAlready,
)
from portal.programs.registering import Details
from portal.programs.states import Place, Why
from portal.programs.tables import Program, PromoCode, Registration
from tests.makers import make_location, make_program
from tests.payments.stage import Person
from tests.programs.stage import ProgramStage


def another(stage: ProgramStage, name: str = "Strong hips", **program: Any) -> Program:
    """A second program, of two places."""
    with stage.database.transaction() as session:
        return make_program(session, name, **{"capacity": 2, "waitlist_size": 2, **program})


def at_the_desk(stage: ProgramStage, program: Program, who: Person) -> Registration:
    """Registered there, to be paid later."""
    assert who.payer_id is not None
    details = Details(who.payer_id, {})
    return take_place(stage.parts, program.public_id, uuid4(), details, stage.cast.clerk.id, unpaid=True)


def moved(stage: ProgramStage, registration: Registration, to: Program, **wish: Any) -> Moved:
    return move(stage.parts, registration.public_id, Move(to.public_id, **wish), stage.cast.clerk.id)


def live_in(stage: ProgramStage, program: Program) -> list[Registration]:
    found = select(Registration).where(Registration.program_id == program.id, Registration.state == Place.CONFIRMED)
    with stage.database.transaction() as session:
        return list(session.scalars(found))


def taken(stage: ProgramStage, program_id: int) -> int:
    with stage.database.transaction() as session:
        return session.get_one(Program, program_id).taken


def open_cases(stage: ProgramStage) -> list[str]:
    with stage.database.transaction() as session:
        return list(session.scalars(select(Case.kind).where(Case.closed_at.is_(None))))


def test_one_place_is_given_up_and_the_other_taken(stage: ProgramStage) -> None:
    to = another(stage)
    before = stage.confirmed(stage.maya)
    there = moved(stage, before, to)
    old, [new] = stage.registration(before.public_id), live_in(stage, to)
    assert (old.state, old.why, old.invoice_id) == (Place.CANCELLED, Why.MOVED, None)
    assert (new.public_id, new.invoice_id, there.difference_cents) == (there.public_id, before.invoice_id, 0)
    assert (taken(stage, stage.program_id), taken(stage, to.id)) == (0, 1)
    invoice = stage.invoice_of(new.public_id)
    assert invoice.program_id == to.id and invoice.note == "Moved from Back in motion to Strong hips."
    assert stage.mails()[-1] == ("registration", "maya@example.com")
    stage.check_books()


def test_a_second_press_changes_nothing(stage: ProgramStage) -> None:
    to = another(stage, price_cents=264_00)
    before = stage.confirmed(stage.maya)
    first, second = moved(stage, before, to), moved(stage, before, to)
    assert first.public_id == second.public_id
    assert first.difference_cents == second.difference_cents == 67_20
    assert len(live_in(stage, to)) == 1
    stage.check_books()


def test_whoever_waited_for_the_old_place_is_offered_it(stage: ProgramStage) -> None:
    to = another(stage)
    before = stage.confirmed(stage.maya)
    stage.confirmed(stage.newcomer("Ana"))
    waits = stage.wait(stage.jonas)
    moved(stage, before, to)
    assert stage.registration(waits).state == Place.OFFERED
    stage.check_books()


def test_a_dearer_place_is_owed(stage: ProgramStage) -> None:
    to = another(stage, price_cents=250_00)
    there = moved(stage, stage.confirmed(stage.maya), to, shown_cents=52_50)
    invoice = stage.invoice_of(there.public_id)
    assert (invoice.owed_cents, invoice.paid_cents, invoice.balance_cents) == (262_50, 210_00, 52_50)
    stage.check_books()


def test_a_cheaper_place_gives_the_difference_back_to_the_card(stage: ProgramStage) -> None:
    to = another(stage, price_cents=150_00)
    there = moved(stage, stage.confirmed(stage.maya), to, shown_cents=-52_50)
    invoice = stage.invoice_of(there.public_id)
    assert (invoice.owed_cents, invoice.paid_cents, invoice.balance_cents) == (157_50, 157_50, 0)
    assert stage.registration(there.public_id).state == Place.CONFIRMED and open_cases(stage) == []
    stage.sweep()
    assert stage.invoice_of(there.public_id).paid_cents == 157_50
    stage.check_books()


def test_what_a_crash_left_to_give_back_is_given_back_by_the_sweep(
    stage: ProgramStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = another(stage, price_cents=150_00)
    before = stage.confirmed(stage.maya)
    with monkeypatch.context() as crash:
        crash.setattr("portal.programs.desk.moving.give_back", lambda *_args: None)
        there = moved(stage, before, to)
    assert stage.invoice_of(there.public_id).balance_cents == -52_50 and open_cases(stage) == ["overpaid"]
    stage.sweep()
    assert stage.invoice_of(there.public_id).balance_cents == 0 and open_cases(stage) == []
    stage.check_books()


def test_a_cheaper_place_that_was_not_paid_is_owed_less(stage: ProgramStage) -> None:
    to = another(stage, price_cents=150_00)
    there = moved(stage, at_the_desk(stage, stage.program(), stage.maya), to)
    assert stage.invoice_of(there.public_id).balance_cents == 157_50
    stage.check_books()


def test_a_free_place_gives_all_of_it_back_and_is_kept(stage: ProgramStage) -> None:
    to = another(stage, price_cents=0)
    there = moved(stage, stage.confirmed(stage.maya), to)
    invoice = stage.invoice_of(there.public_id)
    assert (invoice.owed_cents, invoice.paid_cents, open_cases(stage)) == (0, 0, [])
    assert stage.registration(there.public_id).state == Place.CONFIRMED
    stage.sweep()
    assert stage.registration(there.public_id).state == Place.CONFIRMED
    stage.check_books()


def test_from_a_free_program_to_one_that_costs_there_is_an_invoice(stage: ProgramStage) -> None:
    free = another(stage, "Walking group", price_cents=0)
    registration = at_the_desk(stage, free, stage.maya)
    there = moved(stage, registration, stage.program())
    invoice = stage.invoice_of(there.public_id)
    assert (invoice.balance_cents, there.difference_cents, invoice.number[0]) == (210_00, 210_00, "1")
    stage.check_books()


def test_the_price_may_stay_as_it_was_agreed(stage: ProgramStage) -> None:
    to = another(stage, price_cents=500_00)
    there = moved(stage, stage.confirmed(stage.maya), to, keeps_price=True)
    assert stage.invoice_of(there.public_id).balance_cents == 0
    with stage.database.transaction() as session:
        new = session.scalars(select(Registration).where(Registration.public_id == there.public_id)).one()
        assert price_of(session, new).total_cents == 210_00
    stage.check_books()


def _full(stage: ProgramStage, to: Program) -> None:
    for name in ("Ana", "Bea"):
        at_the_desk(stage, to, stage.newcomer(name))


def _twice(stage: ProgramStage, to: Program) -> None:
    at_the_desk(stage, to, stage.maya)


def _waits(stage: ProgramStage, to: Program) -> None:
    _full(stage, to)
    assert stage.maya.payer_id is not None
    put_in_line(stage.parts, to.public_id, uuid4(), stage.maya.payer_id, stage.cast.clerk.id)


def _in_other_money(stage: ProgramStage, to: Program) -> None:
    with stage.database.transaction() as session:
        elsewhere = make_location(session, "Seattle", currency="USD", prefix="S")
        session.get_one(Program, to.id).location_id = elsewhere.id


@pytest.mark.parametrize(
    ("meanwhile", "refusal"),
    [(_full, ProgramFull), (_twice, RegisteredAlready), (_waits, WaitsAlready), (_in_other_money, CannotMove)],
)
def test_who_can_not_move_stays(
    stage: ProgramStage, meanwhile: Callable[[ProgramStage, Program], None], refusal: type[Refusal]
) -> None:
    to = another(stage)
    before = stage.confirmed(stage.maya)
    meanwhile(stage, to)
    with pytest.raises(refusal):
        moved(stage, before, to)
    assert stage.registration(before.public_id).state == Place.CONFIRMED
    stage.check_books()


def test_what_is_not_there_or_not_confirmed_is_not_moved(stage: ProgramStage) -> None:
    to = another(stage)
    held = stage.register(stage.maya)
    with pytest.raises(NotConfirmed):
        moved(stage, held, to)
    with pytest.raises(RegistrationNotFound):
        move(stage.parts, "nope", Move(to.public_id), stage.cast.clerk.id)
    with pytest.raises(ProgramNotFound):
        move(stage.parts, held.public_id, Move("nope"), stage.cast.clerk.id)
    stage.pay_for(stage.maya, held)
    with pytest.raises(PriceChanged):
        moved(stage, held, to, shown_cents=1)


def test_two_groups_that_change_places_do_not_wait_for_each_other(stage: ProgramStage) -> None:
    """Both full but for one place: people move both ways at once, and nobody is lost on the way."""
    to = another(stage, capacity=4)
    with stage.database.transaction() as session:
        session.get_one(Program, stage.program_id).capacity = 4
        here = session.get_one(Program, stage.program_id)
    ours = [at_the_desk(stage, here, stage.newcomer(f"A{turn}")) for turn in range(3)]
    theirs = [at_the_desk(stage, to, stage.newcomer(f"B{turn}")) for turn in range(3)]
    wishes = [(one, to) for one in ours] + [(one, here) for one in theirs]

    def press(wish: tuple[Registration, Program]) -> Moved | Refusal:
        try:
            return moved(stage, *wish)
        except ProgramFull as refusal:
            return refusal

    with ThreadPoolExecutor(6) as desks:
        list(desks.map(press, wishes))
    assert len(live_in(stage, here)) + len(live_in(stage, to)) == 6
    assert max(taken(stage, here.id), taken(stage, to.id)) <= 4
    stage.check_books()


def test_only_one_of_two_gets_the_last_place(stage: ProgramStage) -> None:
    to = another(stage, capacity=1)
    both = [stage.confirmed(stage.maya), stage.confirmed(stage.jonas)]

    def press(registration: Registration) -> bool:
        try:
            return bool(moved(stage, registration, to))
        except ProgramFull:
            return False

    with ThreadPoolExecutor(2) as desks:
        assert sorted(desks.map(press, both)) == [False, True]
    assert taken(stage, to.id) == 1 and taken(stage, stage.program_id) == 1
    stage.check_books()


def test_an_invoice_is_named_after_its_registration_until_it_has_its_number(stage: ProgramStage) -> None:
    registration = stage.register(stage.maya)
    name = stage.invoice_of(registration.public_id).number
    assert name.startswith("~") and name.endswith(registration.public_id) and len(name) == 24
    with Session(stage.database.reading) as session:
        assert session.scalar(select(Invoice.id).where(Invoice.number == name)) == registration.invoice_id


def test_a_promo_code_moves_along_where_the_price_stays_and_is_free_again_where_not(stage: ProgramStage) -> None:
    to = another(stage)
    with stage.database.transaction() as session:
        session.add(PromoCode(code="ONCE", percent=50, uses=1, created_at=now()))

    def used() -> int:
        with stage.database.transaction() as session:
            return session.scalars(select(PromoCode.used)).one()

    registration = stage.register(stage.maya, code="once")
    stage.pay_for(stage.maya, registration)
    there = moved(stage, registration, to, keeps_price=True)
    assert used() == 1 and stage.invoice_of(there.public_id).balance_cents == 0
    back = moved(stage, stage.registration(there.public_id), stage.program())
    assert used() == 0 and stage.invoice_of(back.public_id).balance_cents == 105_00
    stage.check_books()


def test_a_payment_that_waits_for_its_payer_is_ended_before_the_price_changes(stage: ProgramStage) -> None:
    to = another(stage, price_cents=150_00)
    registration = at_the_desk(stage, stage.program(), stage.maya)
    assert isinstance(stage.pay_for(stage.maya, registration, "authenticationRequired"), NeedsAction)
    there = moved(stage, registration, to)
    assert stage.invoice_of(there.public_id).balance_cents == 157_50
    assert stage.sandbox.charges() == []
    stage.check_books()
