"""The schedule as the front desk uses it: week, booking, moving, cancelling."""

import re
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from portal.audit import RecordView
from portal.schedule import Appointment
from portal.schedule.booking import Slot, Wish, book_in
from tests.makers import make_invoice, make_location, make_practitioner, make_service
from tests.web.conftest import Site, Visitor, words

DAY = date(2026, 11, 24)
BOOK = "/office/schedule/book"
WEEK = f"/office/schedule?day={DAY}"
GARBAGE = ("", "x", "-1", "99999999999999999999", "\0", "0", "2026-13-45", "9" * 400, "é", "1e3", "٣", "' OR 1=1 --")


def fields(site: Site, **changes: object) -> dict[str, str]:
    """The booking form, filled in: a massage of Maya's at nine."""
    service = site.change(lambda session: make_service(session).id)
    filled = {
        "patient": site.cast.maya.id, "service": service, "practitioner": site.cast.practitioner.id,
        "location": site.cast.location.id, "day": DAY, "minute": 540, "do": "book", **changes,
    }  # fmt: skip
    return {key: str(value) for key, value in filled.items()}


def book(site: Site, dana: Visitor, **changes: object) -> str:
    """Press Book; gives the page that follows, in words."""
    answer = dana.send(BOOK, fields(site, **changes))
    return words(dana.get(answer.location)) if answer.status_code == 303 else words(answer)


def booked(site: Site, minute: int = 540, **slot: Any) -> Appointment:
    """A massage of Maya's."""

    def write(session: Session) -> Appointment:
        at = {"location_id": site.cast.location.id, "practitioner_id": site.cast.practitioner.id, "day": DAY, **slot}
        wish = Wish(uuid4().hex, site.cast.maya.id, make_service(session).id, Slot(minute=minute, **at))
        return book_in(session, wish, site.cast.clerk.id)

    visit: Appointment = site.change(write)
    return visit


def count_visits(site: Site) -> int:
    found: int = site.change(lambda session: len(session.scalars(select(Appointment.id)).all()))
    return found


# --- the week -------------------------------------------------------------------------------------------------------


@pytest.mark.promise("O6")
def test_dana_books_a_visit_and_sees_it_in_the_week(site: Site, dana: Visitor) -> None:
    page = book(site, dana)
    assert "Booked. Maya Lindqvist, Tue 24 Nov 2026, 9:00 to 10:00 am, with Liam Tremblay, RMT." in page
    assert "Lindqvist, Maya 9:00" in page
    assert "Complete & Invoice" in page


@pytest.mark.promise("O6")
def test_the_week_of_ten_practitioners_takes_six_statements_at_most(site: Site, dana: Visitor) -> None:
    def hire(session: Session) -> list[int]:
        return [make_practitioner(session, f"Person {number}").id for number in range(9)]

    for practitioner in [site.cast.practitioner.id, *site.change(hire)]:
        for turn in range(5):
            booked(site, 480 + 60 * turn, practitioner_id=practitioner, day=date(2026, 11, 23) + timedelta(days=turn))
    dana.get(WEEK)
    for path in (WEEK, f"{WEEK}&view=day", f"{WEEK}&practitioner={site.cast.practitioner.id}"):
        with site.counting() as sent:
            assert dana.get(path).status_code == 200
        assert len(sent) <= 6, sent


def test_a_day_a_practitioner_and_a_location_are_chosen(site: Site, dana: Visitor) -> None:
    riverside = site.change(lambda session: make_location(session, "Riverside").id)
    priya = site.change(lambda session: make_practitioner(session, "Priya Raman", "PT").id)
    booked(site)
    booked(site, 660, location_id=riverside)
    booked(site, 780, practitioner_id=priya)
    page = words(dana.get(f"{WEEK}&view=day"))
    assert "Tuesday 24 November 2026" in page and "Lindqvist, Maya 9:00" in page and "Lindqvist, Maya 1:00" in page
    assert "Riverside 11:00 am to 12:00 pm" in page, "who works elsewhere then is not free here"
    page = words(dana.get(f"{WEEK}&practitioner={priya}"))
    assert "Lindqvist, Maya 1:00" in page and "Lindqvist, Maya 9:00" not in page
    page = words(dana.get(f"{WEEK}&location={riverside}"))
    assert "Lindqvist, Maya 11:00" in page and "Alder Lane 9:00 to 10:00 am" in page


