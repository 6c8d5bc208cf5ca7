"""The day sheet: money taken on one day."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.clinic import NoLocationYet
from portal.clock import now
from portal.invoices.reading import local_day, long_day, plain_day, short_day
from portal.payments.takings import Bar, Place, places, sheet_of
from portal.permissions import May
from portal.programs.desk.day_sessions import DaySession, sessions_on
from portal.web import typed
from portal.web.access import staff_may, who
from portal.web.scope import reading, settings

bp = Blueprint("day_sheet", __name__, url_prefix="/office/day-sheet")


@bp.get("")
@staff_may(May.DAY_SHEET)
def page() -> ResponseReturnValue:
    """One day at one location, or at all of them; today unless another day is asked for."""
    known = places(reading())
    if not known:
        raise NoLocationYet
    asked = request.args.get("location", "")
    chosen = next((place for place in known if str(place.id) == asked), None)
    today = local_day(now(), (chosen or known[0]).zone)
    wanted = request.args.get("day", "")
    day = typed.day(wanted) or today
    errors = {}
    if wanted and typed.day(wanted) is None:
        errors["day"] = _("Please give the day as year, month and day, such as %(day)s.", day=today.isoformat())
    if asked and chosen is None:
        errors["location"] = _("Please choose one of the locations.")
    where = [chosen] if chosen else known
    sheet = sheet_of(reading(), day, where)
    page = render_template(
        "office/day_sheet/page.html",
        sheet=sheet,
        day=day,
        title=_("Day sheet, %(day)s", day=long_day(day)),
        where=_named(where),
        chosen=chosen,
        sessions=_sessions(where, day),
        known=[(place.id, place.name) for place in known],
        errors=errors,
        drawings=[drawn(taken.bars) for taken in sheet.takings],
        plain_day=plain_day,
    )
    return page


def _sessions(where: Sequence[Place], day: date) -> list[DaySession]:
    """The program sessions of the day, each by its location's clock; none while the module is off."""
    if not (settings().yes("module_programs") and who().may(May.ROSTERS)):
        return []
    return sessions_on(reading(), [(place.id, place.zone) for place in where], day)


def _named(where: Sequence[Place]) -> str:
    names = [place.name for place in where]
    if len(names) == 1:
        return names[0]
    return str(_("%(some)s and %(last)s", some=", ".join(names[:-1]), last=names[-1]))


# --- the chart ------------------------------------------------------------------------------------------------------

HEIGHT, STEP, WIDTH = 120, 20, 14


class Column(NamedTuple):
    """One bar, in the units of the drawing."""

    x: int
    y: float
    height: float
    words: str
    is_last: bool


class Drawing(NamedTuple):
    """The chart of some days: its columns, where zero is, and what it shows in a sentence.

    `labels` are days, evenly spread below it; `most` is what its highest bar comes to.
    """

    columns: list[Column]
    zero: float
    width: int
    height: int
    title: str
    most: str
    labels: list[str]


def drawn(bars: Sequence[Bar]) -> Drawing:
    """The bars of a chart; days on which more went back than came hang below the line."""
    most, least = max(0, *(bar.cents for bar in bars)), min(0, *(bar.cents for bar in bars))
    scale = HEIGHT / ((most - least) or 1)
    zero = most * scale
    columns = [
        Column(
            turn * STEP + (STEP - WIDTH) // 2,
            round(zero - max(bar.cents, 0) * scale, 1),
            round(abs(bar.cents) * scale, 1),
            f"{short_day(bar.day)}: {bar.amount}",
            turn == len(bars) - 1,
        )
        for turn, bar in enumerate(bars)
    ]
    best = max(bars, key=lambda bar: bar.cents)
    first, last = short_day(bars[0].day), short_day(bars[-1].day)
    title = _(
        "Received on each day from %(first)s to %(last)s; most on %(best)s, %(amount)s",
        first=first, last=last, best=short_day(best.day), amount=best.amount,
    )  # fmt: skip
    middle = short_day(bars[len(bars) // 2].day)
    return Drawing(
        columns, round(zero, 1), len(bars) * STEP, HEIGHT + 1, title, best.amount, [first, middle, last]
    )  # fmt: skip
