"""Invoice Search: what it finds, what it comes to, and what it says when it can't read a field."""

import csv
import io
from datetime import date, timedelta
from typing import Any

import openpyxl
import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal.audit import AuditEntry, RecordView
from portal.clock import now
from portal.invoices.books import void_invoice
from portal.payments.tables import Case
from portal.people import SignIn
from tests.makers import make_invoice, make_patient, make_payment
from tests.web.conftest import Site, Visitor, words


@pytest.mark.promise("O12")
def test_the_search_shows_this_month_and_adds_all_of_it_up(site: Site, dana: Visitor) -> None:
    def clinic(session: Session) -> None:
        today = now().date()
        cast = site.cast
        make_invoice(session, cast.maya, practitioner=cast.practitioner, location=cast.location, service_on=today)
        paid = make_invoice(session, cast.theo, location=cast.location, service_on=today)
        make_payment(session, paid)
        void = make_invoice(session, cast.stranger, location=cast.location, service_on=today)
        void_invoice(session, void.id, "wrong visit")
        long_ago = today.replace(day=1) - timedelta(3)
        make_invoice(session, cast.maya, location=cast.location, service_on=long_ago)

    site.change(clinic)
    page = words(dana.get("/office/invoices"))
    assert "3 invoices, " in page
    assert "Lindqvist, Maya" in page and "Weber, Jonas" in page and "Void" in page
    assert "Totals, void ones left out $252.00 $126.00 $126.00" in page


@pytest.mark.promise("O12")
def test_a_visit_invoiced_ahead_is_found_without_typing_its_date(site: Site, dana: Visitor) -> None:
    day = now().date() + timedelta(40)
    number = _invoice_of(site, service_on=day)
    assert number in words(dana.get("/office/invoices"))
    only_from = dana.get(f"/office/invoices?from={day}")
    assert number in words(only_from) and 'aria-invalid="true"' not in only_from.text
    file = dana.get("/office/invoices/export.csv?from=2026-03-01").headers["Content-Disposition"]
    assert file == 'attachment; filename="invoices-from-2026-03-01.csv"'


def _invoice_of(site: Site, **how: Any) -> str:
    """An invoice of today; gives its number."""

    def make(session: Session) -> str:
        values = {"location": site.cast.location, "practitioner": site.cast.practitioner, **how}
        return make_invoice(session, site.cast.maya, **values).number

    return str(site.change(make))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("from=yesterday", "Please give the day as year, month and day"),
        ("until=2026-13-40", "Please give the day as year, month and day"),
        ("from=2026-05-02&until=2026-05-01", "This day is after the last one"),
        ("status=lost", "Please choose one of the statuses"),
        ("location=999", "Please choose one of the locations"),
        ("practitioner=x%00", "Please choose one of the practitioners"),
        ("number=%F0%9F%98%80", "An invoice number has letters and digits"),
        ("number=" + "9" * 300, "An invoice number has letters and digits"),
    ],
)
def test_what_cannot_be_read_is_said_at_its_field(dana: Visitor, asked: str, said: str) -> None:
    answer = dana.get(f"/office/invoices?{asked}")
    assert answer.status_code == 200
    assert said in words(answer)
    assert 'aria-invalid="true"' in answer.text


def test_what_can_be_read_holds_beside_what_can_not(site: Site, dana: Visitor) -> None:
    number = _invoice_of(site)
    page = words(dana.get("/office/invoices?status=paid&location=999"))
    assert "No invoices" in page and number not in page
    assert number in words(dana.get("/office/invoices?status=receivable&location=999"))


def test_a_number_is_found_whatever_its_date(site: Site, dana: Visitor) -> None:
    number = _invoice_of(site, service_on=date(2019, 5, 2))
    page = words(dana.get(f"/office/invoices?number={number}&from=2026-11-01&until=2026-11-02"))
    assert f"1 invoice, number {number}, whatever the date" in page
    assert "2 May 2019" in page