def test_a_block_offers_what_its_visit_allows(site: Site, dana: Visitor) -> None:
    visit = booked(site)
    page = dana.get(WEEK).text
    assert (
        f'href="/office/checkout/new?appointment={visit.public_id}&amp;complete=1">Complete &amp; Invoice</a>' in page
    )
    assert f'href="/office/checkout/new?appointment={visit.public_id}">Invoice Appointment</a>' in page

    def invoice(session: Session) -> str:
        made = make_invoice(session, site.cast.maya)
        made.appointment_id = visit.id
        return made.number

    number = site.change(invoice)
    page = words(dana.get(WEEK))
    assert "See the invoice" in page and "Complete & Invoice" not in page and "Cancel the visit" not in page
    assert f"Booked, invoice {number}" in words(dana.get(f"/office/appointments/{visit.public_id}"))
    dana.send(f"/office/appointments/{visit.public_id}/complete", page=f"/office/appointments/{visit.public_id}")
    assert "completed and invoiced" in words(dana.get(WEEK))


def test_a_practitioner_sees_the_schedule_and_invoices_nothing(site: Site) -> None:
    visit = booked(site)
    liam = site.visitor("liam@example.com")
    for path in (WEEK, f"/office/appointments/{visit.public_id}"):
        page = words(liam.get(path))
        assert "Move" in page and "Invoice" not in page
    answer = liam.post(
        f"/office/appointments/{visit.public_id}/complete", data={"csrf_token": liam.token(WEEK + "&x")}
    )
    assert answer.status_code == 403


def test_without_a_location_the_schedule_says_what_to_do(site: Site, dana: Visitor) -> None:
    site.change(lambda session: session.execute(text("UPDATE locations SET active = false")))
    assert "This clinic has no location yet" in words(dana.get(WEEK))


def test_looking_at_a_visit_is_written_down(site: Site, dana: Visitor) -> None:
    visit = booked(site)
    for path in ("", "/move", "/cancel"):
        dana.get(f"/office/appointments/{visit.public_id}{path}")
    with site.parts.database.read() as connection:
        seen = connection.execute(select(RecordView.user_id, RecordView.patient_id)).all()
    assert [tuple(row) for row in seen] == [(site.cast.clerk.id, site.cast.maya.id)] * 3


# --- booking --------------------------------------------------------------------------------------------------------


def test_what_is_missing_is_named_and_what_was_typed_stays(site: Site, dana: Visitor) -> None:
    answer = dana.send(BOOK, {"note": "Brings a <referral>.", "do": "book", "day": str(DAY), "patient_q": "no one"})
    page = words(answer)
    assert answer.status_code == 422
    for sentence in ("Find and choose a patient", "Choose a service", "Choose a practitioner", "Choose a time"):
        assert sentence in page
    assert "Brings a &lt;referral&gt;." in answer.text and 'value="no one"' in answer.text
    assert count_visits(site) == 0


def test_finding_a_patient_keeps_the_rest_of_the_form(site: Site, dana: Visitor) -> None:
    answer = dana.send(BOOK, fields(site, patient="", patient_q="lindq", note="Quiet room.", do="find"))
    page = words(answer)
    assert answer.status_code == 200
    assert "3 people fit." in page and "Theo Lindqvist" in page
    assert "Quiet room." in page and '<option value="540" selected>' in answer.text
    answer = dana.send(BOOK, fields(site, patient="", patient_q="zzz", do="find"))
    assert "Nobody on file fits." in words(answer)


def test_a_new_patient_comes_back_to_the_booking(site: Site, dana: Visitor) -> None:
    answer = dana.send(BOOK, fields(site, patient="", patient_q="Nora Ek", note="Quiet room.", do="new"))
    assert answer.status_code == 303 and answer.location.startswith("/office/patients/new?")
    assert "Quiet" not in answer.location, "a note stays out of addresses"
    form = dana.get(answer.location)
    assert 'value="Nora"' in form.text
    sent = dict(re.findall(r'<input[^>]* name="([\w]+)"[^>]* value="([^"]*)"', form.text))
    sent = {**sent, "csrf_token": dana.token(answer.location), "for": sent.get("for", "").replace("&amp;", "&")}
    back = dana.post("/office/patients/new", data={**sent, "given_name": "Nora", "family_name": "Ek"})
    assert back.status_code == 303, words(back)
    page = dana.get(back.location)
    assert "Nora Ek" in words(page) and "Quiet room." in words(page)
    assert re.search(r'type="radio" name="patient" id="patient-\d+" value="\d+" checked', page.text)
    assert '<option value="540" selected>' in page.text


