"""Programs in the office: the list, and the form in which one is set up, changed or copied."""

from collections.abc import Callable
from datetime import date
from functools import wraps
from typing import Any, TypeVar, cast
from uuid import uuid4

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext
from sqlalchemy import or_, select

from portal.clinic import Location, NoLocationYet, Tax
from portal.clock import now
from portal.invoices.books import TaxRate
from portal.invoices.reading.words import money, weekday
from portal.money import parse_amount
from portal.parts import parts
from portal.permissions import May
from portal.programs.pricing import priced
from portal.programs.refusals import ProgramsClosed
from portal.programs.setup import setting_up
from portal.programs.setup.overview import programs as overview
from portal.programs.setup.wanted import Wanted, next_term, standing
from portal.programs.tables import CHOICE, CONSENT, TEXT, Program
from portal.schedule import reading as looking
from portal.schedule.reading import Place
from portal.schedule.times import day_of
from portal.setup.entry import BadEntry
from portal.setup.services import tax_choices
from portal.web import typed
from portal.web.access import staff_may, who
from portal.web.office import program_form
from portal.web.office.program_form import Form, Wrong
from portal.web.scope import done_reading, reading, settings

bp = Blueprint("office_programs", __name__, url_prefix="/office/programs")

View = TypeVar("View", bound=Callable[..., Any])


