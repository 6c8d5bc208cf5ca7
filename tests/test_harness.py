"""The harness keeps its word: the network is shut, databases are fresh, a page's errors are heard."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from subprocess import PIPE
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import pytest
import requests
from playwright.sync_api import Error as BrowserError
from sqlalchemy import Engine, NullPool, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from tests.support import databases as databases_module
from tests.support import postgres, sockets
from tests.support.axe import assert_accessible
from tests.support.browser import Pages
from tests.support.databases import Databases
from tests.support.run_folder import run_folder
from tests.support.sockets import NetworkShut

ELSEWHERE = ("192.0.2.1", 443)  # an address kept for documentation: nobody answers there


def _connect_ex() -> None:
    with socket.socket() as outward:
        outward.connect_ex(ELSEWHERE)


def _send() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as outward:
        outward.sendto(b"hello", ELSEWHERE)


@pytest.mark.parametrize(
    "reach_out",
    [
        pytest.param(partial(socket.create_connection, ELSEWHERE), id="create_connection"),
        pytest.param(_connect_ex, id="connect_ex"),
        pytest.param(_send, id="sendto"),
        pytest.param(partial(socket.getaddrinfo, "stripe.com", 443), id="getaddrinfo"),
        pytest.param(partial(requests.get, "https://api.stripe.com", timeout=1), id="requests"),
    ],
)
def test_no_test_reaches_another_machine(reach_out: Callable[[], object]) -> None:
    with pytest.raises(NetworkShut):
        reach_out()
    sockets.refused.clear()


def test_a_thread_cannot_reach_another_machine_either() -> None:
    def reach_out() -> None:
        with pytest.raises(NetworkShut):
            socket.create_connection(ELSEWHERE)

    thread = threading.Thread(target=reach_out)
    thread.start()
    thread.join()
    assert sockets.refused == ["socket.getaddrinfo '192.0.2.1'"]
    sockets.refused.clear()


def test_a_swallowed_refusal_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import contextlib, socket

        def test_swallows():
            with contextlib.suppress(Exception):
                socket.create_connection(("192.0.2.1", 443))
        """
    )
    run = pytester.runpytest_inprocess("-p", "tests.support.sockets", "-p", "no:xdist")
    run.assert_outcomes(passed=1, errors=1)
    run.stdout.fnmatch_lines("*reached for other machines: socket.getaddrinfo '192.0.2.1'*")


@pytest.fixture
def stub_databases(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Databases]:
    """Databases with a small schema of the test's own; the server is the run's."""

    def migrate(url: str) -> None:
        engine = create_engine(url)  # its pool keeps a connection open, as a careless migration would
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE patients (name text)"))
        if url.startswith("sqlite"):
            engine.dispose()
        else:
            careless.append(engine)

    careless: list[Engine] = []
    monkeypatch.setattr(databases_module, "migrate", migrate)
    folder = tmp_path_factory.mktemp(f"portal-tests-{uuid4().hex[:8]}")  # names what is made on the shared server
    server = postgres.join(databases.folder)
    monkeypatch.setattr(postgres, "join", lambda _: server)
    stub = Databases(folder)
    yield stub
    postgres.drop_database(server, stub.template_name)
    for engine in careless:
        engine.dispose()


def _patients(url: str, insert: str | None = None) -> list[str]:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        if insert:
            connection.execute(text("INSERT INTO patients VALUES (:name)"), {"name": insert})
        return [row.name for row in connection.execute(text("SELECT name FROM patients"))]


def test_each_database_is_a_fresh_copy_and_gone_afterwards(database: str, stub_databases: Databases) -> None:
    with stub_databases.fresh(database) as first:
        assert make_url(first).get_backend_name() == database
        assert _patients(first, insert="Zoë") == ["Zoë"]
    with stub_databases.fresh(database) as second:
        assert _patients(second) == []
    assert not list(stub_databases.folder.glob("portal_*"))
    if database == "postgresql":
        with pytest.raises(OperationalError, match="does not exist"):
            _patients(first)


KILLED_RUN = """
from tests.support.postgres import postgresql
with postgresql() as url:
    print(url, flush=True)
    input()
"""


@pytest.mark.skipif(postgres.URL_VARIABLE in os.environ, reason="a lent server is not ours to start or stop")
def test_what_a_killed_run_left_behind_is_removed_by_the_next() -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED_RUN], stdin=PIPE, stdout=PIPE, text=True) as run:
        assert run.stdout
        port = make_url(run.stdout.readline().strip()).port
        run.kill()
    assert port is not None
    assert _listens(port)
    with run_folder(before_removal=postgres.stop):
        assert not _listens(port)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


STRICT = "default-src 'none'; script-src 'self'; style-src 'self'"
PAGE = "<!doctype html><html lang=en><title>A page</title><main><h1>A page</h1>{}</main>"


class _Site(BaseHTTPRequestHandler):
    """Answers /?body with that body in a page, under a strict Content-Security-Policy."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.send_response(404 if url.path == "/missing" else 200)
        self.send_header("Content-Type", "text/javascript" if url.path.endswith(".js") else "text/html")
        self.send_header("Content-Security-Policy", STRICT)
        self.end_headers()
        body = unquote(url.query)
        self.wfile.write((body if url.path.endswith(".js") else PAGE.format(body)).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Not on the terminal."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_inaccessible_page_is_refused_with_the_rule_the_element_and_the_reason(new_page: Pages, site: str) -> None:
    page = new_page()
    page.goto(f"{site}/?{quote('<input id=amount>')}")
    with pytest.raises(AssertionError, match=r"(?s)label \(critical\).*#amount: Fix any"):
        assert_accessible(page)
    page.goto(f"{site}/?{quote('<label>Amount <input></label>')}")
    assert_accessible(page)


def test_a_page_without_javascript_is_not_taken_for_an_accessible_one(new_page: Pages, site: str) -> None:
    page = new_page(javascript=False)
    page.goto(site)
    with pytest.raises(AssertionError, match="needs a page with JavaScript"):
        assert_accessible(page)


def test_a_page_has_the_size_and_the_colours_that_were_asked_for(new_page: Pages, site: str) -> None:
    page = new_page(width=390, height=700, dark=True)
    page.goto(site)
    assert page.evaluate("() => [innerWidth, innerHeight]") == [390, 700]
    assert page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("/missing", "status of 404"),
        ("/?<p style='color:red'>", "violates the following Content Security Policy"),
        ("/?<script src='/a.js?throw Error(1)'></script>", "uncaught"),
        ("/?<script src='/a.js?console.error(1)'></script>", "1 ("),
    ],
)
def test_a_page_that_complains_is_heard_unless_it_was_expected(
    new_page: Pages, site: str, address: str, complaint: str
) -> None:
    page = new_page()
    page.goto(f"{site}{quote(address, safe='/?')}")
    page.wait_for_load_state("networkidle")
    assert any(complaint in heard for heard in new_page.complaints), new_page.complaints
    new_page.expect_console(complaint)
    assert not new_page.complaints


def test_the_browser_cannot_reach_another_machine(new_page: Pages) -> None:
    page = new_page()
    for address in ("https://js.stripe.com/", "http://192.0.2.1/"):
        with pytest.raises(BrowserError, match="ERR_NAME_NOT_RESOLVED"):
            page.goto(address)
