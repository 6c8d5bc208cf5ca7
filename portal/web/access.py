"""Who may open what. Every route wears exactly one of these rules, and create_app refuses one that wears none."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import quote

from flask import Flask, abort, current_app, g, jsonify, make_response, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.accounts import Person
from portal.errors import Refusal
from portal.invoices.reading import Payer
from portal.web.asking import wants_json
from portal.web.scope import person, settings
from portal.webhooks import MAX_BODY_BYTES

View = TypeVar("View", bound=Callable[..., Any])

PUBLIC, PATIENT, STAFF, GATEWAY = "public", "patient", "staff", "gateway"


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
    """A signed-in member of the clinic's staff may, whether the portal is open or not."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        someone = person()
        if someone is None:
            return ask_to_sign_in()
        if not someone.is_staff:
            abort(403)
        return view(*args, **kwargs)

    return _wears(STAFF, guarded, view)


def who() -> Person:
    """The signed-in person, in a view that only they can reach."""
    someone = person()
    assert someone is not None, "this view lets anybody in"
    return someone


def payer() -> Payer:
    """The signed-in patient with the people they pay for, in a view for patients."""
    return who().payer


def ask_to_sign_in() -> ResponseReturnValue:
    """Send a stranger to the sign-in page, and back here afterwards; a script is told so."""
    back = "?next=" + quote(_where_they_were(), safe="/?=") if _where_they_were() else ""
    idle = ("&" if back else "?") + "why=idle" if g.get("was_idle") else ""
    sign_in = "/login" + back + idle
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
        and not path.startswith(("/login", "/logout", "/reset"))
    )


def check_that_every_route_has_a_rule(app: Flask) -> None:
    """Fail at the start, not open at night."""
    bare = sorted(endpoint for endpoint, view in app.view_functions.items() if rule_of(view) is None)
    assert not bare, f"these endpoints declare no access rule: {', '.join(bare)}"
