"""Money that goes back over the counter, and what the card company sent back."""

import re
from typing import Any

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from portal.clock import now
from portal.invoices.tables import Adjustment, Invoice
from portal.payments.cases import follow_books
from portal.payments.tables import Payment, Refund
from portal.refunds import by_hand
from portal.refunds.by_hand import INSTEAD_OF_A_CARD
from portal.refunds.following import GIVEN_TWICE
from tests.makers import make_payment
from tests.web.conftest import Site, Visitor, words
from tests.web.office.payments.conftest import ALL, invoice, pays, pays_through_stripe, posted, request_id

# --- refunds over the counter ---------------------------------------------------------------------------------------


def refunds(visitor: Visitor, number: str, payment: int, **fields: str) -> TestResponse:
    path = f"/office/invoices/{number}/payments/{payment}/refund"
    page = visitor.get(path)
    form = {"request_id": request_id(page), "amount": "126.00", "kind": "cash", "owed": "no",
            "reason": "The visit did not help.", **fields}  # fmt: skip
    return visitor.send(path, form)


@pytest.mark.promise("O16")
@pytest.mark.parametrize(("owed", "balance", "credit"), [("no", 0, [-50_00]), ("still", 50_00, [])])
def test_cash_goes_back_over_the_counter(site: Site, owed: str, balance: int, credit: list[int]) -> None:
    number = invoice(site)
    payment = pays(site, number, kind="cash")
    answer = refunds(site.visitor("ines@example.com"), number, payment, amount="50", owed=owed)
    assert answer.status_code == 303
    assert posted(site, number)[-1] == ("refund", -50_00, payment)
    found = site.change(lambda s: s.scalars(select(Invoice).where(Invoice.number == number)).one())
    assert found.balance_cents == balance
    assert site.change(lambda s: list(s.scalars(select(Adjustment.amount_cents)))) == credit


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"amount": "126.01"}, "At most $126.00 of payment R-20001 can still go back."),
        ({"amount": "-5"}, "At most $126.00 of payment R-20001 can still go back."),
        ({"amount": "0"}, "At most $126.00 of payment R-20001 can still go back."),
        ({"amount": "some"}, "Type the amount in figures"),
        ({"reason": ""}, "Please give a reason"),
    ],
)
def test_a_refund_that_can_not_be_says_why(site: Site, fields: dict[str, str], sentence: str) -> None:
    number = invoice(site)
    payment = pays(site, number, kind="cash")
    answer = refunds(site.visitor("ines@example.com"), number, payment, **fields)
    assert answer.status_code == 422
    assert sentence in words(answer)
    assert len(posted(site, number)) == 1


def test_the_payment_of_another_invoice_is_not_found(site: Site) -> None:
    mine, other = invoice(site), invoice(site)
    payment = pays(site, other)
    assert (
        site.visitor("ines@example.com").get(f"/office/invoices/{mine}/payments/{payment}/refund").status_code == 404
    )


# --- a refund that the card company sent back -----------------------------------------------------------------------


def refund_fails(site: Site, number: str, payment: int, cents: int = ALL, **details: Any) -> None:
    """As if a refund had gone to Stripe, and the card company had sent it back."""

    def post(session: Any) -> None:
        found = session.scalars(select(Invoice).where(Invoice.number == number)).one()
        paid = session.get_one(Payment, payment)
        refund = Refund(
            payment_id=payment, invoice_id=found.id, gateway_id=paid.gateway_id, mode="test", refund_id="re_1",
            amount_cents=cents, matched_cents=0, reason="", state="failed", asked_at=now(), next_look_at=now(),
            ended_at=now(), needs_person="lost_or_stolen_card",
        )  # fmt: skip
        session.add(refund)
        of_charge = {"gateway_id": paid.gateway_id, "charge_id": paid.charge_id, "refund_id": "re_1"}
        for nature, amount in (("refund", -cents), ("refund failed", cents)):
            make_payment(session, found, amount, "card", nature=nature, reverses_id=payment, **of_charge)
        follow_books(session, found)

    site.change(post)


