"""The public pages of programs: anybody reads them, signed in or not (P6)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.clinic import Location
from portal.clock import now, shifted
from portal.programs import reading
from portal.programs.states import Place
from portal.programs.tables import Program, Registration
from tests.makers import make_gateway, make_patient, make_program
from tests.web.conftest import Site, Visitor, words

pytestmark = pytest.mark.promise("P6")

# A Tuesday, 5:30 pm in Vancouver.
TUESDAY = datetime(2030, 1, 16, 1, 30, tzinfo=UTC)


@pytest.fixture
def site(site: Site) -> Site:
    site.setting("module_programs", "yes")
    return site


def program(site: Site, **details: Any) -> Program:
    """A program of ten places that begins on that Tuesday."""

    def make(session: Session) -> Program:
        practitioner = session.merge(site.cast.practitioner)
        return make_program(session, practitioner=practitioner, **{"first": TUESDAY, **details})

    made: Program = site.change(make)
    return made


def take(
    site: Site, made: Program, count: int, state: Place = Place.CONFIRMED, patient_id: int | None = None
) -> None:
    """So many places of somebody's, or people who wait."""

    def work(session: Session) -> None:
        for number in range(count):
            who = patient_id or make_patient(session, f"P{number}", uuid4().hex[:8]).id
            session.add(
                Registration(
                    public_id=uuid4().hex[:20], program_id=made.id, patient_id=who, channel="desk", state=state,
                    held_until=now() + timedelta(minutes=15) if state in (Place.HELD, Place.OFFERED) else None,
                    waiting_since=now(), price_cents=made.price_cents, created_at=now(),
                )
            )  # fmt: skip

    site.change(work)


def page(visitor: Visitor, made: Program) -> str:
    return words(visitor.get(f"/programs/{made.public_id}"))


# --- who sees what --------------------------------------------------------------------------------------------------


def test_a_stranger_reads_the_list_and_a_page(site: Site) -> None:
    made = program(site, description="Six evenings.\n\nBring a bottle.")
    listed = words(site.visitor().get("/programs"))
    for text in ("Back in motion", "6 Tuesdays from 15 Jan 2030, 5:30 pm", "$210.00", "10 places left", "Sign in"):
        assert text in listed
    shown = page(site.visitor(), made)
    for text in (
        "Six evenings.", "Bring a bottle.", "$210.00 $200.00 + $10.00 GST", "at most 10 people", "Studio 2",
        "Tue 15 Jan 2030 5:30 to 6:30 pm", "Register until Tue 15 Jan 2030, 5:30 pm",
        "Cancel until 8 January 2030 for a full refund. After that, talk to us.",
        f"/programs/{made.public_id}",
    ):  # fmt: skip
        assert text in shown, shown


def test_the_module_off_closes_every_page_with_a_sentence(site: Site) -> None:
    made = program(site)
    site.setting("module_programs", "no")
    for path in ("/programs", f"/programs/{made.public_id}", f"/programs/{made.public_id}/calendar.ics"):
        response = site.visitor().get(path)
        assert response.status_code == 404
        assert "no programs here at the moment" in words(response)
    assert "/programs" not in site.visitor("maya@example.com").get("/invoices").text


def test_what_is_not_shown_yet_only_those_see_who_set_programs_up(site: Site) -> None:
    made = program(site, visible=False)
    path = f"/programs/{made.public_id}"
    for email in ("", "maya@example.com", "dana@example.com"):
        visitor = site.visitor(email)
        assert visitor.get(path).status_code == visitor.get(f"{path}/calendar.ics").status_code == 404
        assert "Back in motion" not in words(visitor.get("/programs"))
    half_in = site.visitor()
    half_in.sign_in("marc@example.com")
    assert half_in.get(path).status_code == 404
    marc = site.visitor("marc@example.com")
    assert "not shown in the portal yet" in words(marc.get(path))


@pytest.mark.parametrize("public_id", ["nobody", "a" * 400, "%00", "..%2f", "'--", "🦩"])
def test_no_program_is_a_page_that_says_so(site: Site, public_id: str) -> None:
    for path in (f"/programs/{public_id}", f"/programs/{public_id}/calendar.ics"):
        assert site.visitor().get(path).status_code == 404


def test_who_finds_no_program_is_led_to_the_list(site: Site) -> None:
    assert 'href="/programs">See all programs</a>' in site.visitor().get("/programs/nobody").text


def test_there_is_nothing_to_see_yet(site: Site) -> None:
    assert "No programs are open for registration" in words(site.visitor().get("/programs"))


