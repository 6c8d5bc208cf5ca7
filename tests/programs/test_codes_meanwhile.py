"""Promo codes are changed while people take them up: nobody waits for anybody for ever, and uses stay enough."""

from dataclasses import replace
from functools import partial

from portal.programs.setup.codes import CodeWanted, add_code, as_wanted, change_code
from portal.programs.tables import PromoCode
from tests.programs.stage import program_staged
from tests.support.at_once import at_once, names


def test_a_code_that_is_changed_while_people_register(database_url: str) -> None:
    with program_staged(database_url, capacity=20) as stage:
        code_id = add_code(stage.database, CodeWanted("TEN", percent=10), None).id
        people = [stage.newcomer(name) for name in ("Ann", "Bo", "Cy", "Di", "Ed")]
        places = {who: stage.hold(who) for who in people}

        def narrows() -> object:
            with stage.database.transaction() as session:
                found = as_wanted(session.get_one(PromoCode, code_id))
            wanted = replace(found, program_id=None if found.program_id else stage.program_id, uses=4)
            return change_code(stage.database, code_id, found.stamp, wanted, None)

        registering = [partial(stage.register, who, code="TEN", public_id=place) for who, place in places.items()]
        answers = at_once([narrows, *registering, narrows])
        told = names(answers)
        assert set(told) <= {"Registration", "PromoCode", "BadCode", "CodeChanged", "CodeNotSaved"}, told
        with stage.database.transaction() as session:
            code = session.get_one(PromoCode, code_id)
            assert code.used == told["Registration"] and (code.uses is None or code.used <= code.uses)
