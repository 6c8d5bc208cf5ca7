"""What mails say and how they are built: no health detail, nothing injected, nothing fetched, readable by all."""

import logging
import re
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import unescape
from pathlib import Path
from typing import Any
from uuid import uuid4

import html5lib
import pytest
from sqlalchemy import String, cast, literal, update

from portal.clinic import Location, Practitioner, Service, Tax
from portal.invoices.books import TaxRate
from portal.invoices.tables import Invoice
from portal.letters.addressing import Addressee
from portal.letters.colours import Shades, dark, light
from portal.letters.invoices import queue_invoice
from portal.letters.queueing import queue_letter
from portal.letters.requests import request_payment
from portal.letters.writing import COLUMNS, one_line
from portal.mail import deliver_waiting_mail, written
from portal.outbox import Letter
from portal.payments.settle import look_up
from portal.people import Patient, PayerLink
from portal.settings import LETTERS, PROGRAM_LETTERS
from tests.letters.made_up import BASE, KINDS, made_up, settings
from tests.makers import make_service
from tests.payments.stage import Stage
from tests.refunds.desk import Desk

HEALTH = "Chlamydia"


# --- no health detail -----------------------------------------------------------------------------------------------


def plant(stage: Stage) -> None:
    """A health word in every field that is not what the mail has to say (given name, number) or a code."""
    kept = {"given_name", "email", "search_key", "number", "currency", "standing", "timezone", "invoice_prefix"}
    with stage.database.transaction() as session:
        make_service(session)
        for table in (Patient, PayerLink, Service, Practitioner, Tax, Location, Invoice):
            columns = [column for column in table.__table__.columns if isinstance(column.type, String)]
            words: dict[str, Any] = {column.name: HEALTH for column in columns if column.name not in kept}
            if "reference" in words:  # no two are alike
                words["reference"] = literal(HEALTH).concat(cast(Patient.id, String))
            session.execute(update(table).values(**words).execution_options(synchronize_session=False))


