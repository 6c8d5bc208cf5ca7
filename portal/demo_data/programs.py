"""The demo clinic's programs: one with room, one nearly full, one full with people in line, a free one, one at an
early price; somebody has just been offered a place that came free.
"""

import secrets
from datetime import date, datetime, timedelta
from typing import NamedTuple

from portal.clinic import Tax
from portal.clock import now
from portal.demo_data.alder_lane import PEOPLE, SIGNING_IN, moment
from portal.demo_data.clinic import Clinic
from portal.demo_data.invoices import Invoices
from portal.invoices.books import Line, TaxRate, issue_invoice
from portal.payments.tables import DESK, PORTAL
from portal.programs.pricing import price_on
from portal.programs.seats import offer_next
from portal.programs.states import Place
from portal.programs.tables import (
    CHOICE,
    CONSENT,
    TEXT,
    Program,
    ProgramQuestion,
    ProgramSession,
    ProgramTax,
    PromoCode,
    Registration,
)

MONDAY, TUESDAY, WEDNESDAY, THURSDAY, SATURDAY = 0, 1, 2, 3, 5
OTHERS = tuple(name for name in PEOPLE if name not in (*SIGNING_IN, "Theo Lindqvist", "Ingrid Weber"))


class Plan(NamedTuple):
    """A program to be: its first session is on that weekday, so many weeks ahead."""

    name: str
    description: str
    practitioner: str
    weekday: int
    weeks_ahead: int
    at: tuple[int, int]
    minutes: int
    sessions: int
    room: str
    price_cents: int
    capacity: int
    confirmed: int
    bears_gst: bool = False
    waitlist_size: int = 0
    in_line: int = 0
    early_price_cents: int | None = None
    at_riverside: bool = False
    late_share_percent: int = 0


PLANS = (
    Plan(
        "Back in motion",
        "Six evenings to get a sore lower back moving again: gentle strength, pacing, and a plan you keep.\n\n"
        "Mats are here; bring a water bottle.",
        "Priya Raman", TUESDAY, 4, (17, 30), 60, 6, "Studio 2", 200_00, 10, 7,
        bears_gst=True, waitlist_size=6, at_riverside=True,
    ),
    Plan(
        "Strong hips, steady knees",
        "Eight lunch hours of strength for hips and knees, at your own pace. For people who walk, run, or would like "
        "to again.",
        "Priya Raman", THURSDAY, 5, (12, 0), 50, 8, "Studio 1", 240_00, 12, 3,
        bears_gst=True, early_price_cents=216_00, late_share_percent=50,
    ),
    Plan(
        "Calm jaw, quiet head",
        "One morning about jaw tension and headaches: what sets them off, and what you can do about it at home.",
        "Liam Tremblay", SATURDAY, 7, (10, 0), 150, 1, "Studio 1", 75_00, 8, 7,
        waitlist_size=8, in_line=4,
    ),
    Plan(
        "New parent posture clinic",
        "Lifting, feeding, carrying: four mornings for the back of whoever holds the baby. Babies are welcome.",
        "Dr. Naomi Okafor", MONDAY, 7, (11, 0), 60, 4, "Studio 2", 140_00, 8, 2,
        waitlist_size=4, at_riverside=True,
    ),
    Plan(
        "Open evening: sleep and sore shoulders",
        "A talk of half an hour, and time for your questions. It costs nothing; a place makes sure of a chair.",
        "Grace Whitfield", WEDNESDAY, 2, (18, 30), 75, 1, "Waiting room", 0, 20, 5,
    ),
)  # fmt: skip


def make_programs(clinic: Clinic, invoices: Invoices) -> int:
    """Make the programs with who registered, paid and waits; gives how many invoices that made."""
    made = [_make(clinic, invoices, plan) for plan in PLANS]
    first = made[0][0]
    for position, (kind, text, choices, required) in enumerate(QUESTIONS, start=1):
        clinic.session.add(
            ProgramQuestion(
                program_id=first.id, position=position, kind=kind, text=text, choices=choices, required=required
            )
        )
    clinic.session.add(PromoCode(code="NEIGHBOUR10", percent=10, uses=20, created_at=now()))
    clinic.session.flush()
    return sum(count for _program, count in made)


QUESTIONS = (
    (CHOICE, "How often do you exercise?", "Hardly ever\nOnce or twice a week\nMore often", True),
    (TEXT, "Is there anything we should know before we begin?", "", False),
    (CONSENT, "I take part at my own pace and say when something hurts.", "", True),
)


