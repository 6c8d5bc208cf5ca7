"""One's own account: the password, the second factor, recovery codes, passkeys, and where else one is signed in."""

from typing import Any

from babel.dates import format_datetime
from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal import passkeys, second_factor
from portal.accounts import BadAccount, change_password
from portal.audit import record
from portal.parts import parts
from portal.sign_ins import end_other_sign_ins, open_sign_ins
from portal.web.access import fresh_staff_only, staff_only, who
from portal.web.confirming import password_error
from portal.web.office.changes import LANGUAGE, clinic_zone
from portal.web.scope import done_reading, reading, settings
from portal.web.second_factor import factor_set_up_at, keep_codes, set_up_page, set_up_with

bp = Blueprint("own_account", __name__, url_prefix="/office/account")


@bp.get("")
@staff_only
def page() -> ResponseReturnValue:
    """All of it on one page."""
    return _page()


def _page(wrong: dict[str, str] | None = None) -> ResponseReturnValue:
    zone = clinic_zone(reading())

    def when(moment: Any) -> str:
        return format_datetime(moment.astimezone(zone), "d MMM y, HH:mm", locale=LANGUAGE) if moment else ""

    factor = second_factor.second_factor_of(reading(), who().id)
    html = render_template(
        "own_account/page.html",
        factor=factor,
        factor_since=when(factor.set_up_at),
        passkeys=[
            {"id": one.id, "name": one.name, "made": when(one.made_at), "used": when(one.last_used_at)}
            for one in passkeys.passkeys_of(reading(), who().id)
        ],
        passkeys_work=passkeys.site_of(parts().config) is not None,
        sign_ins=[
            (since_id == who().sign_in_id, when(since)) for since_id, since in open_sign_ins(reading(), who().id)
        ],
        wrong=wrong or {},
    )
    return make_response(html, 422 if wrong else 200)


# --- password and sign-ins ------------------------------------------------------------------------------------------


@bp.post("/password")
@staff_only
def new_password() -> ResponseReturnValue:
    """The old password and a new one. Every other sign-in ends."""
    wrong = {}
    old_error = password_error(who(), request.form.get("old_password", ""))
    new = request.form.get("password", "")
    if old_error:
        wrong["old_password"] = old_error
    elif new != request.form.get("password_confirm", ""):
        wrong["password_confirm"] = _("The two passwords differ. Type the same one twice.")
    else:
        done_reading()
        try:
            change_password(parts(), user_id=who().id, sign_in_id=who().sign_in_id, email=who().email, password=new)
        except BadAccount as bad:
            wrong["password"] = bad.text
    if wrong:
        return _page(wrong)
    flash(_("Your password is changed\nWhoever was signed in with the old one is signed out."), "ok")
    return redirect(url_for(".page"), 303)


@bp.post("/sign-ins/end")
@staff_only
def end_others() -> ResponseReturnValue:
    """Sign out everywhere else."""
    done_reading()
    with parts().database.transaction() as session:
        ended = end_other_sign_ins(session, who().id, but=who().sign_in_id)
        if ended:
            record(session, "sign_ins.ended", who().name, by=who().id, after=ended)
    flash(_("You are signed out everywhere else") if ended else _("You were signed in nowhere else"), "ok")
    return redirect(url_for(".page"), 303)


# --- second factor --------------------------------------------------------------------------------------------------


@bp.get("/second-factor")
@fresh_staff_only
def new_factor() -> ResponseReturnValue:
    """Another authenticator app in place of the one there is."""
    return set_up_page(replaces=factor_set_up_at())


@bp.post("/second-factor")
@fresh_staff_only
def replace_factor() -> ResponseReturnValue:
    """The first code of the new app."""
    return set_up_with(request.form.get("code", ""), onward=url_for(".page"), replaces=factor_set_up_at())


@bp.post("/recovery-codes")
@fresh_staff_only
def new_codes() -> ResponseReturnValue:
    """Ten new recovery codes; the former ones count no more."""
    user_id = who().id
    done_reading()
    keep_codes(second_factor.new_recovery_codes(parts(), user_id=user_id))
    return redirect(url_for("second_factor.codes", next=url_for(".page")), 303)


# --- passkeys -------------------------------------------------------------------------------------------------------


@bp.get("/passkeys/new")
@fresh_staff_only
def new_passkey() -> ResponseReturnValue:
    """A name for the passkey, and the button that makes it."""
    if passkeys.site_of(parts().config) is None:
        return redirect(url_for(".page"), 303)
    return make_response(render_template("own_account/new_passkey.html"))


@bp.post("/passkeys/options")
@fresh_staff_only
def passkey_options() -> ResponseReturnValue:
    """For the script: what the browser needs to make a passkey."""
    clinic = settings().clinic_name
    done_reading()
    return passkeys.options_to_register(
        parts(), user_id=who().id, sign_in_id=who().sign_in_id, email=who().email, clinic=clinic
    )


@bp.post("/passkeys")
@fresh_staff_only
def add_passkey() -> ResponseReturnValue:
    """Keep the passkey that the browser made."""
    done_reading()
    try:
        passkeys.register(
            parts(),
            user_id=who().id,
            sign_in_id=who().sign_in_id,
            answer=request.form.get("credential", ""),
            name=request.form.get("name", ""),
        )
    except passkeys.PasskeyRefused as refusal:
        flash(f"{refusal.heading}\n{refusal.text}", "error")
        return redirect(url_for(".new_passkey"), 303)
    flash(_("Your passkey is added\nUse it instead of a code the next time you sign in."), "ok")
    return redirect(url_for(".page"), 303)


@bp.post("/passkeys/<int(max=2147483647):passkey_id>/remove")
@fresh_staff_only
def remove_passkey(passkey_id: int) -> ResponseReturnValue:
    """Take a passkey off the account."""
    done_reading()
    gone = passkeys.remove(parts(), user_id=who().id, passkey_id=passkey_id)
    flash(_("The passkey is removed") if gone else _("That passkey was removed already"), "ok")
    return redirect(url_for(".page"), 303)
