"""Send me a new link: to the address on file alone, in the same words whether or not there is one."""

import re
from uuid import uuid4

import pytest
from limits import parse
from sqlalchemy import update
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from portal.outbox import OutboxMessage, claim_letter
from portal.paylinks import NewLink, PayLink
from portal.people import Patient, User
from portal.web import limits
from tests.web.conftest import Visitor, words
from tests.web.links.conftest import Desk


def expired(desk: Desk) -> tuple[Visitor, NewLink, dict[str, str]]:
    """A link that has expired, opened, with what its button sends."""
    link = desk.link()
    desk.site.change(lambda session: session.execute(update(PayLink).values(expires_at=PayLink.made_at)))
    visitor, page = desk.opened(link)
    fields = dict(re.findall(r'name="(csrf_token|press)" value="([^"]+)"', page.text))
    assert set(fields) == {"csrf_token", "press"}
    return visitor, link, fields


def ask(visitor: Visitor, link: NewLink, fields: dict[str, str]) -> TestResponse:
    return visitor.post(f"/pay/i/{link.public_id}/new", data=fields, follow_redirects=True)


@pytest.mark.promise("E2")
def test_an_expired_link_has_a_new_one_sent_to_the_address_on_file(desk: Desk) -> None:
    visitor, link, fields = expired(desk)
    for _ in range(2):
        assert "Look for an email from us" in words(ask(visitor, link, fields))
    (mail,) = desk.rows(OutboxMessage)
    assert (mail.kind, mail.recipient) == ("pay_request", "maya@example.com")
    with desk.site.parts.database.transaction() as session:
        letter = claim_letter(session, desk.site.parts.vault)
    assert letter is not None
    token = letter.words["link"].rpartition("/")[2]
    assert visitor.get(f"/pay/{token}", follow_redirects=True).status_code == 200
    assert "There is a newer payment link." in words(desk.opened(link, visitor)[1])


@pytest.mark.promise("E2")
def test_the_answer_is_the_same_whether_or_not_there_is_an_address(desk: Desk) -> None:
    visitor, link, fields = expired(desk)
    with_address = ask(visitor, link, fields)

    def forget(session: Session) -> None:
        session.execute(update(Patient).values(email=""))
        session.execute(update(User).values(active=False))

    desk.site.change(forget)
    sent = len(desk.rows(OutboxMessage))
    without = ask(visitor, link, {**fields, "press": str(uuid4())})
    assert (without.status_code, without.text) == (with_address.status_code, with_address.text)
    assert len(desk.rows(OutboxMessage)) == sent == 1


@pytest.mark.promise("E2")
def test_nobody_asks_for_a_new_link_with_one_that_works_or_was_taken_back(desk: Desk) -> None:
    link = desk.link()
    visitor, page = desk.opened(link)
    token = desk.fields(page)["csrf_token"]
    for state in ("works", "revoked"):
        if state == "revoked":
            desk.revoke(link)
        answer = visitor.post(f"/pay/i/{link.public_id}/new", data={"csrf_token": token, "press": str(uuid4())})
        assert answer.location == f"/pay/i/{link.public_id}"
    assert desk.rows(OutboxMessage) == [] and len(desk.rows(PayLink)) == 1


def test_where_the_clinic_sends_no_requests_nothing_is_offered_or_sent(desk: Desk) -> None:
    visitor, link, fields = expired(desk)
    desk.site.setting("email_pay_online_request", "no")
    page = desk.opened(link, visitor)[1]
    assert "Send me a new link" not in page.text and "250-555-0142" in words(page)
    ask(visitor, link, fields)
    assert desk.rows(OutboxMessage) == []


@pytest.mark.parametrize("changes", [{"press": "garbage"}, {"press": ""}, {"press": "a\0b"}])
def test_a_press_without_its_number_is_a_press(desk: Desk, changes: dict[str, str]) -> None:
    visitor, link, fields = expired(desk)
    assert ask(visitor, link, {**fields, **changes}).status_code == 200
    assert len(desk.rows(OutboxMessage)) == 1


@pytest.mark.promise("E2")
def test_without_cookie_or_form_token_nothing_is_sent(desk: Desk) -> None:
    visitor, link, fields = expired(desk)
    assert visitor.post(f"/pay/i/{link.public_id}/new", data={"press": fields["press"]}).status_code == 400
    stranger = desk.site.visitor()
    token = stranger.token("/login")
    assert stranger.post(f"/pay/i/{link.public_id}/new", data={**fields, "csrf_token": token}).status_code == 403
    assert desk.rows(OutboxMessage) == []


@pytest.mark.promise("E2")
def test_asking_is_limited_by_invoice_and_by_network(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NEW_LINK_BY_INVOICE", parse("2 per day"))
    visitor, link, fields = expired(desk)
    answers = [ask(visitor, link, {**fields, "press": str(uuid4())}).status_code for _ in range(3)]
    assert answers == [200, 200, 429]
    assert len(desk.rows(OutboxMessage)) == 2
    desk.number = desk.invoice()
    monkeypatch.setattr(limits, "NEW_LINK_BY_NETWORK", parse("1 per hour"))
    visitor, link, fields = expired(desk)
    assert [ask(visitor, link, fields).status_code for _ in range(2)] == [200, 429]
