"""Settings: locations, practitioners, services and prices, taxes; and the first steps of a new clinic."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString
from sqlalchemy import Connection

from portal.clinic import NoLocationYet
from portal.parts import parts
from portal.permissions import May
from portal.setup import first_steps
from portal.setup import locations as places
from portal.setup import practitioners as people
from portal.setup import services as prices
from portal.setup import taxes as rates
from portal.setup.entry import BadEntry, Typed
from portal.setup.kinds import AS_SHOWN, Kind, Shown
from portal.web.access import staff_may, who
from portal.web.scope import done_reading, reading

bp = Blueprint("setup", __name__, url_prefix="/office/settings")


@dataclass(frozen=True)
class _Room:
    """The pages of one kind: its list, its form, and what the form offers to choose from."""

    name: str
    kind: Kind[Any]
    blank: Callable[[Connection], Shown]
    offers: Callable[[Connection, Typed, int | None], dict[str, Any]]
    new: LazyString
    change: LazyString


def _location_offers(connection: Connection, _typed: Typed, number: int | None) -> dict[str, Any]:
    return {
        "zones": [(zone, zone.replace("_", " ")) for zone in places.ZONES],
        "currencies": [(each, each) for each in places.CURRENCIES],
        "times": [(time, time) for time in places.TIMES],
        "currency_stays": number is not None and places.has_invoices(connection, number),
    }


def _service_offers(connection: Connection, typed: Typed, number: int | None) -> dict[str, Any]:
    ticked = typed.get("taxes")
    if not isinstance(ticked, list):
        ticked = prices.ticked_taxes(connection, number) if number is not None else []
    return {
        "taxes": prices.tax_choices(connection, ticked),
        "ticked": ticked,
        "currencies": prices.price_currencies(connection),
    }


def _nothing(_connection: Connection, _typed: Typed, _number: int | None) -> dict[str, Any]:
    return {}


LOCATIONS = _Room("locations", places.LOCATIONS, lambda _connection: places.BLANK, _location_offers,
                  _l("New location"), _l("Change a location"))  # fmt: skip
PRACTITIONERS = _Room("practitioners", people.PRACTITIONERS, lambda _connection: people.BLANK, _nothing,
                      _l("New practitioner"), _l("Change a practitioner"))  # fmt: skip
SERVICES = _Room("services", prices.SERVICES, lambda _connection: prices.BLANK, _service_offers,
                 _l("New service or product"), _l("Change a service or product"))  # fmt: skip
TAXES = _Room("taxes", rates.TAXES, rates.blank_tax, _nothing, _l("New tax"), _l("Change a tax"))


# --- what every room does -------------------------------------------------------------------------------------------


def _list(room: _Room) -> ResponseReturnValue:
    found = room.kind.every(reading())
    return render_template(f"office/setup/{room.name}.html", **{room.name: found}, **room.offers(reading(), {}, None))


def _new(room: _Room) -> ResponseReturnValue:
    return _save(room, None) if request.method == "POST" else _form(room, None, room.blank(reading()))


def _edit(room: _Room, number: int) -> ResponseReturnValue:
    shown = room.kind.form(reading(), number)
    return _save(room, number) if request.method == "POST" else _form(room, number, _with_number_shown(shown))


def _with_number_shown(shown: Shown) -> Shown:
    """The next invoice number as this form showed it; it moves meanwhile, and then it is left alone."""
    return {**shown, "next_shown": shown.get("next_invoice_number", "")}


def _save(room: _Room, number: int | None) -> ResponseReturnValue:
    typed = {**request.form.to_dict(), "taxes": request.form.getlist("taxes")}
    by = who().id
    done_reading()
    try:
        with parts().database.transaction() as session:
            if number is None:
                saved = room.kind.add(session, typed, by=by)
            else:
                saved = room.kind.change(session, number, typed, by=by)
    except BadEntry as bad:
        if number is not None:
            typed[AS_SHOWN] = room.kind.form(reading(), number)[AS_SHOWN]
        return make_response(_form(room, number, _readable(typed), bad.wrong), 422)
    flash(_("Saved.\n%(name)s is as you entered it. The office and the portal follow from the next page on.",
            name=saved.name), "ok")  # fmt: skip
    return redirect(url_for(_onward(room, number)), 303)


def _onward(room: _Room, number: int | None) -> str:
    """Back to the list; in a clinic that is being set up, on to its next step."""
    is_next_step = number is None and not first_steps.is_ready(reading())
    return "setup.start" if is_next_step else f"setup.{room.name}"


def _readable(typed: Typed) -> Typed:
    """What was typed, fit to stand in the form again."""
    return {
        name: "".join(mark for mark in value if mark.isprintable() or mark == "\n")[:2000]
        if isinstance(value, str)
        else value
        for name, value in typed.items()
    }


def _form(room: _Room, number: int | None, typed: Typed, wrong: dict[str, str] | None = None) -> str:
    return render_template(
        f"office/setup/{room.name}_form.html",
        title=room.new if number is None else room.change,
        typed=typed,
        wrong=wrong or {},
        is_new=number is None,
        **room.offers(reading(), typed, number),
    )


# --- the rooms ------------------------------------------------------------------------------------------------------


@bp.get("/first-steps")
@staff_may(May.SETTINGS, fresh=True)
def start() -> ResponseReturnValue:
    """What a new clinic still lacks, in the order in which it is best done."""
    return render_template("office/setup/first_steps.html", steps=first_steps.steps(reading()))


@bp.app_errorhandler(NoLocationYet)
def bare(_refusal: NoLocationYet) -> ResponseReturnValue:
    """What a room shows that can't open before there is a location: the way to add one, not an error."""
    return render_template("office/setup/bare.html")


