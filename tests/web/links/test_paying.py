"""Paying through a link: the same flow as in the portal, for somebody of whom nothing is known but the link."""

import re
from typing import Any

import pytest
from limits import parse
from sqlalchemy import update
from sqlalchemy.orm import Session

from portal.outbox import OutboxMessage
from portal.paylinks import PAPER
from portal.payments.settle import sweep
from portal.payments.tables import Payment, PaymentAttempt
from portal.people import Patient, PayerLink, User
from portal.web import limits
from tests.makers import make_invoice
from tests.web.conftest import words
from tests.web.links.conftest import JSON, Desk


@pytest.mark.promise("E2", "P3")
def test_who_holds_a_link_sees_the_amount_and_pays_without_signing_in(desk: Desk) -> None:
    link = desk.link()
    visitor, page = desk.opened(link)
    shown = words(page)
    assert page.status_code == 200
    for told in (
        "Alder Lane Clinic asks you to pay",
        "126.00",
        f"Invoice {desk.number}, due",
        "The link works until",
    ):
        assert told in shown
    for hidden in ("Maya", "Lindqvist", "Massage", "Liam", "Keep this card", 'type="radio"'):
        assert hidden not in page.text
    fields = desk.fields(page, email=" Sam@Example.com ")
    answers = [visitor.post(f"/pay/i/{link.public_id}", data=fields, headers=JSON).get_json() for _ in range(3)]
    assert [answer["outcome"] for answer in answers] == ["paid"] * 3
    assert len({answer["location"] for answer in answers}) == 1
    receipt = words(visitor.get(answers[0]["location"]))
    for told in ("Thank you, your payment went through.", "Receipt R-", "126.00", desk.number, "s•••@example.com"):
        assert told in receipt
    assert "Maya" not in receipt and "4242" not in receipt
    assert desk.taken == 12_600
    (attempt,) = desk.rows(PaymentAttempt)
    assert (attempt.payer_id, attempt.user_id, attempt.channel, attempt.pay_link_id) == (None, None, "link", link.id)
    assert [mail.recipient for mail in desk.rows(OutboxMessage)] == ["sam@example.com"]


@pytest.mark.promise("E2")
def test_two_links_in_two_tabs_never_mix(desk: Desk) -> None:
    number = desk.invoice()
    one, two = desk.link(), desk.link(number)
    visitor, first = desk.opened(one)
    _, second = desk.opened(two, visitor)
    assert f"Invoice {desk.number}," in words(first) and f"Invoice {number}," in words(second)
    assert desk.press(visitor, one, first)["outcome"] == "paid"
    assert desk.taken == 12_600
    assert desk.press(visitor, two, second)["outcome"] == "paid"
    assert desk.taken == 25_200
    assert {attempt.pay_link_id for attempt in desk.rows(PaymentAttempt)} == {one.id, two.id}


@pytest.mark.promise("E2", "P3")
def test_one_link_in_two_tabs_is_charged_once(desk: Desk) -> None:
    link = desk.link()
    visitor, first = desk.opened(link)
    _, second = desk.opened(link, visitor)
    assert desk.press(visitor, link, first)["outcome"] == "paid"
    late = desk.press(visitor, link, second)
    assert (late["status"], late["reload"]) == (409, True)
    told = words(visitor.get(f"/pay/i/{link.public_id}"))
    assert "This invoice is paid. You have not been charged again." in told
    assert "Paid here CA$126.00" in told and "Receipt R-" in told
    assert desk.taken == 12_600


@pytest.mark.promise("P3")
@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("amount", "1", 409),
        ("amount", "9" * 40, 409),
        ("currency", "usd", 409),
        ("attempt", "not-a-uuid", 409),
        ("card", "0123456789abcdef", 422),
        ("save", "y", 422),
        ("confirmation_token", "ctoken_nobody_made_this", 409),
        ("csrf_token", "forged", 400),
        ("email", "no address", 422),
        ("email", "x@" + "y" * 300, 409),
        ("email", "a@b\0c", 422),
        ("name", "", 200),
    ],
)
def test_a_tampered_field_charges_nothing_that_was_not_shown(desk: Desk, field: str, value: str, status: int) -> None:
    link = desk.link()
    visitor, page = desk.opened(link)
    assert desk.press(visitor, link, page, **{field: value})["status"] == status
    assert desk.taken == (12_600 if status == 200 else 0)


def test_no_card_is_kept_or_taken_from_a_file(desk: Desk) -> None:
    link = desk.link()
    visitor, page = desk.opened(link)
    told = desk.press(visitor, link, page, save="y")
    assert "takes a card for one payment. You have not been charged." in told["title"]
    saving = desk.sandbox.elements_token("visa", amount=12_600, currency="cad", setup_future_usage="off_session")
    assert desk.press(visitor, link, page, confirmation_token=saving)["status"] == 422
    assert desk.taken == 0 and desk.sandbox.objects("customer") == []


