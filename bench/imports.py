"""How fast a clinic's own files are taken over: patients and invoices, looked through and written."""

import tempfile
import time
from pathlib import Path

from sqlalchemy.orm import Session

from portal.clinic import Location, Practitioner, Tax
from portal.db import Database, upgrade
from portal.imports.run import run_import

LINES = 10_000
PATIENTS = "reference,given_name,family_name,email,phone,birth_date\n"
INVOICES = "number,patient,practitioner,date,description,price,taxes,paid_amount,paid_kind,paid_date\n"


def import_lines_per_min(url: str) -> float:
    """Lines a minute, of the slower of the two kinds of file, into an empty database."""
    upgrade(url)
    database = Database(url)
    try:
        with database.transaction() as session:
            _begin(session)
        with tempfile.TemporaryDirectory() as folder:
            return min(_timed(database, kind, Path(folder)) for kind in ("patients", "invoices"))
    finally:
        database.close()


def sqlite_lines_per_min() -> float:
    """The same on a throw-away SQLite database."""
    with tempfile.TemporaryDirectory() as folder:
        return import_lines_per_min(f"sqlite:///{folder}/import.db")


def _begin(session: Session) -> None:
    session.add(Location(name="Alder Lane", timezone="America/Vancouver", currency="CAD"))
    session.add(Practitioner(name="Liam Tremblay", registration="CMTBC 08842"))
    session.add(Tax(name="GST", rate_per_100k=5_000, position=1))


def _timed(database: Database, kind: str, folder: Path) -> float:
    path = folder / f"{kind}.csv"
    path.write_text(_patients() if kind == "patients" else _invoices())
    began = time.perf_counter()
    report = run_import(database, kind, path, write=True)
    took_s = time.perf_counter() - began
    assert report.written, report.problems[:3]
    return LINES / took_s * 60


def _patients() -> str:
    return PATIENTS + "".join(
        f"P-{turn},Given{turn % 97},Family{turn},p{turn}@example.com,250-555-{turn % 10_000:04},1980-02-1{turn % 9}\n"
        for turn in range(LINES)
    )


def _invoices() -> str:
    """Two lines for each invoice; every other one has been paid in part."""
    paid = ("50.00,cash,2023-02-03", ",,", ",,", ",,")
    return INVOICES + "".join(
        f"A-{turn // 2},P-{turn // 2},CMTBC 08842,2023-02-01,Massage,{100 + turn % 7}.50,GST,{paid[turn % 4]}\n"
        for turn in range(LINES)
    )
