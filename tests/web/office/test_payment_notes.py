"""Each thing that can be open about a payment has its note on View Payments, with words and a way on."""

from typing import Any

import pytest
from sqlalchemy import select

from portal.clock import now
from portal.payments.tables import Case, Payment, Refund
from tests.web.conftest import Site, words
from tests.web.office.payments.conftest import ALL, invoice, pays_through_stripe

CASES: list[tuple[dict[str, Any], str]] = [
    ({"kind": "overpaid"}, "Paid too much: $126.00"),
    ({"kind": "refund_due"}, "the clinic does not accept"),
    ({"kind": "refund_pending"}, "goes back once it is refunded in Stripe"),
    ({"kind": "refund_expected", "matched_cents": 26_00}, "Refund expected: $100.00"),
    ({"kind": "dispute", "stage": "inquiry"}, "No money has been taken back so far."),
    ({"kind": "dispute", "stage": "open"}, "The bank has taken back $126.00"),
    ({"kind": "dispute", "stage": "lost"}, "The dispute of payment R-20001 is lost"),
]
REFUNDS: list[tuple[dict[str, Any], str]] = [
    ({"state": "asked"}, "We are checking a refund of $40.00"),
    ({"state": "pending"}, "A refund of $40.00 is on its way"),
    ({"state": "succeeded", "needs_person": "credited"}, "No, it is still owed"),
    ({"state": "failed", "needs_person": "lost_or_stolen_card"}, "A refund of $40.00 has failed"),
]


@pytest.mark.parametrize(("case", "sentence"), CASES)
def test_a_case_has_its_note(site: Site, case: dict[str, Any], sentence: str) -> None:
    number = invoice(site)
    payment = pays_through_stripe(site, number)

    def open_it(session: Any) -> None:
        found = session.get_one(Payment, payment)
        session.add(
            Case(
                invoice_id=found.invoice_id, payment_id=payment, amount_cents=ALL, reason="x", opened_at=now(), **case
            )
        )

    site.change(open_it)
    page = site.visitor("dana@example.com").get(f"/office/invoices/{number}/payments")
    assert sentence in words(page)
    assert "Open this payment in Stripe" in words(page)


@pytest.mark.parametrize(("refund", "sentence"), REFUNDS)
def test_a_refund_that_needs_a_look_has_its_note(site: Site, refund: dict[str, Any], sentence: str) -> None:
    number = invoice(site)
    payment = pays_through_stripe(site, number)

    def add(session: Any) -> None:
        found = session.get_one(Payment, payment)
        session.add(
            Refund(
                payment_id=payment, invoice_id=found.invoice_id, gateway_id=found.gateway_id, mode="test",
                amount_cents=40_00, asked_at=now(), next_look_at=now(), **refund,
            )
        )  # fmt: skip

    site.change(add)
    dana = site.visitor("dana@example.com")
    path = f"/office/invoices/{number}/payments"
    assert sentence in words(dana.get(path))
    if refund.get("needs_person"):
        refund_id = site.change(lambda session: session.scalar(select(Refund.id)))
        assert (
            dana.send(f"/office/invoices/{number}/refunds/{refund_id}/seen", {"owed": "no"}, page=path).status_code
            == 303
        )
        assert sentence not in words(dana.get(path))


def test_a_lost_dispute_is_put_away_by_a_person(site: Site) -> None:
    number = invoice(site)
    payment = pays_through_stripe(site, number)

    def open_it(session: Any) -> int:
        found = session.get_one(Payment, payment)
        case = Case(
            kind="dispute", stage="lost", invoice_id=found.invoice_id, payment_id=payment, amount_cents=ALL,
            reason="x", opened_at=now(),
        )  # fmt: skip
        session.add(case)
        session.flush()
        return int(case.id)

    case_id = site.change(open_it)
    dana, path = site.visitor("dana@example.com"), f"/office/invoices/{number}/payments"
    for other in (999_999, case_id):
        answer = dana.send(f"/office/invoices/{number}/disputes/{other}/seen", {}, page=path)
        assert answer.status_code == (303 if other == case_id else 422)
    assert "is lost" not in words(dana.get(path))
