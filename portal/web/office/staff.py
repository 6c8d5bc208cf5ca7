"""Settings: the clinic's staff, their roles and second factors, and who is invited."""

from collections.abc import Callable

from flask import Blueprint, abort, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy.orm import Session

from portal import staff
from portal.errors import Refusal
from portal.invitations import SentInvitation, invitations_sent, invite, revoke
from portal.parts import parts
from portal.people import STAFF_ROLES
from portal.permissions import PERMISSIONS, May
from portal.web.access import staff_may, who
from portal.web.look import ROLE_WORDS
from portal.web.office.changes import clinic_zone
from portal.web.office.times import when
from portal.web.scope import done_reading, reading

bp = Blueprint("staff", __name__, url_prefix="/office/settings/staff")

MEMBER = "/<int(max=2147483647):number>"


@bp.get("")
@staff_may(May.STAFF, fresh=True)
def everybody() -> ResponseReturnValue:
    """Who works here, who is invited, and what each role may do."""
    zone = clinic_zone(reading())
    return render_template(
        "office/staff/everybody.html",
        staff=staff.everybody(reading()),
        invited=invitations_sent(reading()),
        when=lambda moment: when(moment, zone),
        permissions=[(str(each), [each in PERMISSIONS[role] for role in STAFF_ROLES]) for each in May],
        roles=STAFF_ROLES,
    )


@bp.route("/new", methods=["GET", "POST"])
@staff_may(May.STAFF, fresh=True)
def new() -> ResponseReturnValue:
    """Invite somebody to the staff."""
    if request.method == "GET":
        return _invitation_form()
    email, name = request.form.get("email", ""), " ".join(request.form.get("name", "").split())
    wrong = _what_is_wrong(email, name, request.form.get("role", ""))
    if not wrong:
        by = who().id
        done_reading()
        try:
            invite(parts(), email=email, name=name, role=request.form["role"], patient_id=None, by=by)
        except Refusal as refusal:
            wrong = {"email": refusal.text}
    if wrong:
        return make_response(_invitation_form(wrong), 422)
    flash(_("Invited.\n%(name)s gets an email with a link. It works once, for seven days.", name=name), "ok")
    return redirect(url_for("staff.everybody"), 303)


def _what_is_wrong(email: str, name: str, role: str) -> dict[str, str]:
    wrong: dict[str, str] = {}
    if not name or not name.isprintable() or len(name) > 160:
        wrong["name"] = _("Name: please fill this in, with at most 160 characters.")
    if not email.strip().isprintable() or "@" not in email:
        wrong["email"] = _("Email: this is not an address. It looks like name@example.com.")
    if role not in STAFF_ROLES:
        wrong["role"] = _("Role: please choose one from the list.")
    return wrong


def _invitation_form(wrong: dict[str, str] | None = None) -> str:
    typed = {name: request.form.get(name, "") for name in ("name", "email", "role")}
    return render_template("office/staff/new.html", typed=typed, wrong=wrong or {}, roles=_role_choices())


def _role_choices() -> list[tuple[str, str]]:
    return [(role, ROLE_WORDS[role].capitalize()) for role in STAFF_ROLES]


@bp.get(MEMBER)
@staff_may(May.STAFF, fresh=True)
def one(number: int) -> ResponseReturnValue:
    """One member of staff: role, second factor, on or off."""
    return _member(number)


def _member(number: int, wrong: str = "", role: str = "") -> str:
    member = staff.one(reading(), number)
    zone = clinic_zone(reading())
    return render_template(
        "office/staff/one.html",
        member=member,
        roles=_role_choices(),
        chosen=role or member.role,
        is_oneself=member.id == who().id,
        wrong=wrong,
        when=lambda moment: when(moment, zone),
    )


def _change(number: int, done: str, verb: Callable[[Session, int], None], typed: str = "") -> ResponseReturnValue:
    """Do one thing to a member of staff and say so, or say why not on their page."""
    done_reading()
    try:
        with parts().database.transaction() as session:
            verb(session, who().id)
    except staff.NoSuchStaff:
        raise
    except Refusal as refusal:
        return make_response(_member(number, refusal.text, typed), refusal.status)
    flash(done, "ok")
    return redirect(url_for("staff.one", number=number), 303)


@bp.post(MEMBER + "/role")
@staff_may(May.STAFF, fresh=True)
def role(number: int) -> ResponseReturnValue:
    """Another role."""
    wanted = request.form.get("role", "")
    done = _("Saved.\nThe new role counts from the next page on.")
    return _change(number, done, lambda session, by: staff.change_role(session, number, wanted, by=by), wanted)


@bp.post(MEMBER + "/off")
@staff_may(May.STAFF, fresh=True)
def off(number: int) -> ResponseReturnValue:
    """No signing in any more."""
    done = _("Switched off.\nEvery sign-in of this account has ended.")
    return _change(number, done, lambda session, by: staff.switch_off(session, number, by=by))


@bp.post(MEMBER + "/on")
@staff_may(May.STAFF, fresh=True)
def on(number: int) -> ResponseReturnValue:
    """Signing in again."""
    done = _("Switched on.\nThis account can sign in again.")
    return _change(number, done, lambda session, by: staff.switch_on(session, number, by=by))


@bp.post(MEMBER + "/second-factor")
@staff_may(May.STAFF, fresh=True)
def reset(number: int) -> ResponseReturnValue:
    """A second factor that was lost."""
    done = _("Reset.\nEvery sign-in of this account has ended. A new second factor is set up at the next one.")
    return _change(number, done, lambda session, by: staff.reset_second_factor(session, number, by=by))


# --- invitations ----------------------------------------------------------------------------------------------------


def _invitation(number: int) -> SentInvitation:
    """An invitation of staff that nobody has used or taken back; 404 without one. (Patients have theirs.)"""
    return next((each for each in invitations_sent(reading()) if each.id == number), None) or abort(404)


@bp.post("/invitations/<int(max=2147483647):number>/revoke")
@staff_may(May.STAFF, fresh=True)
def take_back(number: int) -> ResponseReturnValue:
    """Take an invitation back."""
    _invitation(number)
    by = who().id
    done_reading()
    if revoke(parts(), number, by=by):
        flash(_("Taken back.\nThe link in the email opens nothing any more."), "ok")
    else:
        flash(_("Nothing was changed.\nThis invitation was used or taken back meanwhile."), "warn")
    return redirect(url_for("staff.everybody"), 303)


@bp.post("/invitations/<int(max=2147483647):number>/again")
@staff_may(May.STAFF, fresh=True)
def send_again(number: int) -> ResponseReturnValue:
    """Send an invitation once more, with a new link."""
    found = _invitation(number)
    by = who().id
    done_reading()
    invite(parts(), email=found.email, name=found.name, role=found.role, patient_id=None, by=by)
    flash(_("Sent again.\nThe new link works once, for seven days; the former one opens nothing any more."), "ok")
    return redirect(url_for("staff.everybody"), 303)
