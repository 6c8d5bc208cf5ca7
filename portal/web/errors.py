"""When something goes wrong: a page in the product's own look that says what happened and what to do.

A refusal is answered with its own words; everything else with a reference, which the log has too, and no details.
"""

import logging
import secrets
from typing import Any

from flask import Flask, Response, flash, g, jsonify, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from portal.errors import Refusal
from portal.gateway import GatewayError
from portal.payments.words import OnlinePaymentOff
from portal.settings import KEYS, Settings
from portal.web.access import PortalClosed
from portal.web.asking import wants_json
from portal.web.limits import TooManyTries
from portal.web.scope import settings

OWN_PAGES = frozenset({400, 403, 404, 405, 409, 413, 429, 500, 503})

log = logging.getLogger(__name__)


def page(template: str, status: int, **words: Any) -> Response:
    """One of the pages under templates/errors, or its title and text as JSON for a script."""
    html = render_template(f"errors/{template}.html", **words)
    return make_response(html, status)


def said(status: int, title: str, text: str) -> Response:
    """The same in JSON."""
    return make_response(jsonify({"outcome": "refused", "title": title, "text": text}), status)


def refused(refusal: Refusal) -> ResponseReturnValue:
    """A rule said no: its status, its heading, its sentence."""
    title, text = refusal.heading or _("That can't be done"), refusal.text
    if wants_json():
        response = said(refusal.status, title, text)
    elif isinstance(refusal, OnlinePaymentOff):
        response = page("payments_off", refusal.status, title=title, text=text)
    elif isinstance(refusal, PortalClosed):
        response = page("closed", refusal.status, title=title, text=text)
    else:
        response = page(
            "refused",
            refusal.status,
            title=title,
            text=text,
            over=_over(refusal.status),
            program=_program_asked_for(refusal.status),
        )
    if isinstance(refusal, TooManyTries):
        response.headers["Retry-After"] = str(refusal.wait_s)
    return response


def _over(status: int) -> str:
    words = {404: _("Not found"), 429: _("Please wait a little"), 403: _("Not allowed")}
    return words.get(status, _("Nothing was done"))


def _program_asked_for(status: int) -> str | None:
    """Where somebody goes on who was refused a place, or a look at one: that program's page, or the list."""
    if request.blueprint not in ("programs", "registrations", "waitlist") or not settings().yes("module_programs"):
        return None
    if request.endpoint in ("registrations.hold", "waitlist.join") and status != 404:
        return url_for("programs.one", **(request.view_args or {}))
    return url_for("programs.browse")


def gateway_failed(error: GatewayError) -> ResponseReturnValue:
    """The gateway is not answering, and no verb turned that into an outcome."""
    log.warning("the gateway failed a page: %s", type(error).__name__)
    if wants_json():
        return said(
            503,
            _("We can't reach the card processor just now"),
            _("Your invoice stays open and nothing is late because of this. Try again in a few minutes."),
        )
    return page("gateway", 503)


def out_of_date(_error: CSRFError) -> ResponseReturnValue:
    """A form from a page that was open too long, or in another browser: nothing was done."""
    if wants_json():
        # A script that pays loads a fresh page, and there it is said.
        title = _("This page was open too long. You have not been charged.")
        text = _("Here is a fresh one. Please try once more.")
        flash(f"{title}\n{text}", "warn")
        return make_response(jsonify(outcome="refused", title=title, text=text, reload=True), 400)
    if request.endpoint in ("security.login", "security.forgot_password"):
        flash(_("This page was open too long, so nothing was sent. Please try again."), "warn")
        g.csrf_valid = True
        from portal.web.auth import form_again

        return make_response(form_again(), 400)
    return page("stale", 400)


def http_error(error: HTTPException) -> ResponseReturnValue:
    """Every status that werkzeug or abort() raises. A redirect is none of our business."""
    status = error.code or 500
    if status < 400:
        return error
    if wants_json():
        return said(status, _("That didn't work"), error.name)
    shown = status if status in OWN_PAGES else (400 if status < 500 else 500)
    response = page(str(shown), status, reference=_reference(error) if shown == 500 else "")
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def database_away(error: Exception) -> ResponseReturnValue:
    """The database does not answer, or is busy for longer than anybody should wait."""
    reference = _reference(error)
    _without_database()
    if wants_json():
        return said(503, _("We can't answer just now"), _("Please try again in a minute."))
    response = page("503", 503, reference=reference)
    response.headers["Retry-After"] = "60"
    return response


def broken(error: Exception) -> ResponseReturnValue:
    """A bug. The log has all of it, the person a reference."""
    reference = _reference(error)
    try:
        if wants_json():
            return said(500, _("Sorry, that didn't work"), _("Reference %(reference)s", reference=reference))
        return page("500", 500, reference=reference)
    except Exception:  # the last page there is: it must come, whatever broke the one before
        log.exception("%s: the page about it failed too", reference)
        _without_database()
        return page("500", 500, reference=reference)


def _reference(error: Exception) -> str:
    """ "E-4F19-22" """
    digits = secrets.token_hex(3).upper()
    reference = f"E-{digits[:4]}-{digits[4:]}"
    rule = request.url_rule.rule if request.url_rule else "(no such page)"
    log.error("%s on %s %s", reference, request.method, rule, exc_info=error)
    return reference


def _without_database() -> None:
    """So that the page about it doesn't need it."""
    g.settings = Settings({key: spec.default for key, spec in KEYS.items()})
    g.person = None


def init(app: Flask) -> None:
    """Answer every kind of failure."""
    app.register_error_handler(Refusal, refused)
    app.register_error_handler(GatewayError, gateway_failed)
    app.register_error_handler(CSRFError, out_of_date)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(OperationalError, database_away)
    app.register_error_handler(PoolTimeout, database_away)
    app.register_error_handler(Exception, broken)
