"""The mails of the demo on a page: on one's own machine alone."""

from collections.abc import Iterator

import pytest
from flask import Flask

from portal.mail import deliver_waiting_mail
from portal.outbox import queue_mail
from tests.web.conftest import Site, words

ADDRESS = "/demo/mails"


@pytest.fixture
def demo(site: Site) -> Iterator[Flask]:
    """The site as the demo runs it."""
    app = site.another_process(base_url="http://127.0.0.1:8000")
    yield app


def sent(site: Site, name: str = "Maya") -> str:
    """A mail that was sent; gives its page."""
    site.change(
        lambda session: queue_mail(
            session, site.parts.vault, "password_changed", f"test:{name}", "maya@example.com", name=name
        )
    )
    assert deliver_waiting_mail(site.parts) == 1
    (file,) = site.mails.glob("*.eml")
    return f"{ADDRESS}/{file.stem}"


def test_the_newest_mails_are_listed_and_each_is_shown(site: Site, demo: Flask) -> None:
    client = demo.test_client()
    assert "No mail yet" in client.get(ADDRESS).text
    path = sent(site)
    listed = client.get(ADDRESS)
    assert "Your password for Alder Lane Clinic was changed" in listed.text and path in listed.text
    assert "To maya@example.com" in words(listed)
    page = client.get(path)
    assert "Hello Maya," in words(page) and f'src="{path}/html"' in page.text
    assert '<a href="http://pay.example.com/reset"' in page.text, "links of the text can be followed"


def test_a_mail_is_framed_without_scripts_and_its_links_open_in_the_whole_window(site: Site, demo: Flask) -> None:
    path = sent(site)
    client = demo.test_client()
    policy = client.get(path).headers["Content-Security-Policy"]
    assert "script-src 'none'" in policy and "frame-src 'self'" in policy and "frame-ancestors 'none'" in policy
    framed = demo.test_client(use_cookies=False).open(f"{path}/html", method="HEAD")
    assert framed.headers.getlist("X-Frame-Options") == ["SAMEORIGIN"]
    assert framed.headers.getlist("Content-Security-Policy")[0].startswith("sandbox allow-top-navigation-by-user-act")
    assert "allow-scripts" not in framed.headers["Content-Security-Policy"]
    assert client.get(ADDRESS).headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    "name", ["nothing", "20261122-0000000000000000", "..%2F..%2Fetc", "%00", ".", "20261122-" + "0" * 900]
)
def test_what_is_no_mail_is_not_found(site: Site, demo: Flask, name: str) -> None:
    sent(site)
    for path in (f"{ADDRESS}/{name}", f"{ADDRESS}/{name}/html", f"{ADDRESS}/{name}/attached/0"):
        assert demo.test_client().get(path).status_code in (400, 404)


def test_there_is_no_attachment_where_there_is_none(site: Site, demo: Flask) -> None:
    assert demo.test_client().get(f"{sent(site)}/attached/0").status_code == 404


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"production": True, "base_url": "https://127.0.0.1"},
        {"base_url": "https://pay.example.com"},
        {"base_url": "http://127.0.0.1:8000", "mail_url": "smtp://127.0.0.1"},
    ],
)
def test_there_is_no_such_page_anywhere_else(site: Site, elsewhere: dict[str, object]) -> None:
    path = sent(site)
    app = site.another_process(**elsewhere)
    assert not [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/demo")]
    for each in (ADDRESS, path, f"{path}/html"):
        assert app.test_client().get(each).status_code == 404


def test_another_machine_sees_no_mail(site: Site, demo: Flask) -> None:
    path = sent(site)
    for each in (ADDRESS, path, f"{path}/html"):
        answer = demo.test_client().get(each, environ_base={"REMOTE_ADDR": "203.0.113.9"})
        assert answer.status_code == 404