def test_the_same_form_twice_books_once(site: Site, dana: Visitor) -> None:
    form = fields(site, key=uuid4().hex)
    first, second = dana.send(BOOK, form), dana.send(BOOK, form)
    assert first.location == second.location
    assert count_visits(site) == 1
    answer = dana.send(BOOK, {**form, "minute": "720"})
    assert answer.status_code == 409 and "This form has booked a visit already" in words(answer)


def test_a_patient_in_two_places_at_once_is_pointed_out(site: Site, dana: Visitor) -> None:
    priya = site.change(lambda session: make_practitioner(session, "Priya Raman", "PT").id)
    booked(site, 570, practitioner_id=priya)
    page = book(site, dana)
    assert "Booked." in page
    assert "Maya Lindqvist has another visit at that time. 9:30 to 10:30 am, Priya Raman, PT, Alder Lane." in page
    assert "another visit" not in book(site, dana, minute=720)


def test_a_taken_time_is_refused_with_the_form_kept(site: Site, dana: Visitor) -> None:
    booked(site)
    answer = dana.send(BOOK, fields(site, patient=site.cast.stranger.id, minute=570, note="Hello."))
    assert answer.status_code == 409
    page = words(answer)
    assert "Liam Tremblay has Maya Lindqvist on Tue 24 Nov 2026, 9:00 to 10:00 am." in page
    assert "Hello." in page and "9:30 am – taken, Maya Lindqvist" in page


@pytest.mark.parametrize(
    "name", ["patient", "service", "location", "practitioner", "day", "minute", "key", "version"]
)
def test_garbage_never_breaks_a_form(site: Site, dana: Visitor, name: str) -> None:
    path = f"/office/appointments/{booked(site).public_id}"
    token, filled = dana.token(BOOK), fields(site)
    presses = ((BOOK, "times"), (BOOK, "book"), (f"{path}/move", "move"), (f"{path}/cancel", ""))
    for garbage in GARBAGE:
        sent = {**filled, "csrf_token": token, "note": "\0\x07 note", "patient_q": garbage, name: garbage}
        for where, button in presses:
            answer = dana.post(where, data={**sent, "do": button})
            assert answer.status_code in (200, 303, 409, 422), (where, name, garbage, answer.status_code)


@pytest.mark.parametrize("name", ["day", "view", "location", "practitioner"])
def test_garbage_never_breaks_the_week(site: Site, dana: Visitor, name: str) -> None:
    booked(site)
    for garbage in (*GARBAGE, "2000-01-01", "2099-12-31"):
        assert dana.get("/office/schedule", query_string={name: garbage}).status_code == 200, garbage
        assert dana.get(BOOK, query_string={name: garbage}).status_code == 200, garbage


def test_a_visit_that_is_not_there_is_not_found(site: Site, dana: Visitor) -> None:
    for key in ("0" * 32, "x", "%00"):
        for path in ("", "/move", "/cancel"):
            assert dana.get(f"/office/appointments/{key}{path}").status_code == 404


# --- moving and cancelling ------------------------------------------------------------------------------------------


def test_a_stale_move_shows_where_the_visit_is_now(site: Site, dana: Visitor) -> None:
    visit = booked(site)
    path = f"/office/appointments/{visit.public_id}/move"
    assert dana.send(path, fields(site, minute=600, version=1, do="move")).status_code == 303
    answer = dana.send(path, fields(site, minute=720, version=1, do="move"))
    page = words(answer)
    assert answer.status_code == 409
    assert "It is now on Tue 24 Nov 2026, 10:00 to 11:00 am" in page
    assert '<option value="720" selected>' in answer.text and 'name="version" value="2"' in answer.text
    assert "Choose a time" in words(dana.send(path, fields(site, minute="", version=2, do="move")))


def test_a_stale_cancel_changes_nothing_and_a_second_one_is_the_same(site: Site, dana: Visitor) -> None:
    visit = booked(site)
    page = f"/office/appointments/{visit.public_id}/cancel"
    answer = dana.send(page, {"version": "7"})
    assert answer.status_code == 409 and "This visit was changed meanwhile" in words(answer)
    answer = dana.send(page, {"version": "1"})
    assert "The time is free again." in words(dana.get(answer.location))
    token = dana.token(BOOK)
    assert dana.post(page, data={"version": "1", "csrf_token": token}).status_code == 303
    assert "Cancelled" in words(dana.get(page))
    answer = dana.post(page.replace("cancel", "complete"), data={"csrf_token": token})
    assert answer.status_code == 409 and "This visit is cancelled already" in words(answer)
