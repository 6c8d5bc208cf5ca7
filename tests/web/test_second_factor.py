"""The second factor of staff: setting it up, giving a code, recovery codes, and what happens to whoever guesses."""

import base64
import re
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from portal.audit import AuditEntry
from portal.clock import now, shifted
from portal.people import RecoveryCode, SignIn, User
from portal.second_factor import (
    DEMO_KEY,
    STEP_S,
    WrongCode,
    code_at,
    give_code,
    reset,
    seal_keys_again,
    sealed_key,
    step_now,
)
from portal.vault import CannotOpen, Vault, new_key, parse_key
from tests.makers import give_authenticator
from tests.support.at_once import at_once, names
from tests.web.conftest import KEY, Site, Visitor, words

APP = b"twenty bytes of app!"


@pytest.fixture(autouse=True)
def _early_in_a_step() -> Iterator[None]:
    """No test begins in one time step and ends in the next."""
    with shifted(timedelta(seconds=1 - now().timestamp() % STEP_S)):
        yield


def code(steps: int = 0, key: bytes = APP) -> str:
    """What the app shows, some steps of 30 seconds from now."""
    return code_at(key, step_now() + steps)


def shown_key(page: TestResponse) -> bytes:
    """The key that a set-up page spells out."""
    found = re.search(r'<code class="key">([A-Z2-7 ]+)</code>', page.text)
    assert found
    return base64.b32decode(found[1].replace(" ", ""))


def half_in(site: Site, email: str = "marc@example.com", *, app: bool = True) -> Visitor:
    """Somebody of the staff who has typed their password; with an app that is set up, unless told otherwise."""
    if app:
        site.change(lambda session: give_authenticator(session, site.parts.vault, email, APP))
    visitor = site.visitor()
    assert visitor.sign_in(email).status_code == 303
    return visitor


def actions(site: Site) -> list[str]:
    with site.parts.database.read() as connection:
        return list(connection.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))


# --- setting it up --------------------------------------------------------------------------------------------------


def test_setting_it_up_shows_recovery_codes_once_and_goes_on(site: Site) -> None:
    marc = half_in(site, app=False)
    assert marc.get("/office/account").location == "/second-factor?next=/office/account"
    page = marc.get("/second-factor?next=/office/account")
    assert "Set up your second factor" in words(page) and "<svg" in page.text
    assert "style=" not in page.text
    assert 'href="otpauth://totp/Alder%20Lane%20Clinic:marc%40example.com?' in page.text
    response = marc.send(
        "/second-factor",
        {"code": code(key=shown_key(page)), "next": "/office/account"},
        page="/second-factor?next=/office/account",
    )
    assert response.location == "/second-factor/codes?next=/office/account"
    shown = re.findall(r"<code>([a-z0-9-]{11})</code>", marc.get(response.location).text)
    assert len(set(shown)) == 10
    assert re.findall(r"<code>([a-z0-9-]{11})</code>", marc.get(response.location).text) == shown
    onward = marc.send("/second-factor/codes", {"next": "/office/account"}, page=response.location)
    assert onward.location == "/office/account"
    assert marc.get("/office/account").status_code == 200
    assert marc.get("/second-factor/codes").location == "/office/"
    assert actions(site)[-1] == "second_factor.set_up"
    with site.parts.database.read() as connection:
        kept = connection.execute(select(User.totp_sealed).where(User.email == "marc@example.com")).scalar_one()
        hashes = connection.scalars(select(RecoveryCode.code_hash)).all()
    assert kept and not any(shown_code.replace("-", "") in str(hashes) for shown_code in shown)


def test_reloading_cancelling_and_a_second_tab_show_the_same_key_and_a_wrong_code_keeps_it(site: Site) -> None:
    marc = half_in(site, app=False)
    key = shown_key(marc.get("/second-factor"))
    assert shown_key(marc.get("/second-factor")) == key
    wrong = marc.send("/second-factor", {"code": "000000"})
    assert wrong.status_code == 422 and "This code doesn't fit." in words(wrong)
    assert shown_key(wrong) == key
    again = half_in(site, app=False)
    other = shown_key(again.get("/second-factor"))
    assert other != key
    assert again.send("/second-factor", {"code": code(key=other)}).status_code == 303
    late = marc.send("/second-factor", {"code": code(key=key)}, page="/second-factor")
    assert late.status_code == 422, "the first tab's key is not the account's"
    assert "Your six-digit code, please" in words(late)


def test_two_tabs_that_finish_at_once_set_up_one(site: Site) -> None:
    marc = half_in(site, app=False)
    page = marc.get("/second-factor")
    token = marc.token("/second-factor")
    shown = code(key=shown_key(page))
    assert marc.post("/second-factor", data={"csrf_token": token, "code": shown}).status_code == 303
    second = marc.post("/second-factor", data={"csrf_token": token, "code": shown})
    assert (second.status_code, second.location) == (303, "/office/")


