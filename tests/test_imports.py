"""Import: looked through first, written all or not at all, and a second time without effect."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.cli import ScriptInfo
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.audit import AuditEntry
from portal.cli import make_app, portal
from portal.clinic import Location, Practitioner, Service, ServiceTax, Tax
from portal.clock import now
from portal.db import Base, Database
from portal.imports.files import UnusableFile
from portal.imports.report import Report
from portal.imports.run import run_import
from portal.invariants import broken_invariants
from portal.invoices.books import Line, issue_invoice
from portal.invoices.tables import Invoice, InvoiceLine, LineTax
from portal.payments.tables import Payment
from portal.people import Patient
from tests.makers import make_location, make_patient

SAMPLES = Path(__file__).resolve().parent.parent / "docs" / "samples"
KINDS = ("practitioners", "services", "patients", "invoices")


@pytest.fixture
def clinic(clinic: Database) -> Database:
    """A clinic with a location and two taxes."""
    with clinic.transaction() as session:
        make_location(session)
        session.add_all(
            [Tax(name="GST", rate_per_100k=5000, position=1), Tax(name="PST", rate_per_100k=7000, position=2)]
        )
    return clinic


@pytest.fixture
def started(clinic: Database) -> Database:
    """The same with everything of the samples but the invoices."""
    for kind in KINDS[:-1]:
        assert run_import(clinic, kind, SAMPLES / f"{kind}.csv", write=True).written
    return clinic


def count(clinic: Database, table: type[Base]) -> int:
    with clinic.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def try_import(clinic: Database, tmp_path: Path, kind: str, text: str | bytes, write: bool = True) -> Report:
    path = tmp_path / f"{kind}.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return run_import(clinic, kind, path, write=write)


def told(report: Report) -> list[str]:
    return [f"{problem.line}: {problem.reason}" for problem in report.problems]


# --- the samples ----------------------------------------------------------------------------------------------------


def test_the_samples_are_taken_once_and_a_second_run_changes_nothing(clinic: Database) -> None:
    for kind in KINDS:
        first = run_import(clinic, kind, SAMPLES / f"{kind}.csv", write=True)
        assert (told(first), first.new, first.there, first.written) == ([], 3, 0, True), kind
    sizes = {table: count(clinic, table) for table in (Patient, Practitioner, Service, Invoice, Payment, AuditEntry)}
    for kind in KINDS:
        second = run_import(clinic, kind, SAMPLES / f"{kind}.csv", write=True)
        assert (told(second), second.new, second.there, second.written) == ([], 0, 3, False), kind
    assert sizes == {table: count(clinic, table) for table in sizes}
    assert broken_invariants(clinic) == []


def test_the_samples_are_kept_as_they_say(started: Database) -> None:
    run_import(started, "invoices", SAMPLES / "invoices.csv", write=True)
    with Session(started.reading) as session:
        dee = session.scalars(select(Patient).where(Patient.reference == "P-1003")).one()
        assert (dee.given_name, dee.address, dee.search_key) == ("O'Neil", "Unit 3\n9 Cedar Road", "dee o'neil")
        cushion = session.scalars(select(Service).where(Service.is_product)).one()
        assert (cushion.price_cents, cushion.duration_minutes) == (4_800, 0)
        assert session.scalar(select(func.count()).where(ServiceTax.service_id == cushion.id)) == 2
        invoices = {row.number: row for row in session.scalars(select(Invoice))}
        paid, part, open_ = (invoices[f"A-500{turn}"] for turn in (1, 2, 3))
        assert (paid.owed_cents, paid.paid_cents, paid.balance_cents) == (179_76, 179_76, 0)
        assert (part.owed_cents, part.balance_cents, part.note) == (95_00, 55_00, "Insurer pays the rest")
        assert (open_.balance_cents, open_.due_on.isoformat()) == (2_025_00, "2024-02-24")
        columns = select(LineTax.name, LineTax.amount_cents).order_by(LineTax.line_id, LineTax.position)
        assert [tuple(tax) for tax in session.execute(columns)] == [("GST", 6_00), ("GST", 2_40), ("PST", 3_36)]
        card, insurance = session.scalars(select(Payment).order_by(Payment.id))
        assert (card.kind, card.receipt_number, card.payer_id) == ("card", "R-20001", paid.patient_id)
        assert (insurance.kind, insurance.amount_cents, insurance.payer_id) == ("insurance", 40_00, None)
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action.like("import.%"))).all()
        assert [(e.action, e.after) for e in entries][-1] == (
            "import.invoices", "lines: 4; new: 3; there already: 0",
        )  # fmt: skip


def test_a_look_writes_nothing(clinic: Database) -> None:
    report = run_import(clinic, "patients", SAMPLES / "patients.csv", write=False)
    assert (report.new, report.written) == (3, False)
    assert (count(clinic, Patient), count(clinic, AuditEntry)) == (0, 0)


# --- what is wrong with a line --------------------------------------------------------------------------------------

PATIENTS = "reference,given_name,family_name,email,phone,birth_date\n"


def test_each_bad_line_is_told_with_its_number_and_nothing_is_half_written(clinic: Database, tmp_path: Path) -> None:
    report = try_import(clinic, tmp_path, "patients", PATIENTS + (
        "1,Ada,Ash,ada@example.com,250-555-0101,1990-02-01\n"
        ',"Bea\nB",Birch,,,\n'
        "3,,Cedar,nonsense,x,1990-13-01\n"
        "\n"
        "1,Dina,Dogwood,,,2999-01-01\n"
    ))  # fmt: skip
    assert told(report) == [
        "3: Reference: please fill this in.",
        "5: Birth date: “1990-13-01” is no date like 1988-06-14.",
        "5: Email: “nonsense” is no address.",
        "5: Given name: please fill this in.",
        "5: Phone: “x” is no telephone number.",
        "7: Birth date: “2999-01-01” is no date like 1988-06-14.",
        "7: Reference 1 stands in line 2 already.",
    ]
    assert not report.written and count(clinic, Patient) == 0


def test_somebody_on_file_without_a_reference_is_not_added_twice(clinic: Database, tmp_path: Path) -> None:
    with clinic.transaction() as session:
        make_patient(session)
    report = try_import(clinic, tmp_path, "patients", PATIENTS + "7,Maya,LINDQVIST,,,1988-06-14\n")
    assert "is on file already without a reference" in told(report)[0]


def test_what_staff_changed_since_is_left_alone(started: Database) -> None:
    with started.transaction() as session:
        session.scalars(select(Patient).where(Patient.reference == "P-1001")).one().phone = "250-555-9999"
    run_import(started, "patients", SAMPLES / "patients.csv", write=True)
    with Session(started.reading) as session:
        assert session.scalars(select(Patient).where(Patient.reference == "P-1001")).one().phone == "250-555-9999"


def test_a_formula_is_kept_as_the_text_it_is(clinic: Database, tmp_path: Path) -> None:
    assert try_import(clinic, tmp_path, "patients", PATIENTS + '9,"=1+1",@SUM(A1),,,\n').written
    with Session(clinic.reading) as session:
        patient = session.scalars(select(Patient)).one()
        assert (patient.given_name, patient.family_name) == ("=1+1", "@SUM(A1)")


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("patients", b"reference,given_name,family_name\n1,\xe9,x\n", "not in UTF-8"),
        ("patients", "given_name,family_name\nA,B\n", "it lacks: reference"),
        ("patients", PATIENTS.strip() + ",shoe_size\n", "Unknown columns: shoe_size"),
        ("patients", "reference,given_name,family_name,reference\n", "twice"),
        ("patients", PATIENTS + "1,Ada,Ash\n", "Line 2 has 3 fields, but the first line names 6"),
        ("patients", PATIENTS + '1,"Ada,Ash,,,\n', "Line 2 is no CSV"),
        ("patients", "", "it lacks"),
    ],
)
def test_a_file_that_is_none_is_told_so(
    clinic: Database, tmp_path: Path, kind: str, text: str | bytes, reason: str
) -> None:
    with pytest.raises(UnusableFile) as refused:
        try_import(clinic, tmp_path, kind, text)
    assert reason in refused.value.text


def test_a_mark_at_the_beginning_and_other_line_ends_do_no_harm(clinic: Database, tmp_path: Path) -> None:
    text = "\ufeffReference, Given Name ,family_name\r\n1,Ada,Ash\r\n"
    assert try_import(clinic, tmp_path, "patients", text).new == 1


def test_lists_follow_the_rules_of_their_forms(clinic: Database, tmp_path: Path) -> None:
    report = try_import(clinic, tmp_path, "services", (
        "name,price,kind,minutes,taxes,active\nA,12,,60,HST,yes\nB,x,,60,,yes\nC,1,toy,60,,yes\nD,1,,7,,yes\n"
        "E,1,,60,,maybe\na,1,,,,\n"
    ))  # fmt: skip
    assert [line.split(":")[0] for line in told(report)] == ["2", "3", "4", "5", "6", "7"]
    report = try_import(clinic, tmp_path, "practitioners", "name,registration\nA,1\nB,1\na,2\n")
    assert told(report) == ["3: The same stands in line 2 already.", "4: The same stands in line 2 already."]
    assert count(clinic, Service) + count(clinic, Practitioner) == 0


# --- invoices -------------------------------------------------------------------------------------------------------

HEAD = (
    "number,patient,date,description,price,quantity,taxes,total,"
    "paid_amount,paid_kind,paid_date,practitioner,location\n"
)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1/2,P-1001,2024-01-05,Tape,5,,,,,,,,", "Number: letters, digits, dots and hyphens"),
        ("1,P-9,2024-01-05,Tape,5,,,,,,,,", "No patient on file has the reference P-9."),
        ("1,P-1001,05/01/2024,Tape,5,,,,,,,,", "“05/01/2024” is no day"),
        ("1,P-1001,2999-01-05,Tape,5,,,,,,,,", "is no day"),
        ("1,P-1001,2024-01-05,,5,,,,,,,,", "Description: please fill this in."),
        ("1,P-1001,2024-01-05,Tape,5.555,,,,,,,,", "“5.555” is no amount"),
        ("1,P-1001,2024-01-05,Tape,5,0,,,,,,,", "Quantity: a whole number"),
        ("1,P-1001,2024-01-05,Tape,-5,,,,,,,,", "less than nothing"),
        ("1,P-1001,2024-01-05,Tape,5,,HST,,,,,,", "There is no tax called HST."),
        ("1,P-1001,2024-01-05,Tape,5,,GST,5.00,,,,,", "The total is given as 5.00, but"),
        (
            "1,P-1001,2024-01-05,Tape,5,,,,9,cash,2024-01-05,,",
            "More was paid ($9.00) than",
        ),
        ("1,P-1001,2024-01-05,Tape,5,,,,5,gold,2024-01-05,,", "Paid by: one of card, cash"),
        ("1,P-1001,2024-01-05,Tape,5,,,,5,cash,,,", "Paid on:"),
        ("1,P-1001,2024-01-05,Tape,5,,,,,,,Nobody,", "No practitioner is called Nobody"),
        ("1,P-1001,2024-01-05,Tape,5,,,,,,,,Nowhere", "There is no location called Nowhere."),
        ("1,P-1001,2024-01-05,Tape,5,,,,,,,,\n1,P-1002,,Tape,5,,,,,,,,", "Patient: another than in line 2"),
        ("999999999,P-1001,2024-01-05,Tape,5,,,,,,,,", "so high that no number would be left"),
    ],
)
def test_what_is_wrong_with_an_invoice_is_told(started: Database, tmp_path: Path, line: str, reason: str) -> None:
    report = try_import(started, tmp_path, "invoices", HEAD + line + "\n")
    assert reason in " ".join(told(report))
    assert not report.written and count(started, Invoice) == 0


def test_new_invoices_go_on_above_the_imported_numbers(started: Database, tmp_path: Path) -> None:
    lines = "10482,P-1001,2024-01-05,Tape,5,,,,,,,,\nB-99999,P-1001,2024-01-05,Tape,5,,,,,,,,\n"
    report = try_import(started, tmp_path, "invoices", HEAD + lines)
    assert report.remarks == ["New invoices of Alder Lane begin at 10483, above those of the file."]
    with started.transaction() as session:
        location = session.scalars(select(Location)).one()
        patient = session.scalars(select(Patient).limit(1)).one()
        invoice = issue_invoice(
            session, location=location, patient_id=patient.id, practitioner_id=None, service_on=now().date(),
            lines=[Line("Tape", 500)],
        )  # fmt: skip
        assert invoice.number == "10483"


def test_a_number_that_another_invoice_has_is_refused(started: Database, tmp_path: Path) -> None:
    assert try_import(started, tmp_path, "invoices", HEAD + "7,P-1001,2024-01-05,Tape,5,,,,,,,,\n").written
    report = try_import(started, tmp_path, "invoices", HEAD + "7,P-1002,2024-01-05,Tape,5,,,,,,,,\n")
    assert told(report) == ["2: Invoice 7 is there already, for another patient or day."]
    assert count(started, InvoiceLine) == 1


def test_an_import_that_breaks_half_way_leaves_nothing(started: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("portal.imports.invoices._line_rows", broken)
    with pytest.raises(RuntimeError):
        run_import(started, "invoices", SAMPLES / "invoices.csv", write=True)
    assert count(started, Invoice) + count(started, Payment) == 0
    assert broken_invariants(started) == []


def test_the_command_says_what_it_did(started: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = started.engine.url.render_as_string(hide_password=False)
    for name, value in {
        "PORTAL_ENV": "development", "PORTAL_DATABASE_URL": url, "PORTAL_BASE_URL": "http://pay.example.com",
        "PORTAL_SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz", "PORTAL_MAIL_URL": f"file:{tmp_path}",
        "PORTAL_ENCRYPTION_KEYS": "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)

    def run(*words: str) -> tuple[int, list[str]]:
        result = CliRunner().invoke(portal, ["import", *words], obj=ScriptInfo(create_app=make_app))
        return result.exit_code, result.stdout.splitlines()

    sample = str(SAMPLES / "invoices.csv")
    look = "Nothing was written yet: this was a look. Run it again with --write."
    assert run("invoices", sample) == (0, ["4 lines: 3 new, 0 there already.", look])
    assert run("invoices", sample, "--write") == (0, ["4 lines: 3 new, 0 there already.", "Written."])
    assert run("invoices", sample, "--write")[1][-1] == "Nothing is new, so nothing was written."
    bad = tmp_path / "bad.csv"
    bad.write_text(PATIENTS + "1,,Ash,,,\n")
    code, said = run("patients", str(bad), "--write")
    assert (code, said[0]) == (1, "Line 2: Given name: please fill this in.")
    assert said[-1] == "To mend: 1. Nothing was written."
