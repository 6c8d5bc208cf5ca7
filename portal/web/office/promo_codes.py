"""Promo codes in the office: the list, and the form of one."""

from datetime import date, datetime, timedelta
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.invoices.reading import local_day
from portal.invoices.reading.words import plain_day, weekday
from portal.money import parse_amount
from portal.parts import parts
from portal.permissions import May
from portal.programs.pricing import tidy_code
from portal.programs.setup import codes
from portal.programs.setup.codes import Choice, CodeShown, CodeWanted
from portal.schedule.times import day_of, edge_at
from portal.setup.entry import BadEntry, Entry
from portal.setup.services import plain_amount, price_currencies
from portal.web import typed
from portal.web.access import staff_may, who
from portal.web.office.changes import clinic_zone
from portal.web.office.programs import while_on
from portal.web.scope import done_reading, reading

bp = Blueprint("promo_codes", __name__, url_prefix="/office/programs/codes")

SHARE, AMOUNT = "share", "amount"
LARGEST_AMOUNT = 9_999_999
WORDS = {
    "code": _l("Code"),
    "kind": _l("What it takes off"),
    "percent": _l("Percent"),
    "amount": _l("Amount"),
    "currency": _l("Currency"),
    "program": _l("For"),
    "uses": _l("How often in all"),
}
FIELDS = (*WORDS, "since", "until", "active", "stamp")
_NAMES = {"program_id": "program", "ends_at": "until", "starts_at": "since"}
Form = dict[str, str]


@bp.get("", endpoint="list")
@staff_may(May.PROGRAMS, fresh=True)
@while_on
def every() -> ResponseReturnValue:
    """All of them, and how often each was used."""
    zone = clinic_zone(reading()).key
    found = [(each, _validity(each, each.zone or zone)) for each in codes.codes(reading())]
    return render_template("office/programs/codes.html", codes=found)


@bp.get("/new")
@staff_may(May.PROGRAMS, fresh=True)
@while_on
def new() -> ResponseReturnValue:
    """An empty form."""
    return _page({"kind": SHARE, "active": "yes"})


@bp.post("/new")
@staff_may(May.PROGRAMS, fresh=True)
@while_on
def create() -> ResponseReturnValue:
    """Make the code."""
    return _save(None)


@bp.get("/<int(max=2147483647):number>")
@staff_may(May.PROGRAMS, fresh=True)
@while_on
def edit(number: int) -> ResponseReturnValue:
    """One code, to be changed."""
    found = codes.code(reading(), number)
    return _page(_form_of(found), found)


@bp.post("/<int(max=2147483647):number>")
@staff_may(May.PROGRAMS, fresh=True)
@while_on
def save(number: int) -> ResponseReturnValue:
    """Change it."""
    return _save(codes.code(reading(), number))


def _save(own: CodeShown | None) -> ResponseReturnValue:
    form = {name: typed.words(request.form.get(name), 100) for name in FIELDS}
    try:
        wanted = _read(form, own)
        by, database = who().id, parts().database
        done_reading()
        if own is None:
            kept = codes.add_code(database, wanted, by)
        else:
            kept = codes.change_code(database, own.id, form["stamp"], wanted, by)
    except BadEntry as bad:
        return _page(form, own, bad.wrong)
    except codes.CodeNotSaved as refusal:
        return _page(form, own, {_NAMES.get(name, name): sentence for name, sentence in refusal.wrong.items()})
    except codes.CodeChanged:
        found = codes.code(reading(), own.id if own else 0)
        said = "; ".join(filter(None, (found.wanted.code, found.off, found.program, found.tag.text)))
        sentence = _("Somebody else has saved this code meanwhile. It says now: %(now)s. "
                     "Save again to put yours in its place.", now=said)  # fmt: skip
        return _page({**form, "stamp": found.wanted.stamp}, found, {"code": sentence})
    flash(_("Saved\nThe code %(code)s takes %(off)s off.", code=kept.code, off=codes.off_words(kept)), "ok")
    return redirect(url_for("promo_codes.list"), 303)


# --- the form -------------------------------------------------------------------------------------------------------


def _form_of(shown: CodeShown) -> Form:
    """A code as its form shows it."""
    wanted, zone = shown.wanted, _zone(shown.zone)
    since, until = _days(wanted, zone)
    return {
        "code": wanted.code,
        "kind": AMOUNT if wanted.percent is None else SHARE,
        "percent": str(wanted.percent or ""),
        "amount": plain_amount(wanted.amount_cents or 0, wanted.currency or "CAD") if wanted.amount_cents else "",
        "currency": wanted.currency or "",
        "program": str(wanted.program_id or ""),
        "since": since.isoformat() if since else "",
        "until": until.isoformat() if until else "",
        "uses": "" if wanted.uses is None else str(wanted.uses),
        "active": "yes" if wanted.active else "",
        "stamp": wanted.stamp,
    }


