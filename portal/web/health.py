"""What a machine asks: is it alive, can it work?"""

import logging

from flask import Blueprint, Response
from sqlalchemy.exc import SQLAlchemyError

from portal.db import REVISION, current_revision
from portal.parts import parts
from portal.web.access import public

bp = Blueprint("health", __name__)
log = logging.getLogger(__name__)


def _says(text: str, status: int = 200) -> Response:
    return Response(text + "\n", status, mimetype="text/plain")


@bp.get("/healthz")
@public
def alive() -> Response:
    """The process answers. Nothing else is asked."""
    return _says("alive")


@bp.get("/readyz")
@public
def ready() -> Response:
    """The database answers and has the tables that this code was written for."""
    try:
        with parts().database.read() as connection:
            revision = current_revision(connection)
    except SQLAlchemyError as error:
        log.warning("not ready: %s", type(error).__name__)
        return _says("The database does not answer.", 503)
    if revision is None:
        return _says("The database is empty. Run “portal db upgrade”.", 503)
    if revision != REVISION:
        return _says("The database has another version's tables. Run “portal db upgrade”.", 503)
    return _says("ready")
