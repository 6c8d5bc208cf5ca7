"""What can be counted exactly: SQL statements, bytes, seconds to start."""

import gzip
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, event, func, select, text, update

from bench.clinics import PASSWORD, Clinic
from bench.searches import STAFF, search_paths
from portal import create_app
from portal.clinic import Practitioner
from portal.clock import now
from portal.invoices.books import locked_invoice
from portal.parts import Parts
from portal.paylinks import MAIL, make_link
from portal.people import SignIn
from portal.settings import read_settings

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[str]]:
    """The SQL statements that run meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def a_client(app: Flask, email: str = "maya@example.com") -> FlaskClient:
    """A browser in which somebody has signed in."""
    app.config["WTF_CSRF_ENABLED"] = False
    client = app.test_client()
    client.post("/login", data={"email": email, "password": PASSWORD})
    return client


def count_sql(clinic: Clinic) -> dict[str, float]:
    """Statements of one request each, all included."""
    app = create_app(clinic.config)
    client = a_client(app)
    parts: Parts = app.extensions["portal"]
    _id, number = _payable(parts)
    counted = {}
    for name, path in (
        ("sql_invoice_list", "/invoices"),
        ("sql_invoice_page", f"/invoices/{number}"),
        ("sql_pay_page", f"/invoices/{number}/pay"),
    ):
        client.get(path)
        with statements_of(parts.database.engine) as seen:
            answer = client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        counted[name] = float(len(seen))
    counted["sql_pay_link_page"] = _from_a_mail_to_its_page(app)
    return counted | {"sql_invoice_search": _most_of_a_search(app, clinic)}


def _payable(parts: Parts) -> tuple[int, str]:
    """The id and number of an invoice of Maya's that can be paid."""
    with parts.database.read() as connection:
        row = connection.execute(
            text(
                "SELECT i.id, i.number FROM invoices i JOIN users u ON u.patient_id = i.patient_id "
                "WHERE u.email = 'maya@example.com' AND i.balance_cents > 50 ORDER BY i.id LIMIT 1"
            )
        ).one()
    return int(row.id), str(row.number)


def _new_link(parts: Parts) -> str:
    """The address of a new pay link, as a mail has it."""
    invoice_id, _number = _payable(parts)
    with parts.database.transaction() as session:
        invoice = locked_invoice(session, invoice_id)
        return f"/pay/{make_link(session, parts.vault, read_settings(session), invoice, MAIL, by=None).token}"


def _from_a_mail_to_its_page(app: Flask) -> float:
    """The statements of opening a pay link and of the page that it leads to, together."""
    parts: Parts = app.extensions["portal"]
    link, client = _new_link(parts), app.test_client()
    client.get(link, follow_redirects=True)
    with statements_of(parts.database.engine) as seen:
        answer = client.get(link, follow_redirects=True)
    assert answer.status_code == 200 and b"Why so little detail?" in answer.data, answer.status_code
    return float(len(seen))


def _most_of_a_search(app: Flask, clinic: Clinic) -> float:
    """The statements of the search that takes most of them."""
    parts: Parts = app.extensions["portal"]
    client, headers = app.test_client(use_cookies=False), {"Cookie": clinic.sign_in(STAFF)}
    most = 0
    for path in search_paths(clinic):
        client.get(path, headers=headers)
        with statements_of(parts.database.engine) as seen:
            answer = client.get(path, headers=headers)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        most = max(most, len(seen))
    return float(most)


def count_sql_of_the_schedule(clinic: Clinic) -> float:
    """Statements of the week of ten practitioners, all included."""
    app = create_app(clinic.config)
    parts: Parts = app.extensions["portal"]
    with parts.database.transaction() as session:
        there = session.scalar(select(func.count()).select_from(Practitioner)) or 0  # the clinic is kept
        session.add_all(Practitioner(name=f"Practitioner {number}") for number in range(there + 1, 11))
    client = a_client(app, "dana@example.com")
    with parts.database.transaction() as session:
        session.execute(update(SignIn).where(SignIn.factor_at.is_(None)).values(factor_at=now()))
    client.get("/office/schedule")
    with statements_of(parts.database.engine) as seen:
        answer = client.get("/office/schedule")
    assert answer.status_code == 200 and answer.data.count(b"who-dot") == 10, answer.status_code
    return float(len(seen))


def _zipped(body: bytes) -> int:
    return len(gzip.compress(body, 9))


def count_bytes(clinic: Clinic) -> dict[str, float]:
    """The first view (HTML and the stylesheets that it names), gzipped; and our own script on the pay page."""
    app = create_app(clinic.config)
    client = a_client(app)
    first_views = [_first_view(app.test_client(), "/login"), _first_view(client, "/invoices")]
    first_views.append(_first_view(app.test_client(), _new_link(app.extensions["portal"])))
    first_views.append(_first_view(app.test_client(), "/programs"))
    scripts = _zipped((ROOT / "static" / "js" / "pay.js").read_bytes())
    assert b"<script" not in client.get("/invoices").data
    return {"first_view_gz_bytes": float(max(first_views)), "own_script_gz_bytes": float(scripts)}


def _first_view(client: FlaskClient, path: str) -> int:
    html = client.get(path, follow_redirects=True).data
    sheets = re.findall(rb'<link rel="stylesheet" href="([^"]+)"', html)
    return _zipped(html) + sum(_zipped(client.get(sheet.decode()).data) for sheet in sheets)


def cold_start_s(clinic: Clinic, runs: int = 5) -> float:
    """From a new process to its first answer, with warm file caches: the median of several."""
    program = "import wsgi; assert wsgi.app.test_client().get('/login').status_code == 200"
    taken = []
    for _ in range(runs + 1):
        before = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, **clinic.environ}, check=True)
        taken.append(time.perf_counter() - before)
    return statistics.median(taken[1:])
