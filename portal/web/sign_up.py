"""Sign-up, where the clinic allows it (P1)."""

from flask import Blueprint, abort
from flask.typing import ResponseReturnValue

from portal.web.access import public

bp = Blueprint("sign_up", __name__, url_prefix="/sign-up")


@bp.get("")
@public
def page() -> ResponseReturnValue:
    """To come."""
    abort(404)
