"""A rush: hundreds of clients ask for the last places of a program in one second, of two workers as in production.

Each comes from a network of its own, with the page open and nobody signed in: what happens when registration for a
group opens that everybody has waited for.
"""

import http.client
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_urlsafe
from threading import Barrier
from urllib.parse import urlencode

from sqlalchemy import func, select

from bench.clinics import Clinic
from bench.served import served
from portal.clinic import Location
from portal.clock import now
from portal.db import Database
from portal.programs.states import TAKES_PLACE
from portal.programs.tables import Program, ProgramSession, Registration
from portal.settings import change_setting

CLIENTS, PLACES, SECONDS = 500, 50, 1.0
HIDDEN = re.compile(rb'name="(csrf_token|request_id)" value="([^"]+)"')


@dataclass(frozen=True)
class Page:
    """What a client has in front of it: its cookie, and the form's hidden fields."""

    number: int
    cookie: str
    form: bytes

    @property
    def headers(self) -> dict[str, str]:
        """Those of a browser behind the clinic's proxy, in a network of its own."""
        network = f"10.{self.number // 250}.{self.number % 250}.7"
        more = {"Cookie": self.cookie, "Content-Type": "application/x-www-form-urlencoded"} if self.cookie else {}
        return {"X-Forwarded-For": network, **more}


@dataclass(frozen=True)
class Answer:
    """What came back, and how long that took."""

    status: int
    to: str
    seconds: float


def rush(clinic: Clinic) -> tuple[float, float]:
    """The slowest answer in seconds, and how much was wrong: failures, and places that were given away twice or not
    at all."""
    database = Database(clinic.url)
    public_id = _open_program(database)
    environ = {**clinic.environ, "PORTAL_TRUSTED_PROXIES": "127.0.0.1/32"}
    try:
        with served("wsgi:app", environ, workers=2, threads=8) as portal, ThreadPoolExecutor(CLIENTS) as pool:
            pages = [_open_page(portal.port, public_id, number) for number in range(CLIENTS)]
            start = Barrier(CLIENTS)
            answers = list(pool.map(lambda page: _ask(portal.port, public_id, page, start), pages))
        return max(one.seconds for one in answers), float(_wrong(database, public_id, answers))
    finally:
        _close_program(database, public_id)
        database.close()


def _open_program(database: Database) -> str:
    with database.transaction() as session:
        change_setting(session, "module_programs", "yes")
        program = Program(
            public_id=token_urlsafe(12),
            name="Everybody's program",
            location_id=session.scalars(select(Location.id).order_by(Location.id)).first(),
            price_cents=0,
            capacity=PLACES,
            visible=True,
            created_at=now(),
        )
        session.add(program)
        session.flush()
        starts_at = now() + timedelta(weeks=4)
        session.add(
            ProgramSession(program_id=program.id, starts_at=starts_at, ends_at=starts_at + timedelta(hours=1))
        )
        return program.public_id


def _close_program(database: Database, public_id: str) -> None:
    with database.transaction() as session:
        session.scalars(select(Program).where(Program.public_id == public_id)).one().visible = False


def _open_page(port: int, public_id: str, number: int) -> Page:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", f"/programs/{public_id}", headers=Page(number, "", b"").headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status == 200, answer.status
    cookie = "; ".join(line.split(";")[0] for line in answer.msg.get_all("Set-Cookie") or [])
    form = urlencode(dict(HIDDEN.findall(body))).encode()
    assert b"csrf_token" in form and cookie, "the page has no form to hold a place"
    return Page(number, cookie, form)


def _ask(port: int, public_id: str, page: Page, start: Barrier) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    start.wait()
    time.sleep(SECONDS * page.number / CLIENTS)
    began = time.perf_counter()
    connection.request("POST", f"/programs/{public_id}/hold", body=page.form, headers=page.headers)
    answer = connection.getresponse()
    answer.read()
    taken = time.perf_counter() - began
    connection.close()
    return Answer(answer.status, answer.headers.get("Location") or "", taken)


def _wrong(database: Database, public_id: str, answers: list[Answer]) -> int:
    """Answers that are neither a place nor a plain no, and places that are not exactly those that were told."""
    got = {one.to for one in answers if one.status == 303}
    failures = sum(one.status not in (303, 409) for one in answers)
    with database.read() as connection:
        taken = connection.scalar(select(Program.taken).where(Program.public_id == public_id)) or 0
        there = connection.scalar(
            select(func.count())
            .select_from(Registration)
            .join(Program, Program.id == Registration.program_id)
            .where(Program.public_id == public_id, Registration.state.in_(sorted(TAKES_PLACE)))
        )
    differing = {len(got), taken, there or 0, sum(one.status == 303 for one in answers)} - {PLACES}
    return failures + len(differing)
