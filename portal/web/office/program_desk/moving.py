"""Move a person to another program: which have a place, and what each costs more or less."""

from typing import NamedTuple

from flask import flash, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.audit import note_view
from portal.errors import Refusal
from portal.invoices.reading import local_day
from portal.invoices.reading.words import money, weekday
from portal.parts import parts
from portal.permissions import May
from portal.programs import refusals
from portal.programs.desk import asking, rosters
from portal.programs.desk.moving import Move, move
from portal.programs.desk.rosters import Entry, Group
from portal.web import typed
from portal.web.access import staff_may, who
from portal.web.office.program_desk.room import bp, entry_or_404, group_or_404, to_the_registrations
from portal.web.scope import done_reading, reading


class Target(NamedTuple):
    """A program that they could move to: `cents` is what it costs more, less than nothing where it costs less."""

    group: Group
    about: str
    cents: int
    has_place: bool


@bp.get("/<public_id>/registrations/<key>/move")
@staff_may(May.REGISTER)
def move_page(public_id: str, key: str) -> ResponseReturnValue:
    """The programs that they could move to."""
    group = group_or_404(public_id)
    return _page(group, entry_or_404(group, key))


@bp.post("/<public_id>/registrations/<key>/move")
@staff_may(May.REGISTER)
def move_it(public_id: str, key: str) -> ResponseReturnValue:
    """Move them, at the price that was shown, or at the one that was agreed."""
    group = group_or_404(public_id)
    entry = entry_or_404(group, key)
    chosen = typed.words(request.form.get("to"), 24)
    keeps = request.form.get("price") == "keep"
    to = rosters.group(reading(), chosen) if chosen.isprintable() else None
    if to is None or to.id == group.id:
        return _page(group, entry, _("Choose a program to move to."))
    shown = _shown(request.form.get(f"shown-{to.id}", ""))
    done_reading()
    try:
        moved = move(parts(), key, Move(to.public_id, keeps, None if keeps else shown), who().id)
    except Refusal as refusal:
        return _page(group, entry_or_404(group, key), _why_not(refusal), refusal.status)
    told = _("%(person)s has moved to %(program)s", person=entry.name, program=to.name)
    flash(f"{told}\n{_difference_words(moved.difference_cents, to.currency)}", "ok")
    return to_the_registrations(to.public_id)


def _shown(text: str) -> int | None:
    cents = typed.number(text.removeprefix("-"), 10**12)
    return None if cents is None else -cents if text.startswith("-") else cents


def _why_not(refusal: Refusal) -> str:
    match refusal:
        case refusals.ProgramFull():
            return _("There is no free place any more. Nothing was changed.")
        case refusals.PriceChanged():
            return _("A price has changed meanwhile. Nothing was changed; look it over, then press again.")
    return f"{refusal.heading.rstrip('.')}. {refusal.text}"


def _difference_words(cents: int, currency: str) -> str:
    if cents > 0:
        return _("%(amount)s more is owed on their invoice.", amount=money(cents, currency))
    if cents < 0:
        return _(
            "%(amount)s less is owed. What was paid of it goes back: to the card by itself, over the counter by you.",
            amount=money(-cents, currency),
        )
    return _("The price stays the same.")


def _page(group: Group, entry: Entry, error: str = "", status: int = 422) -> ResponseReturnValue:
    page = render_template(
        "office/programs/move.html",
        group=group,
        entry=entry,
        targets=_targets(group, entry) if entry.is_confirmed else [],
        chosen=request.form.get("to", ""),
        keeps=request.form.get("price") == "keep",
        error=error,
    )
    if entry.patient_id is not None:
        note_view(parts().database, who().id, entry.patient_id, "program registration")
    return page, status if error else 200


def _targets(group: Group, entry: Entry) -> list[Target]:
    agreed = asking.price_agreed(reading(), entry)
    targets = []
    for other, first in rosters.others_to_come(reading(), group):
        cents = asking.price_today(reading(), other).total_cents - agreed.total_cents
        places = _("full") if other.left == 0 else _("places left: %(count)s", count=other.left)
        about = [
            _("from %(day)s", day=weekday(local_day(first, other.zone))),
            other.location,
            places,
            _short(cents, other.currency),
        ]
        targets.append(Target(other, ", ".join(about), cents, other.left > 0))
    return targets


def _short(cents: int, currency: str) -> str:
    if cents == 0:
        return _("same price")
    if cents > 0:
        return _("%(amount)s more", amount=money(cents, currency))
    return _("%(amount)s less", amount=money(-cents, currency))
