"""What was sent: how each mail stands, sending it again, and emailing an invoice."""

import re
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from portal.clock import now
from portal.invoices.books import void_invoice
from portal.letters.again import email_invoice
from portal.letters.receipts import queue_receipt
from portal.people import Patient
from tests.makers import make_payment
from tests.web.conftest import Site, Visitor, words
from tests.web.office.mails.conftest import SEARCH, field, invoice_of, links, mail_of, mails, press, send_again


@pytest.mark.promise("E4")
def test_the_invoice_shows_each_mail_and_how_it_stands(site: Site, dana: Visitor) -> None:
    number = invoice_of(site, site.cast.maya).number
    page = f"{SEARCH}/{number}"
    assert "No email has been sent about this invoice." in words(dana.get(page))
    press(dana, page, only=number)
    assert re.search(
        r"Request to pay Queued maya@example.com \d+ \w+ \d{4}, \d\d:\d\d Dana Whitlock", words(dana.get(page))
    )
    assert "Send again" not in words(dana.get(page))
    mail_of(site, tries=2, last_error="later: 451")
    assert "Trying again The mail server asked us to try again later." in words(dana.get(page))
    mail_of(site, failed_at=now(), last_error="no such address: 550")
    shown = words(dana.get(page))
    assert "Failed The mail server said that this address does not exist." in shown
    assert "Send again Request to pay, to maya@example.com" in shown
    mail_of(site, failed_at=None, sent_at=now())
    assert re.search(r"Sent \d+ \w+ \d{4}, \d\d:\d\d maya@example.com", words(dana.get(page)))
    assert f'href="{page}#mails"' in dana.get(f"{page}/payments").text


@pytest.mark.promise("E4")
def test_a_request_that_is_sent_again_has_a_new_link(site: Site, dana: Visitor) -> None:
    number = invoice_of(site, site.cast.maya).number
    press(dana, f"{SEARCH}/{number}", only=number)
    mail_of(site, sent_at=now())
    (mail,) = mails(site)
    request = str(uuid4())
    for _ in range(2):
        answer = send_again(dana, number, mail.id, request)
        assert "It is on its way again. It goes to maya@example.com." in words(answer)
    assert len(mails(site)) == 2
    assert "Email" in words(answer) and "Replaced by a newer one" in words(answer) and "Works" in words(answer)


@pytest.mark.promise("E4")
def test_a_receipt_is_sent_again_to_whoever_paid_as_their_address_is_now(site: Site, dana: Visitor) -> None:
    invoice = invoice_of(site, site.cast.theo)

    def pay(session: Session) -> None:
        payment = make_payment(session, invoice, payer_id=site.cast.second_payer.id)
        queue_receipt(session, site.parts.vault, invoice, payment)

    site.change(pay)
    mail_of(site, sent_at=now(), words_sealed=None)
    site.change(lambda session: session.execute(
        update(Patient).where(Patient.id == site.cast.second_payer.id).values(email="new@example.com")
    ))  # fmt: skip
    (mail,) = mails(site, "receipt")
    page = f"{SEARCH}/{invoice.number}"
    assert "Send again Receipt, to new@example.com" in words(dana.get(page))
    request = str(uuid4())
    for _ in range(2):
        assert "It goes to new@example.com." in words(send_again(dana, invoice.number, mail.id, request))
    sent = mails(site, "receipt")
    assert [one.recipient for one in sent] == ["sven@example.com", "new@example.com"]
    assert sent[1].queued_by == site.cast.clerk.id and sent[1].words_sealed is not None
    assert send_again(dana, invoice.number, sent[1].id).status_code == 200, "a mail sent again can go once more"
    assert len(mails(site, "receipt")) == 3


