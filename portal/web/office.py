"""The clinic's office: for now, the place where staff arrive."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.web.access import staff_only

bp = Blueprint("office", __name__)


@bp.get("/office/")
@staff_only
def start() -> ResponseReturnValue:
    """Who is signed in, and what is to come."""
    return render_template("office/start.html")
