"""What the pages about one's places in programs share: whose browser it is, the clock of a held place, the doors."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from flask import current_app, request
from flask_babel import ngettext
from itsdangerous import BadData, URLSafeTimedSerializer
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from portal.clock import now
from portal.parts import parts
from portal.programs.my_places import MyPlace, Viewer, place_for, place_held_by
from portal.programs.refusals import ProgramsClosed, RegistrationNotFound
from portal.programs.words import until_words
from portal.web.access import PortalClosed
from portal.web.scope import person, reading, settings

KEPT_FOR = timedelta(days=2)
"""A browser remembers its secret so long: longer than any hold, and than the link of a sign-up."""


def check_portal() -> None:
    """Whether the portal is open, on a page that needs no sign-in. Raises PortalClosed."""
    if not settings().yes("portal_enabled"):
        raise PortalClosed


def check_programs() -> None:
    """Whether the module is on. Nobody registers while it is off; whoever has a place still sees it, and can cancel.
    Raises ProgramsClosed.
    """
    if not settings().yes("module_programs"):
        raise ProgramsClosed


# --- whose browser it is --------------------------------------------------------------------------------------------


def _cookie() -> str:
    return "__Host-place" if parts().config.over_https else "place"


def secret_here() -> str:
    """The secret by which this browser holds places before anybody has signed in; empty where it has none."""
    found = request.cookies.get(_cookie(), "")
    return found if 16 <= len(found) <= 64 and found.isascii() and found.isprintable() else ""


def new_secret() -> str:
    """A secret for a browser that has none."""
    return secrets.token_urlsafe(24)


def remember(response: Response, secret: str) -> None:
    """Have the browser keep its secret."""
    response.set_cookie(
        _cookie(), secret, max_age=KEPT_FOR, secure=parts().config.over_https, httponly=True, samesite="Lax"
    )


def viewer() -> Viewer:
    """Who looks: the patient who is signed in, and the browser."""
    someone = person()
    if someone is None or someone.is_staff:
        return Viewer(secret=secret_here())
    return Viewer(someone.payer, someone.id, secret_here())


def place_here(public_id: str) -> MyPlace:
    """One of the viewer's places. Raises RegistrationNotFound for anybody else's."""
    found = place_for(reading(), viewer(), public_id)
    if found is None:
        raise RegistrationNotFound
    return found


def held_here(connection: Connection) -> MyPlace | None:
    """The place that this browser holds for a stranger; None where there is none."""
    secret = secret_here()
    return place_held_by(connection, secret) if secret else None


# --- making an account on the way ----------------------------------------------------------------------------------


def _proofs() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(str(current_app.secret_key), salt="place of a sign-up")


def proof_of(public_id: str) -> str:
    """Shows that whoever has it held this place when they asked for an account; the link of the mail carries it."""
    return str(_proofs().dumps(public_id))


def proved_place(proof: str) -> str | None:
    """The public id of the place that a proof is for; None for what is no proof of ours, or too old a one."""
    try:
        found = _proofs().loads(proof[:200], max_age=round(KEPT_FOR.total_seconds()))
    except BadData:
        return None
    return found if isinstance(found, str) else None


# --- the clock ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clock:
    """How long a place is kept yet, in seconds and in words."""

    until: str
    iso: str
    left_s: int
    whole_s: int
    left: str


def clock_of(place: MyPlace) -> Clock | None:
    """The clock of a held or offered place; None for any other."""
    if place.held_until is None or not place.is_kept:
        return None
    left_s = max(round((place.held_until - now()).total_seconds()), 0)
    whole_s = max(settings().number("program_hold_minutes") * 60, left_s)
    return Clock(until_words(place.held_until, place.zone, now()), place.held_until.isoformat(), left_s, whole_s,
                 left_words(left_s))  # fmt: skip


def left_words(left_s: int) -> str:
    """ "7 minutes", "1 minute" """
    return str(ngettext("%(num)s minute", "%(num)s minutes", max(-(-left_s // 60), 1)))
