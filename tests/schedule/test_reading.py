"""What the office sees of a day: whose the times are, and which are offered."""

from datetime import date

from sqlalchemy.orm import Session

from portal.schedule import reading as looking
from tests.makers import make_practitioner
from tests.schedule.conftest import DAY, Desk, open_all_night


def test_the_times_of_a_day_say_who_has_them(desk: Desk) -> None:
    visit = desk.book()
    with desk.database.read() as connection:
        [place] = looking.places(connection)
        times = looking.times(connection, place, desk.cast.practitioner.id, DAY, 60)
        taken = {time.words: time.taken_by for time in times if time.taken_by}
        assert list(taken) == ["8:15 am", "8:30 am", "8:45 am", "9:00 am", "9:15 am", "9:30 am", "9:45 am"]
        assert set(taken.values()) == {"Maya Lindqvist"}
        assert (times[0].words, times[-1].words) == ("8:00 am", "5:00 pm")
        again = looking.times(connection, place, desk.cast.practitioner.id, DAY, 60, visit.id)
        assert not any(time.taken_by for time in again)


def test_times_that_the_clock_skips_are_not_offered(desk: Desk) -> None:
    open_all_night(desk)
    with desk.database.read() as connection:
        [place] = looking.places(connection)
        minutes = [
            t.minute for t in looking.times(connection, place, desk.cast.practitioner.id, date(2027, 3, 14), 15)
        ]
    assert 105 in minutes and 180 in minutes
    assert not {120, 135, 150, 165} & set(minutes)


def test_the_grid_grows_with_what_is_booked_outside_of_the_hours(desk: Desk) -> None:
    open_all_night(desk)
    desk.book(6 * 60 + 30)
    desk.book(20 * 60, day=date(2026, 11, 28))  # a Saturday
    desk.sql("UPDATE locations SET opens_minute = 480, closes_minute = 1080")
    with desk.database.read() as connection:
        [place] = looking.places(connection)
        week = looking.grid(connection, place, date(2026, 11, 23), 7, today=DAY, keep=DAY)
        assert week.hours == range(6, 21)
        assert [day.on.day for day in week.days] == [23, 24, 25, 26, 27, 28]
        [block] = week.days[1].lanes[0].blocks
        assert (block.quarter, block.length, block.starts) == (2, 4, "6:30")
        empty = looking.grid(connection, place, date(2026, 12, 7), 7, today=DAY, keep=date(2026, 12, 13))
        assert [day.on.day for day in empty.days] == [7, 8, 9, 10, 11, 13]  # the Sunday asked for is there


def test_more_practitioners_than_fit_leave_out_those_without_visits(desk: Desk) -> None:
    def hire(session: Session) -> int:
        return [make_practitioner(session, f"Person {number:02}").id for number in range(14)][-1]

    last = desk.change(hire)
    desk.book(practitioner_id=last)
    with desk.database.read() as connection:
        [place] = looking.places(connection)
        week = looking.grid(connection, place, date(2026, 11, 23), 7, today=DAY, keep=DAY)
        assert (len(week.healers), week.left_out) == (10, 5)
        assert last in {healer.id for healer in week.healers}
        alone = looking.grid(connection, place, date(2026, 11, 23), 7, today=DAY, keep=DAY, only=last)
        assert [healer.id for healer in alone.healers] == [last]