def while_on(view: View) -> View:
    """The page is there while the module Programs is on. Stands below the rule that says who may open it."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not settings().yes("module_programs"):
            raise ProgramsClosed
        return view(*args, **kwargs)

    return cast(View, guarded)


# --- the list -------------------------------------------------------------------------------------------------------


@bp.get("", endpoint="list")
@staff_may(May.ROSTERS)
def every() -> ResponseReturnValue:
    """The programs that run or come; or those that are over. While the module is off, how to switch it on."""
    is_on = settings().yes("module_programs")
    if not is_on and not who().may(May.PROGRAMS):
        raise ProgramsClosed
    over = request.args.get("show") == "over"
    return render_template(
        "office/programs/list.html", is_on=is_on, over=over, found=overview(reading(), over=over) if is_on else None
    )


# --- the form -------------------------------------------------------------------------------------------------------


@bp.get("/new")
@staff_may(May.PROGRAMS)
@while_on
def new() -> ResponseReturnValue:
    """An empty form. Its request id is made here, so that the same press twice sets up one program."""
    return _page(program_form.blank(str(uuid4()), _places()))


@bp.post("/new")
@staff_may(May.PROGRAMS)
@while_on
def create() -> ResponseReturnValue:
    """A button of that form: something is added or taken away, or the program is set up."""
    return _pressed(None)


@bp.get("/<public_id>/edit")
@staff_may(May.PROGRAMS)
@while_on
def edit(public_id: str) -> ResponseReturnValue:
    """A program as it stands, to be changed."""
    found = standing(reading(), public_id)
    form = program_form.form_of(found.wanted, found.currency)
    return _page(form.having(version=str(found.version), tells="yes"), public_id)


@bp.post("/<public_id>/edit")
@staff_may(May.PROGRAMS)
@while_on
def save(public_id: str) -> ResponseReturnValue:
    """A button of that form: something is added or taken away, or the program is changed."""
    return _pressed(public_id)


@bp.get("/<public_id>/copy")
@staff_may(May.PROGRAMS)
@while_on
def copy(public_id: str) -> ResponseReturnValue:
    """The form of a new program that is like this one, a term later. Nothing is kept before Save."""
    found = standing(reading(), public_id)
    again = next_term(found.wanted, day_of(now(), found.zone))
    form = program_form.form_of(again, found.currency)
    return _page(form.having(request=str(uuid4())), copied=found.wanted.name)


def _pressed(public_id: str | None) -> ResponseReturnValue:
    form = program_form.form_sent(request.form)
    pressed, _sep, which = request.form.get("do", "").partition(":")
    try:
        if pressed == "add-sessions":
            return _page(program_form.with_sessions(form), public_id, focus="add_first")
        if pressed == "remove-session":
            return _page(program_form.without_session(form, typed.number(which)), public_id, focus="sessions")
        if pressed == "move":
            return _page(program_form.with_sessions_moved(form), public_id, focus="sessions")
        if pressed == "add-question":
            more = program_form.with_question(form)
            return _page(more, public_id, focus=f"question-{len(more.questions) - 1}-text")
        if pressed == "remove-question":
            return _page(program_form.without_question(form, typed.number(which)), public_id, focus="questions")
        if form["add_first"]:
            # Typed, and not added yet: nothing that was typed is forgotten.
            form = program_form.with_sessions(form)
        return _save(form, public_id)
    except BadEntry as bad:
        return _page(form, public_id, bad.wrong)
    except setting_up.ProgramNotSaved as refusal:
        return _page(form, public_id, refusal.wrong)


def _save(form: Form, public_id: str | None) -> ResponseReturnValue:
    wanted = program_form.read(form, _places(public_id))
    by, database = who().id, parts().database
    done_reading()
    try:
        if public_id is None:
            kept = setting_up.set_up(database, typed.uuid(form["request"]) or uuid4(), wanted, by)
        else:
            version, tells = typed.number(form["version"]) or 0, bool(form["tells"])
            kept = setting_up.change(database, public_id, version, wanted, by, tells=tells)
    except setting_up.ProgramChanged:
        return _changed_meanwhile(form, wanted, public_id or "")
    _tell(kept, wanted)
    return redirect(url_for("office_programs.one", public_id=kept.public_id), 303)


def _changed_meanwhile(form: Form, wanted: Wanted, public_id: str) -> ResponseReturnValue:
    """The form as it was typed, and what somebody else has made of the program: the next press decides."""
    found = standing(reading(), public_id)
    differs = ", ".join(str(program_form.LABELS[name]) for name in found.wanted.differs_from(wanted))
    sentence = _("Somebody else has saved this program meanwhile. What you have here differs in: %(what)s. "
                 "Save again to put yours in its place.", what=differs or "–")  # fmt: skip
    return _page(form.having(version=str(found.version)), public_id, {"name": sentence})


def _tell(kept: setting_up.Kept, wanted: Wanted) -> None:
    seen = _("Patients can see it.") if wanted.visible else _("Patients don't see it yet.")
    flash(f"{_('Saved')}\n{_('%(name)s is as you entered it.', name=kept.name)} {seen}", "ok")
    if kept.is_closed:
        told = _("The first session has begun, or the day on which registration closes is past.")
        flash(f"{_('Nobody can register any more')}\n{told}", "warn")
    if kept.offered:
        told = _("Those who waited longest get an email.")
        flash(ngettext("%(num)s place is offered", "%(num)s places are offered", kept.offered) + f"\n{told}", "ok")
    if kept.told:
        told = _("Each gets an email with the dates as they are now.")
        flash(ngettext("%(num)s person is told", "%(num)s people are told", kept.told) + f"\n{told}", "ok")
    untold = kept.concerned - kept.told
    if untold:
        told = _("They have a place. Please call them about the new dates or location.")
        flash(ngettext("%(num)s person gets no email", "%(num)s people get no email", untold) + f"\n{told}", "warn")


# --- the page -------------------------------------------------------------------------------------------------------


def _places(public_id: str | None = None) -> list[Place]:
    """The locations that are open, and the one where the program is. Raises NoLocationYet."""
    own = select(Program.location_id).where(Program.public_id == public_id).scalar_subquery()
    rows = reading().execute(
        select(
            Location.id, Location.name, Location.timezone, Location.currency,
            Location.opens_minute, Location.closes_minute,
        )
        .where(or_(Location.active, Location.id == own))
        .order_by(Location.id)
    )  # fmt: skip
    found = [Place(*row) for row in rows]
    if not found:
        raise NoLocationYet
    return found


def _page(
    form: Form,
    public_id: str | None = None,
    wrong: Wrong | None = None,
    *,
    focus: str = "",
    copied: str = "",
) -> ResponseReturnValue:
    """The form with all that was typed, and what it comes to."""
    places = _places(public_id)
    place = program_form.place_of(form, places)
    healers = [
        (each.id, each.name)
        for each in looking.healers(reading())
        if each.active or str(each.id) == form["practitioner"]
    ]
    found = standing(reading(), public_id) if public_id else None
    page = render_template(
        "office/programs/form.html",
        form=form,
        public_id=public_id,
        copied=copied,
        wrong=wrong or {},
        errors=program_form.targets(wrong or {}),
        focus="" if wrong else focus,
        places=[(each.id, each.name) for each in places],
        healers=[("", _("Nobody in particular")), *healers],
        taxes=tax_choices(reading(), form.taxes),
        currency=place.currency,
        zone=place.zone.replace("_", " "),
        kinds=[(TEXT, _("In their own words")), (CHOICE, _("One of a list")), (CONSENT, _("A box to tick"))],
        weekdays=_weekdays(),
        total=_total(form, place.currency),
        meets=_meets(form),
        taken=found.taken if found else 0,
        confirmed=found.confirmed if found else 0,
    )
    return page, 422 if wrong else 200


def _weekdays() -> list[tuple[str, str]]:
    names = (_("Monday"), _("Tuesday"), _("Wednesday"), _("Thursday"), _("Friday"), _("Saturday"), _("Sunday"))
    return [(str(number), name) for number, name in enumerate(names)]


def _total(form: Form, currency: str) -> str:
    """The price with its taxes; nothing where it can't be read."""
    try:
        cents = parse_amount(form["price"], currency)
    except ValueError:
        return ""
    chosen = reading().execute(
        select(Tax.name, Tax.rate_per_100k, Tax.compound)
        .where(Tax.active, Tax.id.in_([number for each in form.taxes if (number := typed.number(each))]))
        .order_by(Tax.position, Tax.id)
    )
    rates = tuple(TaxRate(row.name, row.rate_per_100k, row.compound) for row in chosen)
    total = priced(max(int(cents), 0), 0, rates).total_cents
    return money(total, currency) if total else _("Free")


def _meets(form: Form) -> str:
    """How often, from when to when."""
    days: list[date] = sorted(day for row in form.sessions if (day := typed.day(row.day)))
    if not days:
        return _("None yet")
    if len(days) == 1:
        return _("One, on %(day)s", day=weekday(days[0]))
    return _("%(count)s, from %(first)s to %(last)s", count=len(days), first=weekday(days[0]), last=weekday(days[-1]))
