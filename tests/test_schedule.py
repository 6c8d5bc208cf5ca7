"""Visits: booked once, moved and cancelled without losing a quarter hour, also when the clock jumps."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.audit import AuditEntry
from portal.clinic import Service
from portal.db import Database
from portal.people import Patient
from portal.schedule import BOOKED, CANCELLED, COMPLETED, Appointment, BookedQuarter
from portal.schedule import reading as looking
from portal.schedule.booking import Slot, Wish, book, book_in, cancel, complete, move
from portal.schedule.refusals import (
    FormUsed,
    NotAvailable,
    OutsideHours,
    PatientNotFound,
    TimeTaken,
    VisitChanged,
    VisitIsInvoiced,
    VisitIsOver,
    VisitNotFound,
)
from portal.schedule.times import NotOnAQuarter, TimeDoesNotExist, clock, moment_at, quarters, span
from tests.makers import Cast, count_of, make_cast, make_invoice, make_location, make_practitioner, make_service
from tests.support.at_once import at_once, names

DAY = date(2026, 11, 24)
NINE = 9 * 60


@dataclass
class Desk:
    """A clinic's front desk."""

    database: Database
    cast: Cast
    service: Service

    def wish(self, minute: int = NINE, patient: Patient | None = None, **slot: Any) -> Wish:
        """An hour's massage of Maya's, unless told otherwise."""
        at = replace(Slot(self.cast.location.id, self.cast.practitioner.id, DAY, minute), **slot)
        return Wish(uuid4().hex, (patient or self.cast.maya).id, self.service.id, at)

    def book(self, minute: int = NINE, patient: Patient | None = None, **slot: Any) -> Appointment:
        return book(self.database, self.wish(minute, patient, **slot), self.cast.clerk.id)

    def move(self, visit: Appointment, minute: int, version: int | None = None, **slot: Any) -> Appointment:
        return move(
            self.database,
            visit.public_id,
            version or visit.version,
            self.wish(minute, **slot).slot,
            self.cast.clerk.id,
        )

    def cancel(self, visit: Appointment, version: int | None = None) -> Appointment:
        return cancel(self.database, visit.public_id, version or visit.version, self.cast.clerk.id)

    def change(self, work: Callable[[Session], Any]) -> Any:
        with self.database.transaction() as session:
            return work(session)

    def sql(self, statement: str) -> None:
        self.change(lambda session: session.execute(text(statement)))

    def quarters(self) -> list[tuple[int, int]]:
        """Who has which quarters."""
        rows = select(BookedQuarter.quarter, BookedQuarter.appointment_id).order_by(BookedQuarter.quarter)
        with self.database.read() as connection:
            return [(row.quarter, row.appointment_id) for row in connection.execute(rows)]

    def history(self) -> list[str]:
        """What the audit log says, oldest first."""
        rows = select(AuditEntry.action, AuditEntry.subject, AuditEntry.after).order_by(AuditEntry.id)
        with self.database.read() as connection:
            return [f"{row.action}: {row.subject}: {row.after}" for row in connection.execute(rows)]


@pytest.fixture
def desk(clinic: Database) -> Desk:
    with clinic.transaction() as session:
        return Desk(clinic, make_cast(session), make_service(session))


# --- booking --------------------------------------------------------------------------------------------------------


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


# --- the clock ------------------------------------------------------------------------------------------------------


def open_all_night(desk: Desk) -> None:
    desk.sql("UPDATE locations SET opens_minute = 0, closes_minute = 1440")


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


# --- moving, cancelling, completing ---------------------------------------------------------------------------------


@pytest.mark.promise("O6")
def test_moving_frees_the_old_time_and_takes_the_new_one(desk: Desk) -> None:
    visit = desk.book()
    moved = desk.move(visit, NINE + 30)  # onto a part of its own old time
    assert (moved.version, moved.starts_at) == (2, datetime(2026, 11, 24, 17, 30, tzinfo=UTC))
    assert len(desk.quarters()) == 4
    desk.book(NINE - 30, desk.cast.stranger)
    assert desk.history()[1].startswith("visit.moved: visit of Maya Lindqvist: Tue 24 Nov 2026, 9:30 to 10:30 am")


def test_moving_onto_somebody_else_changes_nothing(desk: Desk) -> None:
    visit, _other = desk.book(), desk.book(NINE + 60, desk.cast.stranger)
    before = desk.quarters()
    with pytest.raises(TimeTaken, match="TimeTaken") as refused:
        desk.move(visit, NINE + 15)
    assert "Jonas Weber" in refused.value.text
    assert desk.quarters() == before


