"""Who may open what: a rule on every route, walls between patients, staff and strangers, switches that work live."""

from collections.abc import Collection, Iterator

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session
from werkzeug.routing import Rule

from portal.people import PayerLink
from portal.permissions import PERMISSIONS, May
from portal.web.access import (
    GATEWAY,
    HALF,
    PATIENT,
    PUBLIC,
    STAFF,
    check_that_every_route_has_a_rule,
    public,
    rule_for,
    rule_of,
)
from tests.makers import make_invoice, make_payer_link, make_payment
from tests.web.conftest import Site, words

SEEN_BY_ANYBODY = {
    "static", "theme", "start.door", "health.alive", "health.ready", "security.login", "security.logout",
    "security.forgot_password", "security.reset_password", "invitations.page", "invitations.open_link",
    "invitations.accept", "sign_up.page", "sign_up.ask", "sign_up.sent",
    "sign_up.open_link", "sign_up.proving", "sign_up.prove", "sign_up.waiting",
    "no_reminders.ask", "no_reminders.stop",
    "pay_links.open_link", "pay_links.form", "pay_links.press", "pay_links.settle", "pay_links.come_back",
    "pay_links.status", "pay_links.receipt", "pay_links.renew", "pay_links.renewed",
    "programs.browse", "programs.one", "programs.calendar",
    "registrations.hold", "registrations.one", "registrations.let_go",
}  # fmt: skip
STAFFS = {STAFF, *(rule_for(permission) for permission in May)}
EMAILS = {
    "front_desk": "dana@example.com",
    "billing": "ines@example.com",
    "practitioner": "liam@example.com",
    "administrator": "marc@example.com",
}


def _path(rule: Rule) -> str:
    """An address that fits a rule."""
    values: dict[str, object] = dict.fromkeys(rule.arguments, "10001")
    for name, converter in rule._converters.items():
        if type(converter).__name__ == "UUIDConverter":
            values[name] = "00000000-0000-4000-8000-000000000000"
        elif type(converter).__name__ == "IntegerConverter":
            values[name] = 5
    built = rule.build(values)
    assert built is not None
    return built[1]


def _rules(site: Site, wanted: Collection[str | None]) -> Iterator[tuple[Rule, str]]:
    for rule in site.app.url_map.iter_rules():
        if rule_of(site.app.view_functions[rule.endpoint]) in wanted:
            yield rule, _path(rule)


def test_every_route_declares_exactly_one_rule(site: Site) -> None:
    rules = {endpoint: rule_of(view) for endpoint, view in site.app.view_functions.items()}
    assert set(rules.values()) <= {PUBLIC, PATIENT, HALF, GATEWAY, *STAFFS}
    assert {endpoint for endpoint, rule in rules.items() if rule == PUBLIC} == SEEN_BY_ANYBODY
    assert {endpoint for endpoint, rule in rules.items() if rule == GATEWAY} == {"hooks.stripe"}


def test_an_application_with_a_bare_route_does_not_start() -> None:
    app = Flask("bare", static_folder=None)
    app.add_url_rule("/bare", "bare", lambda: "bare")
    with pytest.raises(AssertionError, match="bare"):
        check_that_every_route_has_a_rule(app)


def test_a_view_takes_no_second_rule() -> None:
    with pytest.raises(AssertionError):
        public(public(lambda: "twice"))


def test_strangers_are_asked_to_sign_in_everywhere(site: Site) -> None:
    stranger = site.visitor()
    for rule, path in _rules(site, {PATIENT, HALF, *STAFFS}):
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            data = {"csrf_token": stranger.token()} if method == "POST" else None
            response = stranger.open(path, method=method, data=data)
            assert response.status_code == 303, path
            assert response.location.startswith("/login"), path


def test_without_the_second_factor_the_office_stays_closed(site: Site) -> None:
    marc = site.visitor()
    marc.sign_in("marc@example.com")
    token = marc.token("/second-factor")
    for rule, path in _rules(site, STAFFS):
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            response = marc.open(path, method=method, data={"csrf_token": token} if method == "POST" else None)
            assert response.status_code == 303, path
            assert response.location.startswith("/second-factor"), path


@pytest.mark.promise("O5")
@pytest.mark.parametrize("role", PERMISSIONS)
def test_each_role_opens_what_it_may_and_nothing_else(site: Site, role: str) -> None:
    someone = site.visitor(EMAILS[role])
    token = someone.token("/office/account")
    allowed = {STAFF, *(rule_for(permission) for permission in PERMISSIONS[role])}
    for rule, path in _rules(site, STAFFS):
        opens = rule_of(site.app.view_functions[rule.endpoint]) in allowed
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            if opens and method != "GET":
                continue  # whether a press is right is the matter of each room's own tests
            response = someone.open(path, method=method, data={"csrf_token": token} if method == "POST" else None)
            assert (response.status_code == 403) != opens, (path, method, response.status_code)


