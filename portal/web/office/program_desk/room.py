"""What the pages of a program share."""

from flask import abort, redirect, url_for
from flask.typing import ResponseReturnValue

from portal.programs.desk import rosters
from portal.programs.desk.rosters import Entry, Group
from portal.programs.refusals import ProgramsClosed
from portal.web.office.programs import bp as bp
from portal.web.scope import reading, settings


def group_or_404(public_id: str) -> Group:
    """The program that an address names."""
    if not settings().yes("module_programs"):
        raise ProgramsClosed
    return rosters.group(reading(), public_id) or abort(404)


def entry_or_404(of: Group, key: str) -> Entry:
    """One registration of it."""
    return rosters.entry(reading(), of, key) or abort(404)


def to_the_registrations(public_id: str) -> ResponseReturnValue:
    """Back to the list of who registered."""
    return redirect(url_for("office_programs.one", public_id=public_id), 303)
