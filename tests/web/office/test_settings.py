"""Settings › General and Modules: switches that work at the next request, kept as each person changed them."""

import re

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from portal.audit import AuditEntry
from portal.settings import KEYS, LETTERS, read_settings
from tests.makers import make_gateway, make_invoice
from tests.web.conftest import Site, Visitor, words

GENERAL = "/office/settings"
MODULES = "/office/settings/modules"


def filled(visitor: Visitor, path: str) -> dict[str, str]:
    """The form as the page shows it: what a browser would send if nothing were touched."""
    page = visitor.get(path).text
    fields: dict[str, str] = {}
    for tag in re.findall(r"<input [^>]*>", page):
        attributes = dict(re.findall(r'(\w[\w-]*)="([^"]*)"', tag))
        if attributes.get("type") == "checkbox" and " checked" not in tag:
            continue
        fields[attributes["name"]] = attributes.get("value", "")
    return fields


def save(visitor: Visitor, path: str, form: dict[str, str], **changes: str | None) -> str:
    """Press the button; None takes a switch off. Gives the page that follows, in words."""
    sent = {**form, **{key: value for key, value in changes.items() if value is not None}}
    for key, value in changes.items():
        if value is None:
            sent.pop(key, None)
    answer = visitor.post(path, data=sent)
    return words(visitor.get(answer.location) if answer.status_code == 303 else answer)


def now_is(site: Site, key: str) -> str:
    with site.parts.database.read() as connection:
        return read_settings(connection).text(key)


@pytest.mark.promise("O1", "O5")
def test_an_administrator_turns_switches_on_and_sees_who_did(site: Site) -> None:
    marc = site.visitor("marc@example.com")
    page = save(marc, GENERAL, filled(marc, GENERAL), accept_payments_in_portal="yes", email_pay_online_request="yes")
    assert "Saved." in page and "Accept Payments in the Portal is now: Yes." in page
    assert "Marc Oduya Accept Payments in the Portal No Yes" in page
    assert now_is(site, "accept_payments_in_portal") == now_is(site, "email_pay_online_request") == "yes"
    page = save(marc, MODULES, filled(marc, MODULES), module_payment_gateways="yes")
    assert "Payment Gateways is now: Yes." in page
    assert "Module Payment Gateways No Yes" in page
    assert "Accept Payments in the Portal No Yes" not in page  # each page has its own changes only
    assert "Module Payment Gateways" not in words(marc.get(GENERAL))
    assert "Nothing has been changed yet." in words(marc.get("/office/settings/gateways"))
    assert now_is(site, "module_payment_gateways") == "yes" and now_is(site, "module_programs") == "no"
    assert "Nothing was changed." in save(marc, MODULES, filled(marc, MODULES))


@pytest.mark.promise("O5")
def test_each_change_is_in_the_audit_log_with_before_and_after(site: Site) -> None:
    marc = site.visitor("marc@example.com")
    save(marc, GENERAL, filled(marc, GENERAL), clinic_phone="604-555-0100", portal_enabled=None)

    def entries(session: Session) -> list[tuple[object, ...]]:
        wanted = select(AuditEntry.subject, AuditEntry.before, AuditEntry.after).where(
            AuditEntry.user_id == site.cast.administrator.id
        )
        return sorted(tuple(row) for row in session.execute(wanted))

    assert site.change(entries) == [("Phone", "250-555-0142", "604-555-0100"), ("Portal enabled", "yes", "no")]


@pytest.mark.promise("O1")
@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("clinic_name", "  ", "Clinic name takes 1 to 500 characters."),
        ("clinic_hue", "teal", "Colour takes a whole number from 0 to 360."),
        ("clinic_email", "front desk", "Email takes an email address, or nothing."),
        ("idle_minutes", "0", "Minutes until sign-out takes a whole number from 1 to 720."),
        ("clinic_phone", "x" * 501, "Phone takes up to 500 characters."),
        ("clinic_address", "a\0b", "Address takes up to 500 characters."),
    ],
)
def test_a_value_that_does_not_fit_stays_in_the_form_and_nothing_is_saved(
    site: Site, key: str, value: str, sentence: str
) -> None:
    marc = site.visitor("marc@example.com")
    form = filled(marc, GENERAL)
    before = now_is(site, key)
    answer = marc.post(GENERAL, data={**form, key: value, "accept_payments_in_portal": "yes"})
    assert answer.status_code == 422
    assert sentence in words(answer)
    assert now_is(site, key) == before and now_is(site, "accept_payments_in_portal") == "no"
    again = re.search(r'<input class="switch"[^>]* id="accept_payments_in_portal"[^>]*>', answer.text)
    assert again and " checked" in again[0], "what was typed beside it is kept"
    if value.strip() and value.isprintable():
        assert f'value="{value}"' in answer.text


