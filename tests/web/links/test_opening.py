"""Opening a pay link, by whoever holds one or claims to: what each kind of link says, and what it never does."""

import logging
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from limits import parse
from sqlalchemy import update
from sqlalchemy.orm import Session

from portal.clinic import Practitioner
from portal.clock import shifted
from portal.outbox import OutboxMessage
from portal.paylinks import NewLink, PayLink, hash_of
from portal.payments.cases import open_case
from portal.payments.tables import Case, PaymentAttempt
from portal.people import Patient, User
from portal.web import limits, pay_links
from tests.makers import make_invoice, make_payment, make_practitioner
from tests.web.conftest import words
from tests.web.links.conftest import JSON, Desk

HEALTH_WORD = "Zqhealth"


@pytest.mark.promise("E2")
def test_the_token_leaves_for_a_cookie_of_this_link_alone(desk: Desk) -> None:
    link = desk.link()
    visitor = desk.site.visitor()
    onward = visitor.get(f"/pay/{link.token}")
    (cookie,) = onward.headers.getlist("Set-Cookie")
    assert cookie.startswith(f"pay-{link.public_id}=")
    for part in ("HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=14400"):
        assert part in cookie
    assert "Domain" not in cookie and link.token not in cookie
    assert onward.headers["Cache-Control"] == "no-store"
    assert onward.headers["Referrer-Policy"] == "no-referrer"
    page = visitor.get(onward.location)
    assert page.headers["Cache-Control"] == "no-store" and page.headers["Referrer-Policy"] == "no-referrer"
    assert link.token not in page.text


@pytest.mark.promise("E2")
def test_over_https_the_cookie_is_bound_to_the_host(desk: Desk) -> None:
    link = desk.link()
    app = desk.site.another_process(base_url="https://pay.example.com")
    (cookie,) = app.test_client().get(f"/pay/{link.token}").headers.getlist("Set-Cookie")
    assert cookie.startswith(f"__Host-pay-{link.public_id}=")
    assert "Secure" in cookie and "Path=/" in cookie and "Domain" not in cookie


def test_a_browser_holds_the_newest_links_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pay_links, "MOST_HELD", 3)
    visitor, links = desk.site.visitor(), [desk.link(desk.invoice()) for _ in range(5)]
    for link in links:
        assert desk.opened(link, visitor)[1].status_code == 200
    pages = [visitor.get(f"/pay/i/{link.public_id}").status_code for link in links]
    assert pages == [403, 403, 200, 200, 200]


# --- what became of it ----------------------------------------------------------------------------------------------


def expire(desk: Desk, link: NewLink) -> None:
    desk.site.change(lambda session: session.execute(update(PayLink).values(expires_at=PayLink.made_at)))


def replace_it(desk: Desk, link: NewLink) -> None:
    assert desk.link().id != link.id


def take_back(desk: Desk, link: NewLink) -> None:
    desk.revoke(link)


def dispute(desk: Desk, link: NewLink) -> None:
    def look_into(session: Session, invoice: Any) -> None:
        payment = make_payment(session, invoice, 100)
        open_case(session, "dispute", payment, 100, "the bank asks")
        session.execute(update(Case).values(stage="open"))

    desk.change_invoice(look_into)


def switch_off(desk: Desk, link: NewLink) -> None:
    desk.site.setting("accept_payments_in_portal", "no")


STATES: dict[str, tuple[Callable[[Desk, NewLink], None], int, str, bool]] = {
    "expired": (expire, 410, "This payment link has expired. Nothing was charged.", True),
    "replaced": (replace_it, 410, "There is a newer payment link. Nothing was charged.", True),
    "revoked": (take_back, 410, "This payment link was taken back. Nothing was", False),
    "void": (lambda desk, _: desk.void(), 409, "This invoice is void. You have not been charged.", False),
    "paid": (lambda desk, _: desk.pay_at_the_desk(), 409, "is paid. You have not been charged again.", False),
    "disputed": (dispute, 409, "being looked into. You have not been charged.", False),
    "off": (switch_off, 409, "isn't taking payments online at the moment", False),
}


