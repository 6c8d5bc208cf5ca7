"""Settings: payment gateways. The form tries both keys at Stripe before anything is kept (O3)."""

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime
from secrets import token_hex
from uuid import UUID, uuid4

from babel.dates import format_datetime
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.errors import Refusal
from portal.gateway import facts
from portal.gateway.keys import PRODUCTION, SECRET, WEBHOOK_SECRET, BadGateway, holds_a_secret
from portal.gateway.reading import GatewayShown, gateways, locations, seen_as
from portal.gateway.setting_up import (
    GatewayNotSaved,
    GatewayWanted,
    Tools,
    change_gateway,
    make_webhook,
    set_up_gateway,
)
from portal.parts import parts
from portal.permissions import May
from portal.vault import CannotOpen
from portal.web.access import staff_may, who
from portal.web.office.changes import LANGUAGE, OF_GATEWAYS, clinic_zone, last_changes
from portal.web.scope import done_reading, reading

bp = Blueprint("gateways", __name__, url_prefix="/office/settings/gateways")

PUBLIC_ID = re.compile(r"[0-9a-f]{16}")
LONGEST = 500


@dataclass(frozen=True)
class Typed:
    """The form as somebody filled it in, or as it is first shown."""

    name: str = ""
    location: str = ""
    mode: str = PRODUCTION
    status: str = "inactive"
    default: bool = False
    token: str = ""
    secret: str = ""
    webhook_secret: str = ""

    def wanted(self) -> GatewayWanted:
        """The form in the verbs' words. A location that is no number is one that nobody has."""
        location_id = None
        if self.location:
            location_id = int(self.location) if re.fullmatch(r"[0-9]{1,9}", self.location) else 0
        return GatewayWanted(
            self.name,
            location_id,
            self.mode,
            self.status == "active",
            self.default,
            self.token,
            self.secret,
            self.webhook_secret,
        )

    def presentable(self) -> "Typed":
        """Without the secrets, wherever they were typed, and without what no page can hold."""
        return replace(self, name=_shown(self.name), token=_shown(self.token), secret="", webhook_secret="")


def _shown(text: str) -> str:
    return "" if holds_a_secret(text) else "".join(filter(str.isprintable, text))


# --- looking --------------------------------------------------------------------------------------------------------


@bp.get("")
@staff_may(May.SETTINGS, fresh=True)
def every() -> ResponseReturnValue:
    """All of them, and what has lately been changed."""
    return render_template(
        "office/gateways/list.html",
        gateways=gateways(reading()),
        moment=_moments(),
        changes=last_changes(reading(), OF_GATEWAYS),
        in_production=parts().config.production,
    )


@bp.get("/new")
@staff_may(May.SETTINGS, fresh=True)
def new() -> ResponseReturnValue:
    """An empty form. The gateway's public id is made here, so that the same press twice sets up one gateway."""
    return _new_page(token_hex(8), Typed())


@bp.get("/<public_id>")
@staff_may(May.SETTINGS, fresh=True)
def edit(public_id: str) -> ResponseReturnValue:
    """One gateway: its details, its keys as far as they may be seen, its webhook."""
    return _edit_page(_gateway(public_id))


def _gateway(public_id: str) -> GatewayShown:
    found = gateways(reading(), public_id)
    return found[0] if found else abort(404)


class _Moments:
    """Moments on the clinic's clock."""

    def __init__(self) -> None:
        self._zone = clinic_zone(reading())

    def __call__(self, moment: datetime) -> str:
        return format_datetime(moment.astimezone(self._zone), "d MMM y, HH:mm", locale=LANGUAGE)


_moments = _Moments


def _new_page(public_id: str, typed: Typed, refusal: Refusal | None = None, kept: str = "") -> ResponseReturnValue:
    return _form_page(None, public_id, typed, refusal, kept)


def _edit_page(
    gateway: GatewayShown,
    typed: Typed | None = None,
    refusal: Refusal | None = None,
    kept: str = "",
    seen: str = "",
    press: UUID | None = None,
) -> ResponseReturnValue:
    typed = typed or Typed(
        name=gateway.name,
        location=str(gateway.location_id or ""),
        mode=gateway.mode,
        status="active" if gateway.is_active else "inactive",
        default=gateway.is_default,
    )
    return _form_page(gateway, gateway.public_id, typed, refusal, kept, seen or seen_as(reading(), gateway), press)