def test_two_administrators_at_once_do_not_undo_each_others_switches(site: Site) -> None:
    marc, other = site.visitor("marc@example.com"), site.visitor("marc@example.com")
    first, second = filled(marc, GENERAL), filled(other, GENERAL)
    save(marc, GENERAL, first, accept_payments_in_portal="yes")
    save(other, GENERAL, second, clinic_phone="604-555-0100")
    assert now_is(site, "accept_payments_in_portal") == "yes", "the second form showed it off, but did not touch it"
    assert now_is(site, "clinic_phone") == "604-555-0100"


def test_the_same_thing_changed_by_two_is_told_not_overwritten(site: Site) -> None:
    marc, other = site.visitor("marc@example.com"), site.visitor("marc@example.com")
    first, second = filled(marc, GENERAL), filled(other, GENERAL)
    save(marc, GENERAL, first, clinic_phone="604-555-0100", accept_payments_in_portal="yes")
    answer = other.post(GENERAL, data={**second, "clinic_phone": "604-555-0199"})
    assert answer.status_code == 422
    assert "Somebody else has changed this to “604-555-0100” meanwhile." in words(answer)
    assert now_is(site, "clinic_phone") == "604-555-0100"
    fields = {}
    for tag in re.findall(r"<input [^>]*>", answer.text):
        attributes = dict(re.findall(r'(\w[\w-]*)="([^"]*)"', tag))
        if attributes.get("type") != "checkbox" or " checked" in tag:
            fields[attributes["name"]] = attributes.get("value", "")
    assert other.post(GENERAL, data=fields).status_code == 303
    assert now_is(site, "clinic_phone") == "604-555-0199"
    assert now_is(site, "accept_payments_in_portal") == "yes", "what only the first changed stays"


def test_a_form_of_garbage_changes_nothing_and_breaks_nothing(site: Site) -> None:
    marc = site.visitor("marc@example.com")
    token = marc.token(GENERAL)
    for data in (
        {},
        {"portal_enabled": "\0"},
        {"was_portal_enabled": "perhaps", "portal_enabled": "x" * 5000},
        {"was_clinic_hue": "\0", "clinic_hue": "\0"},
        {"was_nothing": "1", "nothing": "2"},
        {"clinic_name": "Mine now"},
    ):
        assert marc.post(GENERAL, data={"csrf_token": token, **data}).status_code in (303, 422)
        assert marc.post(MODULES, data={"csrf_token": token, **data}).status_code in (303, 422)
    assert now_is(site, "clinic_name") == "Alder Lane Clinic"


@pytest.mark.promise("O1")
def test_plain_sql_is_followed_by_the_page_itself(site: Site) -> None:
    marc = site.visitor("marc@example.com")
    site.change(
        lambda session: session.execute(text("INSERT INTO settings (key, value) VALUES ('clinic_hue', '28')"))
    )
    assert filled(marc, GENERAL)["clinic_hue"] == "28"


def test_every_setting_has_its_place_on_a_page(site: Site) -> None:
    marc = site.visitor("marc@example.com")
    mails = [f"/office/settings/emails{kind}" for kind in ("", *(f"/{kind}" for kind in LETTERS))]
    pages = "".join(marc.get(path).text for path in (GENERAL, MODULES, *mails))
    assert [key for key in KEYS if f'id="{key}"' not in pages] == []


@pytest.mark.promise("O4")
@pytest.mark.parametrize(
    ("path", "key"),
    [(MODULES, "module_payment_gateways"), (GENERAL, "accept_payments_in_portal"), (GENERAL, "portal_enabled")],
)
def test_a_switch_turned_off_on_the_page_takes_the_button_and_the_route(site: Site, path: str, key: str) -> None:
    for each in ("module_payment_gateways", "accept_payments_in_portal"):
        site.setting(each, "yes")
    site.change(lambda session: make_gateway(session, site.parts.vault))
    number = site.change(lambda session: make_invoice(session, site.cast.maya).number)
    maya, marc = site.visitor("maya@example.com"), site.visitor("marc@example.com")
    assert "Pay this invoice" in words(maya.get(f"/invoices/{number}"))
    save(marc, path, filled(marc, path), **{key: None})
    assert "Pay this invoice" not in words(maya.get(f"/invoices/{number}"))
    refused = maya.get(f"/invoices/{number}/pay")
    assert refused.status_code in (403, 409)
    assert "250-555-0142" in words(refused)


@pytest.mark.promise("O5")
def test_staff_without_the_right_neither_see_nor_change_settings(site: Site) -> None:
    for email in ("dana@example.com", "ines@example.com", "liam@example.com"):
        someone = site.visitor(email)
        token = someone.token("/office/account")
        assert 'href="/office/settings"' not in someone.get("/office/account").text
        for path in (GENERAL, MODULES):
            assert someone.get(path).status_code == 403
            data = {"csrf_token": token, "was_portal_enabled": "yes"}
            assert someone.post(path, data=data).status_code == 403
    assert now_is(site, "portal_enabled") == "yes"
