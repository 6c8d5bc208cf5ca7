"""Visits are moved, cancelled and completed without losing a quarter hour."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.schedule import BOOKED, CANCELLED, COMPLETED, Appointment
from portal.schedule.booking import book, complete
from portal.schedule.refusals import TimeTaken, VisitChanged, VisitIsInvoiced, VisitIsOver, VisitNotFound
from portal.schedule.times import quarters
from tests.makers import make_invoice, make_practitioner
from tests.schedule.conftest import NINE, Desk
from tests.support.at_once import at_once, names


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