@pytest.mark.promise("E3")
def test_a_health_word_in_any_field_shows_up_in_no_mail_and_no_log(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("portal.mail.why_not_now", lambda _parts, _mail: None)  # by day, and while it is owed
    stage.set("email_void_addresses", "books@example.com")
    stage.invoice_id = stage.new_invoice(((HEALTH, 1, 120_00, (TaxRate(HEALTH, 5_000),)),))
    plant(stage)
    desk = Desk(stage)
    request_payment(stage.parts, stage.invoice_id, uuid4(), by=stage.cast.clerk.id)
    with stage.database.transaction() as session:
        invoice = session.get_one(Invoice, stage.invoice_id)
        queue_invoice(stage.parts, session, invoice, by=stage.cast.clerk.id)
        maya = Addressee(stage.cast.maya.id, "Maya", "maya@example.com")
        links: dict[str, Any] = {"link": f"{BASE}/pay/x", "until": "soon", "unsubscribe": f"{BASE}/reminders/x"}
        queue_letter(session, stage.parts.vault, "reminder", "reminder", maya, invoice, is_overdue=True, **links)
    attempt = stage.press(stage.form("sandbox_processing"))
    stage.sandbox.finish_processing(str(stage.attempt().intent_id), succeed=False)
    look_up(stage.parts, attempt.attempt_id)  # type: ignore[union-attr]  # it is being checked
    desk.adjusts(-1_00, HEALTH)
    desk.refunds(desk.card_pays(), reason=HEALTH)
    desk.voids(reason=HEALTH)
    folder = tmp_path / "mails"
    parts = replace(stage.parts, config=replace(stage.parts.config, mail_url=f"file:{folder}"))
    about_invoices = len(LETTERS) - len(PROGRAM_LETTERS)
    assert deliver_waiting_mail(parts) == about_invoices
    mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in folder.iterdir()]
    told = [str(mail["Subject"]) for mail in mails]
    for mail in mails:
        told += [part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"]
    assert len(told) == 3 * about_invoices
    assert [text for text in told if HEALTH.lower() in text.lower()] == []
    assert HEALTH.lower() not in caplog.text.lower()
    assert HEALTH not in " ".join(str(value) for mail in mails for value in mail.values())


# --- nothing injected -----------------------------------------------------------------------------------------------

NASTY = (
    "Eve\r\nBcc: everybody@example.com\r\n\r\n<script>alert(1)</script>",
    "Eve</p><a href='https://evil.example'>Pay here</a>",
    "Eve\u202emoc.elpmaxe\u2066\u200f\u2029",
    "Eve" * 500,
    "%(link)s {{ link }} {% raw %}",
    "\ud83d\ude00 Zo\u00eb \u0645\u0627\u064a\u0627".encode("utf-16", "surrogatepass").decode("utf-16"),
)


def mail_of(kind: str, name: str, **values: str) -> EmailMessage:
    said = ["name", "who", "card", "until", "due", "balance", "amount", "number", "receipt"]
    shown = dict.fromkeys([*said, "tried_on", "paid_on", "given_back_on", "void_on"], name)
    words = {
        **shown, "how": "", "staff": False, "link": f"{BASE}/pay/x", "days": 7,
        "is_owed": True, "is_settled": False, "has_link": True, "is_overdue": True,
    }  # fmt: skip
    if kind in PROGRAM_LETTERS:
        words |= {
            **dict.fromkeys(["program", "until_short", "price", "paid", "owed", "kept", "back", "led_by"], name),
            "instead_of": name, "when": [name], "where": [name, name], "more": 2,
            "full_until": name, "late_percent": 50, "has_list": True,
            "is_by_bank": False, "is_back": False, "costs": True, "how": "card", "place_in_line": 2, "hours": 24,
            "registration_path": "/registrations/x", "program_path": "/programs/x",
        }  # fmt: skip
    if kind == "reminder":
        words["unsubscribe"] = f"{BASE}/reminders/x"
    letter = Letter(1, kind, "maya@example.com", words, "<1@portal>", 1)
    mail = written(letter, settings(**values), "file:unused", BASE)
    return message_from_bytes(bytes(mail), policy=policy.default)


@pytest.mark.promise("E3")
@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
@pytest.mark.parametrize("kind", KINDS)
def test_a_name_breaks_out_of_no_header_no_line_and_no_tag(kind: str, name: str) -> None:
    typed = " ".join(name.split())[:500]  # as the settings keep it
    clean = {"clinic_name": typed, **({f"email_note_{kind}": typed} if kind in LETTERS else {})}
    mail = mail_of(kind, name, **clean)
    headers = {
        "Subject",
        "From",
        "To",
        "Reply-To",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "MIME-Version",
        "Content-Type",
    }
    assert set(mail.keys()) - {"List-Unsubscribe", "List-Unsubscribe-Post"} == headers
    assert len(mail.keys()) == (11 if kind == "reminder" else 9)
    assert mail["To"] == "maya@example.com"
    assert all(len(line) <= 998 for line in bytes(mail).split(b"\r\n" if b"\r\n" in bytes(mail) else b"\n"))
    text, html = (mail.get_body((which,)).get_content() for which in ("plain", "html"))  # type: ignore[union-attr]  # it has both
    assert "<script" not in html and "<a href='https://evil" not in html
    assert not re.search("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", str(mail["Subject"]) + text + html)
    plain = mail_of(kind, "Eve", **dict.fromkeys(clean, "Eve")).get_body(("plain",))
    assert plain is not None and text.count("\n\n") == plain.get_content().count("\n\n")
    links = {element.get("href") for element in html5lib.parse(html, namespaceHTMLElements=False).iter("a")}
    assert all(link is not None and link.startswith(f"{BASE}/") for link in links)


def test_a_name_keeps_its_own_letters() -> None:
    assert one_line("Zoë  \u0646\u200c\u0627\n") == "Zoë  \u0646\u200c\u0627"


# --- how it is built ------------------------------------------------------------------------------------------------


@pytest.mark.promise("E3")
@pytest.mark.parametrize("kind", KINDS)
def test_a_mail_fetches_nothing_and_says_its_language(kind: str) -> None:
    subject, text, html = made_up(kind, **({f"email_note_{kind}": "Come early."} if kind in LETTERS else {}))
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    page = parser.parse(html)
    assert [error for _place, error, _details in parser.errors] == []
    assert page.get("lang") == "en-CA"
    tags = {element.tag for element in page.iter()}
    assert tags.isdisjoint({"img", "script", "link", "iframe", "object", "video", "audio", "form", "svg", "base"})
    assert not re.search(r"url\(|@import|src=|background=", html)
    assert len(list(page.iter("h1"))) == 1
    buttons = [cell for cell in page.iter("td") if cell.get("class") == "fill"]
    assert len(buttons) == (0 if kind == "sign_up_refused" else 1)
    assert "Alder Lane Clinic" in html and "Alder Lane Clinic" in text
    assert 10 < len(subject) < 100
    for link in {a.get("href") for a in page.iter("a")}:
        assert unescape(link) in text, "the text has every link that the HTML has"
    if kind in LETTERS:
        assert "Come early." in text and "Come early." in html


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_is_readable_at_78_columns(kind: str) -> None:
    _subject, text, _html = made_up(kind, clinic_address="118 Alder Lane, " * 12)
    assert [line for line in text.splitlines() if len(line) > COLUMNS and "https://" not in line] == []
    assert "\n\n\n" not in text and not text.startswith("\n")
    assert "\n-- \n" in text, "mail programs cut the foot off when somebody answers"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"clinic_phone": "", "clinic_email": ""}, "Ask at the front desk."),
        ({"clinic_phone": ""}, "Answer this email."),
        ({"clinic_email": ""}, "Call 250-555-0142."),
        ({}, "Call 250-555-0142 or answer this email."),
    ],
)
def test_a_mail_says_how_to_reach_the_clinic(values: dict[str, str], said: str) -> None:
    _subject, text, html = made_up("receipt", **values)
    assert said in " ".join(text.split()) and said in " ".join(html.split())


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_every_hue_keeps_its_contrast_by_day_and_by_night() -> None:
    def least(shades: Shades) -> float:
        on_sheet = [contrast(words, shades.sheet) for words in (shades.ink, shades.soft, shades.brand)]
        return min(*on_sheet, contrast(shades.on_fill, shades.fill))

    assert min(least(look(hue)) for hue in range(361) for look in (light, dark)) >= 4.5


def test_colours_are_what_a_browser_makes_of_them() -> None:
    """Chromium gives these for the same OKLCH colours."""
    assert (light(168).fill, dark(168).fill) == ("#0d5842", "#89d3b6")
