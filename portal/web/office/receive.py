"""Receive Payment: money taken at the desk."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.web.access import staff_may

bp = Blueprint("receive", __name__, url_prefix="/office/invoices")


@bp.get("/<number>/receive")
@staff_may(May.RECEIVE)
def form(number: str) -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html", number=number)
