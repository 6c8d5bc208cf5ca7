"""What is owed is changed with a reason: credits, write-offs, extras."""

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.invoices.tables import Adjustment
from tests.web.conftest import Site, Visitor, words
from tests.web.office.payments.conftest import invoice, request_id


def adjusts(visitor: Visitor, number: str, **fields: str) -> TestResponse:
    path = f"/office/invoices/{number}/adjust"
    form = {"request_id": request_id(visitor.get(path)), "what": "credit", "amount": "26", "reason": "It began late."}
    return visitor.send(path, {**form, **fields})


@pytest.mark.parametrize(
    ("what", "cents", "reason"),
    [
        ("credit", -26_00, "It began late."),
        ("write-off", -26_00, "Written off: It began late."),
        ("extra", 26_00, "It began late."),
    ],
)
def test_what_is_owed_is_changed_with_a_reason(site: Site, what: str, cents: int, reason: str) -> None:
    number = invoice(site)
    dana = site.visitor("dana@example.com")
    answer = adjusts(dana, number, what=what)
    assert answer.status_code == 303
    assert reason in words(dana.get(answer.location))
    rows = site.change(lambda s: [(a.amount_cents, a.reason, a.made_by) for a in s.scalars(select(Adjustment))])
    assert rows == [(cents, reason, site.cast.clerk.id)]


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"amount": "126.01"}, 422, "can be at most $126.00"),
        ({"amount": "0"}, 422, "Type an amount above zero"),
        ({"amount": "-3"}, 422, "Type an amount above zero"),
        ({"amount": "999999999"}, 422, "can be at most"),
        ({"amount": "99999999999"}, 422, "Type an amount above zero"),
        ({"reason": ""}, 422, "Please give a reason"),
    ],
)
def test_a_change_that_can_not_be_says_why(site: Site, fields: dict[str, str], status: int, sentence: str) -> None:
    answer = adjusts(site.visitor("dana@example.com"), invoice(site), **fields)
    assert answer.status_code == status
    assert sentence in words(answer)


def test_a_credit_sent_twice_is_one(site: Site) -> None:
    number = invoice(site)
    dana = site.visitor("dana@example.com")
    for _ in range(2):
        assert adjusts(dana, number, request_id="00000000-0000-4000-8000-000000000002").status_code == 303
    assert site.change(lambda s: list(s.scalars(select(Adjustment.amount_cents)))) == [-26_00]


def test_a_form_that_comes_back_with_another_amount_says_so_and_can_be_sent_again(site: Site) -> None:
    number = invoice(site)
    marc = site.visitor("marc@example.com")
    path = f"/office/invoices/{number}/adjust"
    first = {"request_id": request_id(marc.get(path)), "what": "credit", "amount": "10.00", "reason": "Late."}
    assert marc.send(path, first).status_code == 303
    told = marc.send(path, {**first, "amount": "20.00"})
    assert told.status_code == 409 and "This form was sent before with other details" in words(told)
    assert marc.send(path, {**first, "amount": "20.00", "request_id": request_id(told)}).status_code == 303
    found = site.change(lambda session: list(session.scalars(select(Adjustment.amount_cents))))
    assert found == [-10_00, -20_00]


def test_a_forms_number_from_another_invoice_changes_nothing(site: Site) -> None:
    first, second = invoice(site), invoice(site)
    marc = site.visitor("marc@example.com")
    fields = {"what": "credit", "amount": "10.00", "reason": "Late."}
    fields["request_id"] = request_id(marc.get(f"/office/invoices/{first}/adjust"))
    assert marc.send(f"/office/invoices/{first}/adjust", fields).status_code == 303
    assert marc.send(f"/office/invoices/{second}/adjust", fields).status_code == 409
