"""Settings: general, and modules. Each switch is read at every request, so a change works at the next one (O4)."""

from collections.abc import Mapping, Sequence

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.parts import parts
from portal.permissions import May
from portal.settings import KEYS, Change, SettingsNotSaved, change_settings
from portal.web.access import staff_may, who
from portal.web.office.changes import last_changes, of_settings, value_words
from portal.web.scope import done_reading, reading, settings

bp = Blueprint("settings", __name__, url_prefix="/office/settings")

GENERAL = (
    "accept_payments_in_portal", "email_pay_online_request", "accept_prepaid_cards",
    "portal_enabled", "portal_allow_sign_up", "idle_minutes",
    "clinic_name", "clinic_address", "clinic_phone", "clinic_email", "clinic_hue",
)  # fmt: skip
MODULES = ("module_payment_gateways", "module_programs", "program_hold_minutes", "program_offer_hours")
SHOWN = "was_"
"""Beside each control its form says what it showed: only what the person changed is written."""
LONGEST = 2_000


@bp.get("")
@staff_may(May.SETTINGS, fresh=True)
def general() -> ResponseReturnValue:
    """The switches of payments and of the portal, and the clinic's own texts."""
    return form_of("general", GENERAL)


@bp.post("")
@staff_may(May.SETTINGS, fresh=True)
def save_general() -> ResponseReturnValue:
    """Keep what was changed there."""
    return save("general", GENERAL, url_for("settings.general"))


@bp.get("/modules")
@staff_may(May.SETTINGS, fresh=True)
def modules() -> ResponseReturnValue:
    """Which parts of the product the clinic uses."""
    return form_of("modules", MODULES)


@bp.post("/modules")
@staff_may(May.SETTINGS, fresh=True)
def save_modules() -> ResponseReturnValue:
    """Keep what was changed there."""
    return save("modules", MODULES, url_for("settings.modules"))


def form_of(
    name: str,
    keys: Sequence[str],
    typed: Mapping[str, str] | None = None,
    wrong: Mapping[str, object] | None = None,
    **more: object,
) -> ResponseReturnValue:
    """A form of settings: what stands, or what somebody typed that could not be kept, each with its sentence.

    `name`: its template's. `more`: what else that page shows.
    """
    stands = {key: settings().text(key) for key in keys}
    page = render_template(
        f"office/settings/{name}.html",
        stands=stands,
        values={**stands, **{key: "".join(filter(str.isprintable, text)) for key, text in (typed or {}).items()}},
        wrong={key: str(sentence) for key, sentence in (wrong or {}).items()},
        changes=last_changes(reading(), of_settings(keys)),
        KEYS=KEYS,
        **more,
    )
    return page, 422 if wrong else 200


def save(name: str, keys: Sequence[str], back: str, **more: object) -> ResponseReturnValue:
    """Keep what was changed in that form, and go `back`; or show it again, with what can't be kept."""
    shown = {key: request.form[SHOWN + key][:LONGEST] for key in keys if SHOWN + key in request.form}
    wanted = {key: _typed(key) for key in shown}
    done_reading()
    try:
        with parts().database.transaction() as session:
            changes = change_settings(session, shown, wanted, by=who().id)
    except SettingsNotSaved as refusal:
        changed = {key: value for key, value in wanted.items() if value.strip() != shown[key].strip()}
        return form_of(name, keys, changed, refusal.wrong, **more)
    flash(_what_changed(changes), "ok")
    return redirect(back, 303)


def _typed(key: str) -> str:
    """A switch that is off sends nothing."""
    if KEYS[key].closed:
        return "yes" if request.form.get(key) == "yes" else "no"
    return request.form.get(key, "")[:LONGEST]


def _what_changed(changes: Sequence[Change]) -> str:
    if not changes:
        return _("Nothing was changed.")
    said = [
        _("%(name)s is now: %(value)s.", name=KEYS[one.key].name, value=value_words(one.after).rstrip("."))
        for one in changes
    ]
    return "\n".join([_("Saved"), *said, _("The portal follows from the next page on; no restart is needed.")])
