"""View Payments and what hangs on it, as a client sees them."""

import re
from typing import Any

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from portal.audit import AuditEntry, RecordView
from portal.clock import now
from portal.invariants import broken_invariants
from portal.invoices.tables import Adjustment, Invoice
from portal.payments.cases import follow_books
from portal.payments.states import State
from portal.payments.tables import Payment, Refund
from portal.refunds import by_hand
from portal.refunds.by_hand import INSTEAD_OF_A_CARD
from portal.refunds.following import GIVEN_TWICE
from tests.makers import make_attempt, make_gateway, make_invoice, make_payment
from tests.web.conftest import Site, Visitor, words

ALL = 126_00


@pytest.fixture(autouse=True)
def _the_books_hold(site: Site) -> Any:
    yield
    assert broken_invariants(site.parts.database) == []


def invoice(site: Site) -> str:
    return str(site.change(lambda session: make_invoice(session, site.cast.maya).number))


def pays(site: Site, number: str, cents: int | None = None, kind: str = "card", **details: Any) -> int:
    """Money that was typed in at the desk; gives the payment's id."""

    def post(session: Any) -> int:
        found = session.scalars(select(Invoice).where(Invoice.number == number)).one()
        also = {"brand": "visa", "funding": "credit"} if kind == "card" else {}
        payment = make_payment(session, found, cents, kind, **{**also, "recorded_by": site.cast.clerk.id, **details})
        follow_books(session, found)
        return payment.id

    return int(site.change(post))


def pays_through_stripe(site: Site, number: str) -> int:
    """As if a card payment had come through the gateway."""

    def post(session: Any) -> int:
        found = session.scalars(select(Invoice).where(Invoice.number == number)).one()
        gateway = make_gateway(session, site.parts.vault)
        attempt = make_attempt(session, found, gateway, State.SUCCEEDED, intent_id="pi_4242")
        payment = make_payment(
            session, found, kind="card", brand="visa", last4="1881", attempt_id=attempt.id, gateway_id=gateway.id,
            charge_id="ch_4242",
        )  # fmt: skip
        return payment.id

    return int(site.change(post))


def posted(site: Site, number: str) -> list[tuple[str, int, int | None]]:
    def look(session: Any) -> list[tuple[str, int, int | None]]:
        rows = session.scalars(select(Payment).join(Invoice).where(Invoice.number == number).order_by(Payment.id))
        return [(row.nature, row.amount_cents, row.reverses_id) for row in rows]

    rows: list[tuple[str, int, int | None]] = site.change(look)
    return rows


def request_id(page: TestResponse) -> str:
    found = re.search(r'name="request_id" value="([^"]+)"', page.text)
    assert found
    return found[1]


def new_payment(visitor: Visitor, number: str, **fields: str) -> TestResponse:
    """Fill in New Payment as it stands on the page, and press its button."""
    path = f"/office/invoices/{number}/payments"
    page = visitor.get(path)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token
    form = {
        "csrf_token": token[1], "request_id": request_id(page), "paid_by": "visa", "gateway": "", "amount": "-126.00",
        "reverses": "0", "reason": "Entered twice at the desk.", **fields,
    }  # fmt: skip
    return visitor.post(path, data=form)


# --- the page -------------------------------------------------------------------------------------------------------


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


# --- New Payment ----------------------------------------------------------------------------------------------------


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
    answer = new_payment(site.visitor("dana@example.com"), number, amount="40.00")
    assert (answer.status_code, answer.location) == (303, f"/office/invoices/{number}/receive")


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


# --- void -----------------------------------------------------------------------------------------------------------


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


# --- a second charge is not invited ---------------------------------------------------------------------------------


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


def test_each_kind_has_one_name(site: Site) -> None:
    number = invoice(site)
    pays(site, number, 26_00, "debit")
    dana = site.visitor("dana@example.com")
    for path in ("/payments", "/void", "/receive", ""):
        page = dana.get(f"/office/invoices/{number}{path}")
        assert "Debit (terminal)" in page.text and "Debit card" not in page.text.replace("Visa Debit card", "")


# --- credits --------------------------------------------------------------------------------------------------------


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


# --- where it leads -------------------------------------------------------------------------------------------------


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