def test_an_address_that_is_none_is_said_beside_its_field_and_kept(desk: Desk) -> None:
    link = desk.link()
    visitor, page = desk.opened(link)
    told = desk.press(visitor, link, page, email="sam at example.com")
    assert list(told["wrong"]) == ["email"] and "Nothing was charged." in told["title"]
    fields = desk.fields(page, email="sam at <example.com", name="Sam")
    shown = visitor.post(f"/pay/i/{link.public_id}", data=fields)
    assert shown.status_code == 422
    for kept in ('value="sam at &lt;example.com"', 'value="Sam"', 'aria-describedby="email-hint email-error"'):
        assert kept in shown.text
    assert desk.rows(PaymentAttempt) == []


@pytest.mark.promise("P5")
def test_a_decline_is_told_and_the_next_card_goes_on(desk: Desk) -> None:
    link = desk.link()
    visitor, page = desk.opened(link)
    told = desk.press(visitor, link, page, "visa_chargeDeclinedInsufficientFunds")
    assert told["outcome"] == "declined" and "You have not been charged." in told["title"]
    visitor, page = desk.opened(link, visitor)
    assert desk.press(visitor, link, page)["outcome"] == "paid"
    assert len(desk.rows(PaymentAttempt)) == 1


@pytest.mark.promise("P5")
def test_a_lost_answer_says_that_we_are_checking_and_settles(desk: Desk) -> None:
    link = desk.link()
    visitor, page = desk.opened(link)
    desk.sandbox.fault("payment_intents.confirm", "lost_after")
    told = desk.press(visitor, link, page, email="sam@example.com")
    assert told["outcome"] == "checking"
    checking = visitor.get(told["location"])
    assert "Please don't pay again" in words(checking) and "CA$126.00" in words(checking).replace(" ", "")
    assert visitor.get(f"/pay/i/{link.public_id}").location == told["location"]
    token = re.search(r'name="csrf_token" value="([^"]+)"', checking.text)[1]  # type: ignore[index]  # it is there
    settled = visitor.post(f"{told['location']}/settle", data={"csrf_token": token}, headers=JSON).get_json()
    assert settled["outcome"] == "paid"
    assert "Receipt R-" in words(visitor.get(settled["location"]))
    assert visitor.get(told["location"]).location == settled["location"]
    assert desk.taken == 12_600


@pytest.mark.promise("P3")
def test_who_comes_back_from_their_bank_finds_the_receipt(desk: Desk) -> None:
    link = desk.link()
    visitor, page = desk.opened(link)
    asked = visitor.post(f"/pay/i/{link.public_id}", data=desk.fields(page, "authenticationRequired"))
    assert (asked.status_code, asked.location) == (303, f"/pay/i/{link.public_id}")
    (attempt,) = desk.rows(PaymentAttempt)
    assert "Your bank was asking you" in words(visitor.get(f"/pay/i/{link.public_id}"))
    assert visitor.get(f"/pay/i/{link.public_id}/{attempt.id}/return").location == f"/pay/i/{link.public_id}"
    desk.sandbox.authenticate(attempt.intent_id, succeed=True)
    assert desk.site.visitor().get(f"/pay/i/{link.public_id}/{attempt.id}/return").status_code == 403
    back = visitor.get(f"/pay/i/{link.public_id}/{attempt.id}/return")
    assert back.status_code == 303 and "/receipts/" in back.location
    assert "Thank you" in words(visitor.get(back.location))


@pytest.mark.promise("P5")
def test_who_fails_at_their_bank_is_told_so_and_pays_with_another_card(desk: Desk) -> None:
    link = desk.link()
    visitor, page = desk.opened(link)
    desk.press(visitor, link, page, "authenticationRequired")
    (attempt,) = desk.rows(PaymentAttempt)
    desk.sandbox.authenticate(attempt.intent_id, succeed=False)
    back = visitor.get(f"/pay/i/{link.public_id}/{attempt.id}/return", follow_redirects=True)
    assert "could not confirm that it is you. You have not been charged." in words(back)
    ended = visitor.get(f"/pay/i/{link.public_id}/{attempt.id}")
    assert "You have not been charged." in words(ended) and "Maya" not in ended.text
    assert desk.press(visitor, link, back)["outcome"] == "paid"


