"""Promo codes are made and changed by administrators; what they take off is what the price is worked out with."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update

from portal.audit import AuditEntry
from portal.clock import now
from portal.errors import Refusal
from portal.programs.pricing import code_for, discount_of
from portal.programs.setup.codes import CodeNotSaved, CodeWanted, add_code, as_wanted, change_code
from portal.programs.states import Place
from portal.programs.tables import Program, PromoCode, Registration
from tests.makers import make_location, make_program
from tests.support.at_once import at_once
from tests.web.conftest import Site, Visitor, words
from tests.web.office.programs.conftest import PROGRAMS

CODES = f"{PROGRAMS}/codes"
SPRING = {"code": "spring-27", "kind": "share", "percent": "20", "since": "2083-01-01", "until": "2083-03-31",
          "uses": "10", "active": "on"}  # fmt: skip


def kept(site: Site) -> list[PromoCode]:
    return list(site.change(lambda session: session.scalars(select(PromoCode).order_by(PromoCode.id)).all()))


def stamp(visitor: Visitor, path: str) -> str:
    page = visitor.get(path).text
    return page.split('name="stamp" value="')[1].split('"')[0]


def used_by(site: Site, program: Program, code: PromoCode) -> None:
    """Somebody has a place at that code's price."""
    site.change(
        lambda session: session.add(
            Registration(
                public_id="used", program_id=program.id, channel="portal", state=Place.CONFIRMED, price_cents=200_00,
                patient_id=site.cast.maya.id, promo_code_id=code.id, discount_cents=40_00, created_at=now(),
            )
        )
    )  # fmt: skip


def test_a_code_takes_a_share_off_between_two_days(site: Site, marc: Visitor, program: Program) -> None:
    assert "No promo code yet" in words(marc.get(CODES))
    answer = marc.send(f"{CODES}/new", SPRING)
    assert answer.status_code == 303
    (code,) = kept(site)
    assert (code.code, code.percent, code.amount_cents, code.uses) == ("SPRING-27", 20, None, 10)
    assert code.starts_at == datetime(2083, 1, 1, 8, tzinfo=UTC), "when that day begins in Vancouver"
    assert code.ends_at == datetime(2083, 4, 1, 7, tzinfo=UTC), "when the day after the last one begins there"
    page = words(marc.get(CODES))
    assert "SPRING-27" in page and "20%" in page and "1 Jan 2083 to 31 Mar 2083" in page and "0 of 10" in page

    def taken_off(session: Any) -> int:
        found = code_for(session, " spring-27 ", program, datetime(2083, 3, 31, 23, tzinfo=UTC))
        return discount_of(found, program.price_cents)

    assert site.change(taken_off) == 40_00
    entry = site.change(lambda s: s.scalars(select(AuditEntry).where(AuditEntry.action == "promo_code.added")).one())
    assert (entry.subject, entry.user_id) == ("promo code SPRING-27", site.cast.administrator.id)


def test_a_code_takes_an_amount_off_one_program(site: Site, marc: Visitor, program: Program) -> None:
    sent = {"code": "FIFTEEN", "kind": "amount", "amount": "15", "program": str(program.id), "active": "on"}
    assert marc.send(f"{CODES}/new", sent).status_code == 303
    (code,) = kept(site)
    assert (code.amount_cents, code.currency, code.program_id, code.percent) == (15_00, "CAD", program.id, None)
    assert "$15.00 Back in motion always 0" in words(marc.get(CODES))


def test_an_amount_is_in_the_currency_of_its_program(site: Site, marc: Visitor) -> None:
    def abroad(session: Any) -> Program:
        return make_program(session, location=make_location(session, "Seattle", prefix="S-", currency="USD"))

    program = site.change(abroad)
    sent = {"code": "FIFTEEN", "kind": "amount", "amount": "15", "currency": "CAD", "active": "on"}
    assert marc.send(f"{CODES}/new", {**sent, "program": str(program.id)}).status_code == 303
    assert marc.send(f"{CODES}/new", {**sent, "code": "TEN", "currency": "USD"}).status_code == 303
    assert [code.currency for code in kept(site)] == ["USD", "USD"]
    wanted = CodeWanted("EUROS", amount_cents=1, currency="EUR", program_id=program.id)
    with pytest.raises(CodeNotSaved) as told:
        add_code(site.parts.database, wanted, None)
    assert set(told.value.wrong) == {"currency"}


def test_the_same_press_twice_makes_one_and_a_code_is_taken_once(site: Site, marc: Visitor, dana: Visitor) -> None:
    assert [marc.send(f"{CODES}/new", SPRING).status_code for _press in range(2)] == [303, 303]
    answer = marc.send(f"{CODES}/new", {**SPRING, "code": "Spring-27", "percent": "10"})
    assert answer.status_code == 422 and "There is a code SPRING-27 already." in words(answer)
    assert len(kept(site)) == 1
    assert dana.get(CODES).status_code == 403


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"code": ""}, "Code: please fill this in."),
        ({"code": "ab"}, "Code: 3 to 30 letters and digits"),
        ({"code": "grün"}, "Code: 3 to 30 letters and digits"),
        ({"code": "-ABC"}, "Code: 3 to 30 letters and digits"),
        ({"kind": "gift"}, "please choose one from the list"),
        ({"percent": "0"}, "Percent: a whole number from 1 to 100."),
        ({"percent": "12.5"}, "Percent: a whole number from 1 to 100."),
        ({"kind": "amount", "amount": "0"}, "Amount: such as 15.00"),
        ({"program": "99"}, "For: please choose one from the list."),
        ({"program": "x"}, "For: please choose one from the list."),
        ({"since": "2083-05-01"}, "It ends after it begins."),
        ({"until": "never"}, "Choose a day, or leave it empty."),
        ({"uses": "0"}, "How often in all: a whole number from 1"),
    ],
)
def test_what_can_not_be_is_told_at_its_field_and_kept(
    site: Site, marc: Visitor, changed: dict[str, str], sentence: str
) -> None:
    answer = marc.send(f"{CODES}/new", {**SPRING, **changed})
    assert answer.status_code == 422 and sentence in words(answer)
    assert kept(site) == []
    assert 'value="2083-03-31"' in answer.text or "until" in changed


