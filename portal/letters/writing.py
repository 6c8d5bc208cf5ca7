"""What a mail says: its subject, text and HTML, from templates/email/<kind> and the clinic's settings."""

import re
from collections.abc import Mapping
from functools import lru_cache
from textwrap import fill
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from portal import ROOT
from portal.letters.colours import dark, light
from portal.settings import LETTERS, Settings

COLUMNS = 78
"""How wide the text of a mail is at most, but for addresses and words that are longer (RFC 5322, 2.1.1)."""

# What would break out of a line, or turn the words behind it around. Joiners stay: names are written with them.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_TURNS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Written(NamedTuple):
    """A mail as its reader sees it."""

    subject: str
    text: str
    html: str


def write(kind: str, words: Mapping[str, Any], settings: Settings, base_url: str) -> Written:
    """A mail of this kind with these words. Raises jinja2's errors for an unknown kind or a missing word."""
    everything = {
        **words,
        "clinic_name": settings.clinic_name,
        "clinic_address": settings.text("clinic_address"),
        "clinic_phone": settings.text("clinic_phone"),
        "clinic_email": settings.text("clinic_email"),
        "own_note": settings.text(f"email_note_{kind}") if kind in LETTERS else "",
        "base_url": base_url,
        "light": light(settings.number("clinic_hue")),
        "dark": dark(settings.number("clinic_hue")),
    }
    everything = {name: _in_lines(word) for name, word in everything.items()}
    subject, text, html = (
        _templates().get_template(f"email/{kind}/{part}").render(everything)
        for part in ("subject.txt", "body.txt", "body.html")
    )
    return Written(" ".join(subject.split()), _paragraphs(text), html)


def _in_lines(word: Any) -> Any:
    if isinstance(word, list):
        return [_in_lines(line) for line in word]
    return one_line(word) if isinstance(word, str) else word


def one_line(word: str) -> str:
    """A word as it may stand in a mail: in one line, and without marks that turn the writing around."""
    return _TURNS.sub("", _CONTROLS.sub(" ", word)).strip()


def _paragraphs(text: str) -> str:
    """Paragraphs with one empty line between them, no wider than a mail's text is; an address is never broken."""
    lines = (
        line if len(line) <= COLUMNS else fill(line, COLUMNS, break_long_words=False, break_on_hyphens=False)
        for line in text.strip().splitlines()
    )
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


@lru_cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(ROOT / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_null_translations(newstyle=True)  # type: ignore[attr-defined]  # the i18n extension adds it
    return environment