@pytest.mark.parametrize("steps", [-10, -3, 4, 15])
def test_a_phone_whose_clock_is_wrong_is_told_so_at_set_up(site: Site, steps: int) -> None:
    marc = half_in(site, app=False)
    key = shown_key(marc.get("/second-factor"))
    response = marc.send("/second-factor", {"code": code(steps, key)})
    assert response.status_code == 422
    assert "minutes off" in words(response) and "automatic" in words(response)


@pytest.mark.parametrize("bad", ["", "12345", "1234567", "abcdef", "１２３４５６", "x" * 5000, "\0" * 6, "12 34"])
def test_what_is_no_code_does_no_harm(site: Site, bad: str) -> None:
    marc = half_in(site, app=False)
    assert marc.send("/second-factor", {"code": bad}).status_code == 422
    liam = half_in(site, "liam@example.com")
    assert liam.send("/second-factor", {"code": bad}).status_code == 422
    assert liam.send("/second-factor/recovery", {"code": bad}).status_code == 422


# --- giving a code --------------------------------------------------------------------------------------------------


def test_a_code_lets_in_and_leads_to_where_they_were_going(site: Site) -> None:
    marc = half_in(site)
    page = marc.get("/second-factor?next=/office/account")
    assert 'inputmode="numeric"' in page.text and 'autocomplete="one-time-code"' in page.text
    shown = code()
    response = marc.send("/second-factor", {"code": f" {shown[:3]} {shown[3:]} ", "next": "/office/account"})
    assert response.location == "/office/account"
    assert marc.get("/office/account").status_code == 200
    assert marc.get("/second-factor?next=/office/account").location == "/office/account"


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_one_step_either_way_counts(site: Site, steps: int) -> None:
    assert half_in(site).send("/second-factor", {"code": code(steps)}).status_code == 303


@pytest.mark.parametrize("steps", [-3, -2, 2, 3])
def test_more_than_one_step_does_not(site: Site, steps: int) -> None:
    response = half_in(site).send("/second-factor", {"code": code(steps)})
    assert response.status_code == 422 and "This code doesn't fit." in words(response)


def test_each_code_counts_once_and_none_before_it_counts_after_it(site: Site) -> None:
    assert half_in(site).send("/second-factor", {"code": code()}).status_code == 303
    second = site.visitor()
    second.sign_in("marc@example.com")
    response = second.send("/second-factor", {"code": code()})
    assert response.status_code == 422 and "This code was used already." in words(response)
    assert second.send("/second-factor", {"code": code(-1)}).status_code == 422
    assert second.send("/second-factor", {"code": code(1)}).status_code == 303


def test_of_two_posts_of_one_code_at_once_one_gets_in(site: Site) -> None:
    half_in(site)
    half_in_too = site.visitor()
    half_in_too.sign_in("marc@example.com")
    with site.parts.database.read() as connection:
        ids = connection.scalars(select(SignIn.id)).all()
    shown, marc = code(), site.cast.administrator.id

    giving = [partial(give_code, site.parts, user_id=marc, sign_in_id=each, code=shown) for each in ids]
    assert names(at_once(giving * 2)) == {"NoneType": 1, "CodeWasUsed": 3}
    with site.parts.database.read() as connection:
        let_in = select(func.count()).select_from(SignIn).where(SignIn.factor_at.is_not(None))
        assert connection.scalar(let_in) == 1


def test_somebody_elses_code_lets_nobody_in(site: Site) -> None:
    site.change(lambda session: give_authenticator(session, site.parts.vault, "dana@example.com", b"x" * 20))
    assert half_in(site).send("/second-factor", {"code": code(key=b"x" * 20)}).status_code == 422


def test_a_key_that_was_copied_to_another_account_does_not_open(site: Site) -> None:
    site.change(lambda session: give_authenticator(session, site.parts.vault, "dana@example.com", APP))
    with site.parts.database.transaction() as session:
        dana, marc = session.get_one(User, site.cast.clerk.id), session.get_one(User, site.cast.administrator.id)
        marc.totp_sealed, marc.totp_set_up_at = dana.totp_sealed, dana.totp_set_up_at
    with pytest.raises(CannotOpen):
        give_code(site.parts, user_id=site.cast.administrator.id, sign_in_id=0, code=code())


def test_whoever_guesses_is_stopped_and_the_right_code_is_not_told_apart(site: Site) -> None:
    marc = half_in(site)
    for _ in range(10):
        assert marc.send("/second-factor", {"code": "000000"}).status_code == 422
    assert marc.send("/second-factor", {"code": code()}, page="/second-factor").status_code == 429
    assert marc.send("/second-factor/recovery", {"code": "x"}, page="/second-factor").status_code == 429
    with shifted(timedelta(minutes=16)):
        assert marc.send("/second-factor", {"code": code()}).status_code == 303


def test_a_day_holds_sixty_guesses(site: Site) -> None:
    stopped = 0
    for quarter in range(8):
        with shifted(timedelta(minutes=16 * quarter)):
            marc = half_in(site)
            token = marc.token("/second-factor")
            for _ in range(10):
                response = marc.post("/second-factor", data={"csrf_token": token, "code": "000000"})
                stopped += response.status_code == 429
    assert stopped == 20