def _read(form: Form, own: CodeShown | None) -> CodeWanted:
    """The form in the clinic's words. Raises BadEntry."""
    entry = Entry(form, WORDS)
    program = next((each for each in codes.program_choices(reading()) if str(each.id) == form["program"]), None)
    is_amount = entry.choice("kind", (SHARE, AMOUNT)) == AMOUNT
    currency = _currency(form, program)
    zone = _zone(program.zone if program else None)
    wanted = CodeWanted(
        code=tidy_code(entry.line("code", 100, required=True)),
        percent=None if is_amount else entry.whole("percent", 1, 100),
        amount_cents=_amount(entry, currency) if is_amount else None,
        currency=currency if is_amount else None,
        program_id=typed.number(form["program"]) if form["program"] else None,
        starts_at=_edge(entry, "since", zone),
        ends_at=_edge(entry, "until", zone, days=1),
        uses=entry.whole("uses", 1, 1_000_000) if form["uses"] else None,
        active=entry.yes("active"),
    )
    if form["program"] and typed.number(form["program"]) is None:
        entry.refuse("program", _l("For: please choose one from the list."))
    entry.check()
    return _as_exact_as_before(wanted, own, zone)


def _currency(form: Form, program: Choice | None) -> str:
    """That of the program; else the chosen one, or the clinic's first."""
    offered = price_currencies(reading()) or ["CAD"]
    return program.currency if program else form["currency"] if form["currency"] in offered else offered[0]


def _amount(entry: Entry, currency: str) -> int:
    try:
        cents = int(parse_amount(entry.raw("amount"), currency))
    except ValueError:
        cents = 0
    if not 0 < cents <= LARGEST_AMOUNT:
        entry.refuse("amount", _l("Amount: such as 15.00, more than nothing."))
    return cents


def _edge(entry: Entry, name: str, zone: str, days: int = 0) -> datetime | None:
    """The moment at which a day begins there, or the one so many days later."""
    if not entry.raw(name):
        return None
    day = typed.day(entry.raw(name))
    if day is None:
        entry.refuse(name, _l("Choose a day, or leave it empty."))
        return None
    return edge_at(day + timedelta(days=days), 0, zone)


def _as_exact_as_before(wanted: CodeWanted, own: CodeShown | None, zone: str) -> CodeWanted:
    """A form shows days; a moment within one that nobody changed stays what it is."""
    if own is None or _days(own.wanted, zone) != _days(wanted, zone):
        return wanted
    kept: dict[str, Any] = {"starts_at": own.wanted.starts_at, "ends_at": own.wanted.ends_at}
    return CodeWanted(**{**vars(wanted), **kept})


def _days(wanted: CodeWanted, zone: str) -> tuple[date | None, date | None]:
    """The first day on which a code works there, and the last one."""
    last = wanted.ends_at - timedelta(seconds=1) if wanted.ends_at else None
    return wanted.starts_at and day_of(wanted.starts_at, zone), last and day_of(last, zone)


def _called(program: Choice) -> str:
    """ "Back in motion, from Tue 22 Dec 2026" """
    if program.begins is None:
        return program.name
    day = weekday(local_day(program.begins, program.zone))
    return _("%(program)s, from %(day)s", program=program.name, day=day)


def _zone(of_program: str | None) -> str:
    return of_program or clinic_zone(reading()).key


def _validity(shown: CodeShown, zone: str) -> str:
    since, until = _days(shown.wanted, zone)
    if since and until:
        return _("%(since)s to %(until)s", since=plain_day(since), until=plain_day(until))
    if since:
        return _("from %(since)s", since=plain_day(since))
    return _("until %(until)s", until=plain_day(until)) if until else _("always")


def _page(form: Form, own: CodeShown | None = None, wrong: dict[str, str] | None = None) -> ResponseReturnValue:
    currencies = price_currencies(reading())
    programs = [(str(each.id), _called(each)) for each in codes.program_choices(reading())]
    page = render_template(
        "office/programs/code_form.html",
        form=form,
        own=own,
        wrong=wrong or {},
        programs=[("", _("All programs")), *programs],
        currencies=[(each, each) for each in currencies],
        several=len(currencies) > 1,
    )
    return page, 422 if wrong else 200
