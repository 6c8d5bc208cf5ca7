"""The office's side of mails about invoices: asking for a payment, what was sent, pay links and their QR codes."""

import re
from collections.abc import Sequence
from uuid import uuid4

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from portal.audit import AuditEntry
from portal.clock import now
from portal.invoices.books import void_invoice
from portal.invoices.tables import Invoice
from portal.letters.again import email_invoice
from portal.letters.choices import choices_of
from portal.letters.receipts import queue_receipt
from portal.outbox import OutboxMessage
from portal.paylinks import PayLink, paper_token
from portal.people import Patient
from tests.makers import make_gateway, make_invoice, make_patient, make_payment
from tests.support.qr import drawn, says
from tests.web.conftest import Site, Visitor, words
from tests.web.office.test_checkout import Desk, booked, fields_of

SEARCH = "/office/invoices"


@pytest.fixture
def dana(site: Site) -> Visitor:
    """At the desk of a clinic that takes payments online and asks for them by mail."""
    site.change(lambda session: make_gateway(session, site.parts.vault))
    for key in ("module_payment_gateways", "accept_payments_in_portal", "email_pay_online_request"):
        site.setting(key, "yes")
    return site.visitor("dana@example.com")


def invoice_of(site: Site, patient: Patient) -> Invoice:
    made: Invoice = site.change(lambda session: make_invoice(session, patient, location=site.cast.location))
    return made


def mails(site: Site, kind: str = "pay_request") -> list[OutboxMessage]:
    statement = select(OutboxMessage).where(OutboxMessage.kind == kind).order_by(OutboxMessage.id)
    found: list[OutboxMessage] = site.change(lambda session: list(session.scalars(statement)))
    return found