def test_a_stale_form_moves_and_cancels_nothing(desk: Desk) -> None:
    visit = desk.book()
    desk.move(visit, NINE + 60)
    with pytest.raises(VisitChanged) as refused:
        desk.move(visit, NINE + 120, version=1)
    assert refused.value.text.startswith("It is now on Tue 24 Nov 2026, 10:00 to 11:00 am, with Liam Tremblay.")
    with pytest.raises(VisitChanged):
        desk.cancel(visit, version=1)
    assert desk.move(visit, NINE + 60, version=1).version == 2  # the same press again is no change


@pytest.mark.promise("O6")
def test_cancelling_frees_the_time_at_once(desk: Desk) -> None:
    visit = desk.book()
    assert desk.cancel(visit).status == CANCELLED
    assert desk.quarters() == []
    desk.book(patient=desk.cast.stranger)
    assert desk.cancel(visit).status == CANCELLED  # twice is once
    assert [line.partition(":")[0] for line in desk.history()] == ["visit.booked", "visit.cancelled", "visit.booked"]
    with pytest.raises(VisitIsOver):
        desk.move(visit, NINE + 120)


def test_a_completed_visit_stays_as_it_is(desk: Desk) -> None:
    visit = desk.book()
    by = desk.cast.clerk.id
    assert complete(desk.database, visit.public_id, by).status == COMPLETED
    assert complete(desk.database, visit.public_id, by).version == 2
    for change in (partial(desk.cancel, visit, 2), partial(desk.move, visit, NINE + 60, 2)):
        with pytest.raises(VisitIsOver) as refused:
            change()
        assert refused.value.text == "This visit is completed already, so it stays as it is."
    with pytest.raises(VisitNotFound):
        complete(desk.database, "0" * 32, by)


def test_an_invoice_says_when_the_visit_was(desk: Desk) -> None:
    visit = desk.book()

    def invoice(session: Session) -> None:
        made = make_invoice(session, desk.cast.maya)
        made.appointment_id = visit.id

    desk.change(invoice)
    with pytest.raises(VisitIsInvoiced):
        desk.cancel(visit)
    with pytest.raises(VisitIsInvoiced):
        desk.move(visit, NINE, day=date(2026, 11, 25))
    assert desk.move(visit, NINE + 60).version == 2  # another time of that day is what the invoice says, too


@pytest.mark.promise("O6")
def test_two_visits_that_swap_their_times_at_once_do_not_wait_for_each_other(desk: Desk) -> None:
    priya = desk.change(lambda session: make_practitioner(session, "Priya Raman", "PT").id)
    liam = desk.cast.practitioner.id
    for _turn in range(5):
        one, two = desk.book(), desk.book(patient=desk.cast.stranger, practitioner_id=priya)
        answers = at_once(
            [
                partial(desk.move, one, NINE, practitioner_id=priya),
                partial(desk.move, two, NINE, practitioner_id=liam),
            ]
        )
        assert names(answers) == {"TimeTaken": 2}
        desk.cancel(one)
        desk.cancel(two)


@pytest.mark.promise("O6")
def test_moves_bookings_and_cancellations_at_once_leave_no_quarter_behind(desk: Desk) -> None:
    visits = [desk.book(NINE + 60 * turn) for turn in range(4)]
    by = desk.cast.clerk.id
    doings: list[Callable[[], object]] = []
    for turn, visit in enumerate(visits):
        doings.append(partial(desk.move, visit, NINE + 60 * ((turn + 1) % 5)))
        doings.append(partial(desk.cancel, visit))
        doings.append(partial(book, desk.database, desk.wish(NINE + 60 * turn + 30), by))
    at_once(doings)
    with desk.database.read() as connection:
        standing = connection.execute(select(Appointment).where(Appointment.status == BOOKED)).all()
    wanted = sorted((q, row.id) for row in standing for q in quarters(row.starts_at, row.ends_at))
    assert desk.quarters() == wanted


# --- what the office sees -------------------------------------------------------------------------------------------


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


def test_everything_in_one_transaction_or_nothing(desk: Desk) -> None:
    with pytest.raises(RuntimeError), desk.database.transaction() as session:
        book_in(session, desk.wish(), desk.cast.clerk.id)
        raise RuntimeError
    assert desk.quarters() == []
    assert desk.change(lambda session: count_of(session, Appointment)) == 0
