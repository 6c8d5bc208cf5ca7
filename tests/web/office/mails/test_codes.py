"""Pay links on paper: QR codes, and revoking them."""

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from portal.clock import now
from portal.invoices.tables import Invoice
from portal.paylinks import PayLink, paper_token
from tests.makers import make_payment
from tests.support.qr import drawn, says
from tests.web.conftest import Site, Visitor, words
from tests.web.office.mails.conftest import SEARCH, invoice_of, links
from tests.web.office.test_checkout import Desk, booked


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
