"""What a run says of itself."""

import json
from typing import Any

import pytest

PLUGIN = ("-p", "tests.support.results", "-p", "no:xdist")


def written(pytester: pytest.Pytester, name: str) -> Any:
    return json.loads((pytester.path / "build" / name).read_text())


@pytest.fixture(autouse=True)
def _markers(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmarkers =\n    promise(row): a row\n    browser: drives a browser\n")


def test_passed_failed_and_skipped_tests_are_counted_and_an_error_is_a_failure(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def breaks_before(): raise ValueError

        @pytest.fixture
        def breaks_after():
            yield
            raise ValueError

        def test_passes(): pass
        def test_fails(): assert False
        def test_has_an_error_before(breaks_before): pass
        def test_has_an_error_after(breaks_after): pass
        @pytest.mark.skip
        def test_is_skipped(): pass
        @pytest.mark.xfail
        def test_is_expected_to_fail(): assert False
        """
    )
    pytester.runpytest_inprocess(*PLUGIN)
    assert written(pytester, "tests.json") == {
        "passed": 1,
        "failed": 3,
        "skipped": 2,
        "databases": [],
        "browser": "",
    }


def test_a_module_that_cannot_be_read_is_a_failure(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import nothing_of_that_name")
    pytester.runpytest_inprocess(*PLUGIN)
    assert written(pytester, "tests.json")["failed"] == 1


def test_a_promise_lists_the_tests_that_kept_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.promise("P3")

        @pytest.mark.promise("G1", "P10")
        def test_pays_once(): pass

        @pytest.mark.promise("O4")
        def test_fails(): assert False

        @pytest.mark.browser
        @pytest.mark.promise("P10")
        def test_in_a_browser(): pass
        """
    )
    pytester.runpytest_inprocess(*PLUGIN)
    once, browser = (
        f"test_a_promise_lists_the_tests_that_kept_it.py::{n}" for n in ("test_pays_once", "test_in_a_browser")
    )
    assert written(pytester, "promises.json") == {
        "G1": {"tests": [once], "browser": False},
        "P3": {"tests": [browser, once], "browser": True},
        "P10": {"tests": [browser, once], "browser": True},
    }


def test_the_databases_and_the_browser_are_those_that_tests_ran_on(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest
        from tests.support.results import BROWSER

        @pytest.fixture
        def browser(request): request.config.stash[BROWSER] = "Chromium 1.2"
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.skip)])
        def test_on_a_database(database): pass

        @pytest.mark.promise("P2")
        def test_in_a_browser(browser): pass
        """
    )
    pytester.runpytest_inprocess(*PLUGIN)
    summary = written(pytester, "tests.json")
    assert (summary["databases"], summary["browser"]) == (["sqlite"], "Chromium 1.2")
    assert written(pytester, "promises.json")["P2"]["browser"] is True


def test_collecting_writes_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_passes(): pass")
    pytester.runpytest_inprocess(*PLUGIN, "--collect-only")
    assert not (pytester.path / "build").exists()


def test_workers_report_to_the_one_who_writes(
    pytester: pytest.Pytester, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.promise("P2")
        @pytest.mark.parametrize("database", ["sqlite", "postgresql"])
        def test_passes(database): pass
        """
    )
    pytester.runpytest_subprocess("-p", "tests.support.results", "-n", "2")
    assert written(pytester, "tests.json") == {
        "passed": 2,
        "failed": 0,
        "skipped": 0,
        "databases": ["sqlite", "postgresql"],
        "browser": "",
    }
    assert len(written(pytester, "promises.json")["P2"]["tests"]) == 2
