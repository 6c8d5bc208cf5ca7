"""New Payment on View Payments: a correction of the books, which moves no money."""

import re

import pytest
from sqlalchemy import select

from portal.audit import AuditEntry
from tests.web.conftest import Site, words
from tests.web.office.payments.conftest import ALL, invoice, new_payment, pays, pays_through_stripe, posted


@pytest.mark.promise("O14")
def test_a_payment_entered_in_error_is_reversed(site: Site) -> None:
    number = invoice(site)
    pays(site, number)
    extra = pays(site, number, ALL)
    dana = site.visitor("dana@example.com")
    answer = new_payment(dana, number, reverses=str(extra))
    assert answer.status_code == 303
    text = words(dana.get(answer.location))
    assert "corrects the books. No money moved, and Stripe was not called." in text
    assert "Reverses R-20002" in text and "Net paid $126.00" in text and "Paid too much" not in text
    assert "Entered twice at the desk." in text
    assert posted(site, number)[-1] == ("reversal", -ALL, extra)
    entries = site.change(lambda s: [(e.action, e.user_id) for e in s.scalars(select(AuditEntry))])
    assert [one for one in entries if one[0].startswith("payment")] == [("payment.reversed", site.cast.clerk.id)]


@pytest.mark.promise("O14")
def test_the_same_form_sent_twice_is_one_reversal(site: Site) -> None:
    number = invoice(site)
    extra = pays(site, number)
    dana = site.visitor("dana@example.com")
    same = "00000000-0000-4000-8000-000000000001"
    for _ in range(2):
        assert new_payment(dana, number, reverses=str(extra), amount="-20", request_id=same).status_code == 303
    assert [row[1] for row in posted(site, number)] == [ALL, -20_00]


def test_reversing_a_stripe_payment_asks_for_its_refund_there(site: Site) -> None:
    number = invoice(site)
    paid = pays_through_stripe(site, number)
    dana = site.visitor("dana@example.com")
    page = dana.get(new_payment(dana, number, reverses=str(paid)).location)
    assert "Refund expected: $126.00" in words(page)
    assert page.text.count("https://dashboard.stripe.com/test/payments/pi_4242") == 2


def test_money_that_comes_in_is_taken_in_receive_payment(site: Site) -> None:
    number = invoice(site)
    answer = new_payment(site.visitor("dana@example.com"), number, amount="40.00", reason="Typed twice.")
    assert answer.status_code == 422 and "Money that comes in is taken under Receive Payment." in words(answer)
    assert f'href="/office/invoices/{number}/receive"' in answer.text
    assert 'value="40.00"' in answer.text and "Typed twice." in answer.text, "what was typed is kept"


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"amount": "-126.01"}, 422, "The most it can be is −$126.00."),
        ({"amount": "nothing"}, 422, "Type the amount in figures"),
        ({"amount": "-1,50"}, 422, "Type the amount in figures"),
        ({"amount": "-0"}, 422, "A reversal takes a negative amount"),
        ({"amount": "\0" + "9" * 400}, 422, "Type the amount in figures"),
        ({"reason": " "}, 422, "Please give a reason"),
        ({"reverses": "999999"}, 422, "does not stand on invoice"),
        ({"reverses": "99999999999999999999"}, 422, "does not stand on invoice"),
        ({"reverses": "x"}, 422, "does not stand on invoice"),
        ({"gateway": "1"}, 422, "A negative amount corrects the books only"),
        ({"paid_by": "amex"}, 422, "was paid by Visa. Choose that under Paid by"),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_is_kept(
    site: Site, fields: dict[str, str], status: int, sentence: str
) -> None:
    number = invoice(site)
    extra = pays(site, number)
    answer = new_payment(
        site.visitor("dana@example.com"), number, **{"reverses": str(extra), "reason": "Typed twice.", **fields}
    )
    assert answer.status_code == status
    assert sentence in words(answer)
    if "reason" not in fields:
        assert "Typed twice." in words(answer)
    assert posted(site, number) == [("payment", ALL, None)]


def test_nonsense_in_the_hidden_fields_is_a_bad_request(site: Site) -> None:
    number = invoice(site)
    extra = pays(site, number)
    dana = site.visitor("dana@example.com")
    for odd in ("", "x", "\0", "9" * 5000):
        assert new_payment(dana, number, reverses=str(extra), request_id=odd).status_code == 400


@pytest.mark.promise("O14")
def test_while_a_refund_is_expected_a_new_payment_comes_with_a_warning(site: Site) -> None:
    number = invoice(site)
    pages = [f"/office/invoices/{number}/{path}" for path in ("payments", "receive")]
    paid = pays_through_stripe(site, number)
    dana = site.visitor("dana@example.com")
    new_payment(dana, number, reverses=str(paid), amount="-100.00")
    view, receive = (dana.get(path) for path in pages)
    warning = "take a new one only if the patient really pays again. Receive the rest, $100.00"
    assert warning in words(view)
    assert "Take a new payment only if the patient really pays again." in words(receive)
    assert re.search(r'class="btn quiet" href="[^"]+/receive"', dana.get(f"/office/invoices/{number}").text)
    other = invoice(site)
    pays(site, other, 26_00, "cash")
    texts = [dana.get(path.replace(number, other)) for path in [*pages, f"/office/invoices/{number}"]]
    assert not any("really pays again" in words(one) for one in texts)
    assert re.search(r'class="btn" href="[^"]+/receive"', texts[-1].text)
