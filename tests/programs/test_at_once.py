"""Hundreds want the last places at the same moment: each place goes to one, and nobody pays without one (P7)."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import cycle
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from portal.audit import AuditEntry
from portal.clock import now, shifted
from portal.invoices.tables import Invoice
from portal.payments.settle import settle
from portal.people import Patient
from portal.programs.cancelling import cancel
from portal.programs.ending import let_place_go
from portal.programs.refusals import FormSentBefore, ProgramFull, WaitlistFull
from portal.programs.registering import Details, Holder, hold, register
from portal.programs.states import ENDED, TAKES_PLACE, Place
from portal.programs.tables import PromoCode, Registration
from portal.programs.waiting import join
from portal.refunds.following import follow_charge
from portal.refunds.sweeping import sweep_refunds
from tests.makers import make_program
from tests.payments.stage import Person
from tests.programs.stage import ProgramStage, program_staged
from tests.support.at_once import at_once, names

pytestmark = pytest.mark.promise("P7")

MANY = 200


def crowd(stage: ProgramStage, many: int) -> list[Person]:
    """So many people, whom Maya's account registers."""
    with stage.database.transaction() as session:
        people = [
            Patient(given_name=f"P{number}", family_name="Crowd", email=f"p{number}@example.com", created_at=now())
            for number in range(many)
        ]
        session.add_all(people)
        session.flush()
        return [Person(patient.id, stage.maya.user_id) for patient in people]


def all_of(stage: ProgramStage) -> list[Registration]:
    with stage.database.transaction() as session:
        return list(session.scalars(select(Registration).order_by(Registration.id)))


def offered_in_order(stage: ProgramStage) -> list[str]:
    """Whose turn came, in the order in which the places were offered."""
    with stage.database.read() as connection:
        targets = connection.scalars(
            select(AuditEntry.subject).where(AuditEntry.action == "registration.offered").order_by(AuditEntry.id)
        )
        return [str(target).split()[1] for target in targets]


def press(stage: ProgramStage, who: Person, registration: Registration, how: str) -> None:
    """What somebody with a place does next: pay, lose the answer, be turned down, walk away."""
    if how != "walks away":
        stage.try_to_pay_for(who, registration, "chargeDeclined" if how == "is declined" else "visa")


@pytest.mark.parametrize("places", [1, 2, 5, 10])
def test_two_hundred_clients_for_the_last_places(database_url: str, places: int) -> None:
    with program_staged(database_url, capacity=places, waitlist_size=30) as stage:
        people = crowd(stage, MANY)
        found: dict[str, Person] = {}

        def client(who: Person) -> str:
            try:
                public_id = stage.hold(who)
                stage.register(who, public_id=public_id)
            except ProgramFull:
                public_id = stage.wait(who)
            found[public_id] = who
            return public_id

        came = at_once([partial(client, who) for who in people])
        kinds = names(came)
        assert set(kinds) == {"str", "WaitlistFull"}
        assert kinds["str"] == places + 30
        assert stage.program().taken == places
        stage.check_books()
        line = [each for each in all_of(stage) if each.state == Place.WAITING]
        line.sort(key=lambda each: (each.waiting_since, each.id))

        hours = 0
        for how in cycle(["walks away", "answer lost", "is declined", "pays", "pays"]):
            with shifted(timedelta(hours=hours)):
                have = [each for each in all_of(stage) if each.state in (Place.HELD, Place.OFFERED)]
                if not have:
                    break
                ready = [stage.register(found[each.public_id], public_id=each.public_id) for each in have]
                if how == "answer lost":
                    stage.sandbox.fault("payment_intents.confirm", "lost_after")
                for each in ready:  # one after another: the browsers' own calls share the sandbox's faults
                    press(stage, found[each.public_id], each, how)
                at_once([stage.sweep] * 3)
            hours += 40  # an offer and its night are over
            with shifted(timedelta(hours=hours)):
                at_once([stage.sweep] * 3)
                assert stage.program().taken <= places

        states = Counter(each.state for each in all_of(stage))
        assert states[Place.CONFIRMED] == places
        assert len(stage.payments()) == places
        assert len(stage.paid_charges()) == places
        offered = offered_in_order(stage)
        assert offered == [each.public_id for each in line[: len(offered)]]
        stage.check_books()