def test_a_long_list_goes_on_where_it_stopped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading.programs_to_come, "__defaults__", (reading.STRANGER, "", 2))
    names = ["Ash", "Birch", "Cedar", "Dogwood", "Elm"]
    for number, name in enumerate(names):
        program(site, name=name, first=TUESDAY + timedelta(days=number // 2), early_price_cents=None)
    program(site, name="Fir", sessions=0, closes_at=TUESDAY + timedelta(days=9))
    visitor, path, seen = site.visitor(), "/programs", []
    while path:
        shown = visitor.get(path).text
        seen += re.findall(r'<h2><a href="/programs/[^"]+">(\w+)</a>', shown)
        following = re.search(r'href="(/programs\?after=[^"]+)"', shown)
        path = following[1] if following else ""
    assert seen == [*names, "Fir"]
    for nonsense in ("nobody", "%00", "x" * 500, "'--"):
        assert "Ash" in words(visitor.get(f"/programs?after={nonsense}"))


# --- places, in words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taken", "waiting", "said"),
    [
        (0, 0, "10 places left"),
        (7, 0, "3 places left"),
        (9, 0, "1 place left"),
        (10, 0, "Full"),
        (10, 1, "Full, 1 is waiting"),
        (9, 4, "Full, 4 are waiting"),  # a place that came free is theirs
    ],
)
def test_how_many_places_are_left(site: Site, taken: int, waiting: int, said: str) -> None:
    made = program(site, waitlist_size=5)
    take(site, made, taken)
    take(site, made, waiting, Place.WAITING)
    for path in ("/programs", f"/programs/{made.public_id}"):
        tag = re.search(r'<span class="tag \w+">([^<]+)</span>', site.visitor().get(path).text)
        assert tag and tag[1] == said


def test_a_held_place_is_nobody_elses(site: Site) -> None:
    made = program(site, capacity=2)
    take(site, made, 1, Place.HELD)
    assert "1 place left" in page(site.visitor(), made)


def test_full_with_room_on_the_waitlist_or_without(site: Site) -> None:
    made = program(site, capacity=1, waitlist_size=1)
    take(site, made, 1)
    assert "Join waitlist" in words(site.visitor().get("/programs"))
    take(site, made, 1, Place.WAITING)
    assert "Join waitlist" not in words(site.visitor().get("/programs"))
    assert "All places are taken, and so is the waitlist." in page(site.visitor(), made)


def test_registration_opens_and_closes(site: Site) -> None:
    opens = TUESDAY - timedelta(days=30)
    made = program(site, opens_at=opens)
    assert "Opens 16 Dec" in words(site.visitor().get("/programs"))
    assert "Registration opens on Sunday 16 December 2029 at 5:30 pm." in page(site.visitor(), made)
    with shifted(opens - now()):
        assert "10 places left" in page(site.visitor(), made)
    with shifted(TUESDAY - now() + timedelta(minutes=1)):
        assert "Registration is closed" in page(site.visitor(), made)
        assert "Back in motion" not in words(site.visitor().get("/programs"))


def test_the_clinics_own_end_of_registration_counts(site: Site) -> None:
    made = program(site, closes_at=TUESDAY + timedelta(days=8))
    assert "Register until Wed 23 Jan 2030, 5:30 pm" in page(site.visitor(), made)
    with shifted(TUESDAY - now() + timedelta(days=1)):
        assert "10 places left" in words(site.visitor().get("/programs"))
        assert "(over)" in page(site.visitor(), made)


def test_without_dates_it_waits_for_them(site: Site) -> None:
    made = program(site, sessions=0)
    assert "Back in motion" not in words(site.visitor().get("/programs"))
    assert "The dates are still to come." in page(site.visitor(), made)
    assert site.visitor().get(f"/programs/{made.public_id}/calendar.ics").status_code == 404


# --- the price, in words --------------------------------------------------------------------------------------------


def test_an_early_price_ends_with_its_day_at_the_location(site: Site) -> None:
    made = program(site, early_price_cents=18_000, early_until=datetime(2029, 12, 1, tzinfo=UTC).date())
    assert "Early price until Sat 1 Dec 2029, then $210.00" in words(site.visitor().get("/programs"))
    assert "$189.00 $180.00 + $9.00 GST until Sat 1 Dec 2029, then $210.00" in page(site.visitor(), made)
    last_minute = datetime(2029, 12, 2, 7, 59, tzinfo=UTC)  # 11:59 pm in Vancouver
    for moment, price in ((last_minute, "$189.00"), (last_minute + timedelta(minutes=1), "$210.00")):
        with shifted(moment - now()):
            assert f"Price {price}" in page(site.visitor(), made)


def test_a_free_program_says_so(site: Site) -> None:
    made = program(site, price_cents=0)
    assert "Price Free" in page(site.visitor(), made)
    assert "refund" not in page(site.visitor(), made)


@pytest.mark.parametrize(
    ("days", "share", "after", "said"),
    [
        (7, 50, 0, "Cancel until 8 January 2030 for a full refund. After that, 50% goes back."),
        (7, 100, 0, "Cancel, and all of it goes back to you."),
        (7, 50, 1, "Cancel, and 50% of the price goes back to you."),
        (7, 0, 1, "The day until which a cancellation is refunded has passed."),
    ],
)
def test_the_rule_about_cancelling_in_words(site: Site, days: int, share: int, after: int, said: str) -> None:
    made = program(site, refund_days=days, late_share_percent=share)
    with shifted(TUESDAY - now() - timedelta(days=6 if after else 60)):
        assert said in page(site.visitor(), made)


# --- times ----------------------------------------------------------------------------------------------------------


def test_a_session_keeps_its_hour_when_the_clocks_change(site: Site) -> None:
    def two(session: Session) -> Program:
        return make_program(session, first=datetime(2030, 3, 6, 1, 30, tzinfo=UTC), sessions=1)

    made = site.change(two)
    assert "Tue 5 Mar 2030 5:30 to 6:30 pm" in page(site.visitor(), made)
    summer = program(site, name="In summer", first=datetime(2030, 7, 10, 0, 30, tzinfo=UTC), sessions=1)
    assert "Tue 9 Jul 2030 5:30 to 6:30 pm" in page(site.visitor(), summer)


def test_times_are_the_locations(site: Site) -> None:
    def far(session: Session) -> Program:
        location = session.get_one(Location, site.cast.location.id)
        location.timezone = "Asia/Kathmandu"
        return make_program(session, first=TUESDAY, sessions=1)

    assert "Wed 16 Jan 2030 7:15 to 8:15 am" in page(site.visitor(), site.change(far))


# --- one's own ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "on_list", "on_page"),
    [
        (Place.CONFIRMED, "You have a place", "You have a place"),
        (Place.HELD, "A place is held for you", "We hold a place for you until"),
        (Place.OFFERED, "A place is offered to you", "A place came free. It is kept for you until"),
        (Place.WAITING, "You are on the waitlist", "You are on the waitlist"),
    ],
)
def test_a_patient_sees_how_they_stand_and_nobody_else_does(
    site: Site, state: Place, on_list: str, on_page: str
) -> None:
    made = program(site)
    take(site, made, 1, state, site.cast.maya.id)
    maya = site.visitor("maya@example.com")
    assert on_list in words(maya.get("/programs"))
    assert on_page in page(maya, made)
    for email in ("", "jonas@example.com", "dana@example.com"):
        other = site.visitor(email)
        assert on_list not in words(other.get("/programs"))
        assert on_page not in page(other, made)