def field(page: TestResponse, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, f"no {name} on the page"
    return found[1].replace("&amp;", "&")


def press(
    visitor: Visitor, page: str = SEARCH, ticked: Sequence[str] = (), *, request: str = "", **fields: str
) -> TestResponse:
    """Press a button that asks for payments, as a browser does on this page; gives the answer after the redirect."""
    shown = visitor.get(page)
    data = {name: field(shown, name) for name in ("csrf_token", "back")}
    data["request"] = request or field(shown, "request")
    return visitor.post(
        "/office/invoices/request", data={**data, "number": list(ticked), **fields}, follow_redirects=True
    )


@pytest.mark.promise("E1")
def test_the_invoice_says_where_a_request_goes_and_sends_it_once(site: Site, dana: Visitor) -> None:
    number = invoice_of(site, site.cast.maya).number
    page = f"{SEARCH}/{number}"
    assert "An email to maya@example.com, with a link to pay this invoice online." in words(dana.get(page))
    request = str(uuid4())
    for _ in range(2):
        answer = press(dana, page, only=number, request=request)
        assert answer.request.path == page
        assert f"A request to pay is on its way. For invoice {number} to maya@example.com." in words(answer)
    (mail,) = mails(site)
    assert (mail.recipient, mail.queued_by) == ("maya@example.com", site.cast.clerk.id)


@pytest.mark.promise("E1", "O12")
def test_all_that_are_ticked_are_asked_for_and_each_that_is_not_says_why(site: Site, dana: Visitor) -> None:
    cast = site.cast
    nobody = site.change(lambda session: make_patient(session, "Rosa", "Delgado"))
    ours, childs, reachless, paid, void = [
        invoice_of(site, one) for one in (cast.maya, cast.theo, nobody, cast.maya, cast.maya)
    ]
    site.change(lambda session: make_payment(session, paid))
    site.change(lambda session: void_invoice(session, void.id, "twice"))
    numbers = [one.number for one in (ours, childs, reachless, paid, void)]
    search = f"{SEARCH}?status=&patient="
    shown = dana.get(search)
    offered = re.findall(r'type="checkbox" name="number" value="([^"]+)"', shown.text)
    assert sorted(offered) == sorted([ours.number, childs.number])
    answer = press(dana, search, [*numbers, "10999", "\0'\""])
    text = words(answer)
    assert answer.request.full_path.startswith(search)
    assert "2 requests to pay are on their way." in text
    assert f"invoice {ours.number} to maya@example.com, invoice {childs.number} to maya@example.com" in text
    assert "3 requests were not sent." in text
    assert f"{reachless.number}: There is no email address on file. Nothing was sent." in text
    assert f"{paid.number}: Nothing is left to pay on it." in text and f"{void.number}: It is void." in text
    assert [mail.invoice_id for mail in mails(site)] == [ours.id, childs.id]


@pytest.mark.promise("E1")
def test_a_page_of_ticks_sent_twice_is_one_mail_each(site: Site, dana: Visitor) -> None:
    numbers = [invoice_of(site, site.cast.maya).number for _ in range(12)]
    request = str(uuid4())
    for _ in range(2):
        assert "12 requests to pay are on their way." in words(press(dana, ticked=numbers, request=request))
    assert len(mails(site)) == 12


@pytest.mark.promise("E1")
def test_with_the_setting_off_the_buttons_are_gone_and_the_route_refuses(site: Site, dana: Visitor) -> None:
    number = invoice_of(site, site.cast.maya).number
    request = {"csrf_token": dana.token(f"{SEARCH}/{number}"), "request": str(uuid4()), "only": number}
    site.setting("email_pay_online_request", "no")
    for page in (SEARCH, f"{SEARCH}/{number}"):
        assert "Request payment" not in words(dana.get(page))
    answer = dana.post(f"{SEARCH}/request", data=request)
    assert answer.status_code == 403
    assert "Requests to pay are switched off. Nothing was sent." in words(answer)
    assert mails(site) == []


def test_a_practitioner_asks_for_nothing(site: Site, dana: Visitor) -> None:
    number = invoice_of(site, site.cast.maya).number
    liam = site.visitor("liam@example.com")
    data = {"csrf_token": liam.token("/office/account"), "request": str(uuid4()), "only": number}
    assert liam.post(f"{SEARCH}/request", data=data).status_code == 403
    assert mails(site) == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"request": "", "only": "10001"}, 400),
        ({"request": "\0", "only": "10001"}, 400),
        ({"request": str(uuid4()), "only": "no such one"}, 404),
        ({"request": str(uuid4()), "only": "\0\ud83d" + "9" * 9000}, 404),
        ({"request": str(uuid4())}, 303),
        ({"request": str(uuid4()), "number": "", "back": "//elsewhere.example"}, 303),
    ],
)
def test_garbage_is_no_error_of_ours(site: Site, dana: Visitor, fields: dict[str, str], status: int) -> None:
    invoice_of(site, site.cast.maya)
    fields = {name: value.encode("utf-8", "replace").decode() for name, value in fields.items()}
    answer = dana.post(f"{SEARCH}/request", data={"csrf_token": dana.token(SEARCH), **fields})
    assert answer.status_code == status
    if status == 303:
        assert answer.location == SEARCH
        assert "No invoice is ticked. Tick those to ask for" in words(dana.get(SEARCH))


def test_whoever_has_no_address_is_offered_a_place_for_one(site: Site, dana: Visitor) -> None:
    nobody = site.change(lambda session: make_patient(session, "Rosa", "Delgado"))
    number = invoice_of(site, nobody).number
    assert "No email address is on file, so no request to pay can be sent. Add one" in words(
        dana.get(f"{SEARCH}/{number}")
    )
    shown = dana.get(SEARCH)
    assert "Add an email address" in words(shown) and 'name="only"' not in shown.text


def test_the_search_page_asks_for_all_addresses_at_once(site: Site, dana: Visitor) -> None:
    for patient in (site.cast.maya, site.cast.theo, site.cast.stranger):
        invoice_of(site, patient)
    for search in ("", "?patient=weber", "?status=receivable&location=1", "?number=10003"):
        dana.get(SEARCH + search)
        with site.counting() as sent:
            page = dana.get(SEARCH + search)
        assert "jonas@example.com" in page.text and len(sent) <= 6, (search, sent)


@pytest.mark.promise("E1")
def test_a_request_can_go_with_the_checkout(site: Site, dana: Visitor) -> None:
    desk = Desk(dana, f"/office/checkout/new?appointment={booked(site).public_id}")
    assert "Email a request to pay online maya@example.com." in desk.words
    fields = dict(fields_of(desk.answer.text))
    del fields["mail"]
    answer = dana.post("/office/checkout/new", data={**fields, "ask": "on", "do": "checkout"})
    assert "A request to pay is on its way. It goes to maya@example.com." in words(dana.get(answer.location))
    assert [mail.recipient for mail in mails(site)] == ["maya@example.com"]


