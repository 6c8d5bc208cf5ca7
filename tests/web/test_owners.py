"""Every address of the portal that names something of a patient's, asked for by whoever it doesn't belong to."""

from dataclasses import dataclass
from uuid import UUID

import pytest
from sqlalchemy.orm import Session
from werkzeug.routing import Rule

from portal.cards import Consent, SavedCard, keep_card
from portal.clock import now
from portal.gateway import CardLook
from portal.gateway.configured import ConfiguredGateway
from portal.payments.states import State
from portal.programs.states import Place
from portal.programs.tables import Registration
from portal.web.access import PATIENT, rule_of
from tests.makers import (
    make_attempt,
    make_gateway,
    make_invoice,
    make_patient,
    make_payer_link,
    make_payment,
    make_program,
)
from tests.web.conftest import Site


@dataclass(frozen=True)
class Belongings:
    """What one patient has, by the names under which addresses ask for it."""

    number: str
    receipt: str
    attempt: UUID
    public_id: str
    payer_id: int
    place: str
    place_attempt: UUID


@pytest.fixture
def jonass(site: Site) -> Belongings:
    """What belongs to Jonas."""

    def give(session: Session) -> Belongings:
        patient, vault = site.cast.stranger, site.parts.vault
        gateway = make_gateway(session, vault)
        invoice = make_invoice(session, patient)
        payment = make_payment(session, invoice, 10_00)
        attempt = make_attempt(session, invoice, gateway, user_id=site.cast.stranger_user.id)
        look = CardLook("card", brand="visa", funding="credit", last4="4242", exp_month=1, exp_year=2040)
        keep_card(session, vault, payer_id=patient.id, gateway_id=gateway.id, mode="test", method_id="pm_jonas",
                  card=look, consent=Consent("2026-11", now(), None))  # fmt: skip
        card = session.query(SavedCard).one()
        mother = make_patient(session, "Ingrid", "Weber")
        make_payer_link(session, mother, patient)
        place, place_attempt = _place(session, site, gateway)
        return Belongings(
            invoice.number, str(payment.receipt_number), attempt.id, card.public_id, mother.id, place, place_attempt
        )

    site.setting("module_programs", "yes")
    found: Belongings = site.change(give)
    return found


def _place(session: Session, site: Site, gateway: ConfiguredGateway) -> tuple[str, UUID]:
    """A confirmed place of Jonas', and a payment of its invoice that was declined."""
    jonas, moment = site.cast.stranger, now()
    program = make_program(session)
    invoice = make_invoice(session, jonas)
    invoice.program_id = program.id
    place = Registration(
        public_id="place-of-jonas", program_id=program.id, patient_id=jonas.id, user_id=site.cast.stranger_user.id,
        channel="portal", state=Place.CONFIRMED, price_cents=program.price_cents, invoice_id=invoice.id,
        created_at=moment, confirmed_at=moment,
    )  # fmt: skip
    session.add(place)
    declined = make_attempt(session, invoice, gateway, State.DECLINED, user_id=site.cast.stranger_user.id)
    return place.public_id, declined.id


def _address(rule: Rule, whose: Belongings) -> str:
    """The rule's address with that patient's own things in it. One that names anything else fails here."""
    names = {"public_id": "place", "attempt": "place_attempt"} if rule.rule.startswith("/registrations/") else {}
    built = rule.build({name: getattr(whose, names.get(name, name)) for name in rule.arguments})
    assert built is not None
    return built[1]


def _named_things(site: Site) -> list[Rule]:
    """The rules that name a patient's own. (A program is everybody's.)"""
    own = [
        rule for rule in site.app.url_map.iter_rules() if rule.arguments and not rule.rule.startswith("/programs/")
    ]
    return [rule for rule in own if rule_of(site.app.view_functions[rule.endpoint]) == PATIENT]


@pytest.mark.promise("P2")
def test_nothing_of_another_patients_can_be_asked_for(site: Site, jonass: Belongings) -> None:
    for email in ("maya@example.com", "sven@example.com"):
        somebody = site.visitor(email)
        token = somebody.token("/invoices")
        for rule in _named_things(site):
            path = _address(rule, jonass)
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                response = somebody.open(
                    path, method=method, data={"csrf_token": token} if method == "POST" else None
                )
                assert response.status_code == 404, (email, method, path, response.status_code)


def test_their_owner_finds_them(site: Site, jonass: Belongings) -> None:
    """So that the walk above meets real things."""
    jonas = site.visitor("jonas@example.com")
    for rule in _named_things(site):
        if "GET" in (rule.methods or set()) and not rule.endpoint.endswith(".come_back"):  # which asks the gateway
            assert jonas.get(_address(rule, jonass)).status_code in (200, 303, 409), rule.rule
