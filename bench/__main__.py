"""Measure, print a table, write build/bench.json; exit code 1 when a goal is missed."""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import psutil
from sqlalchemy import create_engine, text

from bench.clinics import Clinic, postgresql_clinic, postgresql_database, postgresql_server, sqlite_clinic
from bench.counts import ROOT, cold_start_s, count_bytes, count_sql, count_sql_of_the_schedule
from bench.imports import import_lines_per_min, sqlite_lines_per_min
from bench.mails import mails_per_s
from bench.papers import receipt_pdfs
from bench.programs import count_sql_of_programs
from bench.rush import rush
from bench.searches import STAFF, search_paths
from bench.served import Served, served
from portal.db import make_engine

ROUNDS = 7
SEARCHES = 150
REQUESTS = 1_000  # so many that the clock of the system, which ticks in hundredths of a second, is exact enough


@dataclass(frozen=True)
class Goal:
    """What a figure should be."""

    bound: float
    unit: str
    at_least: bool = False

    def holds(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


GOALS = {
    "list_vs_hello_sqlite": Goal(0.06, "ratio of requests per CPU second", at_least=True),
    "list_vs_hello_postgresql": Goal(0.045, "ratio of requests per CPU second", at_least=True),
    "list_growth_1e3_1e6": Goal(1.25, "ratio of CPU per request"),
    "search_growth_1e3_1e6": Goal(1.25, "ratio of CPU per request, the worst of nine searches"),
    "sql_invoice_search": Goal(6, "statements, the most of nine searches"),
    "sql_invoice_list": Goal(4, "statements"),
    "sql_invoice_page": Goal(4, "statements"),
    "sql_pay_page": Goal(4, "statements"),
    "sql_pay_link_page": Goal(4, "statements, with opening the link"),
    "sql_schedule_week": Goal(6, "statements"),
    "sql_program_list": Goal(5, "statements, of 100 programs"),
    "sql_program_page": Goal(5, "statements, with 500 registrations"),
    "first_view_gz_bytes": Goal(10_240, "bytes"),
    "own_script_gz_bytes": Goal(4_096, "bytes"),
    "import_lines_per_min": Goal(10_000, "lines a minute, on the slower database", at_least=True),
    "cold_start_s": Goal(2.0, "s"),
    "mails_per_s": Goal(50, "mails a second by one worker, on the slower database", at_least=True),
    "mails_vs_bare_smtp": Goal(0.03, "ratio of mails a second, on the slower database", at_least=True),
    "rush_slowest_answer_s": Goal(5.0, "s, of 500 in a second for 50 places, on the slower database"),
    "rush_wrong": Goal(0, "failures, and places given away twice or not at all, on both databases"),
    "receipt_pdf_ms": Goal(30, "ms of the press for a receipt, warm"),
    "receipt_pdf_vs_empty": Goal(12, "ratio to an empty page beside it"),
    "worker_pss_mib": Goal(120, "MiB"),
}


def ratio(one: Callable[[], float], other: Callable[[], float]) -> float:
    """The median of `one` / `other`, taken in turn, so that a machine whose speed drifts does not decide."""
    return statistics.median(one() / other() for _ in range(ROUNDS))


def _postmaster(url: str) -> psutil.Process:
    """The database server: its backends are its children."""
    engine = create_engine(make_engine(url).url)
    with engine.connect() as connection:
        backend = connection.scalar(text("SELECT pg_backend_pid()"))
    engine.dispose()
    parent = psutil.Process(int(backend or 0)).parent()
    assert parent is not None
    return parent


def _list_vs_hello(hello: Served, portal: Served, cookie: str) -> float:
    hello.get("/", times=200)
    portal.get("/invoices", cookie, 200)
    return ratio(lambda: hello.cost_s("/", times=REQUESTS * 8), lambda: portal.cost_s("/invoices", cookie, REQUESTS))


def measure(invoices: int, postgresql: bool) -> dict[str, float]:
    """Every figure; those of PostgreSQL only where it is wanted."""
    small, large = sqlite_clinic(1_000), sqlite_clinic(invoices)
    found: dict[str, float] = {"import_lines_per_min": sqlite_lines_per_min()}
    mails = [mails_per_s(small)]
    rushes = [rush(small)]
    with ExitStack() as stack:
        hello = stack.enter_context(served("bench.hello:app", {}))
        few = stack.enter_context(served("wsgi:app", small.environ))
        found["list_vs_hello_sqlite"] = _list_vs_hello(hello, few, small.sign_in())
        many = stack.enter_context(served("wsgi:app", large.environ))
        found["list_growth_1e3_1e6"] = _growth(few, small, many, large)
        found["search_growth_1e3_1e6"] = _search_growth(few, small, many, large)
        found["worker_pss_mib"] = _memory(few, small)
        if postgresql:
            base_url = stack.enter_context(postgresql_server())
            found["list_vs_hello_postgresql"] = _on_postgresql(stack, hello, base_url)
            mails.append(_mails_on_postgresql(base_url))
            rushes.append(_rush_on_postgresql(base_url))
            found["import_lines_per_min"] = min(found["import_lines_per_min"], _import_on_postgresql(base_url))
    found["rush_slowest_answer_s"] = max(slowest for slowest, _wrong in rushes)
    found["rush_wrong"] = sum(wrong for _slowest, wrong in rushes)
    found["mails_per_s"], found["mails_vs_bare_smtp"] = min(mails)
    found |= count_sql(small)
    found["sql_schedule_week"] = count_sql_of_the_schedule(small)
    found |= count_bytes(small)
    found |= count_sql_of_programs(small)
    found["cold_start_s"] = cold_start_s(small)
    return found | receipt_pdfs()


def _growth(few: Served, small: Clinic, many: Served, large: Clinic) -> float:
    cookie, other = small.sign_in(), large.sign_in()
    many.get("/invoices", other, 200)
    return ratio(lambda: many.cost_s("/invoices", other, REQUESTS), lambda: few.cost_s("/invoices", cookie, REQUESTS))


def _search_growth(few: Served, small: Clinic, many: Served, large: Clinic) -> float:
    """The worst of all searches, page for page."""
    cookie, other = small.sign_in(STAFF), large.sign_in(STAFF)
    ratios = []
    for here, there in zip(search_paths(small), search_paths(large), strict=True):
        few.get(here, cookie, 20)
        many.get(there, other, 20)
        found = ratio(partial(many.cost_s, there, other, SEARCHES), partial(few.cost_s, here, cookie, SEARCHES))
        ratios.append(found)
    return max(ratios)


def _memory(portal: Served, clinic: Clinic) -> float:
    cookie = clinic.sign_in()
    for path in ("/invoices", "/invoices/paid", "/cards", "/login" if not cookie else "/healthz"):
        portal.get(path, cookie, 50)
    return portal.workers_pss_mib()


def _on_postgresql(stack: ExitStack, hello: Served, base_url: str) -> float:
    clinic = stack.enter_context(postgresql_clinic(base_url, 1_000))
    portal = stack.enter_context(served("wsgi:app", clinic.environ, [_postmaster(clinic.url)]))
    return _list_vs_hello(hello, portal, clinic.sign_in())


def _import_on_postgresql(base_url: str) -> float:
    with postgresql_database(base_url, "bench_import") as url:
        return import_lines_per_min(url)


def _rush_on_postgresql(base_url: str) -> tuple[float, float]:
    with postgresql_clinic(base_url, 10) as clinic:
        return rush(clinic)


def _mails_on_postgresql(base_url: str) -> tuple[float, float]:
    with postgresql_clinic(base_url, 10) as clinic:
        return mails_per_s(clinic)


def main() -> int:
    """Run it all; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--invoices", type=int, default=1_000_000, help="the larger clinic's invoices")
    parser.add_argument("--without-postgresql", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.invoices, not arguments.without_postgresql)
    report = {
        name: {"value": round(found[name], 4), "unit": goal.unit, "goal": str(goal), "holds": goal.holds(found[name])}
        for name, goal in GOALS.items()
        if name in found
    }
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "bench.json").write_text(json.dumps(report, indent=1) + "\n")
    for name, row in report.items():
        print(
            f"{name:<28} {row['value']:>12} {row['goal']:>9}  {'holds' if row['holds'] else 'MISSED'}  {row['unit']}"
        )
    return 0 if all(row["holds"] for row in report.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