@pytest.fixture
def failed(site: Site, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """An invoice whose card payment could not be refunded: its number, and the payment."""
    monkeypatch.setattr(by_hand, "follow_quietly", lambda *_: None)  # no gateway here; tests/refunds have one
    number = invoice(site)
    payment = pays_through_stripe(site, number)
    refund_fails(site, number, payment, 100_00)
    return number, payment


@pytest.mark.promise("O16")
def test_the_pages_say_what_happened_and_lead_to_another_way(site: Site, failed: tuple[str, int]) -> None:
    number, payment = failed
    ines, dana = site.visitor("ines@example.com"), site.visitor("dana@example.com")
    page = ines.get(f"/office/invoices/{number}/payments")
    assert "A refund of $100.00 has failed The card company sent it back" in words(page)
    assert f'<a href="/office/invoices/{number}/payments/{payment}/refund">Give it back another way</a>' in page.text
    seen = words(dana.get(f"/office/invoices/{number}/payments"))
    assert "The card company sent it back" in seen and "another way Open" not in seen  # she may not refund
    form = ines.get(f"/office/invoices/{number}/payments/{payment}/refund")
    assert "The card company sent the refund back $100.00 did not reach Visa ending 1881" in words(form)
    assert "At most $100.00 in cash and the like; to the card, at most $126.00." in words(form)
    assert 'value="100.00"' in form.text and " checked" not in form.text.split("Afterwards")[0]


@pytest.mark.promise("O16")
@pytest.mark.parametrize("kind", INSTEAD_OF_A_CARD)
def test_what_failed_is_given_back_another_way(site: Site, failed: tuple[str, int], kind: str) -> None:
    number, payment = failed
    ines = site.visitor("ines@example.com")
    answer = refunds(ines, number, payment, amount="100", kind=kind)
    assert answer.status_code == 303
    text = words(ines.get(answer.location))
    assert "$100.00 is booked as given back. Hand it over or send it" in text and "has failed" not in text
    assert posted(site, number)[-1] == ("refund", -100_00, payment)
    assert "At most" not in words(ines.get(f"/office/invoices/{number}/payments/{payment}/refund"))
    again = refunds(ines, number, payment, amount="1", kind=kind)
    assert (again.status_code, "so it goes back to the card there" in words(again)) == (422, True)


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"kind": ""}, 422, "Choose how the money goes back."),
        ({"amount": "100.01"}, 422, "$100.00 of payment R-20001 did not reach the card."),
        ({"amount": "126.01"}, 422, "At most $126.00 of payment R-20001 can still go back."),
        ({"amount": "0"}, 422, "can still go back"),
        ({"reason": " "}, 422, "Please give a reason"),
        ({"kind": "insurance"}, 400, ""),
        ({"kind": "\0gold"}, 400, ""),
    ],
)
def test_giving_it_back_another_way_says_what_is_wrong(
    site: Site, failed: tuple[str, int], fields: dict[str, str], status: int, sentence: str
) -> None:
    number, payment = failed
    answer = refunds(
        site.visitor("ines@example.com"), number, payment, **{"amount": "90", "kind": "cheque", **fields}
    )
    assert (answer.status_code, sentence in words(answer)) == (status, True)
    if status == 422 and "kind" not in fields:
        assert re.search(r'value="cheque" checked', answer.text)
    assert len(posted(site, number)) == 3


def test_only_who_may_refund_gives_it_back_another_way(site: Site, failed: tuple[str, int]) -> None:
    number, payment = failed
    dana = site.visitor("dana@example.com")
    path = f"/office/invoices/{number}/payments/{payment}/refund"
    answer = dana.send(path, {"amount": "1", "kind": "cash"}, page=f"/office/invoices/{number}/payments")
    assert (answer.status_code, len(posted(site, number))) == (403, 3)


def test_what_went_back_twice_is_said(site: Site, failed: tuple[str, int]) -> None:
    number, _payment = failed
    site.change(lambda s: s.execute(update(Refund).values(needs_person=GIVEN_TWICE)))
    assert "Payment R-20001 went back twice" in words(
        site.visitor("ines@example.com").get(f"/office/invoices/{number}/payments")
    )