def test_holders_of_the_last_place_pay_while_it_is_taken_back(database_url: str) -> None:
    """Its time is over: at one moment they press Pay, the sweeps take it back, and others ask for it."""
    with program_staged(database_url, capacity=1, waitlist_size=5) as stage:
        for turn in range(4):
            registration = stage.register(stage.maya)
            form = stage.form("visa", invoice_id=registration.invoice_id)
            others = crowd(stage, 6)
            with shifted(timedelta(minutes=15, seconds=1 if turn % 2 else -1)):
                pressing: Callable[[], object] = partial(stage.press, form, stage.maya, registration.invoice_id)
                at_once([pressing, stage.sweep, *[partial(stage.hold, each) for each in others], stage.sweep])
            with shifted(timedelta(hours=1)):
                stage.sweep_until_quiet()
                one = stage.registration(registration.public_id)
                assert (one.state == Place.CONFIRMED) == (len(stage.paid_charges()) > len(done(stage)))
                for each in all_of(stage):
                    if each.state == Place.CONFIRMED:
                        cancel(stage.parts, each.public_id, None)
                    elif each.state not in ENDED:
                        let_place_go(stage.parts, each.public_id, None)
            stage.check_books()
        assert stage.program().taken == 0


def done(stage: ProgramStage) -> list[dict[str, object]]:
    """Charges that went back."""
    return [charge for charge in stage.paid_charges() if charge["refunded"]]


def test_fifty_posts_of_one_form_are_one_place(stage: ProgramStage) -> None:
    request = uuid4()
    holder = Holder(stage.maya.user_id, stage.maya.payer_id)
    answers = at_once([lambda: hold(stage.parts, stage.program_public_id, request, holder)] * 50)
    assert set(names(answers)) == {"str"}
    assert len(set(answers)) == 1
    assert stage.program().taken == 1
    at_once([lambda: register(stage.parts, answers[0], Details(stage.maya.payer_id or 0, {}), None)] * 20)
    with stage.database.read() as connection:
        assert len(connection.scalars(select(Invoice.id).where(Invoice.program_id.is_not(None))).all()) == 1
    stage.check_books()


def test_two_tabs_of_one_program_are_one_place(stage: ProgramStage) -> None:
    assert len(set(at_once([partial(stage.hold, stage.maya)] * 8))) == 1
    assert stage.program().taken == 1


def test_fifty_strangers_posts_of_one_form_are_one_place(stage: ProgramStage) -> None:
    """Pressed again and again before the first answer brought its cookie: the last one counts."""
    request = uuid4()

    def post(secret: str) -> str:
        return hold(stage.parts, stage.program_public_id, request, Holder(secret=secret))

    answers = at_once([partial(post, uuid4().hex) for _ in range(50)])
    assert len(set(answers)) == 1
    assert stage.program().taken == 1


def test_the_number_of_anothers_form_gives_nothing_away(stage: ProgramStage) -> None:
    request = uuid4()
    hold(stage.parts, stage.program_public_id, request, Holder(stage.maya.user_id, stage.maya.payer_id))
    with pytest.raises(FormSentBefore):
        hold(stage.parts, stage.program_public_id, request, Holder(stage.sven.user_id, stage.sven.payer_id))
    with pytest.raises(FormSentBefore):
        hold(stage.parts, stage.program_public_id, request, Holder(secret="made up"))
    with stage.database.transaction() as session:
        other = make_program(session, "Another").public_id
    with pytest.raises(FormSentBefore):
        hold(stage.parts, other, request, Holder(stage.maya.user_id, stage.maya.payer_id))
    assert stage.program().taken == 1


def test_a_form_that_joined_the_waitlist_before_leads_back_to_that(database_url: str) -> None:
    """The browser's Back button shows the form again after they have left the line."""
    with program_staged(database_url, capacity=1, waitlist_size=2) as stage:
        stage.hold(stage.maya)
        request = uuid4()
        holder = Holder(stage.sven.user_id, stage.sven.payer_id)
        first = join(stage.parts, stage.program_public_id, request, holder)
        let_place_go(stage.parts, first, stage.sven.user_id)
        assert join(stage.parts, stage.program_public_id, request, holder) == first
        with pytest.raises(FormSentBefore):
            join(stage.parts, stage.program_public_id, request, Holder(stage.jonas.user_id, stage.jonas.payer_id))


def test_of_many_in_line_at_once_no_more_wait_than_the_list_holds(database_url: str) -> None:
    with program_staged(database_url, capacity=1, waitlist_size=7) as stage:
        stage.hold(stage.maya)
        answers = at_once([partial(stage.wait, who) for who in crowd(stage, 60)])
        assert names(answers) == {"str": 7, WaitlistFull.__name__: 53}
        assert stage.program().waiting == 7


