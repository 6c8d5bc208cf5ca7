"""Settings: the audit log of changes, and the access log of who looked at whose record."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from portal.audit import chain_end
from portal.permissions import May
from portal.web.access import staff_may
from portal.web.office import logs
from portal.web.office.changes import clinic_zone
from portal.web.scope import reading

bp = Blueprint("audit", __name__, url_prefix="/office/settings/audit")


@bp.get("")
@staff_may(May.AUDIT, fresh=True)
def changes() -> ResponseReturnValue:
    """Who changed what, when, from what to what."""
    filters, zone = logs.read_filters(request.args), clinic_zone(reading())
    return render_template(
        "office/audit/changes.html",
        filters=filters,
        page=logs.changes_page(reading(), filters, zone),
        people=logs.staff_choices(reading(), with_system=True),
        actions=logs.action_choices(reading()),
        chain=chain_end(reading()),
        zone=zone.key.replace("_", " "),
    )


@bp.get("/views")
@staff_may(May.AUDIT, fresh=True)
def views() -> ResponseReturnValue:
    """Who looked at whose record."""
    filters, zone = logs.read_filters(request.args), clinic_zone(reading())
    return render_template(
        "office/audit/views.html",
        filters=filters,
        page=logs.views_page(reading(), filters, zone),
        people=logs.staff_choices(reading(), with_system=False),
        zone=zone.key.replace("_", " "),
    )