def test_patients_and_staff_each_stay_in_their_part(site: Site) -> None:
    maya, dana = site.visitor("maya@example.com"), site.visitor("dana@example.com")
    for visitor, closed in ((maya, {HALF, *STAFFS}), (dana, {PATIENT})):
        home = "/invoices" if visitor is maya else "/office/account"
        for rule, path in _rules(site, closed):
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                data = {"csrf_token": visitor.token(home)} if method == "POST" else None
                response = visitor.open(path, method=method, data=data)
                assert response.status_code == 403, path
                assert "This page isn't for your account" in words(response)


@pytest.mark.promise("P2")
def test_a_strangers_invoice_is_not_found(site: Site) -> None:
    def issue(session: Session) -> tuple[str, str]:
        invoice = make_invoice(session, site.cast.maya)
        payment = make_payment(session, invoice)
        return invoice.number, str(payment.receipt_number)

    number, receipt = site.change(issue)
    jonas, maya = site.visitor("jonas@example.com"), site.visitor("maya@example.com")
    for path in (f"/invoices/{number}", f"/invoices/{number}/receipts/{receipt}", f"/invoices/{number}/pay"):
        refused, unknown = jonas.get(path), jonas.get(path.replace(number, "99999"))
        assert (refused.status_code, unknown.status_code) == (404, 404)
        assert words(refused) == words(unknown)
    assert maya.get(f"/invoices/{number}/receipts/{receipt}").status_code == 200
    assert maya.get(f"/invoices/{number}/receipts/R-1").status_code == 404


def test_a_receipt_of_another_invoice_is_not_found(site: Site) -> None:
    def issue(session: Session) -> tuple[str, str]:
        mine, hers = make_invoice(session, site.cast.stranger), make_invoice(session, site.cast.maya)
        return mine.number, str(make_payment(session, hers).receipt_number)

    number, receipt = site.change(issue)
    assert site.visitor("jonas@example.com").get(f"/invoices/{number}/receipts/{receipt}").status_code == 404


def test_a_payer_sees_lines_only_where_that_is_allowed(site: Site) -> None:
    cast = site.cast
    number = site.change(lambda s: make_invoice(s, cast.theo, practitioner=cast.practitioner).number)
    maya, sven = site.visitor("maya@example.com"), site.visitor("sven@example.com")
    full, bare = words(maya.get(f"/invoices/{number}")), words(sven.get(f"/invoices/{number}"))
    assert "Massage therapy" in full and "Liam Tremblay" in full
    assert "Massage therapy" not in bare and "Liam Tremblay" not in bare
    assert "$126.00" in bare and "stays between Theo and the clinic" in bare
    assert "Liam Tremblay" in words(maya.get("/invoices"))
    assert "Liam Tremblay" not in words(sven.get("/invoices")) and "for Theo Lindqvist" in words(
        sven.get("/invoices")
    )


def test_who_stops_paying_for_somebody_stops_seeing_their_invoices(site: Site) -> None:
    number = site.change(lambda session: make_invoice(session, site.cast.theo).number)
    sven = site.visitor("sven@example.com")
    assert sven.get(f"/invoices/{number}").status_code == 200
    site.change(lambda session: session.query(PayerLink).filter_by(payer_id=site.cast.second_payer.id).delete())
    assert sven.get(f"/invoices/{number}").status_code == 404
    assert number not in words(sven.get("/invoices"))


def test_paying_for_somebody_is_not_mutual(site: Site) -> None:
    number = site.change(lambda session: make_invoice(session, site.cast.maya).number)
    site.change(lambda session: make_payer_link(session, site.cast.maya, site.cast.stranger))
    assert site.visitor("jonas@example.com").get(f"/invoices/{number}").status_code == 404


def test_a_closed_portal_tells_patients_so_and_lets_staff_in(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    site.setting("portal_enabled", "no")
    response = maya.get("/invoices")
    assert response.status_code == 403
    assert "The patient portal is closed at the moment" in words(response)
    assert "250-555-0142" in words(response)
    assert "The patient portal is closed at the moment" in words(site.visitor().get("/login"))
    refused = site.visitor().sign_in("sven@example.com")
    assert refused.status_code == 403 and "The patient portal is closed" in words(refused)
    assert "We don't know this email" in words(site.visitor().sign_in("sven@example.com", "wrong wrong"))
    assert site.visitor().sign_in("dana@example.com").location == "/office/"
    site.setting("portal_enabled", "yes")
    assert maya.get("/invoices").status_code == 200


def test_settings_work_at_the_next_request_even_by_plain_sql(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    for statement in (
        "UPDATE settings SET value = 'Birch Street Clinic' WHERE key = 'clinic_name'",
        "INSERT INTO settings (key, value) VALUES ('clinic_hue', '28')",
    ):
        with site.parts.database.transaction() as session:
            session.execute(text(statement))
    page = maya.get("/invoices")
    assert "Birch Street Clinic" in words(page) and "Alder Lane Clinic" not in page.text
    assert '<link rel="stylesheet" href="/theme-28.css">' in page.text