@pytest.mark.parametrize("name", ["maya", "lindqvist, maya", "MAYA LIND", "lind", "P-{id}"])
def test_invoices_are_found_by_any_word_of_the_patients_name(site: Site, dana: Visitor, name: str) -> None:
    number = _invoice_of(site)
    theirs = site.change(lambda session: make_invoice(session, site.cast.stranger).number)
    name = name.format(id=site.cast.maya.id)
    page = words(dana.get("/office/invoices", query_string={"patient": name}))
    assert number in page and theirs not in page
    assert "Totals, void ones left out $126.00 $0.00 $126.00" in page


def test_a_name_of_too_many_people_asks_for_more_of_it(site: Site, dana: Visitor) -> None:
    def crowd(session: Session) -> None:
        for turn in range(25):
            make_patient(session, f"Ann{turn}", "Smith")

    site.change(crowd)
    assert "More than 20 people on file are called that" in words(dana.get("/office/invoices?patient=smith"))
    assert "More than" not in words(dana.get("/office/invoices?patient=smith+ann7"))


def test_a_void_invoice_whose_refund_is_pending_is_told_apart(site: Site, dana: Visitor) -> None:
    def void_with_money(session: Session) -> tuple[str, str]:
        invoice = make_invoice(session, site.cast.maya, location=site.cast.location)
        payment = make_payment(session, invoice, kind="card")
        invoice.voided_at, invoice.void_reason = now(), "the wrong visit"
        session.add(
            Case(kind="refund_pending", invoice_id=invoice.id, payment_id=payment.id, amount_cents=126_00,
                 reason="void", opened_at=now())
        )  # fmt: skip
        other = make_invoice(session, site.cast.maya, location=site.cast.location)
        void_invoice(session, other.id, "twice")
        return invoice.number, other.number

    pending, void = site.change(void_with_money)
    page = words(dana.get("/office/invoices?status=refund+pending"))
    assert f"Invoice {pending} is void, and its refund is pending" in page
    assert "1 invoice," in page and void not in page
    both = words(dana.get("/office/invoices?status=void"))
    assert pending in both and void in both and "Totals, void ones left out $0.00 $0.00 $0.00" in both


def test_a_page_takes_six_statements_however_it_is_narrowed(site: Site, dana: Visitor) -> None:
    number = _invoice_of(site)
    for asked in ("", "status=paid", "location=1&practitioner=1", "patient=maya+lindqvist", f"number={number}"):
        path = f"/office/invoices?{asked}"
        dana.get(path)
        with site.counting() as sent:
            dana.get(path)
        assert len(sent) <= 6, sent


def test_one_invoice_shows_its_paper_and_what_can_be_done(site: Site, dana: Visitor) -> None:
    number = _invoice_of(site, note="Claim 77-2041\nSend to the plan")
    page = dana.get(f"/office/invoices/{number}")
    assert "Massage therapy, 60 minutes" in page.text and "GST 5%" in page.text
    assert "CMTBC 08842" in page.text and "GST 71234 5678 RT0001" in page.text
    assert "Claim 77-2041\nSend to the plan" in page.text
    assert f'href="/office/invoices/{number}/receive"' in page.text
    seen = site.change(lambda session: session.scalars(select(RecordView)).all())
    assert [(view.patient_id, view.page) for view in seen] == [(site.cast.maya.id, "invoice")]


@pytest.mark.parametrize("number", ["99999", "no%00ne", "x" * 200, "..%2f.."])
def test_an_invoice_that_is_not_there(dana: Visitor, number: str) -> None:
    assert dana.get(f"/office/invoices/{number}").status_code == 404


def test_practitioners_see_no_invoices(site: Site) -> None:
    number = _invoice_of(site)
    liam = site.visitor("liam@example.com")
    for path in ("/office/invoices", f"/office/invoices/{number}", "/office/invoices/export.csv"):
        assert liam.get(path).status_code == 403