def _make(clinic: Clinic, invoices: Invoices, plan: Plan) -> tuple[Program, int]:
    session = clinic.session
    first_day = _weekday_ahead(clinic.today, plan.weekday, plan.weeks_ahead)
    program = Program(
        public_id=secrets.token_urlsafe(12),
        name=plan.name,
        description=plan.description,
        location_id=clinic.locations[plan.at_riverside].id,
        practitioner_id=clinic.practitioners[plan.practitioner].id,
        price_cents=plan.price_cents,
        early_price_cents=plan.early_price_cents,
        early_until=clinic.today + timedelta(days=14) if plan.early_price_cents is not None else None,
        capacity=plan.capacity,
        waitlist_size=plan.waitlist_size,
        late_share_percent=plan.late_share_percent,
        visible=True,
        created_at=moment(clinic.today - timedelta(days=30), 9),
        created_by=clinic.staff["Marc Oduya"].id,
    )
    session.add(program)
    session.flush()
    gst = session.query(Tax).filter_by(name="GST").one()
    if plan.bears_gst:
        session.add(ProgramTax(program_id=program.id, tax_id=gst.id))
    for week in range(plan.sessions):
        starts_at = moment(first_day + timedelta(weeks=week), *plan.at)
        session.add(
            ProgramSession(
                program_id=program.id,
                starts_at=starts_at,
                ends_at=starts_at + timedelta(minutes=plan.minutes),
                room=plan.room,
            )
        )
    session.flush()
    taxes = (TaxRate(gst.name, gst.rate_per_100k, gst.compound),) if plan.bears_gst else ()
    return program, _fill(clinic, invoices, program, plan, first_day, taxes)


def _weekday_ahead(today: date, weekday: int, weeks: int) -> date:
    return today + timedelta(days=(weekday - today.weekday()) % 7, weeks=weeks)


def _fill(
    clinic: Clinic, invoices: Invoices, program: Program, plan: Plan, first_day: date, taxes: tuple[TaxRate, ...]
) -> int:
    """Who has a place has paid for it; who waits does so in the order of the list, and the first is offered one."""
    names = list(OTHERS)
    clinic.chance.shuffle(names)
    if plan.early_price_cents is not None:
        names.insert(0, "Maya Lindqvist")
    made = 0
    for turn, name in enumerate(names[: plan.confirmed]):
        then = moment(clinic.today - timedelta(days=plan.confirmed - turn), 12, 5 * turn)
        registration = _register(clinic, program, name, Place.CONFIRMED, then)
        if program.price_cents:
            _paid(clinic, invoices, program, registration, first_day, taxes)
            made += 1
    if plan.in_line:
        line = ["Maya Lindqvist", "Jonas Weber", *names[plan.confirmed :]][: plan.in_line + 1]
        for turn, name in enumerate(line):
            waits_since = moment(clinic.today - timedelta(days=2), 9, turn)
            _register(clinic, program, name, Place.WAITING, waits_since)
        offer_next(clinic.session, program)
    return made


def _register(clinic: Clinic, program: Program, name: str, state: Place, then: datetime) -> Registration:
    user = clinic.staff.get(name)
    registration = Registration(
        public_id=secrets.token_urlsafe(12),
        program_id=program.id,
        patient_id=clinic.patients[name].id,
        user_id=user.id if user else None,
        channel=PORTAL if user else DESK,
        state=state,
        price_cents=price_on(program, then.date()),
        waiting_since=then if state == Place.WAITING else None,
        confirmed_at=then if state == Place.CONFIRMED else None,
        created_at=then,
    )
    clinic.session.add(registration)
    clinic.session.flush()
    return registration


def _paid(
    clinic: Clinic,
    invoices: Invoices,
    program: Program,
    registration: Registration,
    first_day: date,
    taxes: tuple[TaxRate, ...],
) -> None:
    assert registration.patient_id is not None
    invoice = issue_invoice(
        clinic.session,
        location=next(each for each in clinic.locations if each.id == program.location_id),
        patient_id=registration.patient_id,
        practitioner_id=program.practitioner_id,
        service_on=first_day,
        due_on=registration.created_at.date(),
        lines=[Line(program.name, registration.price_cents, taxes=taxes)],
        issued_at=registration.created_at,
        program_id=program.id,
    )
    registration.invoice_id = invoice.id
    invoices.pay(invoice, "card")
    clinic.session.flush()
