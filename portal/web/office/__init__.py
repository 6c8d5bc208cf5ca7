"""The clinic's office: one module for each of its rooms. Here is the door, and the list of them."""

from flask import Blueprint, Flask, redirect, request, url_for
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.setup.first_steps import is_bare
from portal.web import confirming
from portal.web.access import is_own_path, staff_only, who
from portal.web.scope import reading

bp = Blueprint("office", __name__)


@bp.get("/office/")
@staff_only
def start() -> ResponseReturnValue:
    """To the first room that is open to whoever arrives; in a clinic without a location, to its first steps."""
    someone = who()
    if someone.may(May.SETTINGS) and is_bare(reading()):
        return redirect(url_for("setup.start"), 303)
    for permission, endpoint in (
        (May.SCHEDULE, "schedule.week"),
        (May.INVOICES, "search.invoices"),
        (May.SETTINGS, "settings.general"),
    ):
        if someone.may(permission):
            return redirect(url_for(endpoint), 303)
    return redirect(url_for("own_account.page"), 303)


@bp.post("/office/confirm")
@staff_only
def confirm() -> ResponseReturnValue:
    """The password again, and then on to the page that asked for it."""
    back = request.form.get("back", "")
    if not is_own_path(back):
        back = url_for("office.start")
    error = confirming.password_error(who(), request.form.get(confirming.PASSWORD, ""))
    return confirming.asking_page(action=back, error=error) if error else redirect(back, 303)


def init(app: Flask) -> None:
    """Open every room."""
    from portal.web.office import (
        audit,
        booking,
        checkout,
        day_sheet,
        emails,
        gateways,
        mails,
        own_account,
        patients,
        payments,
        practice,
        program_desk,
        programs,
        promo_codes,
        receive,
        schedule,
        search,
        settings,
        setup,
        sign_ups,
        staff,
    )

    assert booking.bp is schedule.bp, "booking is a part of the schedule"
    assert program_desk.bp is programs.bp, "the desk's pages of programs are a part of them"
    app.register_blueprint(bp)
    for room in (
        schedule,
        checkout,
        receive,
        patients,
        search,
        mails,
        payments,
        promo_codes,
        programs,
        day_sheet,
        settings,
        emails,
        gateways,
        practice,
        setup,
        staff,
        sign_ups,
        audit,
        own_account,
    ):
        app.register_blueprint(room.bp)
