"""What every answer says: headers, caching, error pages, forms that were open too long, health."""

import gzip
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from flask import abort
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from portal import create_app
from portal.config import Config
from portal.errors import Refusal
from portal.gateway import OutcomeUnknown
from portal.web.access import public
from portal.web.headers import pay_policy
from tests.makers import make_program
from tests.web.conftest import PASSWORD, Site, Visitor, no_gateway, words

ROOT = Path(__file__).resolve().parents[2]


class OutOfTea(Refusal):
    """A refusal of this test's own."""

    status = 409
    title = "You have not been charged."
    message = "There is no {drink} left."


def _break(site: Site) -> None:
    """Routes that fail, each in a way of its own."""

    @public
    def fail(how: str) -> str:
        match how:
            case "refusal":
                raise OutOfTea(drink="tea")
            case "bug":
                raise RuntimeError("a secret detail")
            case "gateway":
                raise OutcomeUnknown("a secret detail")
            case "database":
                raise OperationalError("SELECT secret", {}, Exception("a secret detail"))
        abort(int(how))

    site.app.add_url_rule("/fail/<how>", "fail", fail)


# --- headers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/login", "/invoices", "/no-such-page", "/healthz", "/static/css/portal.css"])
def test_every_answer_carries_the_headers(site: Site, path: str) -> None:
    headers = site.visitor("maya@example.com").get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin-allow-popups"
    policy = headers["Content-Security-Policy"]
    for rule in ("default-src 'none'", "script-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert rule in policy
    assert "unsafe" not in policy
    assert len(headers.getlist("Content-Security-Policy")) == len(headers.getlist("Cache-Control")) == 1


def test_private_pages_are_stored_nowhere(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    for path in ("/", "/login", "/reset", "/reset/a-link", "/invoices", "/cards", "/no-such-page"):
        assert maya.get(path).headers["Cache-Control"] == "no-store", path


def test_the_pay_policy_names_stripes_hosts_and_no_others(config: Config) -> None:
    policy = pay_policy(config)
    assert "script-src 'self' https://js.stripe.com https://*.js.stripe.com;" in policy
    assert "frame-src https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com;" in policy
    assert policy.endswith("connect-src 'self' https://api.stripe.com")
    elsewhere = replace(config, stripe_js_url="http://127.0.0.1:9/v3/x.js", stripe_api_base="http://127.0.0.1:9")
    assert "stripe.com" not in pay_policy(elsewhere)
    assert "script-src 'self' http://127.0.0.1:9;" in pay_policy(elsewhere)


@pytest.mark.parametrize("script", ["https://js.stripe.com/v3", "https://js.stripe.com/dahlia/stripe.js"])
def test_every_release_of_stripe_js_may_do_what_stripe_asks_for(config: Config, script: str) -> None:
    assert pay_policy(replace(config, stripe_js_url=script)) == pay_policy(config)
    # Stripe's own script speaks to Stripe's own API, whatever our server is told to speak to.
    assert pay_policy(replace(config, stripe_js_url=script, stripe_api_base="http://[::1]:9")) == pay_policy(config)


def test_a_stand_in_may_have_its_script_and_its_api_on_two_origins(config: Config) -> None:
    policy = pay_policy(
        replace(config, stripe_js_url="http://127.0.0.1:8/v3/x.js", stripe_api_base="http://localhost:9")
    )
    assert "script-src 'self' http://127.0.0.1:8;" in policy
    assert "frame-src http://127.0.0.1:8 http://localhost:9;" in policy
    assert policy.endswith("connect-src 'self' http://127.0.0.1:8 http://localhost:9")


def test_over_https_the_cookie_is_bound_to_this_host_and_tls(site: Site) -> None:
    app = site.another_process(base_url="https://pay.example.com")
    response = app.test_client().get("/login", base_url="https://pay.example.com")
    (cookie,) = response.headers.getlist("Set-Cookie")
    assert cookie.startswith("__Host-portal=")
    for word in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert word in cookie
    assert "Domain" not in cookie
    assert response.headers["Strict-Transport-Security"].startswith("max-age=63072000")


def test_over_plain_http_in_development_the_cookie_works_too(site: Site) -> None:
    response = site.visitor().get("/login")
    (cookie,) = response.headers.getlist("Set-Cookie")
    assert cookie.startswith("portal=") and "Secure" not in cookie and "HttpOnly" in cookie
    assert "Strict-Transport-Security" not in response.headers


# --- style sheets ---------------------------------------------------------------------------------------------------


def test_style_sheets_are_kept_for_good_under_their_mark(site: Site) -> None:
    visitor = site.visitor()
    found = re.search(r'href="(/static/css/portal\.css\?v=\w+)"', visitor.get("/login").text)
    assert found
    kept = visitor.get(found[1], headers={"Accept-Encoding": "gzip"})
    assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert kept.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(kept.data) == (ROOT / "static/css/portal.css").read_bytes()
    assert visitor.get("/static/css/portal.css?v=older").headers["Cache-Control"] == "no-cache"
    assert visitor.get("/static/css/portal.css", headers={"If-None-Match": kept.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize(
    "name",
    [
        "../portal/config.py",
        "..%2f..%2fwsgi.py",
        "%2e%2e/wsgi.py",
        "css",
        "css/",
        "%00",
        "x.css",
        "x" * 300,
        "x/" * 3000,
    ],
)
def test_nothing_else_is_served_as_a_file(site: Site, name: str) -> None:
    assert site.visitor().get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize(
    ("hue", "status"), [("0", 200), ("360", 200), ("361", 404), ("-1", 404), ("x", 404), ("1e2", 404)]
)
def test_a_theme_is_a_hue(site: Site, hue: str, status: int) -> None:
    response = site.visitor().get(f"/theme-{hue}.css")
    assert response.status_code == status
    if status == 200:
        assert response.text == f":root{{--brand:{hue}}}\n"
        assert "immutable" in response.headers["Cache-Control"]


def test_the_first_view_weighs_ten_kilobytes(site: Site) -> None:
    visitor = site.visitor("maya@example.com")
    sheet = gzip.compress((ROOT / "static/css/portal.css").read_bytes())
    site.setting("module_programs", "yes")
    shown = site.change(lambda session: [make_program(session).public_id for _each in range(5)])
    for path in ("/login", "/invoices", "/programs", f"/programs/{shown[0]}"):
        assert len(sheet) + len(gzip.compress(visitor.get(path).data)) <= 10_240


# --- when something goes wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 413, 429, 500, 503, 410, 418, 502])
@pytest.mark.parametrize("email", ["", "maya@example.com", "dana@example.com"])
def test_every_failure_has_a_page_in_the_products_look(site: Site, status: int, email: str) -> None:
    _break(site)
    visitor = site.visitor(email)
    response = visitor.get(f"/fail/{status}")
    assert response.status_code == status
    assert "Alder Lane Clinic" in words(response)
    assert "<h1" in response.text
    home = {"": "Go to sign-in", "maya@example.com": "Go to your invoices", "dana@example.com": "Go to the office"}
    assert home[email] in words(response)


def test_a_bug_shows_a_reference_that_the_log_has_too_and_no_details(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    _break(site)
    response = site.visitor().get("/fail/bug")
    assert response.status_code == 500
    found = re.search(r"Reference (E-[0-9A-F]{4}-[0-9A-F]{2})", words(response))
    assert found and found[1] in caplog.text
    assert "secret" not in response.text and "RuntimeError" not in response.text


def test_a_refusal_is_answered_in_its_own_words(site: Site) -> None:
    _break(site)
    response = site.visitor().get("/fail/refusal")
    assert response.status_code == 409
    assert "You have not been charged. There is no tea left." in words(response)
    for_a_script = site.visitor().get("/fail/refusal", headers={"Accept": "application/json"})
    assert for_a_script.status_code == 409
    assert for_a_script.json == {
        "outcome": "refused",
        "title": "You have not been charged.",
        "text": "There is no tea left.",
    }


def test_a_gateway_that_is_not_answering_is_no_bug(site: Site) -> None:
    _break(site)
    response = site.visitor().get("/fail/gateway")
    assert response.status_code == 503
    assert "We can't reach the card processor just now" in words(response)


def test_a_database_that_is_not_answering_is_said_without_it(site: Site) -> None:
    _break(site)
    maya = site.visitor("maya@example.com")
    response = maya.get("/fail/database")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "60")
    assert "secret" not in response.text


@pytest.mark.parametrize("path", ["/login", "/invoices", "/", "/readyz"])
def test_without_a_database_every_page_says_so_and_the_process_is_alive(config: Config, path: str) -> None:
    away = create_app(
        replace(config, database_url="postgresql://nobody@127.0.0.1:9/nothing?connect_timeout=1"), connect=no_gateway
    )
    away.test_client_class = Visitor
    client = away.test_client()
    with client.session_transaction() as session:
        session.update(_user_id="x", sign_in="x", seen=0)
    assert client.get(path).status_code == 503
    assert client.get("/healthz").status_code == 200


def test_an_address_that_can_not_be_read_leads_nowhere(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    token = maya.token("/invoices")
    for rule in site.app.url_map.iter_rules():
        if "<" in rule.rule and "<int:" not in rule.rule:
            for unreadable in ("%00", "a%00b", "%0d%0aSet-Cookie:x", "%1b[2J", "%e2%80%ae"):
                path = re.sub(r"<uuid:\w+>", "00000000-0000-4000-8000-000000000000", rule.rule)
                path = re.sub(r"<(path:)?\w+>", unreadable, path)
                for method in (rule.methods or set()) - {"OPTIONS"}:
                    response = maya.open(
                        path, method=method, data={"csrf_token": token} if method == "POST" else None
                    )
                    assert response.status_code in (404, 405), f"{method} {path}"


def test_a_wrong_method_says_which_are_right(site: Site) -> None:
    response = site.visitor().get("/logout")
    assert response.status_code == 405 and "POST" in response.headers["Allow"]


def test_a_form_that_is_too_long_is_not_read(site: Site) -> None:
    visitor = site.visitor()
    token = visitor.token()
    response = visitor.post("/login", data={"csrf_token": token, "email": "x" * 70_000, "password": "x"})
    assert response.status_code == 413
    assert "That was too much to send" in words(response)


def test_no_spelling_of_an_address_leads_to_a_host_of_the_askers_choice(site: Site) -> None:
    for email in ("", "maya@example.com", "dana@example.com"):
        visitor = site.visitor(email)
        for path in ("/office", "/office/", "/invoices/", "/invoices//paid", "//invoices", "/static//css/portal.css"):
            response = visitor.get(path, headers={"Host": "elsewhere.example"})
            assert response.status_code in (200, 303, 403, 404), path
            assert "elsewhere" not in response.headers.get("Location", ""), path


# --- forms ----------------------------------------------------------------------------------------------------------


POSTED_FROM_OUTSIDE = {"hooks.stripe", "no_reminders.stop"}
"""What a gateway or a mail program posts by itself: a signature counts there, and no cookie does."""


def test_a_form_without_its_token_is_refused_everywhere(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    for rule in site.app.url_map.iter_rules():
        if "POST" in (rule.methods or set()) and rule.endpoint not in POSTED_FROM_OUTSIDE:
            some_id = "00000000-0000-4000-8000-000000000000"
            is_number = {name: bool(re.search(rf"<int[^>]*:{name}>", rule.rule)) for name in rule.arguments}
            values = {name: 5 if is_number[name] else some_id for name in rule.arguments}
            path = site.app.url_map.bind("localhost").build(rule.endpoint, values, method="POST")
            response = maya.post(path, data={"email": "maya@example.com"})
            assert response.status_code == 400, path
            assert "This page was open too long" in words(response), path
    assert maya.get("/invoices").status_code == 200


@pytest.mark.parametrize(
    "body", [b"{}", b'"x"', b"[1]", b'{"email": 1, "amount": 1}', b"{no json", b"\xff\xfe", b"[" * 9000]
)
def test_json_is_no_form(site: Site, body: bytes) -> None:
    maya = site.visitor("maya@example.com")
    token = {"X-CSRFToken": maya.token("/invoices")}
    for path in ("/login", "/reset", "/reset/a-link", "/invoices/10001/pay", "/cards/1/remove"):
        for headers in ({}, token):
            response = maya.post(path, data=body, content_type="application/json", headers=headers)
            assert response.status_code == 415, path


def test_a_file_is_no_field_of_a_form(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    token = maya.token("/invoices")
    for path, name in (("/login", "email"), ("/reset", "email"), ("/invoices/10001/pay", "amount")):
        response = maya.post(path, data={"csrf_token": token, name: (BytesIO(b"1"), "a.txt")})
        assert response.status_code == 415, path


def test_pages_opened_together_after_signing_in_have_forms_that_all_work(site: Site) -> None:
    first = site.visitor("maya@example.com")
    second = site.visitor()
    second.set_cookie("portal", first.cookie())
    tokens = [first.token("/invoices"), second.token("/cards")]
    assert [first.post("/logout", data={"csrf_token": token}).status_code for token in tokens[1:]] == [303]


def test_a_stale_sign_in_form_keeps_the_address_that_was_typed(site: Site) -> None:
    response = site.visitor().post(
        "/login", data={"csrf_token": "stale", "email": "maya@example.com", "password": PASSWORD}
    )
    assert response.status_code == 400
    assert "This page was open too long, so nothing was sent. Please try again." in words(response)
    assert 'value="maya@example.com"' in response.text
    assert PASSWORD not in response.text


def test_a_stale_sign_in_form_can_be_sent_again_at_once(site: Site) -> None:
    visitor = site.visitor()
    fields = {"csrf_token": "stale", "email": "maya@example.com", "password": PASSWORD, "next": "/cards"}
    page = visitor.post("/login", data=fields).text
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found and 'name="next" value="/cards"' in page
    assert visitor.post("/login", data={**fields, "csrf_token": found[1]}).location == "/cards"


def test_another_browsers_token_is_none(site: Site) -> None:
    token = site.visitor().token()
    assert site.visitor().post("/login", data={"csrf_token": token, "email": "x", "password": "x"}).status_code == 400


def test_a_script_with_a_stale_token_is_told_so(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    response = maya.post("/invoices/10001/pay", headers={"Accept": "application/json"})
    assert response.status_code == 400
    assert (
        response.json is not None
        and response.json["title"] == "This page was open too long. You have not been charged."
    )


# --- health ---------------------------------------------------------------------------------------------------------


def test_alive_and_ready(site: Site) -> None:
    visitor = site.visitor()
    assert visitor.get("/healthz").text == "alive\n"
    assert visitor.get("/readyz").text == "ready\n"


def test_a_database_of_another_version_is_not_ready(site: Site) -> None:
    site.change(
        lambda session: session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = 'other'")
    )
    response = site.visitor().get("/readyz")
    assert response.status_code == 503
    assert "another version's tables" in response.text


def test_the_access_log_has_no_path_and_no_query(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "portal.access")
    visitor = site.visitor()
    visitor.get("/reset/a-secret-token?with=a-secret-query")
    visitor.get("/no/such/secret")
    assert "GET /reset/<token> 302" in caplog.text
    assert "GET (no such page) 404" in caplog.text
    assert "secret" not in caplog.text


def test_a_failing_database_puts_no_address_into_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    visitor = site.visitor()
    token = visitor.token()
    site.change(lambda session: session.execute(text("DROP TABLE sign_ins")))
    site.change(lambda session: session.execute(text("ALTER TABLE users RENAME TO patrons")))
    fields = {"csrf_token": token, "email": "maya@example.com", "password": PASSWORD}
    assert visitor.post("/login", data=fields).status_code >= 500
    assert "users" in caplog.text
    assert "maya@example.com" not in caplog.text