def test_a_copy_is_told_from_the_program_it_was_made_from(site: Site, marc: Visitor) -> None:
    for day in (datetime(2027, 1, 5, 20, tzinfo=UTC), datetime(2027, 4, 6, 20, tzinfo=UTC)):
        site.change(partial(make_program, first=day))
    page = words(marc.get("/office/programs/codes/new"))
    assert "Back in motion, from Tue 5 Jan 2027" in page and "Back in motion, from Tue 6 Apr 2027" in page


def test_garbage_never_breaks_the_form(site: Site, marc: Visitor) -> None:
    marc.send(f"{CODES}/new", SPRING)
    (code,) = kept(site)
    for path in (f"{CODES}/new", f"{CODES}/{code.id}"):
        for name in (*SPRING, "program", "currency", "amount", "stamp"):
            for bad in ("\0", "x" * 3000, "-1", "٣", "<b>&", "9" * 30):
                assert marc.send(path, {**SPRING, name: bad}).status_code in (303, 422)
        assert marc.send(path, {}).status_code == 422
    for nowhere in ("99999", "2147483648", "-1"):
        assert marc.get(f"{CODES}/{nowhere}").status_code == 404


def test_a_code_that_is_used_can_change_and_its_uses_stay_enough(site: Site, marc: Visitor, program: Program) -> None:
    marc.send(f"{CODES}/new", SPRING)
    (code,) = kept(site)
    used_by(site, program, code)
    path = f"{CODES}/{code.id}"
    assert "Used so far: 1." in words(marc.get(path))
    sent = {**SPRING, "stamp": stamp(marc, path)}
    assert marc.send(path, sent).status_code == 303, "nothing was changed"
    assert marc.send(path, {**sent, "uses": "1", "percent": "30"}).status_code == 303
    assert "Used up" in words(marc.get(CODES))
    told = site.change(lambda s: s.scalars(select(AuditEntry).where(AuditEntry.action == "promo_code.changed")).all())
    assert [(row.subject, row.before, row.after) for row in told] == [
        ("promo code SPRING-27, takes off", "20%", "30%"), ("promo code SPRING-27, uses", "10", "1"),
    ]  # fmt: skip
    site.change(lambda session: session.execute(update(PromoCode).values(uses=5)))
    answer = marc.send(path, {**sent, "uses": "2"})
    assert answer.status_code == 422 and "Somebody else has saved this code meanwhile." in words(answer)


def test_uses_are_never_fewer_than_there_were(site: Site, marc: Visitor, program: Program) -> None:
    marc.send(f"{CODES}/new", SPRING)
    (code,) = kept(site)
    used_by(site, program, code)
    wanted = CodeWanted("SPRING-27", percent=20, uses=0)
    with pytest.raises(CodeNotSaved) as told:
        change_code(site.parts.database, code.id, as_wanted(kept(site)[0]).stamp, wanted, None)
    assert "Used so far: 1. It can't be fewer." in told.value.text


def test_a_moment_within_a_day_stays_when_nobody_changes_the_day(site: Site, marc: Visitor) -> None:
    ends = datetime(2083, 3, 31, 20, 15, tzinfo=UTC)
    code = PromoCode(code="EXACT", percent=5, ends_at=ends, created_at=now())
    site.change(lambda session: session.add(code))
    path = f"{CODES}/{kept(site)[0].id}"
    sent = {"code": "EXACT", "kind": "share", "percent": "6", "until": "2083-03-31", "active": "on"}
    assert marc.send(path, {**sent, "stamp": stamp(marc, path)}).status_code == 303
    assert (kept(site)[0].ends_at, kept(site)[0].percent) == (ends, 6)


def test_the_list_says_where_each_code_stands(site: Site, marc: Visitor) -> None:
    day = timedelta(days=1)
    rows = [
        PromoCode(code="WORKS", percent=5, created_at=now()),
        PromoCode(code="OVER", percent=5, ends_at=now() - day, created_at=now()),
        PromoCode(code="LATER", percent=5, starts_at=now() + day, created_at=now()),
        PromoCode(code="OFF", percent=5, active=False, created_at=now()),
    ]
    site.change(lambda session: session.add_all(rows))
    page = words(marc.get(CODES))
    for said in ("WORKS Works now", "OVER Over", "LATER To come", "OFF Off"):
        assert said in page


def test_two_codes_of_one_name_made_at_once_are_one(site: Site) -> None:
    wanted = [CodeWanted("TWIN", percent=percent) for percent in (5, 6, 7)]
    answers = at_once([partial(add_code, site.parts.database, each, None) for each in wanted])
    assert len([answer for answer in answers if isinstance(answer, Refusal)]) == 2
    assert len(kept(site)) == 1
