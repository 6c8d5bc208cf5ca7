"""A clinic that has switched programs on, and its program form as a browser sends it."""

import re
from html import unescape

import pytest
from werkzeug.test import TestResponse

from portal.programs.tables import Program
from tests.makers import make_program
from tests.web.conftest import Site

PROGRAMS = "/office/programs"


@pytest.fixture(autouse=True)
def _programs_are_on(site: Site) -> None:
    site.setting("module_programs", "yes")


@pytest.fixture
def program(site: Site) -> Program:
    """Back in motion: six sessions, ten places, 200.00 with GST."""
    found: Program = site.change(make_program)
    return found


def sent_as_it_stands(page: TestResponse) -> dict[str, str | list[str]]:
    """What the form on a page would send if nobody changed it: the boxes that are ticked, the options chosen."""
    html = page.text[page.text.index('<form class="panes"') :]
    found: dict[str, str | list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", html):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if "name" not in attributes or (attributes.get("type") == "checkbox" and " checked" not in tag):
            continue
        name, value = attributes["name"], unescape(attributes.get("value", "on" if "checkbox" in tag else ""))
        if name in ("taxes", "add_weekdays"):
            several = found.setdefault(name, [])
            assert isinstance(several, list)
            several.append(value)
        else:
            found[name] = value
    for name, body in re.findall(r'<select[^>]* name="([^"]*)".*?>(.*?)</select>', html, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', body)
        found[name] = unescape(chosen[1]) if chosen else ""
    for name, text in re.findall(r'<textarea[^>]* name="([^"]*)"[^>]*>\n?(.*?)</textarea>', html, re.DOTALL):
        found[name] = unescape(text)
    return found
