"""The receipt as a PDF, for an insurer."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader
from sqlalchemy.orm import Session

from portal.clock import now
from portal.invoices.tables import Invoice
from portal.letters.receipts import queue_receipt
from portal.mail import deliver_waiting_mail
from portal.payments.tables import Payment
from portal.people import Patient
from portal.receipt_pdf import CannotPrint, printed
from portal.receipt_pdf.printer import PRESS, Printer
from tests.makers import MASSAGE_AND_CUSHION, make_invoice, make_payer_link, make_payment
from tests.web.conftest import Site, words

WORDS: dict[str, Any] = {
    "lang": "en", "region": "CA", "title": "Receipt R-1", "clinic": "The clinic", "clinic_lines": [],
    "tax_numbers": [], "warning": "", "paid": "CA$1.00", "paid_line": "", "state": "", "about": "About",
    "facts": [["Patient", "Maya"]],
    "lines_title": "Lines", "columns": ["What", "Amount"], "lines": [["Massage", "", "$1.00"]], "sums": [],
    "total": ["Paid", "$1.00"], "left": "",
}  # fmt: skip


def paid_invoice(site: Site, patient: Patient | None = None) -> tuple[str, str]:
    """The numbers of an invoice that was paid in two parts, and of the receipt of the second."""

    def write(session: Session) -> tuple[str, str]:
        invoice = make_invoice(
            session, patient or site.cast.maya, MASSAGE_AND_CUSHION, practitioner=site.cast.practitioner
        )
        make_payment(session, invoice, 4_000, "insurance")
        moment = datetime(2026, 11, 24, 20, tzinfo=UTC)
        card = make_payment(session, invoice, kind="card", brand="visa", last4="4242", received_at=moment)
        return invoice.number, str(card.receipt_number)

    numbers: tuple[str, str] = site.change(write)
    return numbers


def text_of(pdf: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages).split())


@pytest.mark.promise("P4")
def test_the_pdf_says_what_an_insurer_asks_for(site: Site) -> None:
    number, receipt = paid_invoice(site)
    answer = site.visitor("maya@example.com").get(f"/invoices/{number}/receipts/{receipt}.pdf")
    assert (answer.status_code, answer.mimetype) == (200, "application/pdf")
    assert answer.headers["Content-Disposition"] == f"attachment; filename=receipt-{receipt}.pdf"
    assert "no-store" in answer.headers["Cache-Control"]
    text = text_of(answer.data)
    for said in (
        f"Receipt {receipt}", "CA$139.76", "Tuesday 24 November 2026, Visa ending 4242", "Paid in full",
        "Maya Lindqvist", "Liam Tremblay, RMT", "CMTBC 08842", "Massage therapy, 60 minutes", "GST 5% $8.40",
        "PST 7% $3.36", "Total $179.76", "Paid by Visa ending 4242 $139.76", "GST 71234 5678 RT0001",
        "118 Alder Lane, Kelowna BC V1Y 0A1", f"Left to pay on invoice {number}: $0.00",
    ):  # fmt: skip
        assert said in text, f"{said!r} is not in {text!r}"


@pytest.mark.promise("P4")
def test_what_went_back_stands_beside_what_was_paid(site: Site) -> None:
    """An insurer must not give back what the patient has back already."""
    number, receipt = paid_invoice(site)
    maya, page = site.visitor("maya@example.com"), f"/invoices/{number}/receipts/{receipt}"
    assert "went back" not in words(maya.get(page)) + text_of(maya.get(f"{page}.pdf").data)

    def give_back(session: Session) -> None:
        card = session.query(Payment).filter(Payment.kind == "card").one()
        invoice = session.query(Invoice).one()
        make_payment(session, invoice, -2_000, "card", nature="refund", reverses_id=card.id, receipt_number=None)

    site.change(give_back)
    said = "CA$20.00 of this payment went back later"
    assert said in words(maya.get(page))
    pdf = text_of(maya.get(f"{page}.pdf").data)
    assert said in pdf and "Paid in full" not in pdf


@pytest.mark.promise("P4")
def test_the_pdf_is_tagged_for_screen_readers(site: Site) -> None:
    reader = PdfReader(BytesIO(printed(WORDS)))
    catalog: Any = reader.trailer["/Root"]
    assert catalog["/MarkInfo"]["/Marked"] and "/StructTreeRoot" in catalog
    assert catalog["/Lang"] == "en-CA" and catalog["/ViewerPreferences"]["/DisplayDocTitle"]
    assert reader.metadata is not None and reader.metadata.title == "Receipt R-1"
    assert "<pdfuaid:part>1</pdfuaid:part>" in catalog["/Metadata"].get_data().decode()


def test_the_desk_gives_the_same_pdf(site: Site) -> None:
    number, receipt = paid_invoice(site)
    answer = site.visitor("dana@example.com").get(f"/office/invoices/{number}/received/{receipt}.pdf")
    assert "Massage therapy" in text_of(answer.data)


@pytest.mark.promise("P9")
def test_a_payer_reads_in_it_what_they_read_on_the_page(site: Site) -> None:
    number, receipt = paid_invoice(site)
    site.change(lambda session: make_payer_link(session, site.cast.stranger, site.cast.maya))
    text = text_of(site.visitor("jonas@example.com").get(f"/invoices/{number}/receipts/{receipt}.pdf").data)
    assert f"Invoice {number}, taxes included" in text
    assert "Massage" not in text and "Tremblay" not in text


def test_a_strangers_receipt_is_not_found(site: Site) -> None:
    number, receipt = paid_invoice(site)
    jonas, dana = site.visitor("jonas@example.com"), site.visitor("dana@example.com")
    assert jonas.get(f"/invoices/{number}/receipts/{receipt}.pdf").status_code == 404
    assert jonas.get(f"/office/invoices/{number}/received/{receipt}.pdf").status_code == 403
    assert dana.get(f"/office/invoices/{number}/received/R-1.pdf").status_code == 404
    assert site.visitor().get(f"/invoices/{number}/receipts/{receipt}.pdf").status_code == 303


def test_names_stand_in_it_as_they_are(site: Site) -> None:
    nasty = '#eval("1") *b* $x$ @y <z> \\ // "'
    assert nasty in text_of(printed({**WORDS, "facts": [["Patient", nasty]]}))


@pytest.mark.parametrize("name", ["Łódź Ngô", "Ελένη", "Борис", "李小龍", "محمد", "👩‍⚕️", "\u202e\x00\ud83d"])
def test_a_name_in_any_script_comes_out_as_a_receipt(name: str) -> None:
    assert printed({**WORDS, "facts": [["Patient", name]]}).startswith(b"%PDF")


def test_a_page_that_can_not_be_made_is_refused_in_words(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    number, receipt = paid_invoice(site)
    hanging = Printer([sys.executable, "-c", "import time; time.sleep(60)"], patience_s=0.2)
    monkeypatch.setattr("portal.receipt_pdf.printer._printer", hanging)
    answer = site.visitor("maya@example.com").get(f"/invoices/{number}/receipts/{receipt}.pdf")
    hanging.stop()
    assert answer.status_code == 503 and "Print its page instead" in answer.text


def test_a_press_that_died_is_started_again() -> None:
    printer = Printer()
    printer.printed(WORDS)
    assert printer._press is not None
    printer._press.kill()
    printer._press.wait()
    assert printer.printed(WORDS).startswith(b"%PDF")
    with pytest.raises(CannotPrint):
        printer.printed({"title": "and nothing else"})
    assert printer.printed(WORDS).startswith(b"%PDF")
    printer.stop()


@pytest.mark.promise("P4")
def test_half_a_page_is_none() -> None:
    """A press that is ended while it hands its page over: what came is not given out as a receipt."""
    dies = (
        "import struct, sys; sys.stdin.buffer.read(4); "
        "sys.stdout.buffer.write(struct.pack('>I', 9000) + b'\\1%PDF-1.7')"
    )
    printer = Printer([sys.executable, "-c", dies])
    with pytest.raises(CannotPrint):
        printer.printed({"title": "Receipt"})
    printer.stop()


def test_threads_share_one_press() -> None:
    printer = Printer([sys.executable, "-I", str(PRESS)])
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(lambda n: printer.printed({**WORDS, "title": f"Receipt R-{n}"}), range(24))
    assert all(f"Receipt R-{n} " in text_of(pdf) for n, pdf in enumerate(made))
    printer.stop()


# --- attached to the mail -------------------------------------------------------------------------------------------


def mailed(
    site: Site, *, setting: bool, consent: bool, typed: str | None = None, paid_by: int | None = None
) -> bytes:
    """The receipt's mail as it goes out."""
    paid_invoice(site)
    site.setting("email_receipt_pdf", "yes" if setting else "no")

    def queue(session: Session) -> None:
        session.get_one(Patient, site.cast.maya.id).receipt_pdf_allowed_at = now() if consent else None
        payment = session.query(Payment).filter(Payment.kind == "card").one()
        payment.payer_id = paid_by or payment.payer_id
        session.expunge(payment)
        invoice = session.query(Invoice).one()
        assert queue_receipt(session, site.parts.vault, invoice, payment, typed_email=typed)

    site.change(queue)
    assert deliver_waiting_mail(replace(site.parts, config=replace(site.config, mail_url=f"file:{site.mails}"))) == 1
    (file,) = site.mails.glob("*.eml")
    return file.read_bytes()


