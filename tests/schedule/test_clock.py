"""Visits when the clock jumps, around midnight, and in two zones."""

from datetime import UTC, date, datetime

import pytest

from portal.schedule.refusals import OutsideHours, TimeTaken
from portal.schedule.times import TimeDoesNotExist, clock, moment_at, span
from tests.makers import make_location, make_practitioner
from tests.schedule.conftest import DAY, NINE, Desk, open_all_night


def test_the_hour_that_does_not_exist_is_refused(desk: Desk) -> None:
    open_all_night(desk)
    spring = date(2027, 3, 14)
    with pytest.raises(TimeDoesNotExist) as refused:
        desk.book(2 * 60 + 30, day=spring)
    assert "2:30 am doesn't exist on 14 March 2027" in refused.value.text
    before = desk.book(60 + 30, day=spring)  # an hour long: it ends at 3:30 by the clock
    assert (before.ends_at - before.starts_at).total_seconds() == 3600
    with pytest.raises(TimeTaken) as taken:
        desk.book(3 * 60, day=spring)
    assert "1:30 to 3:30 am" in taken.value.text


def test_the_hour_that_happens_twice_means_its_first_time(desk: Desk) -> None:
    open_all_night(desk)
    autumn = date(2026, 11, 1)
    visit = desk.book(60, day=autumn)
    assert visit.starts_at == datetime(2026, 11, 1, 8, tzinfo=UTC)  # 1:00 PDT
    assert desk.book(2 * 60, day=autumn).starts_at == datetime(2026, 11, 1, 10, tzinfo=UTC)  # 2:00 PST
    assert len(set(desk.quarters())) == 8


def test_a_clinic_that_is_open_all_day_books_up_to_midnight(desk: Desk) -> None:
    open_all_night(desk)
    assert desk.book(23 * 60).ends_at == datetime(2026, 11, 25, 8, tzinfo=UTC)
    with pytest.raises(OutsideHours):
        desk.book(23 * 60 + 15, practitioner_id=desk.change(lambda s: make_practitioner(s, "Priya Raman").id))


def test_two_locations_in_two_zones_share_a_practitioner(desk: Desk) -> None:
    calgary = desk.change(lambda session: make_location(session, "Calgary", timezone="America/Edmonton").id)
    desk.book(NINE)
    with pytest.raises(TimeTaken) as refused:
        desk.book(NINE + 60, location_id=calgary)  # ten there is nine here
    assert "10:00 to 11:00 am" in refused.value.text  # in the zone of whoever asks
    desk.book(NINE, location_id=calgary)


@pytest.mark.parametrize(
    ("minute", "said"), [(0, "12:00 am"), (60, "1:00 am"), (720, "12:00 pm"), (795, "1:15 pm"), (1440, "12:00 am")]
)
def test_the_clock_in_words(minute: int, said: str) -> None:
    assert clock(minute) == said


def test_spans_in_words() -> None:
    assert span(540, 600) == "9:00 to 10:00 am"
    assert span(690, 735) == "11:30 am to 12:15 pm"


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "UTC"])
def test_every_zones_quarters_begin_on_one(zone: str) -> None:
    for minute in range(0, 1440, 15):
        assert moment_at(DAY, minute, zone).timestamp() % 900 == 0
