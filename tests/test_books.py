"""The books: taxes, numbers, what an invoice owes, and what refuses to change."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.orm import Session

from portal.clinic import Location
from portal.db import Database
from portal.errors import Refusal
from portal.invoices import books
from portal.invoices.books import (
    LARGEST_TOTAL,
    Line,
    Standing,
    Status,
    TaxRate,
    adjust,
    issue_invoice,
    locked_invoice,
    status,
    status_of,
    take_receipt_numbers,
    taxes_on,
    total_cents,
    void_invoice,
)
from portal.invoices.tables import Adjustment, Invoice, InvoiceLine, LineTax
from portal.payments.states import ENDED, LIVE, State
from portal.payments.tables import Payment
from portal.people import Patient
from tests.makers import (
    GST,
    MASSAGE_AND_CUSHION,
    PST,
    Cast,
    make_attempt,
    make_cast,
    make_gateway,
    make_invoice,
    make_location,
    make_patient,
    make_payment,
    make_vault,
)
from tests.support.at_once import at_once, names

TODAY = date(2026, 11, 24)
QST_OF_2012 = TaxRate("QST", 9_500, compound=True)
QST = TaxRate("QST", 9_975)


@pytest.fixture
def session(clinic: Database) -> Iterator[Session]:
    with clinic.transaction() as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def cast(session: Session) -> Cast:
    return make_cast(session)


# --- taxes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net_cents", "taxes", "amounts"),
    [
        (120_00, (GST,), [6_00]),
        (48_00, (GST, PST), [2_40, 3_36]),  # each on the net, not on each other
        (100_00, (GST, QST), [5_00, 9_98]),  # 9.975 goes up
        (100_00, (GST, QST_OF_2012), [5_00, 9_98]),  # 9.5% of 105.00 = 9.975
        (200_00, (GST, QST_OF_2012), [10_00, 19_95]),
        (200_00, (QST_OF_2012, GST), [19_00, 10_00]),  # compound on nothing before it
        (10, (GST,), [1]),  # half a cent goes up
        (9, (GST,), [0]),
        (-48_00, (GST, PST), [-2_40, -3_36]),  # a discount takes its tax along
        (-10, (GST,), [-1]),
        (0, (GST, PST), [0, 0]),
        (33_33, (), []),
        (99_99, (GST, PST), [5_00, 7_00]),  # 4.9995 and 6.9993
    ],
)
def test_worked_examples_of_taxes_on_a_line(net_cents: int, taxes: tuple[TaxRate, ...], amounts: list[int]) -> None:
    assert [tax.amount_cents for tax in taxes_on(net_cents, taxes)] == amounts


def test_tax_is_taken_line_by_line() -> None:
    three_lines = [Line("Tape", 10, 1, (GST,))] * 3
    one_line = [Line("Tape", 10, 3, (GST,))]
    assert total_cents(three_lines) == 33
    assert total_cents(one_line) == 32  # 1.5 cents goes up to 2, where three times half a cent went up to 3


@given(st.integers(-(10**7), 10**7), st.lists(st.builds(TaxRate, st.just("T"), st.integers(0, 30_000)), max_size=3))
def test_independent_taxes_do_not_mind_their_order(net_cents: int, taxes: list[TaxRate]) -> None:
    there = sum(tax.amount_cents for tax in taxes_on(net_cents, taxes))
    back = sum(tax.amount_cents for tax in taxes_on(net_cents, taxes[::-1]))
    assert there == back


# --- how an invoice stands ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owed", "paid", "voided", "due_in_days", "standing"),
    [
        (100, 0, False, 3, Standing(Status.RECEIVABLE, 0)),
        (100, 0, False, 0, Standing(Status.RECEIVABLE, 0)),  # due today is not late
        (100, 0, False, -1, Standing(Status.RECEIVABLE, 1)),
        (100, 40, False, 3, Standing(Status.PARTLY_PAID, 0)),
        (100, 40, False, -4, Standing(Status.PARTLY_PAID, 4)),
        (100, 100, False, -4, Standing(Status.PAID, 0)),
        (100, 130, False, -4, Standing(Status.PAID, 0)),  # the open case tells of the rest
        (0, 0, False, -4, Standing(Status.PAID, 0)),  # nothing to pay, or all of it credited
        (100, -20, False, 3, Standing(Status.RECEIVABLE, 0)),
        (100, 0, True, -4, Standing(Status.VOID, 0)),
        (100, 100, True, -4, Standing(Status.VOID, 0)),
    ],
)
def test_status_is_a_function_of_the_books(
    owed: int, paid: int, voided: bool, due_in_days: int, standing: Standing
) -> None:
    balance = (0 if voided else owed) - paid
    assert status(owed, paid, balance, voided, TODAY + timedelta(days=due_in_days), TODAY) == standing


# --- issuing --------------------------------------------------------------------------------------------------------


def test_an_invoice_has_its_lines_taxes_and_sum(session: Session, cast: Cast) -> None:
    invoice = make_invoice(session, cast.maya, MASSAGE_AND_CUSHION, practitioner=cast.practitioner)
    assert (invoice.number, invoice.currency) == ("10001", "CAD")
    assert (invoice.owed_cents, invoice.paid_cents, invoice.balance_cents) == (179_76, 0, 179_76)
    lines = session.scalars(select(InvoiceLine).order_by(InvoiceLine.position)).all()
    assert [(line.description, line.quantity, line.net_cents) for line in lines] == [
        ("Massage therapy, 60 minutes", 1, 120_00),
        ("Lumbar support cushion", 1, 48_00),
    ]
    taxes = session.scalars(select(LineTax).order_by(LineTax.line_id, LineTax.position)).all()
    assert [(tax.line_id, tax.name, tax.rate_per_100k, tax.amount_cents) for tax in taxes] == [
        (lines[0].id, "GST", 5_000, 6_00),
        (lines[1].id, "GST", 5_000, 2_40),
        (lines[1].id, "PST", 7_000, 3_36),
    ]


def test_it_is_due_when_the_terms_say_by_the_clinics_own_calendar(session: Session, cast: Cast) -> None:
    late_evening = datetime(2026, 11, 25, 5, 30, tzinfo=UTC)  # still the 24th in Kelowna
    assert make_invoice(session, cast.maya, issued_at=late_evening).due_on == date(2026, 12, 8)
    assert make_invoice(session, cast.maya, due_on=TODAY).due_on == TODAY


def test_a_zero_total_is_paid_from_the_start(session: Session, cast: Cast) -> None:
    invoice = make_invoice(session, cast.maya, (("Follow-up by phone", 1, 0, (GST,)),))
    assert status_of(invoice, TODAY).status == Status.PAID


@pytest.mark.parametrize(
    ("lines", "refusal"),
    [
        ([], books.NothingToInvoice),
        ([Line("Discount", -1)], books.TotalOutOfRange),
        ([Line("Orthotics", LARGEST_TOTAL), Line("Tape", 1)], books.TotalOutOfRange),
    ],
)
def test_an_impossible_invoice_is_refused_and_takes_no_number(
    session: Session, cast: Cast, lines: list[Line], refusal: type[Refusal]
) -> None:
    with pytest.raises(refusal) as refused:
        issue_invoice(
            session,
            location=cast.location,
            patient_id=cast.maya.id,
            practitioner_id=None,
            service_on=TODAY,
            lines=lines,
        )
    assert refused.value.text
    assert make_invoice(session, cast.maya).number == "10001"


def test_each_location_has_its_own_run_of_numbers(session: Session, cast: Cast) -> None:
    riverside = make_location(session, "Riverside", prefix="R-", first_number=2_001)
    numbers = [make_invoice(session, cast.maya, location=place).number for place in (riverside, cast.location) * 2]
    assert numbers == ["R-2001", "10001", "R-2002", "10002"]


def test_a_number_that_was_rolled_back_is_given_to_the_next(clinic: Database) -> None:
    with clinic.transaction() as session:
        make_cast(session)
    assert _issue_one(clinic) == "10001"
    with pytest.raises(ZeroDivisionError), clinic.transaction() as session:
        assert make_invoice(session, _somebody(session)).number == "10002"
        raise ZeroDivisionError
    assert _issue_one(clinic) == "10002"


def test_twenty_desks_at_once_leave_no_gap_and_take_no_number_twice(clinic: Database) -> None:
    with clinic.transaction() as session:
        make_cast(session)
        take_receipt_numbers(session)

    def issue_three() -> list[str]:
        return [_issue_one(clinic, fails=turn == 1) for turn in range(3)]

    taken = [number for numbers in at_once([issue_three] * 20) for number in numbers if number]
    assert sorted(map(int, taken)) == list(range(10_001, 10_041))
    with clinic.transaction() as session:
        assert session.scalar(select(Location.next_invoice_number)) == 10_041
        receipts = session.scalars(select(Payment.receipt_number).order_by(Payment.id)).all()
    assert sorted(receipts, key=str) == [f"R-{number}" for number in range(20_002, 20_042)]


def _issue_one(clinic: Database, fails: bool = False) -> str:
    try:
        with clinic.transaction() as session:
            invoice = make_invoice(session, _somebody(session))
            make_payment(session, invoice)
            if fails:
                raise ZeroDivisionError
            return invoice.number
    except ZeroDivisionError:
        return ""


def _somebody(session: Session) -> Patient:
    return session.scalars(select(Patient).order_by(Patient.id)).all()[0]


def test_receipt_numbers_can_be_taken_in_blocks(session: Session) -> None:
    assert take_receipt_numbers(session)[0] == "R-20001"
    assert take_receipt_numbers(session, 3) == ["R-20002", "R-20003", "R-20004"]
    assert take_receipt_numbers(session)[0] == "R-20005"


# --- adjusting and voiding ------------------------------------------------------------------------------------------


def test_a_credit_lowers_what_is_owed_and_says_who_and_why(session: Session, cast: Cast) -> None:
    invoice = make_invoice(session, cast.maya, MASSAGE_AND_CUSHION)
    before = invoice.version
    credit = adjust(session, invoice.id, -20_00, " Came late. ", cast.clerk)
    assert (credit.reason, credit.made_by) == ("Came late.", cast.clerk.id)
    assert (invoice.owed_cents, invoice.balance_cents) == (159_76, 159_76)
    assert invoice.version > before  # whoever was shown the old sum is told
    adjust(session, invoice.id, 5_00, "Tape.", None)
    assert invoice.balance_cents == 164_76


def test_a_credit_of_all_that_is_left_settles_the_invoice(session: Session, cast: Cast) -> None:
    invoice = make_invoice(session, cast.maya)
    make_payment(session, invoice, 100_00)
    adjust(session, invoice.id, -26_00, "Written off.", cast.clerk)
    assert status_of(invoice, TODAY).status == Status.PAID


def test_a_credit_never_makes_an_invoice_overpaid(session: Session, cast: Cast) -> None:
    invoice = make_invoice(session, cast.maya)
    make_payment(session, invoice, 100_00)
    with pytest.raises(books.CreditTooLarge) as refused:
        adjust(session, invoice.id, -26_01, "Too kind.", cast.clerk)
    assert "$26.00" in refused.value.text


def test_an_overpaid_invoice_is_put_right_before_more_is_owed(session: Session, cast: Cast) -> None:
    invoice = make_invoice(session, cast.maya)
    make_payment(session, invoice, 130_00)
    with pytest.raises(books.InvoiceOverpaid) as refused:
        adjust(session, invoice.id, 4_00, "Tape.", cast.clerk)
    assert "$4.00" in refused.value.text


def test_an_adjustment_stays_in_range_and_gives_its_reason(session: Session, cast: Cast) -> None:
    invoice = make_invoice(session, cast.maya)
    with pytest.raises(books.TotalOutOfRange):
        adjust(session, invoice.id, LARGEST_TOTAL, "Oops.", cast.clerk)
    with pytest.raises(books.ReasonMissing):
        adjust(session, invoice.id, -1, "  ", cast.clerk)


def test_a_void_invoice_asks_for_nothing_and_keeps_its_number(session: Session, cast: Cast) -> None:
    invoice = make_invoice(session, cast.maya)
    before = invoice.version
    void_invoice(session, invoice.id, "Wrong patient.")
    assert (invoice.balance_cents, invoice.owed_cents, invoice.void_reason) == (0, 126_00, "Wrong patient.")
    assert invoice.voided_at is not None
    assert invoice.version == before + 1
    assert make_invoice(session, cast.maya).number == "10002"
    with pytest.raises(books.AlreadyVoid):
        void_invoice(session, invoice.id, "Again.")
    with pytest.raises(books.AlreadyVoid):
        adjust(session, invoice.id, -1, "Too late.", cast.clerk)


def test_an_invoice_with_money_on_it_is_not_voided(session: Session, cast: Cast) -> None:
    invoice = make_invoice(session, cast.maya)
    payment = make_payment(session, invoice, 40_00)
    with pytest.raises(books.InvoiceHasPayments) as refused:
        void_invoice(session, invoice.id, "Wrong patient.")
    assert "$40.00" in refused.value.text
    make_payment(session, invoice, -40_00, receipt_number=None, reverses_id=payment.id)
    void_invoice(session, invoice.id, "Wrong patient.")


def test_a_void_needs_a_reason(session: Session, cast: Cast) -> None:
    with pytest.raises(books.ReasonMissing):
        void_invoice(session, make_invoice(session, cast.maya).id, "")


@pytest.mark.parametrize("state", sorted(State))
def test_an_invoice_that_somebody_is_paying_is_not_voided(session: Session, cast: Cast, state: State) -> None:
    invoice = make_invoice(session, cast.maya)
    make_attempt(session, invoice, make_gateway(session, make_vault()), state)
    if state in LIVE:
        with pytest.raises(books.InvoiceBeingPaid):
            void_invoice(session, invoice.id, "Wrong patient.")
    else:
        assert state in ENDED
        void_invoice(session, invoice.id, "Wrong patient.")


def test_a_locked_invoice_is_seen_as_it_stands_now(clinic: Database) -> None:
    with clinic.transaction() as session:
        invoice_id = make_invoice(session, make_cast(session).maya).id
    with Session(clinic.reading, expire_on_commit=False) as reader:
        stale = reader.get_one(Invoice, invoice_id)
    with clinic.transaction() as session:
        make_payment(session, session.get_one(Invoice, invoice_id), 26_00)
    with clinic.transaction() as session:
        session.add(stale)
        assert stale.balance_cents == 126_00
        assert locked_invoice(session, invoice_id).balance_cents == 100_00


def test_of_two_voids_at_once_one_is_told_so(clinic: Database) -> None:
    with clinic.transaction() as session:
        invoice_id = make_invoice(session, make_cast(session).maya).id

    def void() -> None:
        with clinic.transaction() as session:
            void_invoice(session, invoice_id, "Wrong patient.")

    assert names(at_once([void] * 2)) == {"NoneType": 1, "AlreadyVoid": 1}


# --- what the database itself keeps ---------------------------------------------------------------------------------


@pytest.mark.promise("G3")
def test_the_database_adds_up_whoever_writes(session: Session, cast: Cast) -> None:
    invoice = make_invoice(session, cast.maya)
    session.execute(
        text(
            "INSERT INTO payments (invoice_id, kind, amount_cents, currency, received_at)"
            " VALUES (:id, 'cash', 2600, 'CAD', '2026-11-24 10:00:00')"
        ),
        {"id": invoice.id},
    )
    session.execute(
        text(
            "INSERT INTO adjustments (invoice_id, amount_cents, reason, made_at)"
            " VALUES (:id, -1000, 'Late.', '2026-11-24 10:00:00')"
        ),
        {"id": invoice.id},
    )
    session.refresh(invoice)
    assert (invoice.owed_cents, invoice.paid_cents, invoice.balance_cents) == (116_00, 26_00, 90_00)


def test_a_payment_alone_is_not_a_new_version(session: Session, cast: Cast) -> None:
    invoice = make_invoice(session, cast.maya)
    before = invoice.version
    payment = make_payment(session, invoice, 26_00)
    assert invoice.version == before
    assert invoice.last_paid_at == payment.received_at


APPENDED: list[tuple[type[Any], str]] = [
    (InvoiceLine, "net_cents"),
    (LineTax, "amount_cents"),
    (Adjustment, "amount_cents"),
    (Payment, "amount_cents"),
]


@pytest.mark.parametrize(("table", "column"), APPENDED, ids=[table.__tablename__ for table, _ in APPENDED])
@pytest.mark.parametrize("verb", ["update", "delete"])
@pytest.mark.promise("G3")
def test_what_was_appended_is_never_changed(clinic: Database, table: type[Any], column: str, verb: str) -> None:
    with clinic.transaction() as session:
        cast = make_cast(session)
        invoice = make_invoice(session, cast.maya)
        make_payment(session, invoice, 26_00)
        adjust(session, invoice.id, -1_00, "Late.", cast.clerk)
    name = table.__tablename__
    statement = f"UPDATE {name} SET {column} = 1" if verb == "update" else f"DELETE FROM {name}"
    with pytest.raises(IntegrityError, match=f"{name} only grow"), clinic.transaction() as session:
        session.execute(text(statement))
    with clinic.transaction() as session:
        assert session.scalar(select(func.count()).select_from(table)) == 1


@pytest.mark.of_database("sqlite")  # only SQLite has INSERT OR REPLACE
def test_an_appended_row_is_not_replaced_either(clinic: Database) -> None:
    with clinic.transaction() as session:
        make_payment(session, make_invoice(session, make_cast(session).maya), 26_00)
    with pytest.raises(IntegrityError, match="payments only grow"), clinic.transaction() as session:
        session.execute(
            text(
                "INSERT OR REPLACE INTO payments (id, invoice_id, kind, amount_cents, currency, received_at)"
                " VALUES (1, 1, 'cash', 1, 'CAD', '2026-11-24 10:00:00')"
            )
        )


@pytest.mark.parametrize(
    "change",
    ["amount_cents = 1", "currency = 'USD'", "mode = 'production'", "invoice_version = 99", "account = 'acct_other'"],
)
def test_an_attempt_stays_what_it_began_as(clinic: Database, change: str) -> None:
    with clinic.transaction() as session:
        invoice = make_invoice(session, make_cast(session).maya)
        make_attempt(session, invoice, make_gateway(session, make_vault()), account="acct_first")
    with pytest.raises(DatabaseError, match="keeps what it began with"), clinic.transaction() as session:
        session.execute(text(f"UPDATE payment_attempts SET {change}"))


def test_two_invoices_never_share_a_number(session: Session, cast: Cast) -> None:
    make_invoice(session, cast.maya)
    twin = make_location(session, "Twin", first_number=10_001)  # the same prefix and run by mistake
    with pytest.raises(IntegrityError, match="number"), session.begin_nested():
        make_invoice(session, make_patient(session), location=twin)
