"""Programs are changed while people register: no place is taken away, and nobody is let in who has none."""

from dataclasses import replace
from functools import partial
from uuid import uuid4

import pytest
from sqlalchemy import update

from portal.people import Patient, User
from portal.programs.seats import CHANGED
from portal.programs.setup.sessions import moved
from portal.programs.setup.setting_up import Kept, ProgramChanged, ProgramNotSaved, change, set_up
from portal.programs.setup.wanted import Standing, standing
from portal.programs.states import Place
from portal.programs.tables import Program
from tests.makers import count_of, make_location
from tests.programs.stage import ProgramStage, program_staged
from tests.support.at_once import at_once, names


def stands(stage: ProgramStage) -> Standing:
    with stage.database.read() as connection:
        return standing(connection, stage.program_public_id)


def with_places(stage: ProgramStage, capacity: int) -> Kept:
    """What a form does that was opened just now."""
    found = stands(stage)
    wanted = replace(found.wanted, capacity=capacity)
    return change(stage.database, stage.program_public_id, found.version, wanted, None)


def test_a_group_that_shrinks_while_people_register_is_never_too_full(database_url: str) -> None:
    with program_staged(database_url, capacity=6) as stage:
        people = [stage.newcomer(name) for name in ("Ann", "Bo", "Cy", "Di")]
        at_once([partial(stage.hold, who) for who in people[:2]])
        answers = at_once([partial(with_places, stage, 3), *(partial(stage.hold, who) for who in people[2:])])
        program = stage.program()
        assert program.taken <= program.capacity
        told = names(answers)
        if program.capacity == 6:
            assert told == {"ProgramNotSaved": 1, "str": 2} and program.taken == 4
        else:
            assert told == {"Kept": 1, "str": 1, "ProgramFull": 1} and (program.capacity, program.taken) == (3, 3)


def test_a_larger_group_offers_its_places_in_order(stage: ProgramStage) -> None:
    for who in (stage.jonas, stage.newcomer("Ann")):
        stage.hold(who)
    line = [stage.wait(stage.newcomer(name)) for name in ("Bo", "Cy", "Di")]
    assert with_places(stage, 4).offered == 2
    assert [stage.registration(each).state for each in line] == [Place.OFFERED, Place.OFFERED, Place.WAITING]


def moved_by_a_week(stage: ProgramStage, *, tells: bool) -> Kept:
    found = stands(stage)
    wanted = replace(found.wanted, meetings=tuple(moved(found.wanted.meetings, 7)))
    return change(stage.database, stage.program_public_id, found.version, wanted, None, tells=tells)


def told(stage: ProgramStage) -> list[str]:
    return [to for kind, to in stage.mails() if kind == CHANGED]


def test_new_dates_are_told_to_each_confirmed_place_once(database_url: str) -> None:
    with program_staged(database_url, capacity=3) as stage:
        stage.confirmed(stage.maya)
        stage.confirmed(stage.sven)
        stage.hold(stage.jonas)
        stage.wait(stage.newcomer("Ann"))
        found = stands(stage)
        wanted = replace(found.wanted, meetings=tuple(moved(found.wanted.meetings, 7)))
        save = partial(change, stage.database, found.public_id, found.version, wanted, None, tells=True)
        pressed = at_once([save, save])
        assert sorted((kept.concerned, kept.told) for kept in pressed) == [(0, 0), (2, 2)]
        assert told(stage) == ["maya@example.com", "sven@example.com"]
        moved_by_a_week(stage, tells=True)
        assert told(stage) == ["maya@example.com", "sven@example.com"] * 2, "each version has its mail"


def test_nobody_is_told_of_what_does_not_concern_them(stage: ProgramStage) -> None:
    stage.confirmed(stage.maya)
    found = stands(stage)
    richer = replace(found.wanted, capacity=9, price_cents=300_00, description="More of it")
    assert change(stage.database, found.public_id, found.version, richer, None, tells=True).concerned == 0
    assert moved_by_a_week(stage, tells=False).concerned == 1
    wrong = replace(stands(stage).wanted, meetings=())
    with pytest.raises(ProgramNotSaved):
        change(stage.database, found.public_id, found.version + 2, wrong, None, tells=True)
    assert told(stage) == []


def test_another_location_is_told_and_who_has_no_address_is_counted(stage: ProgramStage) -> None:
    stage.confirmed(stage.maya)
    stage.confirmed(stage.sven)
    with stage.database.transaction() as session:
        lake = make_location(session, "Lake", prefix="L-").id
        session.execute(update(User).where(User.id == stage.sven.user_id).values(active=False))
        session.execute(update(Patient).where(Patient.id == stage.sven.payer_id).values(email=""))
    found = stands(stage)
    wanted = replace(found.wanted, location_id=lake)
    kept = change(stage.database, found.public_id, found.version, wanted, None, tells=True)
    assert (kept.concerned, kept.told, told(stage)) == (2, 1, ["maya@example.com"])


def test_two_forms_saved_at_once_are_one_and_a_refusal(stage: ProgramStage) -> None:
    found = stands(stage)
    wishes = [replace(found.wanted, capacity=capacity) for capacity in (7, 8)]
    answers = at_once(
        [partial(change, stage.database, found.public_id, found.version, wanted, None) for wanted in wishes]
    )
    assert names(answers) == {"Kept": 1, "ProgramChanged": 1}
    assert stage.program().version == found.version + 1


def test_the_same_form_sent_at_once_sets_up_one_program(stage: ProgramStage) -> None:
    wanted, request_id = replace(stands(stage).wanted, name="Another"), uuid4()
    answers = at_once([partial(set_up, stage.database, request_id, wanted, None)] * 3)
    assert len({kept.public_id for kept in answers}) == 1
    with stage.database.transaction() as session:
        assert count_of(session, Program) == 2


def test_an_old_form_and_an_impossible_one_change_nothing(stage: ProgramStage) -> None:
    found = stands(stage)
    with_places(stage, 5)
    with pytest.raises(ProgramChanged):
        change(stage.database, found.public_id, found.version, replace(found.wanted, name="Old"), None)
    with pytest.raises(ProgramNotSaved) as told:
        change(stage.database, found.public_id, found.version + 1, replace(found.wanted, location_id=99), None)
    assert set(told.value.wrong) == {"location"}
    assert stands(stage).wanted == replace(found.wanted, capacity=5)
