"""Who may open what. Every route wears exactly one of these rules, and create_app refuses one that wears none."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import quote

from flask import Flask, abort, current_app, g, jsonify, make_response, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.errors import Refusal
from portal.invoices.reading import Payer
from portal.permissions import May
from portal.sign_ins import Person
from portal.web import confirming
from portal.web.asking import wants_json
from portal.web.scope import person, settings
from portal.webhooks import MAX_BODY_BYTES

View = TypeVar("View", bound=Callable[..., Any])

PUBLIC, PATIENT, STAFF, HALF, GATEWAY = "public", "patient", "staff", "half", "gateway"
SECOND_FACTOR = "/second-factor"


class PortalClosed(Refusal):
    """The clinic has turned the portal off for patients."""

    status = 403
    title = _l("The patient portal is closed at the moment")
    message = _l("Your invoices are safe and nothing was charged. To see or pay one, please ask the clinic.")


def rule_of(view: Callable[..., Any]) -> str | None:
    """The rule that a view wears."""
    return getattr(view, "access_rule", None)


def _wears(rule: str, guarded: Callable[..., Any], view: Callable[..., Any]) -> Any:
    assert rule_of(view) is None, f"{view.__name__} has a rule already"
    guarded.access_rule = rule  # type: ignore[attr-defined]  # a mark on the view
    return guarded


def public(view: View) -> View:
    """Anybody may."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return _wears(PUBLIC, guarded, view)


def signed_by_gateway(view: View) -> View:
    """Anybody may knock; the view itself checks the signature, and nothing else counts. Bodies may be longer."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        request.max_content_length = MAX_BODY_BYTES
        return view(*args, **kwargs)

    return _wears(GATEWAY, guarded, view)


def patient_only(view: View) -> View:
    """A signed-in patient may, while the portal is open."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        someone = person()
        if someone is None:
            return ask_to_sign_in()
        if someone.is_staff:
            abort(403)
        if not settings().yes("portal_enabled"):
            raise PortalClosed
        return view(*args, **kwargs)

    return _wears(PATIENT, guarded, view)


def staff_only(view: View) -> View:
    """A signed-in member of the clinic's staff may, whatever their role, whether the portal is open or not."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return _stopped() or view(*args, **kwargs)

    return _wears(STAFF, guarded, view)


def fresh_staff_only(view: View) -> View:
    """Like `staff_only`, and only within five minutes of typing their password; see `staff_may`."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return _stopped() or confirming.ask_again() or view(*args, **kwargs)

    guarded.is_fresh = True  # type: ignore[attr-defined]  # a mark on the view
    worn: View = _wears(STAFF, guarded, view)
    return worn


def staff_may(permission: May, *, fresh: bool = False) -> Callable[[View], View]:
    """A member of staff may whose role allows it (`portal/permissions.py`).

    `fresh`: and only within five minutes of typing their password; after that it is asked for again, and a form that
    was sent meanwhile goes on once it is given.
    """

    def wear(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            stopped = _stopped()
            if stopped is not None:
                return stopped
            if not who().may(permission):
                abort(403)
            return (fresh and confirming.ask_again()) or view(*args, **kwargs)

        guarded.is_fresh = fresh  # type: ignore[attr-defined]  # a mark on the view
        worn: View = _wears(rule_for(permission), guarded, view)
        return worn

    return wear


def rule_for(permission: May) -> str:
    """The name of the rule that asks for a permission."""
    return f"staff: {permission}"


def half_signed_in(view: View) -> View:
    """A member of staff may who has typed their password, also before their second factor."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        someone = person()
        if someone is None:
            return ask_to_sign_in()
        if not someone.is_staff:
            abort(403)
        return view(*args, **kwargs)

    return _wears(HALF, guarded, view)


def _stopped() -> ResponseReturnValue | None:
    """Why the office stays closed to whoever asks; None for staff who are wholly signed in."""
    someone = person()
    if someone is None:
        return ask_to_sign_in()
    if not someone.is_staff:
        abort(403)
    if someone.factor_at is None:
        return ask_to_sign_in()
    return None


def who() -> Person:
    """The signed-in person, in a view that only they can reach."""
    someone = person()
    assert someone is not None, "this view lets anybody in"
    return someone


def payer() -> Payer:
    """The signed-in patient with the people they pay for, in a view for patients."""
    return who().payer


def ask_to_sign_in() -> ResponseReturnValue:
    """Send a stranger to the sign-in page, and back here afterwards; a script is told so.

    Staff who have typed their password go on to their second factor.
    """
    back = "?next=" + quote(_where_they_were(), safe="/?=") if _where_they_were() else ""
    idle = ("&" if back else "?") + "why=idle" if g.get("was_idle") else ""
    sign_in = ("/login" if person() is None else SECOND_FACTOR) + back + idle
    if not wants_json():
        return redirect(sign_in, 303)
    answer = jsonify(
        outcome="refused",
        title=_("You are signed out"),
        text=_("Nothing was charged. Sign in to go on."),
        reload=True,
        location=sign_in,
    )
    return make_response(answer, 401)


def _where_they_were() -> str:
    """The page to come back to: this one, or the one that this form is on."""
    if request.method in ("GET", "HEAD"):
        path = request.full_path if request.query_string else request.path
    else:
        adapter = current_app.create_url_adapter(request)
        path = request.path if adapter and adapter.test(method="GET") else ""
    return path if path != "/" and is_own_path(path) else ""


def is_own_path(path: str) -> bool:
    """Whether a redirect to this path stays on this site, whatever a browser makes of it."""
    return (
        path.startswith("/")
        and not path.startswith("//")
        and len(path) <= 500
        and "\\" not in path
        and path.isascii()
        and path.isprintable()
        and " " not in path
        and not path.startswith(("/login", "/logout", "/reset", SECOND_FACTOR))
    )


def check_that_every_route_has_a_rule(app: Flask) -> None:
    """Fail at the start, not open at night."""
    bare = sorted(endpoint for endpoint, view in app.view_functions.items() if rule_of(view) is None)
    assert not bare, f"these endpoints declare no access rule: {', '.join(bare)}"
