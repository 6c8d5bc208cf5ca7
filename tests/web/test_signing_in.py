"""Signing in and out: who gets in, for how long, and what a copied cookie is worth."""

import runpy
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from portal import passwords
from portal.clock import shifted
from portal.people import SignIn, User
from tests.makers import make_invoice
from tests.web.conftest import PASSWORD, Site, words


@pytest.fixture
def maya_s_invoice(site: Site) -> str:
    return str(site.change(lambda session: make_invoice(session, site.cast.maya).number))


@pytest.mark.promise("P1")
def test_a_patient_arrives_at_their_open_invoices(site: Site) -> None:
    response = site.visitor().sign_in(" Maya@Example.com ")
    assert (response.status_code, response.location) == (303, "/invoices")


def test_a_clerk_arrives_in_the_office(site: Site) -> None:
    assert site.visitor().sign_in("dana@example.com").location == "/office/"
    dana = site.visitor("dana@example.com")
    assert "Dana Whitlock , front desk" in words(dana.get("/office/", follow_redirects=True))


def test_the_front_door_leads_everybody_to_their_own_part(site: Site) -> None:
    assert site.visitor().get("/").location == "/login"
    assert site.visitor("maya@example.com").get("/").location == "/invoices"
    assert site.visitor("dana@example.com").get("/").location == "/office/"


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("maya@example.com", "not her password"),
        ("nobody@example.com", PASSWORD),
        ("not an address", PASSWORD),
        ("maya@example.com", ""),
        ("", ""),
        ("maya\0@example.com", PASSWORD),
        ("maya@example.com", "x" * 5000),
        ("maya@example.com", PASSWORD + "\0"),
        ("é" * 400 + "@example.com", PASSWORD),
    ],
)
def test_every_wrong_sign_in_gets_the_same_answer(site: Site, email: str, password: str) -> None:
    response = site.visitor().sign_in(email, password)
    assert response.status_code == 200
    assert "We don't know this email with this password." in words(response)


def test_an_account_that_is_off_gets_the_same_answer_too(site: Site) -> None:
    site.change(lambda session: session.execute(update(User).values(active=False)))
    assert "We don't know this email with this password." in words(site.visitor().sign_in("maya@example.com"))


def test_an_account_without_a_password_gets_the_same_answer_too(site: Site) -> None:
    site.change(lambda session: session.execute(update(User).values(password=None)))
    assert "We don't know this email with this password." in words(site.visitor().sign_in("maya@example.com"))


def test_a_form_that_asks_to_be_remembered_is_not(site: Site) -> None:
    response = site.visitor().sign_in("maya@example.com", remember="y")
    assert not any("remember" in cookie for cookie in response.headers.getlist("Set-Cookie"))


def test_signing_out_ends_a_copied_cookie(site: Site) -> None:
    maya, thief = site.visitor("maya@example.com"), site.visitor()
    maya.get("/invoices")
    thief.set_cookie("portal", maya.cookie())
    assert thief.get("/invoices").status_code == 200
    response = maya.send("/logout", page="/invoices")
    assert (response.status_code, response.location) == (303, "/login?why=out")
    assert thief.get("/invoices").status_code == 303
    assert maya.get("/invoices").status_code == 303


