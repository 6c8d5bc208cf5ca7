"""A real Chromium for the tests: one for each process of the run, a context for each page asked for."""

import re
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, WebError, expect, sync_playwright

from tests.support.results import BROWSER
from tools.get_chromium import find

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The browser, too, talks to this machine only.
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1, EXCLUDE [::1]",
]
PATIENCE_MS = 10_000
expect.set_options(timeout=PATIENCE_MS)

_failed = pytest.StashKey[bool]()


class Pages:
    """Opens pages: `new_page(width=390, dark=True)`. What a page files as an error fails the test."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._complaints: list[str] = []
        self._expected: list[str] = []

    def __call__(self, width: int = 1280, height: int = 800, dark: bool = False, javascript: bool = True) -> Page:
        """A page of a person of its own, sharing no cookie with another.

        A second tab of the same person is `page.context.new_page()`.
        """
        context = self._browser.new_context(
            reduced_motion="reduce",
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            java_script_enabled=javascript,
        )
        context.set_default_timeout(PATIENCE_MS)
        context.on("console", self._hear)
        context.on("weberror", self._catch)
        self._contexts.append(context)
        return context.new_page()

    def expect_console(self, text: str) -> None:
        """An error in the console that contains this text is part of the story, not a failure.

        Chromium files every answer of 400 and above there: `new_page.expect_console("status of 409")`.
        """
        self._expected.append(text)

    @property
    def complaints(self) -> list[str]:
        """The errors that no one expected, so far."""
        return [text for text in self._complaints if not any(expected in text for expected in self._expected)]

    def keep(self, folder: Path, name: str) -> None:
        """Save what each open page looks like now, for whoever reads of the failure."""
        folder.mkdir(parents=True, exist_ok=True)
        pages = [page for context in self._contexts for page in context.pages]
        for number, page in enumerate(pages, start=1):
            (folder / f"{name}-{number}.html").write_text(f"<!-- {page.url} -->\n{page.content()}")
            page.screenshot(path=folder / f"{name}-{number}.png", full_page=True)

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def _catch(self, error: WebError) -> None:
        self._complaints.append(f"uncaught: {error.error}")


def _failures(config: pytest.Config) -> Path:
    return config.rootpath / "build" / "failures"


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(_failures(session.config), ignore_errors=True)  # those of the last run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")  # so that `-m "not browser"` leaves them all out


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[_failed] = item.stash.get(_failed, False) or report.failed
    return report


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """The machine's Chromium, or else Playwright's own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=FLAGS)
        request.config.stash[BROWSER] = f"Chromium {browser.version}"
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Pages]:
    """Opens pages in a real browser; see Pages."""
    pages = Pages(browser)
    yield pages
    if request.node.stash.get(_failed, False) or pages.complaints:
        pages.keep(_failures(request.config), re.sub(r"[^\w.-]+", "-", request.node.nodeid).strip("-"))
    pages.close()
    assert not pages.complaints, "the browser's console: " + "; ".join(pages.complaints)