def test_what_another_link_of_the_invoice_does_is_told_without_its_card(desk: Desk) -> None:
    mail, paper = desk.link(), desk.link(medium=PAPER)
    visitor, page = desk.opened(mail)
    desk.press(visitor, mail, page, "authenticationRequired")
    (attempt,) = desk.rows(PaymentAttempt)
    other, shown = desk.opened(paper)
    assert "Your bank was asking you" not in words(shown)
    where = f"/pay/i/{paper.public_id}/{attempt.id}"
    token = re.search(r'name="csrf_token" value="([^"]+)"', shown.text)[1]  # type: ignore[index]  # it is there
    answer = other.post(f"{where}/settle", data={"csrf_token": token}, headers=JSON)
    assert answer.get_json() == {"outcome": "refused", "reload": True}
    assert other.get(where).location == f"/pay/i/{paper.public_id}"
    assert other.get(f"{where}/return").status_code == 404
    desk.sandbox.authenticate(attempt.intent_id, succeed=True)
    answer = other.post(f"{where}/settle", data={"csrf_token": token}, headers=JSON).get_json()
    told = words(other.get(answer["location"], follow_redirects=True))
    assert "Somebody else has just paid this invoice. You were not charged." in told
    assert "R-" not in told


@pytest.mark.promise("P5")
def test_while_somebody_else_is_being_checked_nobody_pays_again(desk: Desk) -> None:
    mail, paper = desk.link(), desk.link(medium=PAPER)
    visitor, page = desk.opened(mail)
    desk.sandbox.fault("payment_intents.confirm", "lost_after")
    desk.press(visitor, mail, page)
    other = desk.site.visitor()
    shown = other.get(f"/pay/{paper.token}", follow_redirects=True)
    assert "Please don't pay again" in words(shown) and "4242" not in shown.text
    desk.revoke(paper)
    revoked = other.get(f"/pay/{paper.token}", follow_redirects=True)
    assert "taken back. Nothing was charged." in words(revoked)
    (attempt,) = desk.rows(PaymentAttempt)
    assert other.get(f"/pay/i/{paper.public_id}/{attempt.id}").status_code == 404
    desk.revoke(mail)  # its own payer is told all the same
    assert "Please don't pay again" in words(visitor.get(f"/pay/i/{mail.public_id}", follow_redirects=True))
    sweep(desk.site.parts)


@pytest.mark.promise("E2")
def test_a_link_that_is_revoked_between_page_and_press_takes_nothing(desk: Desk) -> None:
    link = desk.link()
    visitor, page = desk.opened(link)
    desk.revoke(link)
    told = desk.press(visitor, link, page)
    assert (told["status"], told["reload"]) == (410, True)
    assert desk.taken == 0 and desk.rows(PaymentAttempt) == []
    shown = visitor.post(f"/pay/i/{link.public_id}", data=desk.fields(page))
    assert shown.status_code == 410 and "taken back. Nothing was charged." in words(shown)


@pytest.mark.promise("E2")
def test_a_link_that_is_revoked_while_the_card_is_looked_at_takes_nothing(desk: Desk) -> None:
    link = desk.link()
    visitor, page = desk.opened(link)
    answer = desk.sandbox.gate.answer

    def revoke_meanwhile(request: Any) -> Any:
        if request.path == "/v1/payment_intents":
            desk.revoke(link)
        return answer(request)

    fields = desk.fields(page)
    desk.sandbox.gate.answer = revoke_meanwhile  # type: ignore[method-assign]  # in the middle of the press
    told = visitor.post(f"/pay/i/{link.public_id}", data=fields, headers=JSON)
    assert told.status_code == 410
    assert desk.taken == 0


def test_pressing_is_limited_by_link(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PRESS_BY_LINK", parse("2 per hour"))
    one, two = desk.link(), desk.link(desk.invoice())
    visitor, page = desk.opened(one)
    for _ in range(2):
        assert desk.press(visitor, one, page, "visa_chargeDeclined")["outcome"] == "declined"
    told = desk.press(visitor, one, page)
    assert told["status"] == 429 and "You have not been charged." in told["title"]
    visitor, page = desk.opened(two)
    assert desk.press(visitor, two, page)["outcome"] == "paid"


def test_without_an_address_on_file_nobody_is_promised_a_mail(desk: Desk) -> None:
    def forget(session: Session) -> None:
        session.execute(update(Patient).values(email=""))
        session.execute(update(User).values(active=False))

    desk.site.change(forget)
    link = desk.link()
    visitor, page = desk.opened(link)
    receipt = visitor.get(desk.press(visitor, link, page)["location"])
    assert "no email address on file" in words(receipt)
    assert desk.rows(OutboxMessage) == []


def test_a_child_is_paid_for_without_being_named(desk: Desk) -> None:
    number = desk.site.change(lambda session: make_invoice(session, desk.site.cast.theo).number)
    link = desk.link(number)
    visitor, page = desk.opened(link)
    assert "Theo" not in page.text
    assert desk.press(visitor, link, page)["outcome"] == "paid"
    assert [payment.payer_id for payment in desk.rows(Payment)] == [None]
    assert desk.rows(PayerLink)[0].patient_id == desk.site.cast.theo.id