def test_who_pays_for_somebody_reads_whose_place_it_is(site: Site) -> None:
    made = program(site)
    take(site, made, 1, Place.CONFIRMED, site.cast.theo.id)
    maya = site.visitor("maya@example.com")
    assert "Theo Lindqvist has a place" in words(maya.get("/programs"))
    assert "Theo Lindqvist has a place" in page(maya, made)
    assert "Theo" not in page(site.visitor("sven@example.com"), made)  # he sees amounts, and no lines (P9)


def test_register_holds_a_place_and_the_page_leads_back_to_it(site: Site) -> None:
    made = program(site, price_cents=0)
    path = f"/programs/{made.public_id}"
    stranger = site.visitor()
    assert "Register, free of charge" in words(stranger.get(path))
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]+)"', stranger.get(path).text)
    held = stranger.post(f"{path}/hold", data=dict(hidden))
    assert held.status_code == 303 and held.location.startswith("/registrations/")
    for visitor, is_theirs in ((stranger, True), (site.visitor(), False)):
        shown = visitor.get(path).text
        assert (held.location in shown, "Register, free of charge" not in shown) == (is_theirs, is_theirs)
        assert ("A place is held for you" in visitor.get("/programs").text) == is_theirs
    assert "9 places left" in page(site.visitor(), made)


@pytest.mark.parametrize(("email", "said"), [("maya@example.com", True), ("jonas@example.com", False)])
def test_who_pays_for_others_can_register_them_too(site: Site, email: str, said: bool) -> None:
    made = program(site, price_cents=0)
    whose = {"maya@example.com": site.cast.maya.id, "jonas@example.com": site.cast.stranger.id}[email]
    take(site, made, 1, Place.CONFIRMED, whose)
    assert ("Register somebody else" in page(site.visitor(email), made)) == said


@pytest.mark.parametrize("email", ["dana@example.com", "liam@example.com"])
def test_staff_are_led_to_the_office(site: Site, email: str) -> None:
    made = program(site)
    shown = site.visitor(email).get(f"/programs/{made.public_id}").text
    assert f'href="/office/programs/{made.public_id}"' in shown
    assert "request_id" not in shown


