"""Settings, Emails: which mails the clinic sends, what each looks like, and the clinic's own paragraph in it."""

from typing import Any

from flask import Blueprint, abort, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from portal.letters.samples import sample
from portal.letters.writing import Written
from portal.parts import parts
from portal.permissions import May
from portal.settings import LETTERS
from portal.web.access import staff_may
from portal.web.headers import answer_with, framing_itself
from portal.web.office.settings import form_of, save
from portal.web.scope import settings

bp = Blueprint("emails", __name__, url_prefix="/office/settings/emails")

MAIL = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self';"
    " sandbox"
)
"""The policy of a preview: styles of its own and nothing else, whatever stands in it."""

SWITCHES = (
    "email_receipt_pdf", "pay_link_days", "email_void_addresses",
    "email_reminders", "reminder_days_before", "reminder_days_after", "reminder_every_days", "reminder_most",
)  # fmt: skip
WHEN = {
    "pay_request": _l("When staff press Request payment, or tick it at checkout."),
    "invoice": _l("At checkout, where “Email invoice to patient” is ticked."),
    "receipt": _l("With each payment by card, to whoever paid."),
    "payment_failed": _l("When a payment fails after its payer has left the page."),
    "refund": _l("When money has really gone back, to whoever had paid."),
    "reminder": _l("Some days before the due date, and after it, as set here."),
    "void": _l("To the addresses set here, when an invoice is voided."),
    "registration": _l("When a place in a program is paid, or confirmed without a payment. The dates are attached."),
    "program_changed": _l(
        "When the sessions or the location of a program change, to each confirmed place, if whoever "
        "changes them leaves that ticked. The dates are attached."
    ),
    "registration_cancelled": _l("When a confirmed place is cancelled, by the person or by staff."),
    "waitlisted": _l("When somebody joins the waitlist of a program."),
    "place_offered": _l("When a place comes free, to whoever has waited longest."),
    "place_lapsed": _l("When the time to take an offered place has run out."),
    "no_place": _l("When a payment arrives after its place went to somebody else. The money goes back by itself."),
}


@bp.get("")
@staff_may(May.SETTINGS, fresh=True)
def page() -> ResponseReturnValue:
    """The switches and numbers, and the list of mails."""
    return form_of("emails", SWITCHES, letters=LETTERS, when=WHEN)


@bp.post("")
@staff_may(May.SETTINGS, fresh=True)
def save_page() -> ResponseReturnValue:
    """Keep what was changed there."""
    return save("emails", SWITCHES, url_for("emails.page"), letters=LETTERS, when=WHEN)


@bp.get("/<kind>")
@staff_may(May.SETTINGS, fresh=True)
def letter(kind: str) -> ResponseReturnValue:
    """One kind of mail: what it looks like, and the clinic's own paragraph in it."""
    return form_of("email", [_note_of(kind)], **_shown(kind))


@bp.post("/<kind>")
@staff_may(May.SETTINGS, fresh=True)
def save_letter(kind: str) -> ResponseReturnValue:
    """Keep the clinic's own paragraph."""
    return save("email", [_note_of(kind)], url_for("emails.letter", kind=kind), **_shown(kind))


@bp.get("/<kind>/preview")
@staff_may(May.SETTINGS)
def preview(kind: str) -> ResponseReturnValue:
    """The mail's HTML as mail programs get it, for the frame on its page: it runs nothing and fetches nothing."""
    _note_of(kind)
    answer_with(MAIL, is_framed=True)
    return _sample(kind).html


def _note_of(kind: str) -> str:
    """The setting that holds the paragraph of this kind; 404 for an unknown one."""
    return f"email_note_{kind}" if kind in LETTERS else abort(404)


def _shown(kind: str) -> dict[str, Any]:
    answer_with(framing_itself(own_scripts=True))
    return {"kind": kind, "heading": LETTERS[kind], "when": WHEN[kind], "sample": _sample(kind)}


def _sample(kind: str) -> Written:
    return sample(kind, settings(), parts().config.base_url)
