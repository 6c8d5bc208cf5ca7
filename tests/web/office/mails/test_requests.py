"""Asking for payments by mail: from an invoice, for all that are ticked, and with the checkout."""

import re
from uuid import uuid4

import pytest

from portal.invoices.books import void_invoice
from tests.makers import make_patient, make_payment
from tests.web.conftest import Site, Visitor, words
from tests.web.office.mails.conftest import SEARCH, invoice_of, mails, press
from tests.web.office.test_checkout import Desk, booked, fields_of


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