@pytest.mark.promise("E2", "O4")
@pytest.mark.parametrize("state", STATES)
def test_each_kind_of_link_says_what_became_of_it_and_takes_no_money(desk: Desk, state: str) -> None:
    befall, status, told, renews = STATES[state]
    link = desk.link()
    visitor, form = desk.opened(link)
    befall(desk, link)
    fields = desk.fields(form)
    before = desk.everything()
    _, page = desk.opened(link, visitor)
    assert page.status_code == status
    shown = words(page)
    assert told in shown and "250-555-0142" in shown and "Sign in" in shown
    assert ("Send me a new link" in shown) == renews
    for hidden in ("Maya", "Massage", "Liam"):
        assert hidden not in page.text
    if state == "revoked":
        assert desk.number not in page.text
    for headers in (JSON, {}):
        answer = visitor.post(f"/pay/i/{link.public_id}", data=fields, headers=headers)
        assert answer.status_code == status
        assert "charged" in answer.text
    assert desk.taken == 0
    assert desk.everything() == before


def test_an_expired_link_of_a_paid_invoice_says_that_it_is_paid(desk: Desk) -> None:
    link = desk.link()
    desk.pay_at_the_desk()
    expire(desk, link)
    shown = words(desk.opened(link)[1])
    assert "This invoice is paid." in shown and "Send me a new link" not in shown


def test_the_holder_of_a_link_that_was_taken_back_learns_nothing_of_what_came_after(desk: Desk) -> None:
    link = desk.link()
    desk.revoke(link)
    before = desk.opened(link)[1].text
    desk.pay_at_the_desk()
    assert desk.opened(link)[1].text == before
    desk.site.setting("accept_payments_in_portal", "no")
    assert desk.opened(link)[1].text == before


def test_the_link_works_until_its_last_moment(desk: Desk) -> None:
    link = desk.link()
    for days, status in ((29, 200), (31, 410)):
        with shifted(timedelta(days=days)):
            assert desk.opened(link)[1].status_code == status


# --- who holds none -------------------------------------------------------------------------------------------------


@pytest.mark.promise("E2")
def test_unknown_and_malformed_links_look_alike_and_cost_alike(desk: Desk) -> None:
    real = desk.link().token
    near = real[:-1] + ("A" if real[-1] != "A" else "B")
    wrong = [near, real[:-1], real + "=", real.swapcase(), real + "/", "x", "x" * 5000, "../admin", "a/b/c", "%00",
             "%0a%0d", "%ff%fe", "é☃", "' OR 1=1 --", "i", "i/", f"{real}%00", hash_of(real)]  # fmt: skip
    answers, costs = set(), set()
    for number, token in enumerate(wrong):
        stranger = desk.site.visitor()
        address = {"REMOTE_ADDR": f"192.0.{number}.1"}
        with desk.site.counting() as sent:
            answer = stranger.get(f"/pay/{quote(token, safe='/%')}", environ_overrides=address)
        costs.add(tuple(re.sub(r"[0-9a-f]{32,}", "", statement) for statement in sent))
        answers.add((answer.status_code, answer.text, tuple(sorted(dict(answer.headers).items()))))
    assert len(answers) == 1 and len(costs) == 1
    assert next(iter(answers))[0] == 404
    assert "We don't know this link" in next(iter(answers))[1]