# --- what was sent --------------------------------------------------------------------------------------------------


def mail_of(site: Site, **values: object) -> None:
    """Something happens to the mails that wait."""
    site.change(lambda session: session.execute(update(OutboxMessage).values(**values)))


def send_again(visitor: Visitor, number: str, mail_id: int, request: str = "") -> TestResponse:
    page = f"{SEARCH}/{number}"
    data = {"csrf_token": visitor.token(page), "request": request or str(uuid4())}
    return visitor.post(f"{page}/mails/{mail_id}/again", data=data, follow_redirects=True)


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


# --- pay links and QR codes -----------------------------------------------------------------------------------------


def links(site: Site) -> list[PayLink]:
    found: list[PayLink] = site.change(lambda session: list(session.scalars(select(PayLink).order_by(PayLink.id))))
    return found


def code_says(site: Site, invoice: Invoice) -> frozenset[tuple[int, int]]:
    with site.parts.database.read() as connection:
        token = paper_token(connection, site.parts.vault, invoice.id)
    assert token is not None
    return says(f"http://pay.example.com/pay/{token}")


def make_code(visitor: Visitor, number: str, back: str = "") -> TestResponse:
    page = f"{SEARCH}/{number}"
    data = {"csrf_token": visitor.token(page), "back": back}
    return visitor.post(f"{page}/code", data=data, follow_redirects=True)


@pytest.mark.promise("E2")
def test_the_code_on_paper_and_at_the_desk_opens_the_pay_page(site: Site, dana: Visitor) -> None:
    invoice = invoice_of(site, site.cast.maya)
    page, desk = f"{SEARCH}/{invoice.number}", f"{SEARCH}/{invoice.number}/receive"
    assert drawn(dana.get(page).text) == drawn(dana.get(desk).text) == [] and links(site) == []
    assert "The QR code is ready." in words(make_code(dana, invoice.number))
    for path in (page, desk):
        shown = dana.get(path)
        assert drawn(shown.text) == [code_says(site, invoice)]
        assert "/pay/" not in shown.text, "the token stands nowhere as text"
    assert make_code(dana, invoice.number, back=f"{desk}?phone=open").request.path == desk
    assert len(links(site)) == 1, "what was printed stays good"


@pytest.mark.promise("E2")
def test_a_code_is_shown_only_while_its_link_works(site: Site, dana: Visitor) -> None:
    invoice = invoice_of(site, site.cast.maya)
    page = f"{SEARCH}/{invoice.number}"
    make_code(dana, invoice.number)
    (link,) = links(site)
    answer = dana.post(f"{page}/links/{link.id}/revoke", data={"csrf_token": dana.token(page)}, follow_redirects=True)
    assert "The pay link is revoked." in words(answer) and "Make a QR code" in words(answer)
    assert drawn(answer.text) == []
    again = dana.post(f"{page}/links/{link.id}/revoke", data={"csrf_token": dana.token(page)}, follow_redirects=True)
    assert "This pay link was not good any more. Nothing changed." in words(again)
    make_code(dana, invoice.number)
    site.change(lambda session: session.execute(update(PayLink).values(expires_at=now())))
    expired = dana.get(page)
    assert "Expired" in words(expired) and "Make a QR code" in words(expired) and drawn(expired.text) == []
    make_code(dana, invoice.number)
    assert drawn(dana.get(page).text) == [code_says(site, invoice)]
    for key in ("accept_payments_in_portal", "email_pay_online_request", "portal_enabled"):
        site.setting(key, "no")
        assert drawn(dana.get(page).text) == [] and "Make a QR code" not in words(dana.get(page))
        site.setting(key, "yes")
    site.change(lambda session: make_payment(session, invoice))
    paid = dana.get(page)
    assert drawn(paid.text) == [] and "Make a QR code" not in words(paid) and "Nothing left to pay" in words(paid)


