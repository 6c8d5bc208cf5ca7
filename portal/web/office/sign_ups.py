"""People who signed up in the portal and wait for the clinic's word."""

import re

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal import sign_ups
from portal.accounts import BadAccount
from portal.invoices.reading.words import local_day, plain_day
from portal.parts import parts
from portal.permissions import May
from portal.sign_ups import DecidedAlready
from portal.web.access import staff_may, who
from portal.web.office.changes import clinic_zone
from portal.web.scope import done_reading, reading

bp = Blueprint("sign_ups", __name__, url_prefix="/office/sign-ups")

ONE = "/<int(max=2147483647):sign_up_id>"
NEW, ANOTHER = "new", "another"
_NUMBER = re.compile(r"(?:p-?\s*)?(\d{1,9})", re.IGNORECASE)


@bp.get("")
@staff_may(May.INVITE)
def waiting() -> ResponseReturnValue:
    """Who waits, the longest first."""
    zone = str(clinic_zone(reading()))
    everybody = sign_ups.everybody_waiting(reading())
    people = [(one, plain_day(local_day(one.proved_at, zone))) for one in everybody if one.proved_at]
    return render_template("office/sign_ups/waiting.html", people=people, day=plain_day)


@bp.get(ONE)
@staff_may(May.INVITE)
def one(sign_up_id: int) -> ResponseReturnValue:
    """One person, with the patients on file who may be them."""
    return _page(sign_up_id)


def _page(sign_up_id: int, error: str = "") -> ResponseReturnValue:
    found = sign_ups.waiting_sign_up(reading(), sign_up_id)
    if found is None:
        return _decided(DecidedAlready())
    page = render_template(
        "office/sign_ups/one.html",
        sign_up=found,
        error=error,
        chosen=request.form.get("who", ""),
        number=request.form.get("number", ""),
        day=plain_day,
    )
    return make_response(page, 422 if error else 200)


def _decided(already: DecidedAlready) -> ResponseReturnValue:
    flash(f"{already.heading}\n{already.text}", "warn")
    return redirect(url_for(".waiting"), 303)


@bp.post(f"{ONE}/approve")
@staff_may(May.INVITE)
def approve(sign_up_id: int) -> ResponseReturnValue:
    """Make their account: for a patient on file, or for a new one."""
    chosen = request.form.get("who", "")
    number = _NUMBER.fullmatch((request.form.get("number", "") if chosen == ANOTHER else chosen).strip())
    if chosen != NEW and number is None:
        return _page(sign_up_id, _("Choose who this is. A patient's number looks like P-123."))
    by = who().id
    done_reading()
    try:
        patient_id = sign_ups.approve(parts(), sign_up_id, patient_id=int(number[1]) if number else None, by=by)
    except DecidedAlready as already:
        return _decided(already)
    except BadAccount as bad:
        return _page(sign_up_id, bad.text)
    flash(_("The account is made\nA mail tells them that they can sign in."), "ok")
    return redirect(url_for("patients.details", patient_id=patient_id), 303)


@bp.post(f"{ONE}/refuse")
@staff_may(May.INVITE)
def refuse(sign_up_id: int) -> ResponseReturnValue:
    """Make no account."""
    by = who().id
    done_reading()
    try:
        sign_ups.refuse(parts(), sign_up_id, by=by)
    except DecidedAlready as already:
        return _decided(already)
    flash(_("No account was made\nA mail tells them so, and how to reach the clinic."), "ok")
    return redirect(url_for(".waiting"), 303)
