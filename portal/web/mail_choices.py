"""Which mails somebody wants: on a page of their own, and by the link in a reminder."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.letters.choices import choices_of, choose_receipt_pdf, choose_reminders, whose
from portal.parts import parts
from portal.web.access import patient_only, payer, public, who
from portal.web.scope import done_reading, reading, settings

bp = Blueprint("mail_choices", __name__)
from_mails = Blueprint("no_reminders", __name__)
"""What a mail program posts by itself, without a form of ours (RFC 8058): the signed address alone counts."""


@bp.get("/me/emails")
@patient_only
def page() -> ResponseReturnValue:
    """My choices."""
    reminders, receipt_pdf = choices_of(reading(), payer().id)
    return render_template(
        "mail_choices/page.html",
        reminders=reminders,
        receipt_pdf=receipt_pdf,
        offers_pdf=settings().yes("email_receipt_pdf"),
    )


@bp.post("/me/emails")
@patient_only
def choose() -> ResponseReturnValue:
    """Keep them."""
    patient_id, by, offers_pdf = payer().id, who().id, settings().yes("email_receipt_pdf")
    done_reading()
    choose_reminders(parts().database, patient_id, request.form.get("reminders") == "yes", by=by)
    if offers_pdf:
        choose_receipt_pdf(parts().database, patient_id, request.form.get("receipt_pdf") == "yes", by=by)
    flash(_("Your choices are saved."), "ok")
    return redirect(url_for("mail_choices.page"), 303)


@from_mails.get("/no-reminders/<token>")
@public
def ask(token: str) -> ResponseReturnValue:
    """The page behind the link: a button. Opening it changes nothing."""
    return render_template("mail_choices/stop.html", is_known=whose(parts().config, token) is not None, is_done=False)


@from_mails.post("/no-reminders/<token>")
@public
def stop(token: str) -> ResponseReturnValue:
    """No more reminders for whoever the mail went to."""
    patient_id = whose(parts().config, token)
    if patient_id is not None:
        done_reading()
        choose_reminders(parts().database, patient_id, False, by=None)
    return render_template("mail_choices/stop.html", is_known=patient_id is not None, is_done=patient_id is not None)
