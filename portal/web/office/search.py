"""Invoice Search, and one invoice."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from portal.invoices.reading import read_key
from portal.invoices.search import STATUSES, caption, choices, found_by, narrowed, page_of
from portal.permissions import May
from portal.web.access import staff_may
from portal.web.scope import reading

bp = Blueprint("search", __name__, url_prefix="/office/invoices")


@bp.get("")
@staff_may(May.INVOICES)
def invoices() -> ResponseReturnValue:
    """One page of what the address is narrowed to, and what all of it comes to."""
    known = choices(reading())
    search = narrowed(reading(), request.args, known)
    after = read_key(request.args.get("after", ""))
    found = found_by(reading(), search)
    return render_template(
        "office/search/list.html",
        search=search,
        known=known,
        statuses=STATUSES,
        page=page_of(reading(), search, after),
        found=found,
        caption=caption(search, found.number),
        first=after is None,
    )
