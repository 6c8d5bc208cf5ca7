"""View Payments: what it shows, to whom, and where it leads."""

import re

import pytest
from sqlalchemy import select

from portal.audit import RecordView
from tests.web.conftest import Site, words
from tests.web.office.payments.conftest import ALL, invoice, pays, pays_through_stripe


def test_view_payments_shows_everything_that_was_posted(site: Site) -> None:
    number = invoice(site)
    pays_through_stripe(site, number)
    pays(site, number, ALL)
    page = site.visitor("dana@example.com").get(f"/office/invoices/{number}/payments")
    text = words(page)
    assert "The books only grow: nothing here is edited or deleted" in text
    assert "Visa ending 1881" in text and "Dana Whitlock" in text and "Do not process" in text
    assert 'href="https://dashboard.stripe.com/test/payments/pi_4242"' in page.text
    assert "Net paid $252.00" in text
    assert "Paid too much: $126.00" in text


def test_looking_is_noted_in_the_access_log(site: Site) -> None:
    site.visitor("dana@example.com").get(f"/office/invoices/{invoice(site)}/payments")
    views = site.change(lambda session: [(v.patient_id, v.page) for v in session.scalars(select(RecordView))])
    assert views == [(site.cast.maya.id, "payments")]


def test_the_page_asks_the_database_few_times(site: Site) -> None:
    number = invoice(site)
    pays(site, number)
    dana = site.visitor("dana@example.com")
    with site.counting() as sent:
        dana.get(f"/office/invoices/{number}/payments")
    assert len([one for one in sent if one.startswith("SELECT")]) <= 8


@pytest.mark.parametrize("path", ["payments", "void", "adjust", "payments/5/refund", "payments/999999999999/refund"])
def test_what_is_not_there_is_not_found(site: Site, path: str) -> None:
    assert site.visitor("ines@example.com").get(f"/office/invoices/nowhere/{path}").status_code == 404


def test_each_correction_needs_its_permission(site: Site) -> None:
    number = invoice(site)
    payment = pays(site, number)
    dana, liam = site.visitor("dana@example.com"), site.visitor("liam@example.com")
    assert dana.get(f"/office/invoices/{number}/payments/{payment}/refund").status_code == 403
    assert "Refund" not in words(dana.get(f"/office/invoices/{number}/payments")).split("Net paid")[0]
    for path in ("payments", "void", "adjust"):
        assert liam.get(f"/office/invoices/{number}/{path}").status_code == 403


def test_each_kind_has_one_name(site: Site) -> None:
    number = invoice(site)
    pays(site, number, 26_00, "debit")
    dana = site.visitor("dana@example.com")
    for path in ("/payments", "/void", "/receive", ""):
        page = dana.get(f"/office/invoices/{number}{path}")
        assert "Debit (terminal)" in page.text and "Debit card" not in page.text.replace("Visa Debit card", "")


@pytest.mark.promise("O12")
def test_the_page_leads_to_the_receipts_the_invoice_and_the_rest(site: Site) -> None:
    number = invoice(site)
    pays(site, number, 26_00, "cash")
    dana = site.visitor("dana@example.com")
    page = dana.get(f"/office/invoices/{number}/payments")
    receipt = re.search(rf'href="(/office/invoices/{number}/received/[^"]+)"', page.text)
    assert receipt is not None
    assert "Paid by Cash" in words(dana.get(receipt[1]))
    assert f'href="/office/invoices/{number}"' in page.text
    assert f'href="/office/patients/{site.cast.maya.id}/accounting"' in page.text
    assert "Receive the rest, $100.00" in words(page)
    accounting = dana.get(f"/office/patients/{site.cast.maya.id}/accounting").text
    assert f'href="{receipt[1]}"' in accounting
    pays(site, number, 100_00, "cash")
    assert "Receive the rest" not in words(dana.get(f"/office/invoices/{number}/payments"))
