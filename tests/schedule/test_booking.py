"""Visits are booked once, at times that are open and free."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from portal.schedule import BOOKED, Appointment, BookedQuarter
from portal.schedule.booking import book, book_in
from portal.schedule.refusals import FormUsed, NotAvailable, OutsideHours, PatientNotFound, TimeTaken
from portal.schedule.times import NotOnAQuarter, quarters
from tests.makers import count_of, make_practitioner, make_service
from tests.schedule.conftest import NINE, Desk
from tests.support.at_once import at_once, names


@pytest.mark.promise("O6")
def test_a_visit_takes_its_quarter_hours(desk: Desk) -> None:
    visit = desk.book()
    assert (visit.status, visit.version, visit.booked_by) == (BOOKED, 1, desk.cast.clerk.id)
    assert visit.starts_at == datetime(2026, 11, 24, 17, tzinfo=UTC)
    assert desk.quarters() == [(quarter, visit.id) for quarter in quarters(visit.starts_at, visit.ends_at)]
    assert len(desk.quarters()) == 4
    assert desk.history() == [
        "visit.booked: visit of Maya Lindqvist: Tue 24 Nov 2026, 9:00 to 10:00 am, Massage therapy, 60 minutes, "
        "Liam Tremblay, RMT, Alder Lane"
    ]


@pytest.mark.promise("O6")
@pytest.mark.parametrize("minute", [NINE - 45, NINE - 15, NINE, NINE + 15, NINE + 45])
def test_a_taken_time_says_who_is_there(desk: Desk, minute: int) -> None:
    desk.book()
    with pytest.raises(TimeTaken) as refused:
        desk.book(minute, desk.cast.stranger)
    assert refused.value.text == (
        "Liam Tremblay has Maya Lindqvist on Tue 24 Nov 2026, 9:00 to 10:00 am. Please choose another time."
    )
    assert len(desk.quarters()) == 4


def test_visits_may_touch_and_another_practitioner_is_free(desk: Desk) -> None:
    other = desk.change(lambda session: make_practitioner(session, "Priya Raman", "PT").id)
    desk.book()
    desk.book(NINE + 60)
    desk.book(NINE - 60)
    desk.book(practitioner_id=other)
    assert len(desk.quarters()) == 16


@pytest.mark.promise("O6")
def test_the_table_itself_refuses_a_double_booking(desk: Desk) -> None:
    visit = desk.book()
    quarter, _ = desk.quarters()[0]
    with pytest.raises(IntegrityError), desk.database.transaction() as session:
        session.add(BookedQuarter(practitioner_id=visit.practitioner_id, quarter=quarter, appointment_id=visit.id))


@pytest.mark.promise("O6")
def test_many_clerks_at_once_book_one_visit(desk: Desk) -> None:
    wishes = [desk.wish(NINE + 15 * (turn % 3), desk.cast.stranger) for turn in range(12)]
    by = desk.cast.clerk.id
    answers = at_once([partial(book, desk.database, wish, by) for wish in wishes])
    assert names(answers) == {"Appointment": 1, "TimeTaken": 11}
    assert len(desk.quarters()) == 4


@pytest.mark.promise("O6")
def test_a_booking_that_passed_the_look_is_stopped_by_the_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if somebody had booked between the look and the writing: it looks again, and says who is there."""
    from portal.schedule import booking

    looks: list[int] = []
    real = booking._check_free

    def late(*args: Any) -> None:
        looks.append(1)
        if len(looks) > 1:
            real(*args)

    desk.book()
    monkeypatch.setattr(booking, "_check_free", late)
    with pytest.raises(TimeTaken):
        desk.book(patient=desk.cast.stranger)
    assert len(looks) == 2
    assert len(desk.quarters()) == 4


@pytest.mark.promise("O6")
def test_one_form_pressed_by_many_fingers_books_once(desk: Desk) -> None:
    wish, by = desk.wish(), desk.cast.clerk.id
    answers = at_once([lambda: book(desk.database, wish, by)] * 10)
    assert names(answers) == {"Appointment": 10}
    assert desk.change(lambda session: count_of(session, Appointment)) == 1


def test_a_form_that_booked_does_not_book_something_else(desk: Desk) -> None:
    wish = desk.wish()
    book(desk.database, wish, desk.cast.clerk.id)
    changed = replace(wish, slot=replace(wish.slot, minute=NINE + 120))
    with pytest.raises(FormUsed) as refused:
        book(desk.database, changed, desk.cast.clerk.id)
    assert "It booked Maya Lindqvist for Tue 24 Nov 2026, 9:00 to 10:00 am." in refused.value.text
    assert len(desk.quarters()) == 4


def test_a_visit_lies_within_the_opening_hours(desk: Desk) -> None:
    desk.book(8 * 60)
    desk.book(17 * 60)
    for minute in (7 * 60 + 45, 17 * 60 + 15, 0, 23 * 60 + 45):
        with pytest.raises(OutsideHours):
            desk.book(minute)
    with pytest.raises(OutsideHours) as refused:
        desk.book(17 * 60 + 15)
    assert (
        refused.value.text
        == "Alder Lane is open from 8:00 am to 6:00 pm. This visit would last from 5:15 to 6:15 pm."
    )
    with pytest.raises(NotOnAQuarter):
        desk.book(NINE + 5)


def test_what_takes_no_visits_is_not_booked(desk: Desk) -> None:
    product = desk.change(lambda session: make_service(session, "Foam roller", 3_400, is_product=True))
    with pytest.raises(NotAvailable, match="NotAvailable"):
        book(desk.database, replace(desk.wish(), service_id=product.id), desk.cast.clerk.id)
    with pytest.raises(NotAvailable):
        desk.book(practitioner_id=999)
    with pytest.raises(NotAvailable):
        desk.book(location_id=999)
    with pytest.raises(PatientNotFound):
        book(desk.database, replace(desk.wish(), patient_id=999), desk.cast.clerk.id)
    for table in ("practitioners", "services", "locations"):
        desk.sql(f"UPDATE {table} SET active = false")
        with pytest.raises(NotAvailable) as refused:
            desk.book()
        assert "takes no visits at the moment" in refused.value.text
        desk.sql(f"UPDATE {table} SET active = true")
    desk.book()


def test_everything_in_one_transaction_or_nothing(desk: Desk) -> None:
    with pytest.raises(RuntimeError), desk.database.transaction() as session:
        book_in(session, desk.wish(), desk.cast.clerk.id)
        raise RuntimeError
    assert desk.quarters() == []
    assert desk.change(lambda session: count_of(session, Appointment)) == 0
