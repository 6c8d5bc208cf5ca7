"""Programs: how many statements the public list and one program's page take, however much there is."""

from datetime import timedelta
from uuid import uuid4

from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bench.clinics import Clinic
from bench.counts import a_client, statements_of
from portal import create_app
from portal.clinic import Location, Practitioner, Tax
from portal.clock import now
from portal.parts import Parts
from portal.payments.tables import DESK
from portal.people import Patient, User
from portal.programs.reading import PAGE
from portal.programs.states import Place
from portal.programs.tables import Program, ProgramSession, ProgramTax, Registration
from portal.settings import change_setting

PROGRAMS = 100
REGISTRATIONS = 500
LARGE = "bench-large"
"""The public id of the program with all the registrations."""


def count_sql_of_programs(clinic: Clinic) -> dict[str, float]:
    """Statements of the list and of a page, of a stranger or a registered patient, whichever takes more."""
    app = create_app(clinic.config)
    parts: Parts = app.extensions["portal"]
    with parts.database.transaction() as session:
        change_setting(session, "module_programs", "yes")
        _fill(session)
    found = {}
    for name, path, at_least in (
        ("sql_program_list", "/programs", PAGE),
        ("sql_program_page", f"/programs/{LARGE}", 1),
    ):
        found[name] = max(_statements(app, path, at_least, email) for email in ("", "maya@example.com"))
    return found


def _statements(app: Flask, path: str, programs: int, email: str) -> float:
    parts: Parts = app.extensions["portal"]
    client = a_client(app, email) if email else app.test_client()
    client.get(path)
    with statements_of(parts.database.engine) as seen:
        answer = client.get(path)
    assert answer.status_code == 200, f"{path}: {answer.status_code}"
    assert answer.data.count(b'<span class="tag ') >= programs, f"{path} shows too little"
    return float(len(seen))


def _fill(session: Session) -> None:
    """So many programs, and one with so many people; the clinic is kept, so they may be there already."""
    if session.scalar(select(Program.id).where(Program.public_id == LARGE)) is not None:
        return
    there = session.scalar(select(func.count()).select_from(Program)) or 0
    for number in range(there + 1, PROGRAMS):
        _program(session, uuid4().hex[:16], f"Program {number}", 12)
    large = _program(session, LARGE, "The large one", REGISTRATIONS)
    others = [Patient(given_name="Guest", family_name=f"Number {each}", created_at=now()) for each in range(499)]
    session.add_all(others)
    session.flush()
    maya = session.scalar(select(User.patient_id).where(User.email == "maya@example.com"))
    session.add_all(
        Registration(
            public_id=uuid4().hex[:20],
            program_id=large.id,
            patient_id=patient_id,
            channel=DESK,
            state=Place.CONFIRMED,
            price_cents=0,
            created_at=now(),
        )
        for patient_id in (maya, *(each.id for each in others))
    )


def _program(session: Session, public_id: str, name: str, capacity: int) -> Program:
    program = Program(
        public_id=public_id,
        name=name,
        description="Six evenings to get a sore lower back moving again.",
        location_id=session.scalars(select(Location.id).order_by(Location.id)).first(),
        practitioner_id=session.scalars(select(Practitioner.id).order_by(Practitioner.id)).first(),
        price_cents=200_00,
        capacity=capacity,
        visible=True,
        created_at=now(),
    )
    session.add(program)
    session.flush()
    session.add_all(ProgramTax(program_id=program.id, tax_id=tax) for tax in session.scalars(select(Tax.id)))
    first = now() + timedelta(days=3_650)  # the clinic is kept for years
    for week in range(6):
        starts_at = first + timedelta(weeks=week)
        session.add(
            ProgramSession(program_id=program.id, starts_at=starts_at, ends_at=starts_at + timedelta(hours=1))
        )
    return program
