"""Until when an offered place is kept: daytime there counts, also where clocks change; never past registration."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.clock import now, shifted
from portal.programs.cancelling import cancel
from portal.programs.offering import EVENING, MORNING, offer_until
from portal.programs.refusals import PlaceGone
from portal.programs.states import Place
from portal.programs.tables import Program, Registration
from tests.programs.stage import ProgramStage, program_staged

pytestmark = pytest.mark.promise("P7")

VANCOUVER = "America/Vancouver"
ZONES = [
    VANCOUVER, "America/St_Johns", "America/Havana", "Europe/Lisbon", "Africa/Casablanca", "Asia/Kathmandu",
    "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati", "Antarctica/Troll", "UTC",
]  # fmt: skip
STEP = timedelta(minutes=15)
QUARTERS = st.integers(0, 15 * 366 * 96).map(lambda steps: datetime(2024, 1, 1, tzinfo=UTC) + steps * STEP)


def by_day(moment: datetime, zone: str) -> bool:
    return MORNING <= moment.astimezone(ZoneInfo(zone)).hour < EVENING


def daytime(since: datetime, until: datetime, zone: str) -> timedelta:
    """How much daytime there is between two moments, counted by quarter hours."""
    steps = int((until - since) / STEP)
    return STEP * sum(by_day(since + step * STEP, zone) for step in range(steps))


@settings(max_examples=150, deadline=None)
@given(QUARTERS, st.integers(1, 60), st.sampled_from(ZONES))
def test_an_offer_holds_for_its_hours_of_daytime(moment: datetime, hours: int, zone: str) -> None:
    until = offer_until(moment, hours, zone)
    assert daytime(moment, until, zone) == timedelta(hours=hours)
    assert by_day(until - STEP, zone), "it ends by day, so that somebody is awake to see it end"


@settings(max_examples=100, deadline=None)
@given(QUARTERS, st.integers(1, 168), st.sampled_from(ZONES), st.integers(0, 200))
def test_whoever_is_offered_later_or_for_longer_has_no_less_time(
    moment: datetime, hours: int, zone: str, later: int
) -> None:
    until = offer_until(moment, hours, zone)
    assert offer_until(moment + later * STEP, hours, zone) >= until
    assert offer_until(moment, hours + 1, zone) > until
    assert until - moment >= timedelta(hours=hours)


@pytest.mark.parametrize(
    ("moment", "hours", "until"),
    [
        # 10:00 on a Tuesday: 11 hours that day, 2 the next
        (datetime(2026, 11, 24, 18, tzinfo=UTC), 13, datetime(2026, 11, 25, 18, tzinfo=UTC)),
        # 23:00: it begins at 8:00
        (datetime(2026, 11, 25, 7, tzinfo=UTC), 1, datetime(2026, 11, 25, 17, tzinfo=UTC)),
        # 3:00
        (datetime(2026, 11, 24, 11, tzinfo=UTC), 1, datetime(2026, 11, 24, 17, tzinfo=UTC)),
        # 20:00 on the Saturday before clocks go forward: 8:00 comes an hour earlier
        (datetime(2027, 3, 14, 4, tzinfo=UTC), 2, datetime(2027, 3, 14, 16, tzinfo=UTC)),
        # 20:00 on the Saturday before they go back: an hour later
        (datetime(2026, 11, 1, 3, tzinfo=UTC), 2, datetime(2026, 11, 1, 17, tzinfo=UTC)),
        # to the last minute of the day
        (datetime(2026, 11, 24, 16, tzinfo=UTC), 13, datetime(2026, 11, 25, 5, tzinfo=UTC)),
    ],
    ids=["by day", "before midnight", "after midnight", "spring", "autumn", "until the evening"],
)
def test_nights_do_not_count(moment: datetime, hours: int, until: datetime) -> None:
    assert offer_until(moment, hours, VANCOUVER) == until


# --- the end of registration ----------------------------------------------------------------------------------------


def offered_in(stage: ProgramStage) -> Registration:
    """Somebody cancels while Jonas waits; gives his registration."""
    maya = stage.confirmed(stage.maya).public_id
    stage.confirmed(stage.sven)
    jonas = stage.wait(stage.jonas)
    cancel(stage.parts, maya, stage.maya.user_id)
    found = stage.registration(jonas)
    assert found.state == Place.OFFERED
    return found


def test_no_offer_outlasts_the_first_session(database_url: str) -> None:
    first = now() + timedelta(minutes=50)
    with program_staged(database_url, first=first) as stage:
        assert offered_in(stage).held_until == first
        stage.check_books()


def test_no_offer_outlasts_the_end_of_registration(database_url: str) -> None:
    closes = now() + timedelta(minutes=40)
    with program_staged(database_url, closes_at=closes) as stage:
        assert offered_in(stage).held_until == closes


def test_an_offer_is_kept_by_the_clock_of_its_location(stage: ProgramStage) -> None:
    before = now()
    until = offered_in(stage).held_until
    zone = stage.cast.location.timezone
    assert until is not None
    assert offer_until(before, 24, zone) <= until <= offer_until(now(), 24, zone)


def test_when_registration_is_over_nobody_is_called_any_more(stage: ProgramStage) -> None:
    maya = stage.confirmed(stage.maya).public_id
    stage.confirmed(stage.sven)
    jonas = stage.wait(stage.jonas)
    with stage.database.transaction() as session:
        session.get_one(Program, stage.program_id).closes_at = now()
    cancel(stage.parts, maya, stage.maya.user_id)
    stage.sweep()
    assert stage.registration(jonas).state == Place.WAITING
    with stage.database.transaction() as session:  # the clinic opens it again: the next round calls him
        session.get_one(Program, stage.program_id).closes_at = None
    stage.sweep()
    assert stage.registration(jonas).state == Place.OFFERED
    stage.check_books()


def test_while_the_module_is_off_nobody_is_called(stage: ProgramStage) -> None:
    maya = stage.confirmed(stage.maya).public_id
    stage.confirmed(stage.sven)
    jonas = stage.wait(stage.jonas)
    stage.set("module_programs", "no")
    cancel(stage.parts, maya, stage.maya.user_id)
    stage.sweep()
    assert stage.registration(jonas).state == Place.WAITING
    stage.set("module_programs", "yes")
    stage.sweep()
    assert stage.registration(jonas).state == Place.OFFERED
    assert ("place_offered", "jonas@example.com") in stage.mails()
    stage.check_books()


def test_an_offer_that_ran_out_is_nobodys_to_take(stage: ProgramStage) -> None:
    offered = offered_in(stage)
    assert offered.held_until is not None
    with shifted(offered.held_until - now() + timedelta(seconds=1)):
        with pytest.raises(PlaceGone):
            stage.register(stage.jonas, public_id=offered.public_id)
        stage.sweep()
    assert stage.program().taken == 1
    stage.check_books()