def test_a_promo_code_is_used_as_often_as_it_says(database_url: str) -> None:
    """Its uses are held as places are: they come back with a place that lapses, and a cancelled one."""
    with program_staged(database_url, capacity=40) as stage:
        with stage.database.transaction() as session:
            code = PromoCode(code="FIVE", percent=50, uses=5, created_at=now())
            session.add(code)
            session.flush()
            code_id = code.id
        people = crowd(stage, 40)
        answers = at_once([partial(stage.register, who, code="five") for who in people])
        assert names(answers) == {"Registration": 5, "BadCode": 35}
        assert used(stage, code_id) == 5
        winners = [each for each in answers if isinstance(each, Registration)]
        assert {stage.invoice_of(each.public_id).owed_cents for each in winners} == {105_00}
        stage.pay_for(stage.maya, winners[0])
        assert used(stage, code_id) == 5
        cancel(stage.parts, winners[0].public_id, None)
        let_place_go(stage.parts, winners[1].public_id, None)
        assert used(stage, code_id) == 3
        stage.after(hours=1)
        assert used(stage, code_id) == 0
        stage.check_books()


def used(stage: ProgramStage, code_id: int) -> int:
    with stage.database.transaction() as session:
        return session.get_one(PromoCode, code_id).used


# --- crosswise ------------------------------------------------------------------------------------------------------


@pytest.mark.of_database("postgresql")  # SQLite has one lock, and nothing to take crosswise
def test_nothing_that_is_done_to_programs_waits_for_each_other_crosswise(database_url: str) -> None:
    """Two programs at one location that share promo codes: everything is done to both at the same moment."""
    with program_staged(database_url, capacity=4, waitlist_size=10) as stage:
        with stage.database.transaction() as session:
            other = make_program(session, "Running clinic", capacity=4, waitlist_size=10)
            programs = [stage.program_public_id, other.public_id]
            session.add_all([PromoCode(code=code, percent=10, created_at=now()) for code in ("ALPHA", "BETA")])
        people = crowd(stage, 24)

        def take(who: Person, program: str, code: str) -> Registration:
            holder = Holder(who.user_id, who.payer_id)
            public_id = hold(stage.parts, program, uuid4(), holder)
            return register(stage.parts, public_id, Details(who.payer_id or 0, {}, code=code), None)

        def swap(registration: Registration, code: str) -> object:
            return register(
                stage.parts, registration.public_id, Details(registration.patient_id or 0, {}, code=code), None
            )

        for turn in range(2):
            mine = people[turn * 8 :][:8]
            taken: list[tuple[Person, Registration]] = []
            for position, who in enumerate(mine):
                taken.append((who, take(who, programs[position % 2], ("ALPHA", "BETA")[position % 2])))
            swapped = at_once(
                [partial(swap, one, ("BETA", "ALPHA")[position % 2]) for position, (_who, one) in enumerate(taken)]
                * 3
            )
            assert set(names(swapped)) == {"Registration"}
            now_registered = [(who, stage.registration(one.public_id)) for who, one in taken]
            forms = [(stage.form("visa", invoice_id=one.invoice_id), who, one) for who, one in now_registered]
            paying = [partial(stage.press, form, who, one.invoice_id) for form, who, one in forms[:6]]
            leaving = [partial(let_place_go, stage.parts, one.public_id, None) for _form, _who, one in forms[6:]]
            waiting = [
                partial(join, stage.parts, program, uuid4(), Holder(stage.sven.user_id, stage.sven.payer_id))
                for program in programs
            ]
            answers = at_once([*paying, *leaving, *waiting, stage.sweep])
            assert names(answers)["Paid"] == 6, names(answers)
            confirmed = [one.public_id for _form, _who, one in forms[:6]]
            attempts: list[UUID] = [one.id for one in stage.attempts()][-6:]
            payments = [one.id for one in stage.payments() if one.nature == "payment"][-6:]
            for payment in stage.payments()[-6:]:
                if payment.nature == "payment" and turn % 2:
                    stage.sandbox.refund(str(payment.charge_id), None)
            at_once(
                [partial(cancel, stage.parts, each, None) for each in confirmed]
                + [partial(follow_charge, stage.parts, each) for each in payments]
                + [partial(settle, stage.parts, each) for each in attempts]
                + [partial(sweep_refunds, stage.parts), stage.sweep]
            )
            with shifted(timedelta(days=3)):
                stage.sweep()
                for each in all_of(stage):
                    if each.state in TAKES_PLACE | {Place.WAITING} and each.state != Place.CONFIRMED:
                        let_place_go(stage.parts, each.public_id, None)
        assert not [each for each in all_of(stage) if each.state in TAKES_PLACE]
        stage.check_books()
