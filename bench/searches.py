"""Invoice Search in clinics of different sizes: the same narrowings, and pages that are equally full in both."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from urllib.parse import urlencode

from sqlalchemy import Connection, text

from bench.clinics import Clinic
from portal.db import Database
from portal.invoices.reading.lists import written_key

STAFF = "dana@example.com"
LAST_ROWS = 25
"""The last page of each search shows this many invoices, however many the clinic has."""

ALWAYS = {"from": "", "until": ""}
NARROWINGS: tuple[dict[str, str], ...] = (
    {},
    {"status": "paid"},
    {"status": "receivable"},
    {"location": "{location}"},
    {"practitioner": "{practitioner}"},
    {"location": "{location}", "practitioner": "{practitioner}"},
    {"location": "{location}", "practitioner": "{practitioner}", "status": "paid"},
)
COLUMNS = {"status": "standing", "location": "location_id", "practitioner": "practitioner_id"}


@contextmanager
def _looking(clinic: Clinic) -> Iterator[Connection]:
    database = Database(clinic.url)
    with database.read() as connection:
        yield connection
    database.close()


def search_paths(clinic: Clinic) -> list[str]:
    """Pages that cost alike if size does not matter: the first of all invoices, those of one patient, and the last
    one of each narrowing, with so many rows."""
    with _looking(clinic) as connection:
        ids = {
            name: str(connection.scalar(text(f"SELECT min({column}) FROM invoices")))
            for name, column in COLUMNS.items()
            if name != "status"
        }
        paths = [_path(ALWAYS), _path({"patient": "maya lindqvist"} | ALWAYS)]
        for narrowing in NARROWINGS:
            asked = {name: value.format(**ids) for name, value in narrowing.items()}
            paths.append(_path(asked | ALWAYS | {"after": _place(connection, asked)}))
    return paths


def _path(asked: dict[str, str]) -> str:
    return f"/office/invoices?{urlencode(asked)}"


def _place(connection: Connection, asked: dict[str, str]) -> str:
    """The place after which so many rows are left."""
    wanted = " AND ".join(f"{COLUMNS[name]} = :{name}" for name in asked) or "1 = 1"
    oldest = f"SELECT service_on, id FROM invoices WHERE {wanted} ORDER BY service_on, id LIMIT 1 OFFSET {LAST_ROWS}"
    values = {name: value if name == "status" else int(value) for name, value in asked.items()}
    day, row_id = connection.execute(text(oldest), values).one()
    return written_key(_day(day), row_id)


def _day(value: object) -> date:
    return value if isinstance(value, date) else date.fromisoformat(str(value))
