"""The password is asked for again before something delicate; what was typed goes on, once, from where it was."""

import re
from datetime import timedelta
from html import unescape

import pytest
from flask import request
from werkzeug.test import TestResponse

from portal.clock import shifted
from portal.permissions import May
from portal.web.access import staff_may
from tests.web.conftest import PASSWORD, Site, Visitor, words

LATER = timedelta(minutes=5, seconds=1)
SECRET = "sk_live_never_on_a_page"


@pytest.fixture
def sent(site: Site) -> list[dict[str, list[str]]]:
    """What reached a delicate form: /office/delicate and /office/delicate/other are made for these tests."""
    arrived: list[dict[str, list[str]]] = []

    @staff_may(May.SETTINGS, fresh=True)
    def delicate() -> str:
        if request.method == "POST":
            arrived.append({name: values for name, values in request.form.lists() if name != "csrf_token"})
            return _page("done")
        return _page("form")

    @staff_may(May.SETTINGS, fresh=True)
    def other() -> str:
        return delicate()

    def _page(title: str) -> str:
        head, body = f"<head><title>{title}</title></head>", f"<body><main><h1>{title}</h1></main></body>"
        return f'<!doctype html><html lang="en">{head}{body}</html>'

    site.app.add_url_rule("/office/delicate", "delicate", delicate, methods=["GET", "POST"])
    site.app.add_url_rule("/office/delicate/other", "other", other, methods=["GET", "POST"])
    return arrived


@pytest.fixture
def marc(site: Site, sent: list[dict[str, list[str]]]) -> Visitor:
    return site.visitor("marc@example.com")


def post(visitor: Visitor, data: dict[str, object], path: str = "/office/delicate") -> TestResponse:
    return visitor.post(path, data={"csrf_token": visitor.token("/office/account"), **data})


def kept_form(page: TestResponse) -> str:
    assert page.status_code in (200, 422) and "Your password again, please" in words(page)
    found = re.search(r'name="kept_form" value="([^"]+)"', page.text)
    assert found
    return unescape(found[1])


def test_within_five_minutes_nothing_is_asked(marc: Visitor, sent: list[dict[str, list[str]]]) -> None:
    with shifted(LATER - timedelta(seconds=10)):
        assert post(marc, {"secret": SECRET}).status_code == 200
    assert sent == [{"secret": [SECRET]}]


def test_after_that_a_form_is_kept_and_goes_on_exactly_once(marc: Visitor, sent: list[dict[str, list[str]]]) -> None:
    with shifted(LATER):
        page = post(marc, {"secret": SECRET, "many": ["1", "2"], "empty": "", "words": "é <b>"})
        assert sent == [] and SECRET not in page.text
        assert "What you have entered is kept" in words(page)
        kept = kept_form(page)
        wrong = post(marc, {"kept_form": kept, "password_again": "wrong"})
        assert wrong.status_code == 422 and "This is not your password. Nothing was done yet." in words(wrong)
        assert sent == []
        assert post(marc, {"kept_form": kept_form(wrong), "password_again": PASSWORD}).status_code == 200
    assert sent == [{"secret": [SECRET], "many": ["1", "2"], "empty": [""], "words": ["é <b>"]}]
    with shifted(LATER):
        assert post(marc, {"secret": "another"}).status_code == 200, "it was confirmed a moment ago"
    with shifted(2 * LATER):
        kept_form(post(marc, {"secret": "late"}))


def test_a_kept_form_does_not_open_in_another_sign_in(
    site: Site, marc: Visitor, sent: list[dict[str, list[str]]]
) -> None:
    with shifted(LATER):
        kept = kept_form(post(marc, {"secret": SECRET}))
        again = site.visitor("marc@example.com")
        page = post(again, {"kept_form": kept, "password_again": PASSWORD})
    assert "This page was open for too long. Please start again." in words(page)
    assert sent == []


def test_a_kept_form_does_not_open_at_another_address(marc: Visitor, sent: list[dict[str, list[str]]]) -> None:
    with shifted(LATER):
        kept = kept_form(post(marc, {"secret": SECRET}))
        page = post(marc, {"kept_form": kept, "password_again": PASSWORD}, "/office/delicate/other")
    assert "Please start again." in words(page) and sent == []


@pytest.mark.parametrize("kept", ["", "x", "k1.AAAA", "\0", "é", "x" * 20_000])
def test_a_kept_form_that_was_made_up_does_nothing(
    marc: Visitor, sent: list[dict[str, list[str]]], kept: str
) -> None:
    with shifted(LATER):
        page = post(marc, {"kept_form": kept, "password_again": PASSWORD})
    assert page.status_code == 422 and sent == []


def test_a_page_that_was_only_looked_at_comes_back(marc: Visitor, sent: list[dict[str, list[str]]]) -> None:
    with shifted(LATER):
        page = marc.get("/office/delicate?month=3")
        assert "Your password again, please" in words(page) and "What you have entered" not in words(page)
        back = re.search(r'name="back" value="([^"]+)"', page.text)
        assert back and back[1] == "/office/delicate?month=3"
        fields = {"password_again": "wrong", "back": back[1]}
        wrong = marc.send("/office/confirm", fields, page="/office/account")
        assert wrong.status_code == 422 and f'value="{back[1]}"' in wrong.text
        right = marc.send("/office/confirm", {**fields, "password_again": PASSWORD}, page="/office/account")
        assert right.location == "/office/delicate?month=3"
        assert marc.get(right.location).status_code == 200
    assert sent == []


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "", "/\\evil.example", "/login"])
def test_it_leads_nowhere_else(marc: Visitor, back: str) -> None:
    fields = {"password_again": PASSWORD, "back": back}
    assert marc.send("/office/confirm", fields, page="/office/account").location == "/office/"


@pytest.mark.parametrize("password", ["", "x" * 5000, PASSWORD + "\0", "wrong"])
def test_what_is_no_password_confirms_nothing(marc: Visitor, sent: list[dict[str, list[str]]], password: str) -> None:
    with shifted(LATER):
        kept = kept_form(post(marc, {"secret": SECRET}))
        assert post(marc, {"kept_form": kept, "password_again": password}).status_code == 422
    assert sent == []


def test_tries_are_limited_and_then_even_the_right_one_waits(marc: Visitor, sent: list[dict[str, list[str]]]) -> None:
    with shifted(LATER):
        kept = kept_form(post(marc, {"secret": SECRET}))
        for _ in range(10):
            assert post(marc, {"kept_form": kept, "password_again": "wrong"}).status_code == 422
        assert post(marc, {"kept_form": kept, "password_again": PASSWORD}).status_code == 429
    assert sent == []
    with shifted(LATER + timedelta(minutes=16)):
        assert post(marc, {"kept_form": kept, "password_again": PASSWORD}).status_code == 200
    assert sent == [{"secret": [SECRET]}]


def test_a_script_is_told_in_json(marc: Visitor, sent: list[dict[str, list[str]]]) -> None:
    with shifted(LATER):
        response = marc.post(
            "/office/delicate",
            data={"csrf_token": marc.token("/office/account")},
            headers={"Accept": "application/json"},
        )
    assert response.status_code == 403 and response.json is not None
    assert response.json["title"] == "Please type your password again" and sent == []
