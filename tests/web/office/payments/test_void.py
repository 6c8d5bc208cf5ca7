"""Voiding an invoice says how each payment on it goes back."""

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.invoices.tables import Invoice
from tests.web.conftest import Site, Visitor, words
from tests.web.office.payments.conftest import invoice, pays, pays_through_stripe, posted


def voids(visitor: Visitor, number: str, **fields: str) -> TestResponse:
    return visitor.send(f"/office/invoices/{number}/void", {"reason": "Wrong patient.", **fields})


@pytest.mark.promise("O13")
def test_an_unpaid_invoice_is_void_at_once(site: Site) -> None:
    number = invoice(site)
    dana = site.visitor("dana@example.com")
    page = dana.get(voids(dana, number).location)
    assert f"Invoice {number} is void." in words(page) and "Wrong patient." in words(page)
    found = site.change(lambda s: s.scalars(select(Invoice).where(Invoice.number == number)).one())
    assert (found.voided_by, found.balance_cents) == (site.cast.clerk.id, 0)
    again = voids(dana, number)
    assert (again.status_code, "void already" in words(again)) == (409, True)


@pytest.mark.promise("O13")
def test_cash_is_given_back_as_the_form_says(site: Site) -> None:
    number = invoice(site)
    cash = pays(site, number, 60_00, "cash")
    cheque = pays(site, number, 20_00, "cheque")
    dana = site.visitor("dana@example.com")
    assert "How is $60.00 of payment R-20001 given back?" in words(dana.get(f"/office/invoices/{number}/void"))
    refused = voids(dana, number, **{f"back-{cash}": "cash"})
    assert refused.status_code == 422
    assert "Say how each payment is given back" in words(refused)
    assert len(posted(site, number)) == 2
    answer = voids(dana, number, **{f"back-{cash}": "cash", f"back-{cheque}": "e-transfer"})
    assert answer.status_code == 303
    assert posted(site, number)[2:] == [("refund", -60_00, cash), ("refund", -20_00, cheque)]
    assert "Net paid $0.00" in words(dana.get(answer.location))


@pytest.mark.promise("O13")
def test_what_was_paid_through_stripe_goes_back_there(site: Site) -> None:
    number = invoice(site)
    pays_through_stripe(site, number)
    dana = site.visitor("dana@example.com")
    page = dana.get(f"/office/invoices/{number}/void")
    assert "$126.00 goes back only in Stripe" in words(page)
    assert "https://dashboard.stripe.com/test/payments/pi_4242" in page.text
    after = dana.get(voids(dana, number).location)
    assert "Void, refund pending" in words(after)
    assert "https://dashboard.stripe.com/test/payments/pi_4242" in after.text
