"""What the run proved, for the documents that quote it.

`build/tests.json`: how many tests passed, failed and were skipped; on which databases; in which browser.
`build/promises.json`: for each row that passing tests carry as `@pytest.mark.promise("P3")`, those tests, and
whether one of them did it in a real browser.
"""

import json
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

BROWSER = pytest.StashKey[str]()
"""The name and version of the browser that this process drives; set by the `browser` fixture."""


class Results:
    """Collects reports. With xdist only the controller does, so all that it needs travels in each report."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outcomes: dict[str, str] = {}
        self.properties: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.outcomes[report.nodeid] = "failed"
        elif report.skipped or report.when == "call":
            self.outcomes.setdefault(report.nodeid, report.outcome)
        for name, value in report.user_properties:
            self.properties[report.nodeid][name].add(str(value))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.outcomes[report.nodeid] = "failed"

    def pytest_sessionfinish(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / "tests.json", self.summary())
        _write(self.folder / "promises.json", self.promises())

    def summary(self) -> dict[str, Any]:
        outcomes = list(self.outcomes.values())
        counts = {outcome: outcomes.count(outcome) for outcome in ("passed", "failed", "skipped")}
        browsers = sorted(self._all("browser_version"))
        return counts | {
            "databases": sorted(self._all("database"), reverse=True),
            "browser": ", ".join(browsers),
        }

    def promises(self) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for test in sorted(test for test, outcome in self.outcomes.items() if outcome == "passed"):
            for row in self.properties[test]["promise"]:
                entry = kept.setdefault(row, {"tests": [], "browser": False})
                entry["tests"].append(test)
                entry["browser"] |= bool(self.properties[test]["browser"])
        return dict(sorted(kept.items(), key=lambda item: (item[0][:1], len(item[0]), item[0])))

    def _all(self, name: str) -> set[str]:
        ran = (test for test, outcome in self.outcomes.items() if outcome != "skipped")
        return set().union(*(self.properties[test][name] for test in ran))


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--results", default="build", help="the folder for tests.json and promises.json (build)")


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")
    if not is_worker and not config.option.collectonly:
        folder = config.rootpath / config.getoption("--results")
        config.pluginmanager.register(Results(folder), "portal-results")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        report.user_properties.extend(_properties(item))
    return report


def _properties(item: pytest.Item) -> list[tuple[str, object]]:
    rows = [("promise", row) for mark in item.iter_markers("promise") for row in mark.args]
    properties: list[tuple[str, object]] = [*rows]
    if isinstance(item, pytest.Function) and hasattr(item, "callspec") and "database" in item.callspec.params:
        properties.append(("database", item.callspec.params["database"]))
    drives_browser = "browser" in getattr(item, "fixturenames", ())
    if drives_browser or item.get_closest_marker("browser"):
        properties.append(("browser", "true"))
    if drives_browser and (version := item.config.stash.get(BROWSER, "")):
        properties.append(("browser_version", version))
    return properties