@bp.get("/locations")
@staff_may(May.SETTINGS, fresh=True)
def locations() -> ResponseReturnValue:
    """Where the clinic treats people."""
    return _list(LOCATIONS)


@bp.route("/locations/new", methods=["GET", "POST"])
@staff_may(May.SETTINGS, fresh=True)
def new_location() -> ResponseReturnValue:
    """Open a location."""
    return _new(LOCATIONS)


@bp.route("/locations/<int(max=2147483647):number>", methods=["GET", "POST"])
@staff_may(May.SETTINGS, fresh=True)
def edit_location(number: int) -> ResponseReturnValue:
    """Change a location."""
    return _edit(LOCATIONS, number)


@bp.get("/practitioners")
@staff_may(May.SETTINGS, fresh=True)
def practitioners() -> ResponseReturnValue:
    """Who treats patients."""
    return _list(PRACTITIONERS)


@bp.route("/practitioners/new", methods=["GET", "POST"])
@staff_may(May.SETTINGS, fresh=True)
def new_practitioner() -> ResponseReturnValue:
    """Add a practitioner."""
    return _new(PRACTITIONERS)


@bp.route("/practitioners/<int(max=2147483647):number>", methods=["GET", "POST"])
@staff_may(May.SETTINGS, fresh=True)
def edit_practitioner(number: int) -> ResponseReturnValue:
    """Change a practitioner."""
    return _edit(PRACTITIONERS, number)


@bp.get("/services")
@staff_may(May.SETTINGS, fresh=True)
def services() -> ResponseReturnValue:
    """What the clinic sells."""
    return _list(SERVICES)


@bp.route("/services/new", methods=["GET", "POST"])
@staff_may(May.SETTINGS, fresh=True)
def new_service() -> ResponseReturnValue:
    """Add a service or product."""
    return _new(SERVICES)


@bp.route("/services/<int(max=2147483647):number>", methods=["GET", "POST"])
@staff_may(May.SETTINGS, fresh=True)
def edit_service(number: int) -> ResponseReturnValue:
    """Change a service or product."""
    return _edit(SERVICES, number)


@bp.get("/taxes")
@staff_may(May.SETTINGS, fresh=True)
def taxes() -> ResponseReturnValue:
    """The taxes on it."""
    return _list(TAXES)


@bp.route("/taxes/new", methods=["GET", "POST"])
@staff_may(May.SETTINGS, fresh=True)
def new_tax() -> ResponseReturnValue:
    """Add a tax."""
    return _new(TAXES)


@bp.route("/taxes/<int(max=2147483647):number>", methods=["GET", "POST"])
@staff_may(May.SETTINGS, fresh=True)
def edit_tax(number: int) -> ResponseReturnValue:
    """Change a tax, for the invoices to come."""
    return _edit(TAXES, number)