def test_a_patient_has_no_second_factor(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    assert maya.get("/second-factor").status_code == 403


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example", "//evil.example", "/invoices", "/second-factor", "/x\\y"]
)
def test_nobody_is_sent_elsewhere(site: Site, elsewhere: str) -> None:
    response = half_in(site).send("/second-factor", {"code": code(), "next": elsewhere})
    assert response.location == "/office/"


# --- recovery codes -------------------------------------------------------------------------------------------------


def with_codes(site: Site) -> list[str]:
    """Marc has set his second factor up in the normal way; gives his recovery codes."""
    marc = half_in(site, app=False)
    key = shown_key(marc.get("/second-factor"))
    response = marc.send("/second-factor", {"code": code(key=key)})
    return re.findall(r"<code>([a-z0-9-]{11})</code>", marc.get(response.location).text)


def test_a_recovery_code_lets_in_once_however_it_is_typed(site: Site) -> None:
    first, *_, last = with_codes(site)
    marc = site.visitor()
    marc.sign_in("marc@example.com")
    response = marc.send("/second-factor/recovery", {"code": f" {first.upper().replace('-', ' ')} "})
    assert response.location == "/office/"
    assert "Recovery codes left: 9" in words(marc.get("/office/", follow_redirects=True))
    again = site.visitor()
    again.sign_in("marc@example.com")
    refused = again.send("/second-factor/recovery", {"code": first})
    assert refused.status_code == 422 and "used already" in words(refused)
    assert again.send("/second-factor/recovery", {"code": last}).status_code == 303
    assert actions(site)[-1] == "recovery_code.used"


def test_a_recovery_code_of_another_account_does_not_count(site: Site) -> None:
    first, *_ = with_codes(site)
    assert half_in(site, "dana@example.com").send("/second-factor/recovery", {"code": first}).status_code == 422


def test_who_runs_out_of_recovery_codes_is_led_to_new_ones(site: Site) -> None:
    for used, recovery_code in enumerate(with_codes(site), start=1):
        marc = site.visitor()
        marc.sign_in("marc@example.com")
        response = marc.send("/second-factor/recovery", {"code": recovery_code, "next": "/office/schedule"})
        assert response.location == ("/office/schedule" if used < 7 else "/office/account")


# --- the vault, the demo, the command line --------------------------------------------------------------------------


def test_turning_the_keys_seals_the_apps_keys_anew_and_recovery_codes_go_on(site: Site) -> None:
    codes = with_codes(site)
    newer = Vault([parse_key(new_key()), parse_key(KEY)])
    with site.parts.database.transaction() as session:
        assert seal_keys_again(session, newer) == 1
        assert seal_keys_again(session, newer) == 0
        kept = session.get_one(User, site.cast.administrator.id).totp_sealed
    assert kept and not newer.needs_sealing_again(kept)
    object.__setattr__(site.parts, "vault", newer)
    marc = site.visitor()
    marc.sign_in("marc@example.com")
    assert marc.send("/second-factor/recovery", {"code": codes[0]}).status_code == 303


def test_a_demo_account_is_shown_its_code_and_nobody_else_is(site: Site) -> None:
    site.change(lambda session: give_authenticator(session, site.parts.vault, "dana@example.com", DEMO_KEY))
    dana = half_in(site, "dana@example.com", app=False)
    for _ in range(2):
        found = re.search(
            r"This is a demo account\. Its code just now is (\d{3} \d{3})\.", words(dana.get("/second-factor"))
        )
        assert found
        assert dana.send("/second-factor", {"code": found[1]}).location == "/office/"
        dana = half_in(site, "dana@example.com", app=False)
    assert "demo" not in words(half_in(site).get("/second-factor"))


def test_in_production_no_code_is_shown(site: Site) -> None:
    site.change(lambda session: give_authenticator(session, site.parts.vault, "dana@example.com", DEMO_KEY))
    object.__setattr__(site.parts.config, "production", True)
    assert "demo" not in words(half_in(site, "dana@example.com", app=False).get("/second-factor"))


def test_a_reset_takes_everything_off_and_ends_the_sign_ins(site: Site) -> None:
    codes = with_codes(site)
    marc = site.visitor("marc@example.com")
    site.change(lambda session: reset(session, site.cast.administrator.id, by=None))
    assert marc.get("/office/account").location.startswith("/login")
    marc.sign_in("marc@example.com")
    assert "Set up your second factor" in words(marc.get("/second-factor"))
    with pytest.raises(WrongCode):
        give_code(site.parts, user_id=site.cast.administrator.id, sign_in_id=0, code=codes[0])
    assert actions(site)[-1] == "second_factor.reset"


def test_the_sealed_key_names_its_row(site: Site) -> None:
    assert sealed_key(site.parts.vault, 1, APP) != sealed_key(site.parts.vault, 1, APP)
