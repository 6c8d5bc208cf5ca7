"""Cancel a registration: the rule in words, what goes back by it, and staff's own share where they may refund."""

from flask import flash, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.audit import note_view
from portal.errors import Refusal
from portal.invoices.reading.words import money
from portal.parts import parts
from portal.permissions import May
from portal.programs.cancelling import cancel
from portal.programs.desk import asking
from portal.programs.desk.rosters import Entry, Group
from portal.programs.ending import let_place_go
from portal.web import typed
from portal.web.access import staff_may, who
from portal.web.office.program_desk.room import bp, entry_or_404, group_or_404, to_the_registrations
from portal.web.scope import done_reading, reading

OWN_SHARE = "own"


@bp.get("/<public_id>/registrations/<key>/cancel")
@staff_may(May.REGISTER)
def cancel_page(public_id: str, key: str) -> ResponseReturnValue:
    """What cancelling means for them."""
    group = group_or_404(public_id)
    return _page(group, entry_or_404(group, key))


@bp.post("/<public_id>/registrations/<key>/cancel")
@staff_may(May.REGISTER)
def cancel_it(public_id: str, key: str) -> ResponseReturnValue:
    """Cancel a confirmed place, or let go of one that is not; the next in line is offered it."""
    group = group_or_404(public_id)
    entry = entry_or_404(group, key)
    if not entry.is_live:
        flash(_("It was cancelled already\nNothing was changed."), "warn")
        return to_the_registrations(public_id)
    if not entry.is_confirmed:
        return _let_go(group, entry)
    percent, error = _percent(group)
    if percent is None:
        return _page(group, entry, error)
    done_reading()
    try:
        cancelled = cancel(parts(), key, who().id, by_staff=True, percent=percent)
    except Refusal as refusal:
        return _page(
            group, entry_or_404(group, key), f"{refusal.heading.rstrip('.')}. {refusal.text}", refusal.status
        )
    flash(_told(group, entry, cancelled.give_back_cents), "ok")
    return to_the_registrations(public_id)


def _percent(group: Group) -> tuple[int | None, str]:
    """Which share goes back: what the rule says, if it is still what the page showed; or staff's own."""
    rule = asking.rule_now(reading(), group).percent
    if request.form.get("share") == OWN_SHARE and who().may(May.REFUND):
        own = typed.number(request.form.get("percent"), 100)
        return own, "" if own is not None else _("Give the share as a whole number from 0 to 100.")
    if who().may(May.REFUND) and request.form.get("percent", "").strip():
        return None, _("You typed a share, but chose the rule. Choose “Another share”, or leave the field empty.")
    if typed.number(request.form.get("shown")) != rule:
        return None, _("By the rule it is %(percent)s %% now. Look it over, then press again.", percent=rule)
    return rule, ""


def _told(group: Group, entry: Entry, back_cents: int) -> str:
    told = _("%(person)s is taken off %(program)s", person=entry.name, program=group.name)
    if back_cents == 0:
        return f"{told}\n{_('No money goes back.')}"
    amount = money(back_cents, group.currency)
    counter_cents = asking.paid_at_the_counter(reading(), entry.id)
    if counter_cents == 0:
        return told + "\n" + _("%(amount)s goes back to the card it was paid with.", amount=amount)
    if counter_cents >= entry.paid_cents:
        where = _("Give %(amount)s back over the counter, and record it under the payments of the invoice.")
        return told + "\n" + where % {"amount": amount}
    return told + "\n" + _(
        "%(amount)s goes back. What was paid by card goes back to the card; give the rest back over the counter, and "
        "record it under the payments of the invoice.",
        amount=amount,
    )  # fmt: skip


def _let_go(group: Group, entry: Entry) -> ResponseReturnValue:
    done_reading()
    try:
        let_place_go(parts(), entry.public_id, who().id, by_staff=True)
    except Refusal as refusal:
        return _page(
            group, entry_or_404(group, entry.public_id), f"{refusal.heading}. {refusal.text}", refusal.status
        )
    if entry_or_404(group, entry.public_id).is_confirmed:
        flash(
            _("It has just been paid\nThe place is confirmed and stays theirs. Cancel it if that is meant."), "warn"
        )
    else:
        flash(_("%(person)s is taken off the list\nNothing was charged.", person=entry.name), "ok")
    return to_the_registrations(group.public_id)


def _by_rule(group: Group, entry: Entry, percent: int) -> str:
    """What becomes of the money where this share goes back."""
    kept, back = asking.kept_and_back_of(entry, percent)
    words = []
    if entry.paid_cents > 0:
        amount = money(back, group.currency)
        words.append(_("%(amount)s goes back.", amount=amount) if back else _("No money goes back."))
    if entry.balance_cents > 0:
        owed = max(kept - entry.paid_cents, 0)
        still = _("Of what is not paid, %(amount)s stays owed.", amount=money(owed, group.currency))
        words.append(still if owed else _("What is not paid is owed no more."))
    return _("If you cancel now: %(what)s", what=" ".join(words))


def _page(group: Group, entry: Entry, error: str = "", status: int = 422) -> ResponseReturnValue:
    rule = asking.rule_now(reading(), group)
    page = render_template(
        "office/programs/cancel.html",
        group=group,
        entry=entry,
        rule=rule,
        rule_words=asking.rule_words(rule, group),
        by_rule=_by_rule(group, entry, rule.percent),
        paid=money(entry.paid_cents, group.currency),
        own=request.form.get("percent", ""),
        chose_own=request.form.get("share") == OWN_SHARE,
        may_choose=who().may(May.REFUND),
        error=error,
    )
    if entry.patient_id is not None:
        note_view(parts().database, who().id, entry.patient_id, "program registration")
    return page, status if error else 200
