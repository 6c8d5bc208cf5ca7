"""What every page knows: the clinic, who is signed in, and how to write a link."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from flask import Flask, current_app, session, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_wtf.csrf import generate_csrf
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from markupsafe import Markup

from portal.people import STAFF_ROLES
from portal.permissions import May
from portal.settings import Settings
from portal.web.headers import allow_own_scripts
from portal.web.scope import person, settings

OFFICE_ROOMS = (
    ("SCHEDULE", "schedule.week", _l("Schedule")),
    ("PATIENTS", "patients.find", _l("Patients")),
    ("INVOICES", "search.invoices", _l("Invoices")),
    ("ROSTERS", "office_programs.list", _l("Programs")),
    ("DAY_SHEET", "day_sheet.page", _l("Day sheet")),
    ("SETTINGS", "settings.general", _l("Settings")),
)
"""The menu of the office: who may go there, where it leads, its name."""

SETTINGS_PAGES = (
    ("SETTINGS", "settings.general", _l("General")),
    ("SETTINGS", "settings.modules", _l("Modules")),
    ("SETTINGS", "gateways.every", _l("Payment Gateways")),
    ("SETTINGS", "emails.page", _l("Emails")),
    ("SETTINGS", "setup.locations", _l("Locations")),
    ("SETTINGS", "setup.practitioners", _l("Practitioners")),
    ("SETTINGS", "setup.services", _l("Services and prices")),
    ("SETTINGS", "setup.taxes", _l("Taxes")),
    ("STAFF", "staff.everybody", _l("Staff and permissions")),
    ("AUDIT", "audit.changes", _l("Audit log")),
)

ROLE_WORDS = dict(zip(STAFF_ROLES, ("front desk", "billing", "practitioner", "administrator"), strict=True))


class Clinic(NamedTuple):
    """How the clinic presents itself."""

    name: str
    address: str
    phone: str
    call: str
    email: str
    hue: int
    has_programs: bool


def clinic(found: Settings) -> Clinic:
    """The clinic as its settings describe it."""
    return _clinic(
        found.clinic_name,
        found.text("clinic_address"),
        found.text("clinic_phone"),
        found.text("clinic_email"),
        found.number("clinic_hue"),
        found.yes("module_programs"),
    )


@lru_cache(maxsize=8)
def _clinic(name: str, address: str, phone: str, email: str, hue: int, has_programs: bool) -> Clinic:
    return Clinic(name, address, phone, dialled(phone), email, hue, has_programs)


def dialled(phone: str) -> str:
    """A telephone number as a link takes it; ten digits are North American."""
    digits = "".join(filter(str.isdigit, phone))
    if phone.strip().startswith("+") or (len(digits) == 11 and digits[0] == "1"):
        return f"+{digits}"
    return f"+1{digits}" if len(digits) == 10 else digits


def _page_words() -> dict[str, Any]:
    return {"clinic": clinic(settings()), "person": person()}


class ConstantPhrases(Extension):
    """Puts `{{ _("some words") }}` into the page when the template is compiled, not each time it is shown.

    There is one language so far. With a second one, each needs an environment of its own, or this goes.
    """

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        pending: list[Token] = []
        for token in stream:
            pending.append(token)
            if _PHRASE[len(pending) - 1] not in (token.type, (token.type, token.value)):
                yield from pending
                pending = []
            elif len(pending) == len(_PHRASE):
                yield Token(token.lineno, "data", pending[3].value)
                pending = []
        yield from pending


_PHRASE: tuple[object, ...] = ("variable_begin", ("name", "_"), "lparen", "string", "rparen", "variable_end")


def _framing(app: Flask) -> dict[str, Callable[..., str]]:
    """The parts of the frame that are the same on every page of a clinic, made once."""

    keeps = not app.config["TEMPLATES_AUTO_RELOAD"]  # in development, files change while the process runs

    @lru_cache(maxsize=64 if keeps else 0)
    def component(name: str) -> Any:
        """The macros of one control. (An import statement costs more: it compares all globals each time.)"""
        return app.jinja_env.get_template(f"components/{name}.html").module

    @lru_cache(maxsize=8 if keeps else 0)
    def links_of(clinic: Clinic) -> Any:
        return component("frame").links(clinic)

    @lru_cache(maxsize=8)
    def mark_of(name: str) -> Any:
        return component("frame").mark(name, url_for("start.door"))

    @lru_cache(maxsize=16)
    def nav_of(has_programs: bool, here: str | None = None) -> Any:
        return component("frame").nav(has_programs, here)

    @lru_cache(maxsize=8)
    def foot_of(clinic: Clinic, of_bills: bool = True) -> Any:
        return component("reach").foot(clinic, of_bills)

    @lru_cache(maxsize=256)
    def place(endpoint: str) -> str:
        return url_for(endpoint)

    kept = (component, links_of, mark_of, nav_of, foot_of, place)
    return {function.__name__: function for function in kept}


@lru_cache(maxsize=2048)
def _phrase(text: str) -> Markup:
    return Markup(gettext(text))  # noqa: S704  what translators write is ours, as what templates say is


def phrase(text: str, **words: Any) -> Markup:
    """A phrase of a template with its words filled in: the phrase is trusted, its words are escaped."""
    return _phrase(text) % words if words else _phrase(text)


_tokens = lru_cache(maxsize=4096)(lambda _raw: generate_csrf())


def csrf_token() -> str:
    """The token for this session's forms. It does not expire before the session, so it is signed once for each."""
    raw = session.get("csrf_token")
    return str(_tokens(raw)) if raw else str(generate_csrf())


def script(name: str) -> Markup:
    """One of our own scripts in a page's head; the page's policy lets it run."""
    allow_own_scripts()
    static = current_app.jinja_env.globals["static"]
    return Markup('<script src="{}" defer></script>').format(static(f"js/{name}.js"))  # type: ignore[operator]  # ours


def typed(text: str | None) -> str:
    """What somebody typed, fit to stand in the field again."""
    return "".join(filter(str.isprintable, text or ""))[:300]


def init(app: Flask) -> None:
    """Give the templates what they need. Comes last: what extensions have put there for templates of theirs goes."""
    environment = app.jinja_env
    environment.trim_blocks = True
    environment.lstrip_blocks = True
    environment.add_extension(ConstantPhrases)
    environment.filters["typed"] = typed
    environment.globals.update(_framing(app))
    environment.globals.update(ROLE_WORDS=ROLE_WORDS, csrf_token=csrf_token, script=script, _=phrase, room="")
    environment.globals.update(MAY=May.__members__, OFFICE_ROOMS=OFFICE_ROOMS, SETTINGS_PAGES=SETTINGS_PAGES)
    flasks_own = app.template_context_processors[None][:1]
    app.template_context_processors[None] = [*flasks_own, _page_words]
