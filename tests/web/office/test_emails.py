"""Settings, Emails: its switches, the preview of each mail, and the clinic's own paragraph in it."""

import re
from html import unescape

import pytest
from sqlalchemy import select

from portal.audit import AuditEntry
from portal.settings import LETTERS
from tests.web.conftest import Site, Visitor, words
from tests.web.office.test_settings import filled, now_is, save

EMAILS = "/office/settings/emails"


@pytest.fixture
def marc(site: Site) -> Visitor:
    return site.visitor("marc@example.com")


@pytest.mark.promise("E3", "O5")
def test_an_administrator_says_which_mails_go_out_and_when(site: Site, marc: Visitor) -> None:
    page = save(
        marc, EMAILS, filled(marc, EMAILS), email_reminders="yes", reminder_days_before="5", pay_link_days="14",
        email_void_addresses="books@example.com; owner@example.com",
    )  # fmt: skip
    assert "Saved." in page and "Send reminders is now: Yes." in page
    assert now_is(site, "email_reminders") == "yes" and now_is(site, "pay_link_days") == "14"
    assert now_is(site, "email_void_addresses") == "books@example.com, owner@example.com"
    assert "Marc Oduya Days before 3 5" in page


@pytest.mark.promise("E3")
@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("pay_link_days", "0", "Days that a pay link works takes a whole number from 1 to 365."),
        ("reminder_most", "99", "Stop after takes a whole number from 0 to 12."),
        ("email_void_addresses", "books", "Tell about void invoices takes email addresses with commas between them"),
        ("reminder_every_days", "weekly", "Every so many days takes a whole number from 0 to 90."),
    ],
)
def test_what_can_not_be_kept_stays_in_the_form(
    site: Site, marc: Visitor, key: str, value: str, sentence: str
) -> None:
    form = {**filled(marc, EMAILS), key: value, "reminder_days_after": "9"}
    answer = marc.post(EMAILS, data=form)
    assert answer.status_code == 422 and sentence in words(answer)
    assert f'value="{value}"' in answer.text and 'value="9"' in answer.text
    assert now_is(site, "reminder_days_after") == "3"


@pytest.mark.promise("E3")
@pytest.mark.parametrize("kind", LETTERS)
def test_each_mail_has_its_preview_and_the_clinics_own_paragraph(site: Site, marc: Visitor, kind: str) -> None:
    path = f"{EMAILS}/{kind}"
    assert f'href="{path}"' in marc.get(EMAILS).text
    note = "Our front desk is closed on <Friday> & on 20 November."
    page = save(marc, path, filled(marc, path), **{f"email_note_{kind}": note})
    assert "Saved." in page and note in unescape(page)
    mail = marc.get(f"{path}/preview")
    assert "Alder Lane Clinic" in mail.text and "closed on &lt;Friday&gt; &amp; on 20 November." in mail.text
    changes = site.change(lambda s: s.execute(select(AuditEntry.subject, AuditEntry.after)).all())
    assert (f"Own paragraph: {LETTERS[kind]}", note) in [tuple(row) for row in changes]


@pytest.mark.promise("E3")
def test_a_preview_runs_nothing_fetches_nothing_and_is_framed_by_its_page_alone(marc: Visitor) -> None:
    page, mail = marc.get(f"{EMAILS}/receipt"), marc.get(f"{EMAILS}/receipt/preview")
    assert re.search(rf'<iframe [^>]*src="{EMAILS}/receipt/preview" sandbox>', page.text)
    assert page.headers["Content-Security-Policy"].endswith("; frame-src 'self'")
    assert page.headers["X-Frame-Options"] == "DENY"
    assert mail.headers.getlist("Content-Security-Policy") == [
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self';"
        " sandbox"
    ]
    assert mail.headers.getlist("X-Frame-Options") == ["SAMEORIGIN"]
    assert mail.headers["Cache-Control"] == "no-store"
    for other in (EMAILS, "/office/settings"):
        assert "frame-src" not in marc.get(other).headers["Content-Security-Policy"]


def test_a_paragraph_that_is_too_long_is_kept_in_the_form(site: Site, marc: Visitor) -> None:
    path = f"{EMAILS}/receipt"
    answer = marc.post(path, data={**filled(marc, path), "email_note_receipt": "long " * 150})
    assert answer.status_code == 422 and "long long" in answer.text
    assert "Own paragraph: Receipt takes up to 500 characters." in words(answer)
    assert "frame-src 'self'" in answer.headers["Content-Security-Policy"]
    assert now_is(site, "email_note_receipt") == ""


@pytest.mark.parametrize("kind", ["password_reset", "nothing", "..%2Flayout", "%00"])
def test_there_is_no_page_for_other_mails(marc: Visitor, kind: str) -> None:
    for path in (f"{EMAILS}/{kind}", f"{EMAILS}/{kind}/preview"):
        assert marc.get(path).status_code == 404


@pytest.mark.promise("O5")
def test_others_see_none_of_it(site: Site) -> None:
    for email in ("dana@example.com", "maya@example.com"):
        visitor = site.visitor(email)
        for path in (EMAILS, f"{EMAILS}/receipt", f"{EMAILS}/receipt/preview"):
            assert visitor.get(path).status_code in (403, 404)
