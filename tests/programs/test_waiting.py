"""The line: in order, as long as it may be, one turn a person, whatever happens at the same moment."""

from functools import partial
from uuid import uuid4

import pytest
from sqlalchemy import select

from portal.programs.cancelling import cancel
from portal.programs.ending import let_place_go
from portal.programs.refusals import PlacesLeft, RegisteredAlready, WaitlistFull
from portal.programs.registering import Holder
from portal.programs.states import Place
from portal.programs.tables import Registration
from portal.programs.waiting import join, place_in_line
from tests.programs.stage import ProgramStage
from tests.support.at_once import at_once, names

pytestmark = pytest.mark.promise("P7")


@pytest.fixture
def full(stage: ProgramStage) -> list[str]:
    """Both places are paid for."""
    return [stage.confirmed(stage.maya).public_id, stage.confirmed(stage.sven).public_id]


def line(stage: ProgramStage) -> list[int]:
    """Each one's turn, in the order in which they came."""
    waiting = select(Registration.id).where(Registration.state == Place.WAITING).order_by(Registration.id)
    with stage.database.read() as connection:
        return [place_in_line(connection, one) for one in connection.scalars(waiting).all()]


def test_twelve_at_once_for_three_turns(stage: ProgramStage, full: list[str]) -> None:
    people = [stage.newcomer(f"P{number}") for number in range(12)]
    answers = names(at_once([partial(stage.wait, who) for who in people]))
    assert answers == {"str": 3, "WaitlistFull": 9}
    assert stage.program().waiting == 3
    assert sorted(line(stage)) == [1, 2, 3]
    assert [kind for kind, _to in stage.mails()].count("waitlisted") == 3
    stage.check_books()


def test_one_person_at_once_in_five_tabs_has_one_turn(stage: ProgramStage, full: list[str]) -> None:
    answers = at_once([partial(stage.wait, stage.jonas)] * 5)
    assert len(set(answers)) == 1 and stage.program().waiting == 1
    assert [kind for kind, _to in stage.mails()].count("waitlisted") == 1


def test_one_press_sent_twice_is_one_turn(stage: ProgramStage, full: list[str]) -> None:
    press = uuid4()
    holder = Holder(stage.jonas.user_id, stage.jonas.payer_id)
    assert len({join(stage.parts, stage.program_public_id, press, holder) for _twice in range(2)}) == 1


def test_whoever_leaves_lets_the_others_move_up(stage: ProgramStage, full: list[str]) -> None:
    first, *_rest = [stage.wait(stage.newcomer(name)) for name in ("Ada", "Ben", "Cleo")]
    with pytest.raises(WaitlistFull):
        stage.wait(stage.jonas)
    let_place_go(stage.parts, first, None)
    assert line(stage) == [1, 2]
    stage.wait(stage.jonas)
    assert line(stage) == [1, 2, 3]


def test_whoever_has_a_place_does_not_wait_and_nobody_waits_where_one_is_free(
    stage: ProgramStage, full: list[str]
) -> None:
    with pytest.raises(RegisteredAlready):
        stage.wait(stage.maya)
    let_place_go_of = cancel(stage.parts, full[0], None)
    assert let_place_go_of.state == Place.CANCELLED
    with pytest.raises(PlacesLeft):
        stage.wait(stage.jonas)


def test_places_that_come_free_at_once_are_offered_in_order(stage: ProgramStage, full: list[str]) -> None:
    waiting = [stage.wait(stage.newcomer(name)) for name in ("Ada", "Ben", "Cleo")]
    at_once([partial(cancel, stage.parts, place, None) for place in full])
    assert [stage.registration(one).state for one in waiting] == [Place.OFFERED, Place.OFFERED, Place.WAITING]
    offered = [to for kind, to in stage.mails() if kind == "place_offered"]
    assert sorted(offered) == ["ada@example.com", "ben@example.com"]
    stage.check_books()


def test_declining_and_joining_at_once_keeps_the_order(stage: ProgramStage, full: list[str]) -> None:
    ada, ben = (stage.wait(stage.newcomer(name)) for name in ("Ada", "Ben"))
    cancel(stage.parts, full[0], None)
    at_once([partial(let_place_go, stage.parts, ada, None), partial(stage.wait, stage.jonas)])
    assert stage.registration(ben).state == Place.OFFERED
    assert (stage.program().taken, stage.program().waiting) == (2, 1)
    stage.check_books()