def attachments(mail: bytes) -> list[EmailMessage]:
    message = message_from_bytes(mail, policy=policy.default)
    return list(message.iter_attachments())


@pytest.mark.promise("P4", "E3")
def test_the_pdf_is_attached_where_the_clinic_and_the_patient_allow_it(site: Site) -> None:
    mail = mailed(site, setting=True, consent=True)
    (pdf,) = attachments(mail)
    assert "Massage therapy" in text_of(pdf.get_content())
    assert b"is attached" in mail


@pytest.mark.promise("P4")
@pytest.mark.parametrize(
    ("setting", "consent", "typed"),
    [(True, False, ""), (False, True, ""), (True, True, "somebody@example.com")],
)
def test_it_is_attached_nowhere_else(site: Site, setting: bool, consent: bool, typed: str) -> None:
    mail = mailed(site, setting=setting, consent=consent, typed=typed)
    assert attachments(mail) == []
    assert b"is attached" not in mail and b"Massage" not in mail and b"Tremblay" not in mail


@pytest.mark.promise("P4")
def test_it_is_not_attached_for_whoever_else_paid(site: Site) -> None:
    site.change(lambda session: session.get_one(Patient, site.cast.stranger.id))
    assert attachments(mailed(site, setting=True, consent=True, paid_by=site.cast.stranger.id)) == []


def test_a_press_out_of_order_holds_no_mail_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.receipt_pdf.printer._printer", Printer([sys.executable, "-c", "pass"]))
    assert attachments(mailed(site, setting=True, consent=True)) == []