def test_nothing_else_is_sent_again(site: Site, dana: Visitor) -> None:
    ours, other = invoice_of(site, site.cast.maya), invoice_of(site, site.cast.maya)
    press(dana, f"{SEARCH}/{ours.number}", only=ours.number)
    (mail,) = mails(site)
    assert send_again(dana, other.number, mail.id).status_code == 404
    assert send_again(dana, ours.number, 2**31).status_code == 404
    assert send_again(dana, ours.number, 10**30).status_code == 404
    assert send_again(dana, ours.number, mail.id, request="\0").status_code == 400
    mail_of(site, kind="payment_failed")
    assert send_again(dana, ours.number, mail.id).status_code == 404
    mail_of(site, kind="pay_request")
    site.change(lambda session: make_payment(session, ours))
    said = words(send_again(dana, ours.number, mail.id))
    assert f"Invoice {ours.number} can't be paid online. Nothing was sent. Nothing is left to pay on it." in said
    site.setting("email_pay_online_request", "no")
    assert send_again(dana, ours.number, mail.id).status_code == 403
    assert len(mails(site)) == 1


@pytest.mark.promise("E4")
def test_a_patients_file_lists_the_mails_about_them(site: Site, dana: Visitor) -> None:
    path = f"/office/patients/{site.cast.maya.id}/emails"
    assert "No email about this person so far." in words(dana.get(path))
    numbers = [invoice_of(site, site.cast.maya).number for _ in range(25)]
    theirs = invoice_of(site, site.cast.stranger).number
    press(dana, ticked=[*numbers, theirs])
    first = dana.get(path)
    assert numbers[-1] in words(first) and theirs not in words(first) and "Earlier emails" in words(first)
    following = re.search(r'href="([^"]+before=\d+)"', first.text)
    assert following
    second = words(dana.get(following[1]))
    assert numbers[0] in second and numbers[-1] not in second and "Back to the newest emails" in second
    for garbage in ("0", "x", "9" * 40, "%00"):
        assert dana.get(f"{path}?before={garbage}").status_code == 200
    assert site.visitor("liam@example.com").get(path).status_code == 403


@pytest.mark.promise("O12", "E4")
def test_an_invoice_is_emailed_from_its_page_and_from_the_search(site: Site, dana: Visitor) -> None:
    invoice = invoice_of(site, site.cast.maya)
    site.setting("email_pay_online_request", "no")
    request = str(uuid4())
    for page in (SEARCH, SEARCH, f"{SEARCH}/{invoice.number}"):
        shown = dana.get(page)
        assert 'formaction="/office/invoices/email"' in shown.text and "maya@example.com" in shown.text
        data = {"csrf_token": field(shown, "csrf_token"), "back": page, "request": request, "only": invoice.number}
        answer = dana.post(f"{SEARCH}/email", data=data, follow_redirects=True)
        assert answer.request.path == page
        assert f"Invoice {invoice.number} is on its way. It goes to maya@example.com." in words(answer)
    (mail,) = mails(site, "invoice")
    assert (mail.recipient, mail.queued_by) == ("maya@example.com", site.cast.clerk.id)
    mail_of(site, sent_at=now())
    assert "Send again Invoice, to maya@example.com" in words(dana.get(f"{SEARCH}/{invoice.number}"))
    assert "It is on its way again." in words(send_again(dana, invoice.number, mail.id))
    assert len(mails(site, "invoice")) == 2
    site.change(lambda session: void_invoice(session, invoice.id, "twice"))
    said = words(send_again(dana, invoice.number, mail.id))
    assert f"Invoice {invoice.number} is void. Nothing was sent." in said and "Email invoice" not in said
    assert len(mails(site, "invoice")) == 2


def test_an_invoice_that_is_emailed_twice_by_one_press_keeps_its_link(site: Site, dana: Visitor) -> None:
    invoice = invoice_of(site, site.cast.maya)
    request = uuid4()
    for _ in range(2):
        email_invoice(site.parts, invoice.id, request, by=None)
    assert [link.replaced_at for link in links(site)] == [None]
