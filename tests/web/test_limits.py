"""How often something may be tried, and from where: counts that hold across processes and behind proxies."""

import ipaddress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from limits import parse

from portal.clock import shifted
from portal.web import limits
from portal.web.proxy import TrustedProxies, behind_proxies
from tests.web.conftest import Site, Visitor, words


def _sign_in_from(app: Flask, address: str, email: str = "maya@example.com", password: str = "wrong wrong") -> Any:
    visitor = app.test_client()
    assert isinstance(visitor, Visitor)
    token = visitor.token()
    return visitor.post(
        "/login",
        data={"csrf_token": token, "email": email, "password": password},
        environ_overrides={"REMOTE_ADDR": address},
    )


def test_an_account_holds_for_ten_tries_whichever_process_counts_them(site: Site) -> None:
    processes = [site.app, site.another_process()]
    for number in range(10):
        assert _sign_in_from(processes[number % 2], f"192.0.2.{number}").status_code == 200
    response = _sign_in_from(processes[0], "192.0.2.99")
    assert response.status_code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= 900
    assert "Please try again in 15 minutes." in words(response)
    assert _sign_in_from(processes[1], "192.0.2.99", email="jonas@example.com").status_code == 200
    with shifted(timedelta(minutes=16)):
        assert _sign_in_from(processes[1], "192.0.2.99").status_code == 200


def test_a_sign_in_that_succeeds_forgets_the_tries_before_it(site: Site) -> None:
    for _ in range(2):
        for _ in range(6):
            site.visitor().sign_in("maya@example.com", "wrong wrong")
        site.visitor("maya@example.com")


def test_an_email_counts_as_one_account_however_it_is_typed(site: Site) -> None:
    for number in range(10):
        _sign_in_from(site.app, f"192.0.2.{number}", email=" MAYA@example.com" if number % 2 else "maya@Example.com")
    assert _sign_in_from(site.app, "192.0.2.99").status_code == 429


def test_a_network_is_counted_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SIGN_IN_BY_NETWORK", parse("3 per 15 minutes"))
    for number in range(3):
        assert _sign_in_from(site.app, f"2001:db8:1:2::{number}", email=f"n{number}@example.com").status_code == 200
    assert _sign_in_from(site.app, "2001:db8:1:2:ffff::1", email="other@example.com").status_code == 429
    assert _sign_in_from(site.app, "2001:db8:1:3::1", email="other@example.com").status_code == 200


def test_asking_for_resets_is_limited(site: Site) -> None:
    visitor = site.visitor()
    answers = [visitor.send("/reset", {"email": "maya@example.com"}).status_code for _ in range(5)]
    assert answers == [200, 200, 200, 200, 429]


def test_looking_is_free(site: Site) -> None:
    visitor = site.visitor()
    with site.counting() as sent:
        for _ in range(30):
            visitor.get("/login")
            visitor.get("/reset")
    assert all(statement.lstrip().startswith("SELECT") for statement in sent)


def test_the_counts_name_nobody(site: Site) -> None:
    site.visitor().sign_in("maya@example.com", "wrong wrong")
    with site.parts.database.read() as connection:
        kept = connection.exec_driver_sql("SELECT key FROM try_counts").all()
    assert kept and all("maya" not in key and "127.0.0.1" not in key for (key,) in kept)


# --- proxies --------------------------------------------------------------------------------------------------------

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


def _seen(environ: dict[str, str], trusted: Any = TRUSTED) -> tuple[str, str]:
    seen: dict[str, Any] = {}

    def app(inner: dict[str, Any], _start: Any) -> list[bytes]:
        seen.update(inner)
        return []

    TrustedProxies(app, trusted)({"wsgi.url_scheme": "http", **environ}, None)
    return seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7, not an address", "10.0.0.1"),
        ("10.0.0.1", "2001:db8::5", "2001:db8::5"),
        ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_client_is_the_nearest_address_that_is_no_proxy_of_ours(peer: str, forwarded: str, client: str) -> None:
    assert _seen({"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded})[0] == client


def test_the_scheme_is_believed_from_a_trusted_proxy_only() -> None:
    forwarded = {"HTTP_X_FORWARDED_PROTO": "https"}
    assert _seen({"REMOTE_ADDR": "10.0.0.1", **forwarded})[1] == "https"
    assert _seen({"REMOTE_ADDR": "203.0.113.9", **forwarded})[1] == "http"
    assert _seen({"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_PROTO": "gopher"})[1] == "http"


def test_without_proxies_nothing_is_believed(site: Site) -> None:
    def app(_environ: Any, _start: Any) -> list[bytes]:
        return []

    assert behind_proxies(app, site.config) is app
    assert behind_proxies(app, replace(site.config, proxy_hops=1)) is not app


def test_a_forged_address_does_not_escape_the_limit(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SIGN_IN_BY_NETWORK", parse("2 per 15 minutes"))
    visitor = site.visitor()
    answers = [
        visitor.send(
            "/login",
            {"email": f"n{number}@example.com", "password": "wrong wrong"},
            headers={"X-Forwarded-For": f"198.51.100.{number}"},
        ).status_code
        for number in range(3)
    ]
    assert answers == [200, 200, 429]
