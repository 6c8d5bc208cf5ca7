"""Booking a visit, and moving one: the forms of the schedule."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import uuid4

from flask import flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.audit import note_view
from portal.clock import now
from portal.errors import Refusal
from portal.invoices.reading import plain_day, weekday
from portal.parts import parts
from portal.patients.facts import person_on_file
from portal.patients.finding import People, number_of, people_found
from portal.permissions import May
from portal.schedule import reading as looking
from portal.schedule import refusals, times
from portal.schedule.booking import LONGEST_NOTE, Slot, Wish
from portal.schedule.booking import book as book_visit
from portal.schedule.booking import move as move_visit
from portal.schedule.reading import Healer, Place, Time, Treatment, Visit
from portal.schedule.times import day_of
from portal.web import typed
from portal.web.access import staff_may, who
from portal.web.office.schedule import bp as bp
from portal.web.office.schedule import chosen_place, to_the_block, visit_or_404
from portal.web.scope import reading

Errors = list[tuple[str, str]]
Options = list[tuple[int | str, str]]
SHORTEST = times.MINUTES
NOTE = "booking_note"

FIELD_OF: Mapping[type[Refusal], str] = {
    refusals.TimeTaken: "minute",
    refusals.OutsideHours: "minute",
    times.TimeDoesNotExist: "minute",
    times.NotOnAQuarter: "minute",
    refusals.NotAvailable: "practitioner",
    refusals.PatientNotFound: "patient_q",
}
"""Which field a refusal is about; any other is about the visit as a whole."""


@dataclass(frozen=True)
class Typed:
    """What stands in the form, as it was typed or as the link to it says."""

    key: str
    patient_q: str
    patient: int | None
    service: int | None
    location: int | None
    practitioner: int | None
    day: date | None
    minute: int | None
    note: str
    version: int

    @classmethod
    def of(cls, values: Mapping[str, str]) -> "Typed":
        key = typed.uuid(values.get("key"))
        return cls(
            key=(key or uuid4()).hex,
            patient_q=typed.words(values.get("patient_q"), 100),
            patient=typed.number(values.get("patient")),
            service=typed.number(values.get("service")),
            location=typed.number(values.get("location")),
            practitioner=typed.number(values.get("practitioner")),
            day=typed.day(values.get("day")),
            minute=typed.number(values.get("minute"), times.DAY_MINUTES - 1),
            note=typed.words(values.get("note"), LONGEST_NOTE),
            version=typed.number(values.get("version")) or 0,
        )

    def wish(self) -> tuple[Wish | None, Errors]:
        """The visit that is wanted; None with what is missing."""
        missing = [] if self.patient else [("patient_q", _("Find and choose a patient"))]
        missing += [] if self.service else [("service", _("Choose a service"))]
        slot, more = self.slot()
        missing += more
        if missing or slot is None or self.patient is None or self.service is None:
            return None, missing
        return Wish(self.key, self.patient, self.service, slot, self.note), []

    def slot(self) -> tuple[Slot | None, Errors]:
        """When, where and with whom; None with what is missing."""
        missing = [] if self.practitioner else [("practitioner", _("Choose a practitioner"))]
        missing += [] if self.day else [("day", _("Choose a day"))]
        missing += [] if self.minute is not None else [("minute", _("Choose a time"))]
        if self.practitioner is None or self.day is None or self.minute is None or self.location is None:
            return None, missing
        return Slot(self.location, self.practitioner, self.day, self.minute), missing


class Lists(NamedTuple):
    """What the form offers to choose from."""

    place: Place
    places: list[Place]
    healers: list[Healer]
    treatments: list[Treatment]
    times: list[Time]
    minutes: int
    shown_for: str

    @property
    def place_options(self) -> Options:
        return [(place.id, place.name) for place in self.places]

    @property
    def healer_options(self) -> Options:
        return [(healer.id, healer.name) for healer in self.healers]

    @property
    def service_options(self) -> Options:
        return [("", _("Choose a service")), *((one.id, _with_length(one)) for one in self.treatments)]


def _with_length(service: Treatment) -> str:
    """ "Acupuncture, 60 min"; a name that says how long it takes stays as it is."""
    says_it = str(service.minutes) in service.name
    return service.name if says_it else _("%(name)s, %(count)s min", name=service.name, count=service.minutes)


def _lists(form: Typed, moved: Visit | None = None) -> tuple[Typed, Lists]:
    """The form with its gaps filled by what is most likely, and its lists."""
    places = looking.places(reading())
    place = chosen_place(places, form.location)
    healers = [healer for healer in looking.healers(reading()) if healer.active]
    treatments = [] if moved else looking.treatments(reading())
    known = {healer.id: healer for healer in healers}
    practitioner = form.practitioner if form.practitioner in known else next(iter(known), None)
    form = replace(form, location=place.id, practitioner=practitioner, day=form.day or day_of(now(), place.zone))
    lengths = {treatment.id: treatment.minutes for treatment in treatments}
    minutes = moved.minutes if moved else lengths.get(form.service or 0, 0)
    found: list[Time] = []
    shown_for = ""
    if practitioner is not None and form.day is not None:
        found = looking.times(reading(), place, practitioner, form.day, minutes or SHORTEST, moved.id if moved else 0)
        shown_for = f"{known[practitioner].name}, {weekday(form.day)}"
    return form, Lists(place, places, healers, treatments, found, minutes, shown_for)


# --- booking --------------------------------------------------------------------------------------------------------


@bp.get("/office/schedule/book")
@staff_may(May.SCHEDULE)
def book() -> ResponseReturnValue:
    """The form, filled in as far as the link to it says."""
    form = Typed.of(request.args)
    return _book_page(replace(form, note=session.pop(NOTE, "")), focus="patient_q")


@bp.post("/office/schedule/book")
@staff_may(May.SCHEDULE)
def book_it() -> ResponseReturnValue:
    """Find a patient, show the times of another day, or book."""
    form, pressed = Typed.of(request.form), request.form.get("do", "")
    if pressed == "book":
        return _book(form)
    if pressed == "new":
        return _to_a_new_patient(form)
    if pressed == "times":
        return _book_page(form, focus="minute")
    return _book_page(form, focus="found" if form.patient_q else "patient_q", searched=True)


def _to_a_new_patient(form: Typed) -> ResponseReturnValue:
    """Off to the form for a new person, which comes back here with them. A note never goes into an address."""
    session[NOTE] = form.note
    kept = {
        "service": form.service,
        "location": form.location,
        "practitioner": form.practitioner,
        "day": form.day,
        "minute": form.minute,
    }
    back = (
        f"{url_for('schedule.book')}?{urlencode({name: value for name, value in kept.items() if value is not None})}"
    )
    return redirect(f"{url_for('patients.new')}?{urlencode({'q': form.patient_q, 'for': back})}", 303)


def _book(form: Typed) -> ResponseReturnValue:
    wish, errors = form.wish()
    if wish is None:
        return _book_page(form, errors)
    try:
        visit = book_visit(parts().database, wish, who().id)
    except Refusal as refusal:
        return _book_page(form, _as_errors(refusal), refusal.status)
    told = looking.visit(reading(), visit.public_id)
    assert told is not None, "what was booked is there"
    flash(_("Booked") + "\n" + _in_words(told), "ok")
    _warn_of_others(told)
    return to_the_block(told.id, told.day, told.location_id)


def _warn_of_others(visit: Visit) -> None:
    """A patient can be in one place only; a clinic that means it (two people treat one patient) is only told."""
    for other in looking.at_the_same_time(reading(), visit):
        flash(
            _("%(patient)s has another visit at that time", patient=visit.patient) + f"\n{other}. "
            + _("Move or cancel one of the two if that isn't meant."),
            "warn",
        )  # fmt: skip


def _in_words(visit: Visit) -> str:
    return _(
        "%(patient)s, %(day)s, %(time)s, with %(practitioner)s.",
        patient=visit.patient,
        day=weekday(visit.day),
        time=visit.span,
        practitioner=visit.practitioner,
    )


def _as_errors(refusal: Refusal) -> Errors:
    sentences = f"{refusal.heading}. {refusal.text}" if refusal.heading else refusal.text
    return [(FIELD_OF.get(type(refusal), "visit"), sentences)]


class Choice(NamedTuple):
    """A patient to book for, told apart from others of the same name."""

    id: int
    name: str
    about: str


def _choice(patient_id: int, name: str, birth_date: date | None, phone: str) -> Choice:
    born = _("born %(day)s", day=plain_day(birth_date)) if birth_date else ""
    return Choice(patient_id, name, ", ".join(filter(None, (number_of(patient_id), born, phone))))


def _book_page(
    form: Typed, errors: Errors | None = None, status: int = 422, *, focus: str = "", searched: bool = False
) -> ResponseReturnValue:
    form, lists = _lists(form)
    person = person_on_file(reading(), form.patient) if form.patient else None
    chosen = [_choice(person.id, person.name, person.birth_date, person.details.phone)] if person else []
    found = people_found(reading(), form.patient_q) if form.patient_q else People([])
    rows = [one for one in found.rows if one.id != form.patient]
    people = [*chosen, *(_choice(one.id, one.name, one.birth_date, one.phone) for one in rows)]
    page = render_template(
        "office/schedule/book.html",
        form=form,
        lists=lists,
        chosen=chosen,
        people=people,
        found=found,
        may_add=who().may(May.PATIENTS),
        searched=searched and bool(form.patient_q),
        errors=errors or [],
        wrong=dict(errors or []),
        focus="" if errors else focus,
    )
    return page, status if errors else 200


# --- moving ---------------------------------------------------------------------------------------------------------


@bp.get("/office/appointments/<public_id>/move")
@staff_may(May.SCHEDULE)
def move(public_id: str) -> ResponseReturnValue:
    """The form, as the visit stands."""
    visit = visit_or_404(public_id)
    note_view(parts().database, who().id, visit.patient_id, "appointment")
    as_it_is = {
        "location": visit.location_id,
        "practitioner": visit.practitioner_id,
        "day": visit.day,
        "minute": visit.minute,
        "version": visit.version,
    }
    return _move_page(visit, Typed.of({name: str(value) for name, value in as_it_is.items()}), focus="day")


@bp.post("/office/appointments/<public_id>/move")
@staff_may(May.SCHEDULE)
def move_it(public_id: str) -> ResponseReturnValue:
    """Show the times of another day, or move."""
    visit, form = visit_or_404(public_id), Typed.of(request.form)
    if request.form.get("do") != "move":
        return _move_page(visit, form, focus="minute")
    slot, errors = form.slot()
    if slot is None or errors:
        return _move_page(visit, form, errors or [("visit", _("Choose a location"))])
    try:
        move_visit(parts().database, public_id, form.version, slot, who().id)
    except Refusal as refusal:
        now_at = visit_or_404(public_id)
        return _move_page(now_at, replace(form, version=now_at.version), _as_errors(refusal), refusal.status)
    moved = visit_or_404(public_id)
    flash(_("Moved") + "\n" + _in_words(moved), "ok")
    _warn_of_others(moved)
    return to_the_block(moved.id, moved.day, moved.location_id)


def _move_page(
    visit: Visit, form: Typed, errors: Errors | None = None, status: int = 422, *, focus: str = ""
) -> ResponseReturnValue:
    form, lists = _lists(form, visit)
    page = render_template(
        "office/schedule/move.html",
        visit=visit,
        day=weekday(visit.day),
        form=form,
        lists=lists,
        errors=errors or [],
        wrong=dict(errors or []),
        focus="" if errors else focus,
        back=url_for("schedule.week", day=visit.day, location=visit.location_id, _anchor=f"a{visit.id}"),
    )
    return page, status if errors else 200
