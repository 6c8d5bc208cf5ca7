"""One's own account: the password, the second factor, recovery codes, passkeys, other sign-ins."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.audit import AuditEntry
from portal.clock import now, shifted
from portal.mail import deliver_waiting_mail
from portal.people import Passkey, SignIn, User
from portal.second_factor import STEP_S
from tests.makers import give_authenticator
from tests.web.conftest import PASSWORD, Site, Visitor, words
from tests.web.test_second_factor import APP, code, half_in, shown_key

NEW = "four loud orange trains"
LATER = timedelta(minutes=5, seconds=1)


@pytest.fixture
def marc(site: Site) -> Visitor:
    """Marc, in the office, with an app that was set up a while ago."""
    site.change(lambda session: give_authenticator(session, site.parts.vault, "marc@example.com", APP))
    return site.visitor("marc@example.com")


def last_action(site: Site) -> tuple[str, str, str]:
    with site.parts.database.read() as connection:
        row = connection.execute(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(1)).one()
    return row.action, row.subject, row.after


def test_the_page_shows_who_one_is(marc: Visitor) -> None:
    page = words(marc.get("/office/account"))
    assert "Marc Oduya" in page and "marc@example.com" in page and "administrator" in page
    assert "none left" in page and "this browser" in page


# --- the password ---------------------------------------------------------------------------------------------------


def change(visitor: Visitor, old: str = PASSWORD, new: str = NEW, again: str | None = None) -> str:
    fields = {"old_password": old, "password": new, "password_confirm": new if again is None else again}
    response = visitor.send("/office/account/password", fields, page="/office/account", follow_redirects=True)
    return words(response)


def test_a_new_password_counts_from_now_on_and_other_sign_ins_end(site: Site, marc: Visitor) -> None:
    other = site.visitor("marc@example.com")
    assert "Your password is changed" in change(marc)
    assert marc.get("/office/account").status_code == 200
    assert other.get("/office/account").location.startswith("/login")
    assert "We don't know this email" in words(site.visitor().sign_in("marc@example.com"))
    assert site.visitor().sign_in("marc@example.com", NEW).status_code == 303
    assert last_action(site) == ("password.changed", "Marc Oduya", "")
    assert deliver_waiting_mail(site.parts) == 1


@pytest.mark.parametrize(
    ("old", "new", "again", "why"),
    [
        ("wrong", NEW, None, "This is not your password."),
        ("", NEW, None, "This is not your password."),
        ("x" * 5000, NEW, None, "This is not your password."),
        (PASSWORD, "short", None, "Use at least 10 characters."),
        (PASSWORD, NEW, NEW + "x", "The two passwords differ."),
        (PASSWORD, "password123", None, "one of the first passwords"),
        (PASSWORD, NEW + "\0", None, "Use at most 128 characters."),
    ],
)
def test_what_keeps_a_password_from_being_changed(
    marc: Visitor, site: Site, old: str, new: str, again: str | None, why: str
) -> None:
    assert why in change(marc, old, new, again)
    assert site.visitor().sign_in("marc@example.com").status_code == 303


def test_guessing_the_old_password_is_limited(marc: Visitor) -> None:
    token = marc.token("/office/account")
    fields = {"csrf_token": token, "old_password": "wrong", "password": NEW, "password_confirm": NEW}
    answers = [marc.post("/office/account/password", data=fields).status_code for _ in range(11)]
    assert answers == [422] * 10 + [429]


# --- sign-ins -------------------------------------------------------------------------------------------------------


def test_ending_all_others_ends_them_and_no_one_elses(site: Site, marc: Visitor) -> None:
    others, dana = [site.visitor("marc@example.com") for _ in range(2)], site.visitor("dana@example.com")
    page = marc.get("/office/account")
    assert words(page).count("since") == 3
    said = marc.send("/office/account/sign-ins/end", page="/office/account", follow_redirects=True)
    assert "You are signed out everywhere else" in words(said)
    assert [other.get("/office/account").status_code for other in others] == [303, 303]
    assert dana.get("/office/account").status_code == 200
    said = marc.send("/office/account/sign-ins/end", page="/office/account", follow_redirects=True)
    assert "You were signed in nowhere else" in words(said)


# --- the second factor ----------------------------------------------------------------------------------------------


def test_the_app_is_replaced_after_the_password_was_asked_for_again(site: Site, marc: Visitor) -> None:
    with shifted(LATER + timedelta(seconds=STEP_S - now().timestamp() % STEP_S)):
        page = marc.get("/office/account/second-factor")
        assert "Your password again, please" in words(page)
        fields = {"password_again": PASSWORD, "back": "/office/account/second-factor"}
        response = marc.send("/office/confirm", fields, page="/office/account/second-factor")
        page = marc.get(response.location)
        assert "Replace your authenticator app" in words(page)
        key = shown_key(page)
        assert key != APP and shown_key(marc.get(response.location)) == key
        wrong = marc.send("/office/account/second-factor", {"code": "000000"})
        assert wrong.status_code == 422 and shown_key(wrong) == key
        assert half_in(site).send("/second-factor", {"code": code(-1)}).status_code == 303, "the old one still counts"
        response = marc.send("/office/account/second-factor", {"code": code(key=key)})
        assert response.location == "/second-factor/codes?next=/office/account"
        assert len(re.findall(r"<code>[a-z0-9-]{11}</code>", marc.get(response.location).text)) == 10
        assert half_in(site).send("/second-factor", {"code": code()}).status_code == 422
        assert half_in(site).send("/second-factor", {"code": code(1, key)}).status_code == 303
    assert last_action(site)[0] == "second_factor.replaced"


def test_replacing_it_in_two_tabs_at_once_replaces_it_once(site: Site, marc: Visitor) -> None:
    key = shown_key(marc.get("/office/account/second-factor"))
    token = marc.token("/office/account")
    fields = {"csrf_token": token, "code": code(key=key)}
    assert marc.post("/office/account/second-factor", data=fields).status_code == 303
    second = marc.post("/office/account/second-factor", data=fields)
    assert second.status_code == 422, "by now the page offers another key"
    assert half_in(site).send("/second-factor", {"code": code(1, key)}).status_code == 303


def test_new_recovery_codes_take_the_place_of_the_old_ones(site: Site, marc: Visitor) -> None:
    def make() -> list[str]:
        response = marc.send("/office/account/recovery-codes", page="/office/account")
        return re.findall(r"<code>([a-z0-9-]{11})</code>", marc.get(response.location).text)

    old, new = make(), make()
    assert len(new) == 10 and not set(old) & set(new)
    assert half_in(site).send("/second-factor/recovery", {"code": old[0]}).status_code == 422
    assert half_in(site).send("/second-factor/recovery", {"code": new[0]}).status_code == 303


# --- passkeys -------------------------------------------------------------------------------------------------------


def keep_passkey(site: Site, user_id: int, credential: bytes = b"") -> int:
    def keep(session: Session) -> int:
        passkey = Passkey(user_id=user_id, name="Blue key", credential_id=credential or bytes([user_id]),
                          public_key=b"", sign_count=0, made_at=now())  # fmt: skip
        session.add(passkey)
        session.flush()
        return passkey.id

    return int(site.change(keep))


def test_one_removes_ones_own_passkeys_and_no_others(site: Site, marc: Visitor) -> None:
    mine = keep_passkey(site, site.cast.administrator.id)
    danas = keep_passkey(site, site.cast.clerk.id)
    assert "Blue key" in words(marc.get("/office/account"))
    for passkey_id, said in ((danas, "removed already"), (mine, "The passkey is removed"), (mine, "removed already")):
        path = f"/office/account/passkeys/{passkey_id}/remove"
        assert said in words(marc.send(path, page="/office/account", follow_redirects=True))
    with site.parts.database.read() as connection:
        assert connection.scalars(select(Passkey.id)).all() == [danas]


@pytest.mark.parametrize(
    "answer",
    ["", "{}", "[]", "null", "x" * 30_000, '{"rawId": 5}', '{"id": "AA", "rawId": "AA", "type": "public-key"}',
     '{"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": "AA", '
     '"attestationObject": "AA", "authenticatorData": "AA", "signature": "AA"}}', "\0", '"a"', "[[[[", "[" * 15_000],
)  # fmt: skip
def test_what_is_no_passkey_does_no_harm(site: Site, marc: Visitor, answer: str) -> None:
    keep_passkey(site, site.cast.administrator.id, b"\0")
    options = marc.send("/office/account/passkeys/options", page="/office/account")
    assert options.json is not None and options.json["rp"]["id"] == "pay.example.com"
    response = marc.send(
        "/office/account/passkeys", {"credential": answer, "name": "x" * 500}, page="/office/account"
    )
    assert response.location == "/office/account/passkeys/new"
    assert "The passkey was not taken" in words(marc.get(response.location))
    half = site.visitor()
    half.sign_in("marc@example.com")
    assert half.send("/second-factor/passkey/options", page="/second-factor").status_code == 200
    for _ in range(2):
        response = half.send("/second-factor/passkey", {"credential": answer}, page="/second-factor")
        assert response.location == "/second-factor"
    assert half.get("/office/account").status_code == 303


def test_a_challenge_is_gone_with_the_first_answer(site: Site, marc: Visitor) -> None:
    marc.send("/office/account/passkeys/options", page="/office/account")
    with site.parts.database.read() as connection:
        assert connection.scalars(select(SignIn.challenge).where(SignIn.challenge.is_not(None))).one()
    marc.send("/office/account/passkeys", {"credential": "{}"}, page="/office/account")
    with site.parts.database.read() as connection:
        assert connection.scalars(select(SignIn.challenge).where(SignIn.challenge.is_not(None))).all() == []


def test_without_a_second_factor_no_passkey_is_asked_for(site: Site) -> None:
    liam = half_in(site, "liam@example.com", app=False)
    assert liam.send("/second-factor/passkey/options", page="/second-factor").status_code == 403


def test_where_the_portal_has_no_name_there_are_no_passkeys(site: Site, marc: Visitor) -> None:
    object.__setattr__(site.parts.config, "base_url", "http://127.0.0.1:8000")
    assert "Here it is opened by a bare address" in words(marc.get("/office/account"))
    assert marc.get("/office/account/passkeys/new").location == "/office/account"
    assert marc.send("/office/account/passkeys/options", page="/office/account").status_code == 422


def test_turning_the_account_off_closes_all_of_it(site: Site, marc: Visitor) -> None:
    site.change(lambda session: session.query(User).filter_by(email="marc@example.com").update({"active": False}))
    assert marc.get("/office/account").location.startswith("/login")
