"""The totals of Invoice Search are exact at any moment: they are held against a plain sum over all invoices."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import product

import pytest
from sqlalchemy import event, select, text, update
from sqlalchemy.orm import Session

from portal.clock import now
from portal.db import Database
from portal.invariants import broken_invariants
from portal.invoices.books import Status, adjust, status_of, void_invoice
from portal.invoices.reading import read_key
from portal.invoices.search import Narrowing, found_by, page_of
from portal.invoices.search.rows import rows_of
from portal.invoices.search.totals import whole_months
from portal.invoices.sums import InvoiceChange, InvoiceSum, fold_some, fold_sums
from portal.invoices.tables import Invoice
from tests.makers import Cast, count_of, make_cast, make_invoice, make_location, make_payment, make_practitioner

FIRST = date(2026, 1, 20)
DAYS = 100


@pytest.fixture
def cast(clinic: Database) -> Cast:
    with clinic.transaction() as session:
        return make_cast(session)


def _something_happens(session: Session, cast: Cast, chance: random.Random) -> None:
    """One more invoice, or something that becomes of one of those that are there."""
    locations = [cast.location, session.info["riverside"], session.info["seattle"]]
    known = session.scalars(select(Invoice.id)).all()
    if len(known) < 10 or chance.random() < 0.5:
        lines = [("Visit", 1, chance.choice([0, 100_00, 45_50]), ())]
        place, who = chance.choice(locations), chance.choice([None, cast.practitioner, session.info["second"]])
        patient = chance.choice([cast.maya, cast.theo, cast.stranger])
        day = FIRST + timedelta(chance.randrange(DAYS))
        make_invoice(session, patient, lines, location=place, practitioner=who, service_on=day)
        return
    invoice = session.get_one(Invoice, chance.choice(known))
    if invoice.voided_at is not None:
        return
    what = chance.randrange(4)
    if what == 0 and invoice.balance_cents > 0:
        make_payment(session, invoice)
    elif what == 1 and invoice.balance_cents > 1:
        make_payment(session, invoice, chance.randrange(1, invoice.balance_cents))
    elif what == 2 and invoice.balance_cents > 0:
        adjust(session, invoice.id, -invoice.balance_cents, "a courtesy", None)
    elif what == 3 and invoice.paid_cents == 0:
        void_invoice(session, invoice.id, "the wrong visit")


def _plainly(session: Session, search: Narrowing) -> tuple[int, dict[str, tuple[int, int]], list[str]]:
    """The same by looking at every invoice."""
    number, found = 0, []
    sums: dict[str, tuple[int, int]] = {}
    rows = session.scalars(select(Invoice).order_by(Invoice.service_on.desc(), Invoice.id.desc()))
    for invoice in rows.unique():
        fits = (
            search.since <= invoice.service_on <= search.until
            and search.location_id in (None, invoice.location_id)
            and search.practitioner_id in (None, invoice.practitioner_id)
            and search.status in ("", status_of(invoice, now().date()).status)
        )
        if fits:
            number += 1
            owed, paid = sums.get(invoice.currency, (0, 0))
            if invoice.voided_at is None:
                owed, paid = owed + invoice.owed_cents, paid + invoice.paid_cents
            sums[invoice.currency] = (owed, paid)
            found.append(invoice.number)
    return number, sums, found


def _searches(cast: Cast, places: list[int], people: list[int], chance: random.Random) -> Iterator[Narrowing]:
    for status, place, who in product(["", *Status], [None, *places], [None, *people]):
        since = FIRST + timedelta(chance.randrange(-10, DAYS))
        until = since + timedelta(chance.choice([-1, 0, 5, 31, 60, 400]))
        yield Narrowing({}, since, until, status=str(status), location_id=place, practitioner_id=who)
    yield Narrowing({})


@pytest.mark.promise("O12")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_totals_and_rows_are_those_of_a_plain_look_at_everything(clinic: Database, cast: Cast, seed: int) -> None:
    chance = random.Random(seed)
    with clinic.transaction() as session:
        riverside = make_location(session, "Riverside", prefix="R", timezone="America/Vancouver")
        seattle = make_location(session, "Seattle", prefix="S", currency="USD", timezone="America/Los_Angeles")
        second = make_practitioner(session, "Priya Raman", "PT", "1")
    for round_ in range(3):
        for _ in range(40):
            with clinic.transaction() as session:
                session.info.update(riverside=riverside, seattle=seattle, second=second)
                _something_happens(session, cast, chance)
        if round_ == 1:
            with clinic.transaction() as session:
                fold_some(session, most=15)  # some are counted, others wait
        _hold_them_against_each_other(clinic, cast, [riverside.id, seattle.id], [second.id], chance)
        fold_sums(clinic)
        _hold_them_against_each_other(clinic, cast, [riverside.id, seattle.id], [second.id], chance)
    assert broken_invariants(clinic) == []


def _hold_them_against_each_other(
    clinic: Database, cast: Cast, places: list[int], people: list[int], chance: random.Random
) -> None:
    with Session(clinic.reading) as session, clinic.read() as connection:
        for search in _searches(cast, [cast.location.id, *places], [cast.practitioner.id, *people], chance):
            number, sums, numbers = _plainly(session, search)
            found = found_by(connection, search)
            assert found.number == number, search
            assert {total.currency: (total.owed_cents, total.paid_cents) for total in found.totals} == sums, search
            assert [row.number for row in rows_of(connection, search, 1000)] == numbers, search


def test_whole_months_inside_some_days() -> None:
    def days(*words: str) -> tuple[date, ...]:
        return tuple(date.fromisoformat(word) for word in words)

    assert whole_months(*days("2026-01-01", "2026-03-31")) == days("2026-01-01", "2026-03-31")
    assert whole_months(*days("2026-01-02", "2026-03-30")) == days("2026-02-01", "2026-02-28")
    first, last = whole_months(*days("2026-01-15", "2026-02-10"))
    assert first > last


@pytest.mark.of_database("postgresql")
def test_many_pay_at_once_while_the_worker_adds_up(clinic: Database, cast: Cast) -> None:
    """Nobody waits crosswise for the sums, and nothing is lost on the way."""
    with clinic.transaction() as session:
        invoices = [make_invoice(session, cast.maya, service_on=FIRST) for _ in range(40)]
    numbers = [invoice.id for invoice in invoices]

    def pay(turn: int) -> None:
        order = numbers[turn:] + numbers[:turn]
        for invoice_id in order:
            with clinic.transaction() as session:
                invoice = session.get_one(Invoice, invoice_id, with_for_update=True)
                make_payment(session, invoice, 1)

    def add_up(_turn: int) -> None:
        for _ in range(20):
            fold_sums(clinic)

    with ThreadPoolExecutor(10) as pool:
        list(
            pool.map(lambda job: job[0](job[1]), [(pay, turn * 5) for turn in range(8)] + [(add_up, 0), (add_up, 1)])
        )
    with clinic.read() as connection:
        found = found_by(connection, Narrowing({}))
    assert [(total.owed_cents, total.paid_cents) for total in found.totals] == [(40 * 126_00, 40 * 8)]
    fold_sums(clinic)
    with clinic.transaction() as session:
        assert count_of(session, InvoiceChange) == 0
    assert broken_invariants(clinic) == []


def test_sums_that_were_tampered_with_are_found(clinic: Database, cast: Cast) -> None:
    with clinic.transaction() as session:
        make_invoice(session, cast.maya, service_on=FIRST, practitioner=cast.practitioner)
    fold_sums(clinic)
    with clinic.transaction() as session:
        session.execute(update(InvoiceSum).where(InvoiceSum.location_id == 0).values(owed_cents=1))
    assert {finding.what for finding in broken_invariants(clinic)} == {
        "the sum of Invoice Search is not the sum of its parts"
    }
    with clinic.transaction() as session:
        session.execute(text("DELETE FROM invoice_sums"))
    assert {finding.what for finding in broken_invariants(clinic)} == {
        "the day's sums of Invoice Search are not its invoices"
    }


def test_an_invoice_stands_as_its_books_say_whoever_writes_them(clinic: Database, cast: Cast) -> None:
    with clinic.transaction() as session:
        invoice = make_invoice(session, cast.maya)
        assert invoice.standing == Status.RECEIVABLE
        make_payment(session, invoice, 100)
        assert invoice.standing == Status.PARTLY_PAID
        make_payment(session, invoice)
        assert invoice.standing == Status.PAID
        session.execute(text("UPDATE invoices SET standing = 'void'"))
        session.refresh(invoice)
        assert invoice.standing == Status.PAID


def test_pages_follow_one_another_without_a_gap(clinic: Database, cast: Cast) -> None:
    with clinic.transaction() as session:
        made = [make_invoice(session, cast.maya, service_on=FIRST + timedelta(turn % 7)) for turn in range(120)]
        for invoice in made[::3]:
            make_payment(session, invoice)
    seen: list[str] = []
    after = None
    with clinic.read() as connection:
        while True:
            page = page_of(connection, Narrowing({}), after)
            seen += [row.number for row in page.rows]
            if not page.following:
                break
            after = read_key(page.following)
    assert len(seen) == len(set(seen)) == 120


@pytest.mark.of_database("sqlite")  # PostgreSQL's plan depends on how much there is
@pytest.mark.parametrize("status", ["", "paid"])
def test_searches_walk_their_indexes(clinic: Database, cast: Cast, status: str) -> None:
    """Also where the table of changes is empty, and statistics were taken."""
    with clinic.transaction() as session:
        for turn in range(30):
            make_invoice(session, cast.maya, service_on=FIRST + timedelta(turn))
    fold_sums(clinic)
    with clinic.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.commit()
    sent: list[str] = []
    event.listen(clinic.engine, "before_cursor_execute", lambda *heard: sent.append(heard[2]))
    with clinic.read() as connection:
        for place, who in product((None, cast.location.id), (None, cast.practitioner.id)):
            search = Narrowing({}, status=status, location_id=place, practitioner_id=who)
            page_of(connection, search)
            found_by(connection, search)
        for statement in list(sent):
            bound = tuple(["2026-01-01"] * statement.count("?"))
            steps = [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", bound)]
            of_invoices = [step for step in steps if step.split()[1:2] == ["invoices"]]
            assert of_invoices and all(
                "ix_invoices_standing" in step or "INTEGER PRIMARY KEY" in step for step in of_invoices
            ), steps