def test_the_table_of_sign_ins_signs_nobody_in(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    with maya.session_transaction() as session:
        token = session["sign_in"]
    with site.parts.database.read() as connection:
        kept = connection.scalar(select(SignIn.token_hash))
    assert kept != token
    with maya.session_transaction() as session:
        session["sign_in"] = kept
    assert maya.get("/invoices").status_code == 303


def test_signing_out_is_no_link(site: Site) -> None:
    assert site.visitor("maya@example.com").get("/logout").status_code == 405


def test_signing_in_again_ends_the_browsers_sign_in_before(site: Site) -> None:
    maya, thief = site.visitor("maya@example.com"), site.visitor()
    thief.set_cookie("portal", maya.cookie())
    with shifted(timedelta(minutes=21)):
        assert maya.sign_in("maya@example.com").status_code == 303
    assert thief.get("/invoices").status_code == 303


def test_each_browser_has_a_sign_in_of_its_own(site: Site) -> None:
    phone, desk = site.visitor("maya@example.com"), site.visitor("maya@example.com")
    phone.send("/logout", page="/invoices")
    assert desk.get("/invoices").status_code == 200


def test_twelve_hours_are_the_longest_sign_in(site: Site) -> None:
    site.setting("idle_minutes", "720")
    maya = site.visitor("maya@example.com")
    with shifted(timedelta(hours=11, minutes=59)):
        assert maya.get("/invoices").status_code == 200
    with shifted(timedelta(hours=12, seconds=1)):
        assert maya.get("/invoices").status_code == 303


def test_an_account_that_is_turned_off_is_out_at_the_next_request(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    site.change(lambda session: session.execute(update(User).values(active=False)))
    assert maya.get("/invoices").status_code == 303


def test_a_new_uniquifier_ends_every_sign_in(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    site.change(lambda session: session.execute(update(User).values(fs_uniquifier=User.email)))
    assert maya.get("/invoices").status_code == 303


def test_idle_people_are_signed_out_and_come_back_to_where_they_were(site: Site, maya_s_invoice: str) -> None:
    maya = site.visitor("maya@example.com")
    with shifted(timedelta(minutes=20, seconds=5)):
        response = maya.get(f"/invoices/{maya_s_invoice}")
        assert response.location == f"/login?next=/invoices/{maya_s_invoice}&why=idle"
        page = maya.get(response.location)
        assert (
            "You were signed out after 20 minutes without activity, to keep your records private."
            f" Nothing was charged. Sign in and you will be back on invoice {maya_s_invoice}." in words(page)
        )
        response = maya.sign_in("maya@example.com", next=f"/invoices/{maya_s_invoice}")
        assert response.location == f"/invoices/{maya_s_invoice}"
        assert maya.get(response.location).status_code == 200


def test_whoever_is_active_stays(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    for minutes in range(0, 120, 15):
        with shifted(timedelta(minutes=minutes)):
            assert maya.get("/invoices").status_code == 200


def test_the_clinic_decides_how_long_idle_is(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    site.setting("idle_minutes", "5")
    with shifted(timedelta(minutes=5, seconds=5)):
        assert maya.get("/invoices").status_code == 303


def test_a_cookie_is_signed_again_at_most_once_a_minute_and_looking_writes_nothing(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    maya.get("/invoices")
    for seconds, signed in ((1, False), (50, False), (65, True)):
        with shifted(timedelta(seconds=seconds)), site.counting() as sent:
            response = maya.get("/invoices")
            assert bool(response.headers.getlist("Set-Cookie")) is signed
            assert all(statement.lstrip().startswith("SELECT") for statement in sent)


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/ /evil.example",
        "/login",
        "/office/",
        "evil.example",
        "/" + "x" * 600,
    ],
)
def test_nobody_is_sent_elsewhere(site: Site, elsewhere: str) -> None:
    assert site.visitor().sign_in("maya@example.com", next=elsewhere).location == "/invoices"
    maya = site.visitor()
    token = maya.token()
    fields = {"csrf_token": token, "email": "maya@example.com", "password": PASSWORD}
    response = maya.post("/login", query_string={"next": elsewhere}, data=fields)
    assert response.location == "/invoices"


def test_a_clerk_is_not_sent_to_a_patients_page(site: Site) -> None:
    assert site.visitor().sign_in("dana@example.com", next="/invoices").location == "/office/"


def test_a_token_in_a_header_signs_nobody_in(site: Site) -> None:
    with site.app.test_request_context():
        token = site.change(lambda session: session.scalars(select(User).limit(1)).one().get_auth_token())
    assert site.visitor().get("/invoices", headers={"Authentication-Token": token}).status_code == 303
    assert site.visitor().get("/invoices", query_string={"auth_token": token}).status_code == 303


def test_a_script_that_is_signed_out_is_told_so(site: Site) -> None:
    response = site.visitor().get("/invoices", headers={"Accept": "application/json"})
    assert response.status_code == 401
    assert response.json is not None and response.json["outcome"] == "refused"


@pytest.mark.of_database("sqlite")  # PostgreSQL has no such lock
def test_signing_in_takes_no_write_lock_while_the_password_is_hashed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    security = site.app.extensions["security"]
    verify = security.pwd_context.verify
    seen = []

    def watched(*args: object, **kwargs: object) -> bool:
        site.change(lambda session: session.execute(update(User).values(name=User.name)))  # would wait for the lock
        seen.append(True)
        return bool(verify(*args, **kwargs))

    monkeypatch.setattr(security.pwd_context, "verify", watched)
    site.visitor().sign_in("maya@example.com")
    assert seen


def test_every_sign_in_leaves_one_row(site: Site) -> None:
    site.visitor("maya@example.com")
    with site.parts.database.read() as connection:
        rows = connection.execute(select(SignIn.user_id)).all()
        assert connection.scalar(select(func.count()).select_from(SignIn)) == 1
    assert rows[0][0] == site.cast.maya_user.id


def test_a_password_costs_what_owasp_asks_for(site: Site) -> None:
    """In the other tests it is cheap; this one looks at the source as it stands."""
    as_written = runpy.run_path(passwords.__file__)["hashed"]("any")
    assert as_written.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    options = site.app.config["SECURITY_PASSWORD_HASH_PASSLIB_OPTIONS"]
    assert [options[f"argon2__{name}"] for name in ("rounds", "memory_cost", "parallelism")] == [
        passwords.PASSES, passwords.MEMORY_KIB, passwords.LANES,
    ]  # fmt: skip