def test_no_code_is_made_where_it_would_lead_nowhere(site: Site, dana: Visitor) -> None:
    number = invoice_of(site, site.cast.maya).number
    site.setting("accept_payments_in_portal", "no")
    assert f"Invoice {number} can't be paid online." in words(make_code(dana, number))
    site.setting("email_pay_online_request", "no")
    assert make_code(dana, number).status_code == 403
    assert make_code_status(dana, "no-such-one", number) == 404
    assert links(site) == []


def make_code_status(visitor: Visitor, number: str, page: str) -> int:
    data = {"csrf_token": visitor.token(f"{SEARCH}/{page}")}
    return visitor.post(f"{SEARCH}/{number}/code", data=data).status_code


@pytest.mark.promise("E2")
def test_an_invoice_has_its_code_from_checkout(site: Site, dana: Visitor) -> None:
    desk = Desk(dana, f"/office/checkout/new?appointment={booked(site).public_id}")
    receive = dana.get(desk.press("checkout").location)
    (invoice,) = site.change(lambda session: list(session.scalars(select(Invoice))))
    assert drawn(receive.text) == [code_says(site, invoice)]


def test_a_payment_through_a_link_says_so(site: Site, dana: Visitor) -> None:
    invoice = invoice_of(site, site.cast.maya)
    site.change(
        lambda session: make_payment(session, invoice, kind="card", brand="visa", last4="4242", channel="link")
    )
    assert "Visa ending 4242 Do not process Pay link $126.00" in words(
        dana.get(f"{SEARCH}/{invoice.number}/payments")
    )
    assert "Pay link" in words(dana.get("/office/day-sheet"))


def choose(visitor: Visitor, patient_id: int, **fields: str) -> TestResponse:
    """What a press on the Emails tab sends."""
    return visitor.send(f"/office/patients/{patient_id}/emails", fields)


@pytest.mark.promise("E3", "P4")
def test_the_desk_keeps_what_a_patient_says_about_emails(site: Site, dana: Visitor) -> None:
    maya = site.cast.maya
    path = f"/office/patients/{maya.id}/emails"

    def wants() -> tuple[bool, bool]:
        with site.parts.database.read() as connection:
            return choices_of(connection, maya.id)

    assert "Reminders" in words(dana.get(path)) and "Receipts as a PDF" not in words(dana.get(path))
    site.setting("email_receipt_pdf", "yes")
    shown = words(dana.get(path))
    assert wants() == (True, False) and "Not agreed" in shown and "Stop (Reminders)" in shown
    for _ in range(2):  # the same press again turns nothing around
        answer = choose(dana, maya.id, choice="receipt_pdf", on="yes")
        assert (answer.status_code, answer.location) == (303, path)
        choose(dana, maya.id, choice="reminders", on="no")
    assert wants() == (False, True)
    assert "gets no more reminders." in words(dana.get(path))
    kept = select(AuditEntry.action, AuditEntry.after, AuditEntry.user_id, AuditEntry.patient_id).where(
        AuditEntry.action.in_(("patient.reminders", "patient.receipt_pdf"))
    )
    found = site.change(lambda session: [tuple(row) for row in session.execute(kept.order_by(AuditEntry.id))])
    assert found == [
        ("patient.receipt_pdf", "agreed", site.cast.clerk.id, maya.id),
        ("patient.reminders", "off", site.cast.clerk.id, maya.id),
    ]
    choose(dana, maya.id, choice="receipt_pdf", on="no")
    choose(dana, maya.id, choice="reminders", on="yes")
    assert wants() == (True, False)


def test_what_no_button_of_the_tab_sends_changes_nothing(site: Site, dana: Visitor) -> None:
    maya = site.cast.maya.id
    for fields in ({}, {"choice": "reminders"}, {"choice": "name", "on": "yes"}, {"choice": "\0", "on": "\0"}):
        assert choose(dana, maya, **fields).status_code == 400
    assert choose(dana, maya, choice="reminders", on="maybe").status_code == 400
    assert choose(dana, 999_999, choice="reminders", on="no").status_code == 404
    patient = site.visitor("maya@example.com")
    assert choose(patient, maya, choice="receipt_pdf", on="yes").status_code in (403, 404)
    with site.parts.database.read() as connection:
        assert choices_of(connection, maya) == (True, False)
