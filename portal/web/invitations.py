"""Invitations: the link with which somebody makes their account."""

from flask import Blueprint, abort
from flask.typing import ResponseReturnValue

from portal.web.access import public

bp = Blueprint("invitations", __name__, url_prefix="/invitation")


@bp.get("")
@public
def page() -> ResponseReturnValue:
    """To come."""
    abort(404)
