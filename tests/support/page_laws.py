"""The laws that every page of the product obeys."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from xml.etree.ElementTree import Element

import html5lib
from html5lib.constants import E as MESSAGES

LABELLED = ("input", "select", "textarea")
NEEDS_NO_LABEL = {"hidden", "submit", "button", "reset", "image"}
POINTS_TO_IDS = (
    "for",
    "form",
    "list",
    "aria-labelledby",
    "aria-describedby",
    "aria-errormessage",
    "aria-controls",
)
HEADINGS = {f"h{level}": level for level in range(1, 7)}
TOKEN = re.compile(r'(?<=name="csrf_token" value=")[\w.-]+(?=")')

_good: set[int] = set()


def check_page(html: str, url: str) -> None:
    """Fail with every law that this page breaks. A page that differs from a good one in its tokens only is good."""
    seen = hash(TOKEN.sub("any", html))
    if seen in _good:
        return
    broken = violations(html)
    assert not broken, f"{url} breaks {len(broken)} of the laws for pages:\n" + "\n".join(
        f"- {law}" for law in broken
    )
    _good.add(seen)


def violations(html: str) -> list[str]:
    """The laws that a page breaks, each in a sentence; none for a good page."""
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    page = _Page(parser.parse(html))
    return [*_parse_errors(parser), *(sentence for law in LAWS for sentence in law(page))]


class _Page:
    """A parsed page, with what several laws look up."""

    def __init__(self, root: Element) -> None:
        self.root = root
        self.elements = [element for element in root.iter() if isinstance(element.tag, str)]
        self.ids = Counter(element.get("id", "") for element in self.elements if "id" in element.attrib)

    def all(self, *tags: str) -> Iterator[Element]:
        return (element for element in self.elements if element.tag in tags)


def _parse_errors(parser: html5lib.HTMLParser) -> Iterator[str]:
    for (line, column), code, details in parser.errors:
        yield f"not valid HTML, line {line} column {column}: {MESSAGES[code] % details}"


def _has_language_and_title(page: _Page) -> Iterator[str]:
    if not page.root.get("lang", "").strip():
        yield "<html> doesn't say its language"
    titles = [_text(title) for title in page.root.findall("head/title")]
    if len(titles) != 1 or not titles[0]:
        yield f"it has {len([title for title in titles if title])} titles that say something, not one"


def _headings_are_an_outline(page: _Page) -> Iterator[str]:
    headings = list(page.all(*HEADINGS))
    tops = [heading for heading in headings if heading.tag == "h1"]
    if len(tops) != 1:
        yield f"it has {len(tops)} <h1>, not one"
    for above, below in pairwise(headings):
        if HEADINGS[below.tag] > HEADINGS[above.tag] + 1:
            yield f"{_show(below)} “{_text(below)}” skips a level after {_show(above)} “{_text(above)}”"
    for heading in headings:
        if not _text(heading) and not any(image.get("alt") for image in heading.iter("img")):
            yield f"{_show(heading)} is empty"


def _ids_are_unique_and_found(page: _Page) -> Iterator[str]:
    for name, times in page.ids.items():
        if times > 1:
            yield f"the id “{name}” is given {times} times"
        if not name or name.split() != [name]:
            yield f"the id “{name}” is empty or has a space in it"
    for element in page.elements:
        for attribute in POINTS_TO_IDS:
            for name in element.get(attribute, "").split():
                if name not in page.ids:
                    yield f"{_show(element)}: {attribute} points to “{name}”, which isn't there"
        target = element.get("href", "")
        if element.tag == "a" and len(target) > 1 and target.startswith("#") and target[1:] not in page.ids:
            yield f"{_show(element)} links to {target}, which isn't there"


def _controls_have_labels(page: _Page) -> Iterator[str]:
    labels = [label for label in page.all("label") if _text(label)]
    labelled_ids = {label.get("for") for label in labels} - {None}
    wrapped = {control for label in labels for control in label.iter()}
    for control in page.all(*LABELLED):
        if control.tag == "input" and control.get("type", "text").lower() in NEEDS_NO_LABEL:
            continue
        by_attribute = control.get("aria-label", "").strip() or control.get("aria-labelledby", "").strip()
        if not by_attribute and control.get("id") not in labelled_ids and control not in wrapped:
            yield f"{_show(control)} has no label"


def _nothing_runs_or_styles_inline(page: _Page) -> Iterator[str]:
    """What the Content-Security-Policy would refuse. Data in a script element is not run, so it may stay."""
    for element in page.elements:
        if element.tag == "style":
            yield "it has a <style> element"
        if element.tag == "script" and not _is_data(element) and (not element.get("src") or _text(element)):
            yield "it has an inline <script>"
        for name, value in element.attrib.items():
            if name == "style" or name.startswith("on"):
                yield f"{_show(element)} has an inline {name}"
            if "".join(value.split()).lower().startswith("javascript:"):
                yield f"{_show(element)}: {name} is a javascript: URL"


def _posting_forms_carry_csrf(page: _Page) -> Iterator[str]:
    for form in page.all("form"):
        if form.get("method", "get").lower() != "post":
            continue
        inside = [field for field in form.iter("input") if field.get("form") is None]
        named = [field for field in page.all("input") if form.get("id") and field.get("form") == form.get("id")]
        if not any(field.get("name") == "csrf_token" and field.get("value") for field in [*inside, *named]):
            yield f"{_show(form)} is posted without a csrf_token"


def _images_say_what_they_show(page: _Page) -> Iterator[str]:
    for image in page.elements:
        is_button = image.tag == "input" and image.get("type", "").lower() == "image"
        if (image.tag == "img" and "alt" not in image.attrib) or (is_button and not image.get("alt")):
            yield f"{_show(image)} has no alt"


def _tab_order_is_reading_order(page: _Page) -> Iterator[str]:
    for element in page.elements:
        if element.get("tabindex", "0").strip().lstrip("+").isdecimal() and int(element.get("tabindex", "0")) > 0:
            yield f"{_show(element)} has a tabindex above 0"


LAWS: tuple[Callable[[_Page], Iterator[str]], ...] = (
    _has_language_and_title,
    _headings_are_an_outline,
    _ids_are_unique_and_found,
    _controls_have_labels,
    _nothing_runs_or_styles_inline,
    _posting_forms_carry_csrf,
    _images_say_what_they_show,
    _tab_order_is_reading_order,
)


def _is_data(script: Element) -> bool:
    return script.get("type", "").strip().lower() in {"application/json", "application/ld+json"}


def _text(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _show(element: Element) -> str:
    names = ("id", "name", "type", "action", "href", "src")
    attributes = (f' {name}="{element.attrib[name]}"' for name in names if name in element.attrib)
    return f"<{element.tag}{''.join(attributes)}>"
