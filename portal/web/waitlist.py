"""The waitlist of a full program: get in line, see how it stands, leave it, or say no to a place that is offered."""

from uuid import uuid4

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.parts import parts
from portal.payments.tables import PORTAL
from portal.programs.ending import let_place_go
from portal.programs.my_places import place_for
from portal.programs.reading import ProgramPage, program_page
from portal.programs.refusals import PlacesLeft, ProgramNotFound
from portal.programs.registering import Holder
from portal.programs.waiting import join_online
from portal.web.access import patient_only, payer, who
from portal.web.place_form import people_of
from portal.web.places import check_programs, place_here, viewer
from portal.web.scope import done_reading, payment_modes, reading, settings
from portal.web.typed import number, uuid

bp = Blueprint("waitlist", __name__)


@bp.get("/programs/<public_id>/wait")
@patient_only
def ask(public_id: str) -> ResponseReturnValue:
    """Who is to wait, and what that means."""
    program = _program(public_id)
    if not program.takes_names or not program.can_be_paid_online(payment_modes()):
        return redirect(url_for("programs.one", public_id=public_id), 303)  # it says why
    return _page(program)


def _program(public_id: str) -> ProgramPage:
    """Raises ProgramsClosed or ProgramNotFound."""
    check_programs()
    program = program_page(reading(), public_id, viewer())
    if program is None or not program.visible:
        raise ProgramNotFound
    return program


def _page(program: ProgramPage, wrong: str = "") -> str:
    return render_template(
        "programs/wait.html",
        program=program,
        people=people_of(payer()),
        chosen=number(request.form.get("patient")),
        wrong=wrong,
        hours=settings().number("program_offer_hours"),
        request_id=uuid4(),
    )


@bp.post("/programs/<public_id>/wait")
@patient_only
def join(public_id: str) -> ResponseReturnValue:
    """Get in line: from the program's page at once, where there is nobody to choose from."""
    patient_id = payer().id
    if payer().payees:
        chosen = number(request.form.get("patient"))
        if chosen not in payer().patients:
            if "ask" not in request.form:
                return redirect(url_for(".ask", public_id=public_id), 303)
            return _page(_program(public_id), _("Choose who is to wait.")), 422
        patient_id = chosen
    press = uuid(request.form.get("request_id")) or uuid4()
    holder = Holder(who().id, patient_id, channel=PORTAL)
    done_reading()
    try:
        there = join_online(parts(), public_id, press, holder)
    except PlacesLeft as left:
        flash(f"{left.heading}\n{left.text}", "ok")
        return redirect(url_for("programs.one", public_id=public_id), 303)
    if place_for(reading(), viewer(), there) is None:  # somebody else has put them on it
        flash(_("They are on it already.\nSomebody else has registered them; nothing was changed."), "ok")
        return redirect(url_for("programs.one", public_id=public_id), 303)
    return redirect(url_for("registrations.one", public_id=there), 303)


@bp.post("/registrations/<public_id>/decline")
@patient_only
def decline(public_id: str) -> ResponseReturnValue:
    """Say no to a place that is offered, or leave the line. What is gone already stays as it is."""
    place = place_here(public_id)
    done_reading()
    if not (place.is_waiting or place.is_offered):
        return redirect(url_for("registrations.one", public_id=public_id), 303)
    if not let_place_go(parts(), public_id, who().id):
        return redirect(url_for("registrations.one", public_id=public_id), 303)
    if place.is_waiting:
        flash(_("You have left the waitlist.\nYou were not charged."), "ok")
    else:
        flash(_("Thank you for telling us.\nThe place goes to the next in line. You were not charged."), "ok")
    return redirect(url_for("registrations.mine"), 303)
