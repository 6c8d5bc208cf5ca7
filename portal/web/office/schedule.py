"""The schedule: day and week, and one visit. Booking and moving are in `booking.py`."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from portal.audit import note_view
from portal.clinic import NoLocationYet
from portal.clock import now
from portal.errors import Refusal
from portal.invoices.reading import long_day, weekday
from portal.parts import parts
from portal.permissions import May
from portal.programs.desk.day_sessions import DaySession, sessions_on
from portal.schedule import reading as looking
from portal.schedule.booking import cancel as cancel_visit
from portal.schedule.booking import complete as complete_visit
from portal.schedule.reading import Place, Visit
from portal.schedule.times import day_of, week_of
from portal.web import typed
from portal.web.access import staff_may, who
from portal.web.scope import reading, settings

bp = Blueprint("schedule", __name__)

WEEK, DAY = "week", "day"


@dataclass(frozen=True)
class View:
    """Which part of the schedule is asked for."""

    place: Place
    day: date
    kind: str
    practitioner: int | None

    @property
    def first(self) -> date:
        return week_of(self.day) if self.kind == WEEK else self.day

    @property
    def days(self) -> int:
        return 7 if self.kind == WEEK else 1

    def link(self, **changes: Any) -> str:
        """The address of this view with something else in it."""
        asked = {"day": self.day, "view": self.kind, "location": self.place.id, "practitioner": self.practitioner}
        return url_for("schedule.week", **{**asked, **changes})


def chosen_place(places: list[Place], asked: int | None) -> Place:
    """The location asked for, else the clinic's first one. A clinic without any has none to look at."""
    if not places:
        raise NoLocationYet
    return next((place for place in places if place.id == asked), places[0])


@bp.get("/office/schedule")
@staff_may(May.SCHEDULE)
def week() -> ResponseReturnValue:
    """A week or a day of one location: a lane for each practitioner."""
    places = looking.places(reading())
    place = chosen_place(places, typed.number(request.args.get("location")))
    today = day_of(now(), place.zone)
    view = View(
        place,
        typed.day(request.args.get("day")) or today,
        DAY if request.args.get("view") == DAY else WEEK,
        typed.number(request.args.get("practitioner")) or None,
    )
    grid = looking.grid(reading(), place, view.first, view.days, today=today, keep=view.day, only=view.practitioner)
    page = render_template(
        "office/schedule/week.html",
        view=view,
        grid=grid,
        sessions=_sessions(view),
        places=[(one.id, one.name) for one in places],
        practitioners=[("", _("All practitioners")), *((one.id, one.name) for one in grid.everyone if one.active)],
        patients=url_for("patients.details", patient_id=0)[:-1],
        today=today,
        title=_heading(view),
        step=timedelta(days=view.days),
        long_day=long_day,
        short=lambda on: f"{on:%a} {on.day}",
    )
    return page


def _sessions(view: View) -> list[DaySession]:
    """The program sessions of the days that are shown; none for who may not see them, or while the module is off."""
    if not (settings().yes("module_programs") and who().may(May.ROSTERS)):
        return []
    return sessions_on(reading(), [(view.place.id, view.place.zone)], view.first, view.days)


def _heading(view: View) -> str:
    _weekday, _sep, first = long_day(view.first).partition(" ")
    return _("Week of %(day)s", day=first) if view.kind == WEEK else long_day(view.day)


# --- one visit ------------------------------------------------------------------------------------------------------


def visit_or_404(public_id: str) -> Visit:
    """The visit of an address."""
    return looking.visit(reading(), public_id) or abort(404)


def to_the_block(visit_id: int, day: date, location_id: int) -> Response:
    """Back to the week, with the focus on the visit's block."""
    link = url_for("schedule.week", day=day, location=location_id, _anchor=f"a{visit_id}")
    return redirect(link, 303)


@bp.get("/office/appointments/<public_id>")
@staff_may(May.SCHEDULE)
def appointment(public_id: str) -> ResponseReturnValue:
    """One visit, and all that can be done with it."""
    visit = visit_or_404(public_id)
    note_view(parts().database, who().id, visit.patient_id, "appointment")
    return _visit_page(visit)


def _visit_page(visit: Visit, refusal: Refusal | None = None, asks_to_cancel: bool = False) -> ResponseReturnValue:
    page = render_template(
        "office/schedule/visit.html",
        visit=visit,
        day=weekday(visit.day),
        refusal=refusal,
        asks_to_cancel=asks_to_cancel,
    )
    return page, refusal.status if refusal else 200


@bp.get("/office/appointments/<public_id>/cancel")
@staff_may(May.SCHEDULE)
def ask_to_cancel(public_id: str) -> ResponseReturnValue:
    """Whether the visit is really to be called off."""
    visit = visit_or_404(public_id)
    note_view(parts().database, who().id, visit.patient_id, "appointment")
    return _visit_page(visit, asks_to_cancel=True)


@bp.post("/office/appointments/<public_id>/cancel")
@staff_may(May.SCHEDULE)
def cancel(public_id: str) -> ResponseReturnValue:
    """Call the visit off."""
    visit = visit_or_404(public_id)
    version = typed.number(request.form.get("version")) or 0
    try:
        cancel_visit(parts().database, public_id, version, who().id)
    except Refusal as refusal:
        return _visit_page(visit_or_404(public_id), refusal)
    flash(
        _("The visit is cancelled")
        + "\n"
        + _("%(patient)s, %(day)s, %(time)s. The time is free again.", patient=visit.patient,
            day=weekday(visit.day), time=visit.span),
        "ok",
    )  # fmt: skip
    return redirect(url_for("schedule.week", day=visit.day, location=visit.location_id, _anchor="main"), 303)


@bp.post("/office/appointments/<public_id>/complete")
@staff_may(May.CHECKOUT)
def complete(public_id: str) -> ResponseReturnValue:
    """Say that the visit took place."""
    visit = visit_or_404(public_id)
    try:
        complete_visit(parts().database, public_id, who().id)
    except Refusal as refusal:
        return _visit_page(visit, refusal)
    flash(_("The visit is completed"), "ok")
    return to_the_block(visit.id, visit.day, visit.location_id)