@pytest.mark.promise("E2")
def test_guessing_is_limited_by_address_and_network_and_locks_nobody_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UNKNOWN_LINK_BY_ADDRESS", parse("3 per 15 minutes"))
    monkeypatch.setattr(limits, "UNKNOWN_LINK_BY_NETWORK", parse("5 per 15 minutes"))
    link, stranger = desk.link(), desk.site.visitor()

    def guess(address: str) -> int:
        return stranger.get("/pay/guess", environ_overrides={"REMOTE_ADDR": address}).status_code

    assert [guess("192.0.2.1") for _ in range(4)] == [404, 404, 404, 429]
    assert [guess("192.0.2.2") for _ in range(3)] == [404, 404, 429]
    assert guess("192.0.3.1") == 404
    assert [guess(f"2001:db8:1:{n}::1") for n in range(6)] == [404] * 5 + [429]
    holder = desk.site.visitor()
    answer = holder.get(f"/pay/{link.token}", environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    assert answer.status_code == 303


@pytest.mark.promise("E2")
def test_a_page_behind_a_link_opens_for_the_browser_that_opened_that_link(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = desk.link(), desk.link(desk.invoice())
    visitor, page = desk.opened(mine)
    own = visitor.get_cookie(f"pay-{mine.public_id}")
    assert own is not None
    lapsed = desk.site.visitor().get(f"/pay/i/{mine.public_id}")
    assert lapsed.status_code == 403 and "Please open the link again" in words(lapsed)
    foreign = desk.site.another_process(secret_key="another clinic's key, forty characters long").test_client()
    foreign.get(f"/pay/{other.token}")
    signed_elsewhere = foreign.get_cookie(f"pay-{other.public_id}")
    assert signed_elsewhere is not None
    for forged in (own.value, own.value[:-1], "", "x", f"{other.public_id}.x.y", "é", signed_elsewhere.value):
        stranger = desk.site.visitor()
        stranger.set_cookie(f"pay-{other.public_id}", forged)
        assert stranger.get(f"/pay/i/{other.public_id}").text == lapsed.text
    for path in ("", "/receipts/R-1", "/new", "/00000000-0000-4000-8000-000000000000"):
        answer = desk.site.visitor().get(f"/pay/i/{mine.public_id}{path}")
        unknown = desk.site.visitor().get(f"/pay/i/{'0' * 24}{path}")
        assert (answer.status_code, answer.text) == (403, lapsed.text) == (unknown.status_code, unknown.text)
    monkeypatch.setattr(pay_links, "HELD_FOR_S", -1)
    assert visitor.get(f"/pay/i/{mine.public_id}").status_code == 403
    told = visitor.post(f"/pay/i/{mine.public_id}", data=desk.fields(page), headers=JSON)
    assert (told.status_code, told.get_json()["reload"]) == (403, True)
    assert desk.taken == 0


@pytest.mark.promise("E2")
@pytest.mark.parametrize("email", ["maya@example.com", "jonas@example.com", "dana@example.com"])
def test_who_may_pay_it_signed_in_gets_the_whole_page(desk: Desk, email: str) -> None:
    link = desk.link()
    answer = desk.opened(link, desk.site.visitor(email))[1]
    if email == "maya@example.com":
        assert (answer.status_code, answer.location) == (303, f"/invoices/{desk.number}/pay")
    else:
        assert answer.status_code == 200 and "Why so little detail?" in words(answer)


# --- robots ---------------------------------------------------------------------------------------------------------


@pytest.mark.promise("E2")
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PROPFIND"])
def test_opening_a_link_by_any_method_changes_nothing(desk: Desk, method: str) -> None:
    link = desk.link()
    before = desk.everything()
    for _ in range(3):
        robot = desk.site.visitor()
        for path in (f"/pay/{link.token}", f"/pay/i/{link.public_id}", f"/pay/i/{link.public_id}/new"):
            assert robot.open(path, method=method).status_code < 500
    assert desk.everything() == before
    assert desk.opened(link)[1].status_code == 200


@pytest.mark.promise("E2")
@pytest.mark.parametrize("state", ["works", *(state for state in STATES if state not in ("expired", "replaced"))])
def test_a_robot_that_follows_and_submits_everything_but_the_card_changes_nothing(desk: Desk, state: str) -> None:
    link = desk.link()
    if state != "works":
        STATES[state][0](desk, link)
    before = desk.everything()
    robot, seen, waiting = desk.site.visitor(), set[str](), [f"/pay/{link.token}"]
    submitted = 0
    while waiting:
        path = waiting.pop()
        if path in seen or not path.startswith("/"):
            continue
        seen.add(path)
        for method in ("HEAD", "OPTIONS", "GET"):
            answer = robot.open(path, method=method)
        if answer.location:
            waiting.append(answer.location)
        waiting += re.findall(r'href="([^"#]+)"', answer.text)
        for action, fields in _forms(answer.text):
            submitted += action.startswith("/pay/")
            for headers in (JSON, {}):
                answer = robot.post(action, data=fields, headers=headers)
                waiting += [answer.location] if answer.location else []
    assert f"/pay/i/{link.public_id}" in seen and len(seen) > 4
    assert submitted == (state == "works")
    assert _without_accounts(desk.everything()) == _without_accounts(before)
    assert desk.rows(OutboxMessage) == []


def _forms(page: str) -> list[tuple[str, dict[str, str]]]:
    """Every posting form of a page, with everything in it filled in."""
    found = []
    for form in re.findall(r"<form.*?</form>", page, re.DOTALL):
        action = re.search(r'action="([^"]*)"', form)
        fields = dict(re.findall(r'<input[^>]* name="([^"]+)"(?:[^>]* value="([^"]*)")?', form))
        if 'method="post"' in form and action:
            found.append((action[1], {name: value or "robot@example.com" for name, value in fields.items()}))
    return [(action, fields | {"confirmation_token": ""} if "card" in fields else fields) for action, fields in found]


def _without_accounts(everything: dict[str, Any]) -> dict[str, Any]:
    """The sign-in page is a link away, and what a robot does there is no matter of pay links."""
    return {name: rows for name, rows in everything.items() if name not in ("outbox", "sign_ins", "users")}


# --- what a link page never tells -----------------------------------------------------------------------------------


@pytest.mark.promise("E2")
def test_the_token_is_in_no_log_address_referrer_or_request_to_the_gateway(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    link = desk.link()
    pages = []
    with desk.hearing_stripe() as sent:
        visitor, page = desk.opened(link)
        asked = visitor.post(f"/pay/i/{link.public_id}", data=desk.fields(page, "authenticationRequired"))
        (attempt,) = desk.rows(PaymentAttempt)
        desk.sandbox.authenticate(attempt.intent_id, succeed=True)
        back = visitor.get(f"/pay/i/{link.public_id}/{attempt.id}/return")
        pages += [page, asked, back, visitor.get(back.location)]
    desk.site.visitor().get(f"/pay/{link.token}x")
    assert any("return_url" in request for request in sent)
    assert any("/pay/<path:token> 303" in line for line in caplog.text.splitlines())
    for text in (*sent, caplog.text, *(f"{one.text} {one.headers}" for one in pages)):
        assert link.token not in text and hash_of(link.token) not in text
    assert all(one.headers["Referrer-Policy"] == "no-referrer" for one in pages)


@pytest.mark.promise("E2")
def test_a_health_word_in_every_field_shows_up_nowhere(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def plant(session: Session) -> str:
        practitioner = make_practitioner(session, f"Dr {HEALTH_WORD}", HEALTH_WORD, HEALTH_WORD)
        session.execute(update(Practitioner).values(credentials=HEALTH_WORD))
        session.execute(update(Patient).values(given_name=HEALTH_WORD, family_name=HEALTH_WORD))
        session.execute(update(User).values(name=HEALTH_WORD))
        maya = session.get_one(Patient, desk.site.cast.maya.id)
        lines = ((HEALTH_WORD, 1, 12_000, ()),)
        return str(make_invoice(session, maya, lines, practitioner=practitioner, note=HEALTH_WORD).number)

    number = desk.site.change(plant)
    link = desk.link(number)
    with desk.hearing_stripe() as sent:
        visitor, page = desk.opened(link)
        asked = visitor.post(f"/pay/i/{link.public_id}", data=desk.fields(page, "authenticationRequired"))
        (attempt,) = desk.rows(PaymentAttempt)
        waiting = visitor.get(f"/pay/i/{link.public_id}")
        desk.sandbox.authenticate(attempt.intent_id, succeed=True)
        back = visitor.get(f"/pay/i/{link.public_id}/{attempt.id}/return")
        pages = [page, asked, waiting, back, visitor.get(back.location), visitor.get(f"/pay/i/{link.public_id}")]
    assert [one.status_code for one in pages] == [200, 303, 200, 303, 200, 409]
    for text in (*sent, caplog.text, *(f"{one.text} {one.headers}" for one in pages)):
        assert HEALTH_WORD.lower() not in text.lower()


# --- what it costs --------------------------------------------------------------------------------------------------


def test_a_link_takes_three_statements_from_the_mail_to_its_page(desk: Desk) -> None:
    link = desk.link()
    visitor = desk.site.visitor()
    desk.opened(link, visitor)
    with desk.site.counting() as sent:
        desk.opened(link, visitor)
    assert len(sent) == 3, sent
    known = desk.site.visitor("jonas@example.com")
    desk.opened(link, known)
    with desk.site.counting() as sent:
        assert known.get(f"/pay/i/{link.public_id}").status_code == 200
    assert len(sent) <= 4, sent


def test_the_page_runs_our_script_and_the_gateways_alone(desk: Desk) -> None:
    page = desk.opened(desk.link())[1]
    own = [urlsplit(script).path for script in re.findall(r'<script src="([^"]+)"', page.text)]
    assert len(own) == 2 and "/js/pay" in own[1]
    assert "unsafe-inline" not in page.headers["Content-Security-Policy"]
