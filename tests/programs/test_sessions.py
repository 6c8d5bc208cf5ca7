"""When programs meet: rules that repeat, and the clock on the wall, also in the nights when it jumps."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from portal.programs.setup.sessions import MOST, Meeting, Repeat, Wall, in_order, meeting_of, moved, overlap, wall_of
from portal.schedule.times import DAY_MINUTES, TimeDoesNotExist

TORONTO = "America/Toronto"
ZONES = [TORONTO, "America/Vancouver", "America/St_Johns", "Europe/London", "Australia/Lord_Howe", "UTC"]
DAYS = st.dates(date(2024, 1, 1), date(2035, 12, 31))


def test_six_tuesdays() -> None:
    days = Repeat(date(2027, 1, 12), frozenset({1}), times=6).days()
    assert [f"{day:%a %d %b}" for day in days] == [
        "Tue 12 Jan", "Tue 19 Jan", "Tue 26 Jan", "Tue 02 Feb", "Tue 09 Feb", "Tue 16 Feb",
    ]  # fmt: skip


def test_every_second_week_on_two_weekdays_counts_weeks_from_the_first_days_monday() -> None:
    days = Repeat(date(2027, 1, 14), frozenset({1, 3}), every_weeks=2, until=date(2027, 2, 12)).days()
    assert days == [date(2027, 1, 14), date(2027, 1, 26), date(2027, 1, 28), date(2027, 2, 9), date(2027, 2, 11)]


@given(
    first=DAYS,
    weekdays=st.frozensets(st.integers(0, 6), min_size=1),
    every=st.integers(1, 52),
    times=st.none() | st.integers(1, MOST),
    weeks=st.none() | st.integers(0, 400),
)
def test_a_rule_gives_only_its_weekdays_in_its_weeks(
    first: date, weekdays: frozenset[int], every: int, times: int | None, weeks: int | None
) -> None:
    until = None if weeks is None else first + timedelta(weeks=weeks)
    days = Repeat(first, weekdays, every, times, until).days()
    monday = first - timedelta(days=first.weekday())
    assert days == sorted(set(days)) and len(days) <= (times or MOST)
    for day in days:
        assert day >= first and day.weekday() in weekdays and (until is None or day <= until)
        assert (day - monday).days // 7 % every == 0
    if until is None:
        assert len(days) == (times or MOST)
    elif days and len(days) < (times or MOST):
        following = [each for each in Repeat(first, weekdays, every).days() if each > days[-1]]
        assert not following or following[0] > until, "none is left out before the last day"


@given(day=DAYS, minute=st.integers(0, DAY_MINUTES - 1), zone=st.sampled_from(ZONES))
@example(day=date(2027, 11, 7), minute=90, zone=TORONTO)
def test_what_the_clock_shows_comes_back(day: date, minute: int, zone: str) -> None:
    try:
        moment = Wall(day, minute).moment(zone)
    except TimeDoesNotExist:
        # Then that minute is really skipped: no moment of that day shows it.
        start = datetime.combine(day, datetime.min.time(), ZoneInfo(zone)).astimezone(UTC)
        assert all(wall_of(start + timedelta(minutes=m), zone) != (day, minute) for m in range(26 * 60))
        assume(False)
    assert moment.tzinfo is not None
    assert wall_of(moment, zone) == (day, minute)


def test_evenings_keep_their_hour_when_the_clock_changes() -> None:
    before, after = Wall(date(2027, 3, 9), 17 * 60 + 30), Wall(date(2027, 3, 16), 17 * 60 + 30)
    assert before.moment(TORONTO).hour == 22 and after.moment(TORONTO).hour == 21
    assert after.moment(TORONTO) - before.moment(TORONTO) == timedelta(days=7, hours=-1)


def test_a_skipped_hour_is_refused_and_one_that_comes_twice_is_the_first() -> None:
    with pytest.raises(TimeDoesNotExist) as told:
        Wall(date(2027, 3, 14), 150).moment(TORONTO)
    assert "2:30 am doesn't exist on 14 March 2027" in told.value.text
    assert Wall(date(2027, 11, 7), 90).moment(TORONTO) == datetime(2027, 11, 7, 5, 30, tzinfo=UTC)


def test_a_session_ends_at_midnight_of_its_own_day() -> None:
    meeting = Meeting(date(2027, 3, 13), 22 * 60, DAY_MINUTES)
    starts, ends = meeting.starts.moment(TORONTO), meeting.ends.moment(TORONTO)
    assert ends - starts == timedelta(hours=2)
    assert meeting_of(starts, ends, TORONTO) == meeting


def test_two_at_once_are_found_and_one_after_the_other_is_fine() -> None:
    one = Meeting(date(2027, 1, 12), 600, 660)
    assert overlap([one, Meeting(date(2027, 1, 12), 660, 720)]) is None
    late = Meeting(date(2027, 1, 12), 659, 720)
    assert overlap([late, one]) == late
    assert overlap([one, one]) == one
    assert in_order([late, one]) == [one, late]


def test_all_sessions_move_by_days_at_the_same_time_of_day() -> None:
    one = Meeting(date(2027, 3, 9), 600, 660, "Studio 2", 7)
    assert moved([one], 7) == [Meeting(date(2027, 3, 16), 600, 660, "Studio 2", 7)]
