"""axe-core's accessibility rules, run in the page."""

from functools import cache
from importlib import resources
from typing import Any

from playwright.sync_api import Frame, Page

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")

# A frame of another origin (the card fields) is checked by itself: assert_accessible(frame).
_RUN = "tags => axe.run(document, {runOnly: tags, resultTypes: ['violations'], iframes: false})"


@cache
def _source() -> str:
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def assert_accessible(page: Page | Frame) -> None:
    """Fail with each broken rule, the elements that break it, and what would mend them.

    The page's Content-Security-Policy stays as it is: the browser's debugger evaluates the source, the page
    loads nothing.
    """
    # axe works in promises, which a page without scripts never keeps: that would only time out.
    assert page.evaluate("() => matchMedia('(scripting: enabled)').matches"), "axe needs a page with JavaScript on"
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(f"() => {{ {_source()} }}")
    violations: list[dict[str, Any]] = page.evaluate(_RUN, TAGS)["violations"]
    assert not violations, f"{page.url} is not accessible:\n" + "\n".join(map(_describe, violations))


def _describe(violation: dict[str, Any]) -> str:
    lines = [f"- {violation['id']} ({violation['impact']}): {violation['help']}"]
    for node in violation["nodes"]:
        summary = " ".join(node["failureSummary"].split())
        lines.append(f"    {' '.join(map(str, node['target']))}: {summary}")
    return "\n".join(lines)