def test_join_the_waitlist_of_a_full_program(site: Site) -> None:
    made = program(site, price_cents=0, capacity=1, waitlist_size=3)
    take(site, made, 1)
    jonas, path = site.visitor("jonas@example.com"), f"/programs/{made.public_id}"
    joined = jonas.send(f"{path}/wait", {"request_id": str(uuid4())}, page=path)
    assert joined.status_code == 303 and joined.location.startswith("/registrations/")
    assert "Full, 1 is waiting" in page(site.visitor(), made)
    assert "You are on the waitlist" in words(jonas.get("/programs"))
    stranger = site.visitor()
    asked = stranger.send(f"{path}/wait", page=path)
    assert asked.status_code == 303 and asked.location == f"/login?next={path}/wait"


def test_a_place_whose_time_ran_out_is_not_shown_as_held(site: Site) -> None:
    made = program(site)
    take(site, made, 1, Place.HELD, site.cast.maya.id)
    with shifted(timedelta(minutes=16)):
        assert "held for you" not in words(site.visitor("maya@example.com").get("/programs"))


# --- the file -------------------------------------------------------------------------------------------------------


def test_the_dates_are_a_file_for_anybodys_calendar(site: Site) -> None:
    made = program(site, name="Rücken & Knie, fit")
    response = site.visitor().get(f"/programs/{made.public_id}/calendar.ics")
    assert response.content_type == "text/calendar; charset=utf-8"
    assert response.headers["Content-Disposition"] == "attachment; filename=r-cken-knie-fit.ics"
    assert response.data.count(b"BEGIN:VEVENT") == 6
    assert b"DTSTART:20300116T013000Z\r\n" in response.data
    assert "SUMMARY:Rücken & Knie\\, fit\r\n".encode() in response.data


# --- the switches (O4) ----------------------------------------------------------------------------------------------

CLOSED = "You can't register online at the moment"


@pytest.mark.promise("O4")
@pytest.mark.parametrize(
    "switch", ["module_payment_gateways", "accept_payments_in_portal", "portal_enabled", "gateway"]
)
def test_a_paid_program_says_how_to_register_while_a_switch_is_off(site: Site, switch: str) -> None:
    for key in ("module_payment_gateways", "accept_payments_in_portal"):
        site.setting(key, "yes")
    made = program(site)
    if switch == "gateway":
        assert CLOSED in page(site.visitor(), made)
        return
    site.change(lambda session: make_gateway(session, site.parts.vault))
    assert CLOSED not in page(site.visitor(), made)
    site.setting(switch, "no")
    for email in ("", "maya@example.com"):
        shown = site.visitor(email).get(f"/programs/{made.public_id}")
        assert CLOSED in words(shown) and "Call 250-555-0142" in words(shown)
        assert "Register for" not in words(shown)
        assert ("request_id" in shown.text) == (switch != "portal_enabled"), "a code may make it free"
        visitor = site.visitor(email)
        token = visitor.token("/programs" if email else "/login")
        answer = visitor.post(f"/programs/{made.public_id}/hold", data={"csrf_token": token})
        assert answer.status_code in (403, 409), answer.status_code


@pytest.mark.promise("O4")
def test_a_free_program_goes_on_without_a_gateway(site: Site) -> None:
    made = program(site, price_cents=0)
    assert CLOSED not in page(site.visitor(), made)
    site.setting("portal_enabled", "no")
    assert CLOSED in page(site.visitor(), made)


def test_what_no_card_can_be_charged_is_registered_by_staff(site: Site) -> None:
    for key in ("module_payment_gateways", "accept_payments_in_portal"):
        site.setting(key, "yes")
    site.change(lambda session: make_gateway(session, site.parts.vault))
    made = program(site, price_cents=20)
    visitor = site.visitor()
    assert CLOSED in page(visitor, made)
    assert visitor.send(f"/programs/{made.public_id}/hold", page="/login").status_code == 409
    with site.parts.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(Registration)) == 0


# --- what it costs to answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("email", ["", "maya@example.com"])
def test_pages_cost_five_statements_however_much_there_is(site: Site, email: str) -> None:
    made = program(site, capacity=40, waitlist_size=10, sessions=12)
    for number in range(12):
        program(site, name=f"Program {number}")
    take(site, made, 40)
    take(site, made, 10, Place.WAITING)
    visitor = site.visitor(email)
    for path in ("/programs", f"/programs/{made.public_id}"):
        with site.counting() as sent:
            assert visitor.get(path).status_code == 200
        assert len(sent) <= 5, sent
