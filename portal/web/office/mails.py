"""Mails about invoices, from the office's side: asking for a payment."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from flask import Blueprint, abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext

from portal.invoices.search.rows import PAGE
from portal.letters.addressing import addressee
from portal.letters.several import Told, request_payments
from portal.parts import parts
from portal.permissions import May
from portal.web import typed
from portal.web.access import is_own_path, staff_may, who
from portal.web.scope import done_reading, reading, settings

bp = Blueprint("mails", __name__, url_prefix="/office/invoices")

LONGEST_NUMBER = 24
MOST_NAMED = 5  # the next page says so many invoices with their addresses; the sentence travels in a cookie


# --- asking for a payment -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """That a payment can be asked for by mail: where it would go (empty: nobody has an address), and the press."""

    email: str
    request_id: UUID


def may_ask() -> bool:
    """Whether the clinic sends requests to pay, and whoever is signed in may send one."""
    return settings().yes("email_pay_online_request") and who().may(May.RECEIVE)


def ask_for(patient_id: int) -> Ask | None:
    """What stands beside the button that asks for a payment; None where there is no such button."""
    if not may_ask():
        return None
    to = addressee(reading(), patient_id)
    return Ask(to.email if to else "", uuid4())


@bp.post("/request")
@staff_may(May.RECEIVE)
def ask() -> ResponseReturnValue:
    """Send a request to pay: of the one invoice whose button was pressed, or of all that are ticked."""
    press = typed.uuid(request.form.get("request")) or abort(400)
    only = request.form.get("only")
    asked = [only] if only else request.form.getlist("number")[:PAGE]
    numbers = list(dict.fromkeys(filter(None, (typed.words(one, LONGEST_NUMBER) for one in asked))))
    if not numbers:
        flash(_("No invoice is ticked.\nTick those to ask for, then press again."), "warn")
        return _back()
    done_reading()
    told = request_payments(parts(), numbers, press, by=who().id)
    if not (told.sent or told.not_sent):
        abort(404)
    _tell(told)
    return _back()


def _back() -> ResponseReturnValue:
    """To the page with the button."""
    back = request.form.get("back", "")
    safe = is_own_path(back) and back.startswith("/office/")
    return redirect(back if safe else url_for("search.invoices"), 303)


def _tell(told: Told) -> None:
    """One sentence for what was sent, and one for each reason why something was not."""
    if told.sent:
        heading = ngettext(
            "A request to pay is on its way", "%(num)s requests to pay are on their way", len(told.sent)
        )
        flash(f"{heading}\n{_sent_to(told.sent)}", "ok")
    if told.not_sent:
        count = sum(len(numbers) for numbers in told.not_sent.values())
        heading = ngettext("1 request was not sent", "%(num)s requests were not sent", count)
        reasons = (f"{', '.join(numbers)}: {why}" for why, numbers in told.not_sent.items())
        flash("\n".join([heading, *reasons]), "warn")


def _sent_to(sent: dict[str, str]) -> str:
    if len(sent) > MOST_NAMED:
        return str(_("Each invoice's page says to which address."))
    named = (_("invoice %(number)s to %(email)s", number=number, email=email) for number, email in sent.items())
    return _("For %(them)s.", them=", ".join(named))