def _form_page(
    gateway: GatewayShown | None, public_id: str, typed: Typed, refusal: Refusal | None, kept: str, seen: str = "",
    press: UUID | None = None,
) -> ResponseReturnValue:  # fmt: skip
    wrong = {name: str(text) for name, text in refusal.wrong.items()} if isinstance(refusal, GatewayNotSaved) else {}
    page = render_template(
        "office/gateways/form.html",
        gateway=gateway,
        public_id=public_id,
        seen=seen,
        typed=typed.presentable(),
        kept=kept,
        wrong=wrong,
        refusal=refusal,
        places=[("", _("All locations")), *((str(key), name) for key, name in locations(reading()))],
        facts=facts,
        moment=_moments(),
        webhook_url=_webhook_url(public_id),
        webhook_request=press or uuid4(),
        in_production=parts().config.production,
    )
    return page, refusal.status if refusal is not None else 200


def _webhook_url(public_id: str) -> str:
    return f"{parts().config.base_url}/webhooks/stripe/{public_id}"


# --- saving ---------------------------------------------------------------------------------------------------------


@bp.post("/new")
@staff_may(May.SETTINGS, fresh=True)
def add() -> ResponseReturnValue:
    """Try the keys at Stripe, then keep the gateway."""
    public_id = request.form.get("public_id", "")
    if not PUBLIC_ID.fullmatch(public_id):
        public_id = token_hex(8)
    typed = _typed()
    done_reading()
    try:
        account = set_up_gateway(_tools(), public_id, typed.wanted(), by=who().id)
    except Refusal as refusal:
        return _new_page(public_id, typed, refusal, _kept(typed, refusal))
    flash(_saved(account), "ok")
    return redirect(url_for("gateways.edit", public_id=public_id), 303)


@bp.post("/<public_id>")
@staff_may(May.SETTINGS, fresh=True)
def save(public_id: str) -> ResponseReturnValue:
    """Try the keys at Stripe where that is needed, then keep what was changed."""
    gateway = _gateway(public_id)
    typed, seen = _typed(), request.form.get("seen", "")
    done_reading()
    try:
        account = change_gateway(_tools(), public_id, seen, typed.wanted(), by=who().id)
    except Refusal as refusal:
        return _edit_page(gateway, typed, refusal, _kept(typed, refusal), seen)
    flash(_saved(account), "ok")
    return redirect(url_for("gateways.edit", public_id=public_id), 303)


@bp.post("/<public_id>/webhook")
@staff_may(May.SETTINGS, fresh=True)
def webhook(public_id: str) -> ResponseReturnValue:
    """Make the endpoint at Stripe, and keep its signing secret."""
    gateway = _gateway(public_id)
    try:
        press = UUID(request.form.get("request_id", ""))
    except ValueError:
        press = uuid4()
    done_reading()
    try:
        make_webhook(_tools(), public_id, _webhook_url(public_id), str(press), by=who().id)
    except BadGateway as refusal:
        return _edit_page(gateway, refusal=GatewayNotSaved({WEBHOOK_SECRET: refusal.text}))
    except Refusal as refusal:
        return _edit_page(gateway, refusal=refusal, press=press)
    flash(_("The webhook is made\nStripe will tell us of each payment here. Its signing secret is kept."), "ok")
    return redirect(url_for("gateways.edit", public_id=public_id), 303)


def _tools() -> Tools:
    return Tools(parts().database, parts().vault, parts().connect)


def _saved(account: str | None) -> str:
    if account is None:
        return _("Saved\nThe portal follows from the next page on.")
    return _("Saved\nStripe takes both keys together. They belong to the account %(account)s.", account=account)


def _typed() -> Typed:
    def text(name: str) -> str:
        return request.form.get(name, "")[:LONGEST].strip()

    before = _opened(request.form.get("kept", ""))
    return Typed(
        name=text("name"),
        location=text("location"),
        mode=text("mode"),
        status=text("status"),
        default=bool(request.form.get("default")),
        token=text("token"),
        secret=text("secret") or before.get(SECRET, ""),
        webhook_secret=text("webhook_secret") or before.get(WEBHOOK_SECRET, ""),
    )


def _kept(typed: Typed, refusal: Refusal) -> str:
    """The secrets that were typed, sealed into the page: Stripe shows a secret once, and nobody types it twice.

    One that was wrong is not kept: it has to be typed again. A kept one opens for this sign-in at this address alone.
    """
    wrong = refusal.wrong if isinstance(refusal, GatewayNotSaved) else {}
    held = {SECRET: typed.secret, WEBHOOK_SECRET: typed.webhook_secret}
    keep = {name: text for name, text in held.items() if text and name not in wrong}
    return parts().vault.seal(json.dumps(keep), _place()) if keep else ""


def _opened(kept: str) -> dict[str, str]:
    if not kept:
        return {}
    try:
        found = json.loads(parts().vault.open(kept, _place()))
    except (CannotOpen, ValueError):
        return {}
    return {str(name): str(text) for name, text in found.items()}


def _place() -> str:
    return f"gateway_form:{who().sign_in_id}:{request.path}"