# --- exports --------------------------------------------------------------------------------------------------------

EVIL = ('=HYPERLINK("http://x")', "+1", "-2+3", "@SUM(A1)", "\tx", " =1", "＝1")


def _fresh(site: Site, email: str = "dana@example.com") -> Visitor:
    """Somebody who has just typed their password."""
    visitor = site.visitor(email)
    site.change(lambda session: session.execute(update(SignIn).values(confirmed_at=now())))
    return visitor


def test_an_export_asks_for_the_password_again_and_is_on_record(site: Site) -> None:
    _invoice_of(site)
    dana = _fresh(site)
    site.change(lambda session: session.execute(update(SignIn).values(confirmed_at=now() - timedelta(minutes=6))))
    assert "password" in dana.get("/office/invoices/export.csv").text
    site.change(lambda session: session.execute(update(SignIn).values(confirmed_at=now())))
    answer = dana.get("/office/invoices/export.csv?status=receivable")
    assert answer.mimetype == "text/csv"
    exported = select(AuditEntry).where(AuditEntry.action == "invoices.exported")
    entry = site.change(lambda session: session.scalars(exported).one())
    assert (entry.subject, entry.user_id) == (
        "invoices as CSV", site.cast.clerk.id,
    )  # fmt: skip
    assert "1 invoices" in entry.after and "status receivable" in entry.after


def test_no_formula_from_a_name_runs(site: Site) -> None:
    def odd_people(session: Session) -> None:
        for name in EVIL:
            make_invoice(session, make_patient(session, "", name), location=site.cast.location)
        paid = make_invoice(session, make_patient(session, "Zoë", "Ångström"), location=site.cast.location)
        make_payment(session, paid, 200_00)

    site.change(odd_people)
    dana = _fresh(site)
    raw = dana.get("/office/invoices/export.csv").data
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"))))
    assert len(rows) == len(EVIL) + 1
    assert {row["Patient"] for row in rows} == {f"'{name}" for name in EVIL} | {"Ångström, Zoë"}
    assert rows[0]["Balance"] == "-74.00"  # ours, and a number
    assert rows[0]["Currency"] == "CAD" and rows[0]["Total"] == "126.00" and rows[0]["Date"] == str(now().date())

    book = openpyxl.load_workbook(io.BytesIO(dana.get("/office/invoices/export.xlsx").data))
    sheet = book.active
    assert sheet is not None
    cells = [cell for row in sheet.iter_rows(min_row=2) for cell in row]
    assert {cell.data_type for cell in cells} <= {"s", "n", "d"}  # no formula
    assert {str(cell.value) for cell in cells} >= set(EVIL)
    assert sheet["L2"].value == -74


@pytest.mark.promise("O12")
def test_an_export_holds_the_whole_search_and_nothing_else(site: Site) -> None:
    def many(session: Session) -> None:
        for turn in range(130):
            make_invoice(
                session, site.cast.maya, location=site.cast.location, service_on=date(2026, 3, 1 + turn % 28)
            )
        make_invoice(session, site.cast.theo, location=site.cast.location, service_on=date(2026, 4, 1))

    site.change(many)
    dana = _fresh(site)
    answer = dana.get("/office/invoices/export.csv?from=2026-03-01&until=2026-03-31")
    rows = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert len({row["Number"] for row in rows}) == 130
    assert [row["Date"] for row in rows] == sorted((row["Date"] for row in rows), reverse=True)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="invoices-2026-03-01-to-2026-03-31.csv"'


def test_too_many_for_a_workbook(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _invoice_of(site)
    monkeypatch.setattr("portal.web.office.search.MOST_IN_A_WORKBOOK", 0)
    answer = _fresh(site).get("/office/invoices/export.xlsx")
    assert answer.status_code == 422 and "Narrow it, or export CSV" in words(answer)
