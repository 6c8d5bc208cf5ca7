"""Receive Payment as the desk's browser meets it: what is sent, what is refused, what lands in the books."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from portal.audit import AuditEntry, RecordView
from portal.cards import remove_card
from portal.clock import now
from portal.gateway.configured import ConfiguredGateway
from portal.invariants import broken_invariants
from portal.invoices.books import void_invoice
from portal.invoices.tables import Invoice
from portal.parts import Parts
from portal.patients.finding import SHOWN
from portal.payments.states import State
from portal.payments.tables import Payment, PaymentAttempt
from portal.people import Patient
from portal.sandbox import Sandbox
from tests.makers import make_attempt, make_gateway, make_invoice, make_location, make_payment
from tests.web.conftest import Site, words

JSON = {"Accept": "application/json"}


class Desk:
    """A clinic whose desk can charge cards, at a sandbox in this process; Dana works there."""

    def __init__(self, site: Site, sandbox: Sandbox) -> None:
        self.site = site
        self.sandbox = sandbox
        self.parts: Parts = site.app.extensions["portal"]
        self.number = self.invoice()
        self.dana = site.visitor("dana@example.com")

    def invoice(self, patient: str = "maya", **how: Any) -> str:
        person = getattr(self.site.cast, patient)
        return str(self.site.change(lambda session: make_invoice(session, person, **how).number))

    def path(self, number: str = "") -> str:
        return f"/office/invoices/{number or self.number}/receive"

    def form(self, number: str = "") -> dict[str, str]:
        """The fields of the page as they stand."""
        page = self.dana.get(self.path(number)).text
        fields = dict(re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', page))
        for name in ("payer", "paid_by", "gateway"):
            options = page[page.index(f'name="{name}"') :]
            found = re.search(r'<option value="([^"]*)"[^>]* selected', options[: options.index("</select>")])
            fields[name] = found[1] if found else ""
        for box in ("save", "absent", "take_over", "update", "confirmation_token", "person"):
            fields.pop(box, None)
        return fields

    def send(self, on: str = "", **changes: str) -> TestResponse:
        """Press the button with the fields as they stand, but for these."""
        return self.dana.post(self.path(on), data={**self.form(on), **changes})

    def press(self, number: str = "", card: str = "visa", **changes: str) -> dict[str, str]:
        """Press Process Credit Card with a new card, as the page's script does; gives the answer and its status."""
        fields = {**self.form(number), "card": "new", "script": "1", "name": "Maya Lindqvist", **changes}
        cents = round(float(fields["amount"]) * 100)
        keeps = "off_session" if fields.get("save") else None
        token = self.sandbox.elements_token(card, amount=cents, currency="cad", setup_future_usage=keeps)
        fields.setdefault("confirmation_token", token)
        answer = self.dana.post(self.path(number), data=fields, headers=JSON)
        return {"status": str(answer.status_code), **(answer.get_json(silent=True) or {})}

    def row(self, number: str = "") -> Invoice:
        with Session(self.site.parts.database.reading) as session:
            return session.scalars(select(Invoice).where(Invoice.number == (number or self.number))).one()

    def payments(self) -> list[Payment]:
        with Session(self.site.parts.database.reading) as session:
            return list(session.scalars(select(Payment).order_by(Payment.id)))

    def attempts(self) -> list[PaymentAttempt]:
        with Session(self.site.parts.database.reading) as session:
            return list(session.scalars(select(PaymentAttempt).order_by(PaymentAttempt.started_at)))

    @property
    def taken(self) -> int:
        return sum(charge["amount_captured"] for charge in self.sandbox.charges() if charge["paid"])


@pytest.fixture
def desk(site: Site) -> Iterator[Desk]:
    sandbox = Sandbox()
    site.take_cards_at(sandbox)
    site.setting("module_payment_gateways", "yes")  # at the desk no other switch counts
    site.setting("portal_enabled", "no")
    site.change(lambda session: make_gateway(session, site.parts.vault, secret=sandbox.secret_key))
    yield Desk(site, sandbox)
    assert broken_invariants(site.parts.database) == []


# --- the page -------------------------------------------------------------------------------------------------------


@pytest.mark.promise("O8")
def test_the_form_is_filled_in_and_says_which_gateway_it_uses(desk: Desk) -> None:
    page = desk.dana.get(desk.path())
    assert page.status_code == 200
    fields = desk.form()
    assert (fields["amount"], fields["paid_by"], fields["gateway"]) == ("126.00", "visa", "process")
    assert fields["payer"] == str(desk.site.cast.maya.id)
    said = words(page)
    assert "Stripe, Alder Lane Clinic" in said
    assert "Test mode" in said


@pytest.mark.promise("O15")
def test_the_page_says_that_readers_are_not_supported_and_what_to_do_for_interac(desk: Desk) -> None:
    said = words(desk.dana.get(desk.path()))
    assert "Card readers are not supported. For Interac, use your own terminal" in said


@pytest.mark.promise("O8")
def test_a_new_card_is_charged_and_booked_as_what_stripe_reports(desk: Desk) -> None:
    answer = desk.press(card="mastercard", paid_by="visa")
    assert answer["outcome"] == "paid", answer
    (payment,) = desk.payments()
    assert (payment.brand, payment.channel, payment.nature) == ("mastercard", "desk", "payment")
    assert payment.recorded_by == desk.site.cast.clerk.id
    assert payment.payer_id == desk.site.cast.maya.id
    assert desk.taken == payment.amount_cents == 126_00
    page = desk.dana.get(answer["location"])
    assert "Payment received" in words(page)
    assert f"Receipt {payment.receipt_number}" in words(page)


@pytest.mark.promise("O8")
def test_cash_goes_into_the_books_alone(desk: Desk) -> None:
    answer = desk.send(paid_by="cash", amount="26.00")
    assert answer.status_code == 303
    (payment,) = desk.payments()
    assert (payment.kind, payment.amount_cents, payment.channel, payment.charge_id) == ("cash", 26_00, "desk", None)
    assert desk.row().balance_cents == 100_00
    said = words(desk.dana.get(answer.location))
    assert "Left to pay on invoice" in said
    assert "Receive the rest" in said
    assert desk.attempts() == []


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.promise("O8")
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Enter an amount such as 126.00."),
        ("abc", "Enter an amount such as 126.00."),
        ("1,50", "Enter an amount such as 126.00."),
        ("12.345", "Enter an amount such as 126.00."),
        ("1e3", "Enter an amount such as 126.00."),
        ("NaN", "Enter an amount such as 126.00."),
        ("١٢", "Enter an amount such as 126.00."),
        ("9" * 400, "Enter an amount such as 126.00."),
        ("0", "Enter more than $0.00"),
        ("0.00", "Enter more than $0.00"),
        ("-5", "Enter what you receive."),
        ("−126.00", "Enter what you receive."),
        ("126.01", "That is more than is left to pay. Enter CA$126.00, or less."),
        ("12\0", "Enter an amount such as 126.00."),
    ],
)
def test_a_wrong_amount_is_refused_at_its_field_and_kept(desk: Desk, typed: str, said: str) -> None:
    page = desk.send(paid_by="cash", amount=typed)
    assert page.status_code == 422
    assert said in words(page)
    field = re.search(r'<input id="amount"[^>]*>', page.text)
    assert field is not None
    assert 'aria-invalid="true"' in field[0]
    kept = "".join(filter(str.isprintable, typed))[:300]
    assert f'value="{kept}"' in field[0]
    answer = desk.dana.post(desk.path(), data={**desk.form(), "paid_by": "visa", "amount": typed}, headers=JSON)
    assert answer.status_code == 422
    assert said in answer.get_json()["wrong"]["amount"]
    assert desk.payments() == []
    assert desk.attempts() == []


@pytest.mark.promise("O8")
def test_a_card_payment_below_the_least_is_refused_at_the_field(desk: Desk) -> None:
    page = desk.send(amount="0.49")
    assert page.status_code == 422
    assert "Cards can be charged from CA$0.50." in words(page)
    assert desk.send(paid_by="cash", amount="0.49").status_code == 303


@pytest.mark.promise("O8")
@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("shown", "1", 303),
        ("shown", "", 303),
        ("shown", "-1", 303),
        ("shown", "9" * 40, 303),
        ("version", "99", 303),
        ("version", "abc", 303),
        ("version", "9" * 40, 303),
        ("currency", "usd", 303),
        ("currency", "", 303),
        ("attempt", "", 303),
        ("attempt", "not-a-uuid", 303),
        ("attempt", "../../etc/passwd", 303),
        ("card", "", 303),
        ("card", "' OR 1=1 --", 303),
        ("confirmation_token", "x" * 5000, 303),
        ("payer", "", 422),
        ("payer", "999999999", 422),
        ("payer", "99999999999999999999", 422),
        ("payer", "-1", 422),
        ("payer", "1 OR 1=1", 422),
        ("payer", "\0", 422),
        ("payer", "٣", 422),
        ("paid_by", "", 422),
        ("paid_by", "bitcoin", 422),
        ("note", "x" * 201, 422),
        ("csrf_token", "forged", 400),
    ],
)
def test_a_tampered_field_records_nothing(desk: Desk, field: str, value: str, status: int) -> None:
    answer = desk.send(**{"paid_by": "cash", field: value})
    assert answer.status_code == status
    if status == 303:
        assert answer.location == desk.path()
        assert "Nothing was charged" in words(desk.dana.get(desk.path()))
    assert desk.payments() == []


@pytest.mark.promise("O8")
def test_everything_that_was_typed_is_kept(desk: Desk) -> None:
    page = desk.send(paid_by="insurance", amount="999", note="Claim 7 & co", payer="other", find="we%_\\ ber")
    assert page.status_code == 422
    for kept in ('value="999"', 'value="Claim 7 &amp; co"', 'value="we%_\\ ber"'):
        assert kept in page.text, kept
    assert re.search(r'<option value="insurance"[^>]* selected', page.text)
    assert re.search(r'<option value="other"[^>]* selected', page.text)
    assert "Find the person who pays, then choose them." in words(page)


def test_no_card_is_processed_without_one(desk: Desk) -> None:
    page = desk.send()
    assert page.status_code == 422
    assert "The card has not been entered. Nothing was charged." in words(page)
    assert desk.attempts() == []


@pytest.mark.promise("O9")
def test_a_card_that_was_removed_meanwhile_is_said_to_be_gone(desk: Desk) -> None:
    desk.press(save="y", amount="26.00")
    [card] = re.findall(
        r'class="saved" type="radio" name="card" id="card-1" value="(\w+)"', desk.dana.get(desk.path()).text
    )
    remove_card(desk.parts, desk.site.cast.maya.id, card, by=desk.site.cast.clerk.id)
    gone = words(desk.send(card=card, amount="10.00"))
    assert "This payer no longer has that card on file. Nothing was charged." in gone
    assert "Choose another card, or enter it as a new one." in gone
    assert desk.taken == 26_00


@pytest.mark.promise("O9")
def test_another_persons_saved_card_is_refused(desk: Desk) -> None:
    desk.press(save="y", amount="26.00")
    fields = desk.form()
    assert fields["payer"] == str(desk.site.cast.maya.id)
    card = re.search(
        r'class="saved" type="radio" name="card" id="card-1" value="(\w+)"', desk.dana.get(desk.path()).text
    )
    assert card is not None
    theirs = desk.send(card=card[1], payer=str(desk.site.cast.stranger.id), amount="10.00")
    assert theirs.status_code == 422
    assert "This payer no longer has that card on file. Nothing was charged." in words(theirs)
    assert desk.taken == 26_00
    assert desk.send(card=card[1], amount="10.00").status_code == 303
    assert desk.taken == 36_00


# --- the receipt ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("O3")
def test_the_receipt_of_a_rehearsed_payment_says_that_no_money_moved(desk: Desk) -> None:
    rehearsed = "Test mode: this payment was a rehearsal. No money moved"
    card = desk.press(amount="26.00")["location"]
    assert rehearsed in words(desk.dana.get(card))
    cash = desk.send(paid_by="cash", amount="10.00").headers["Location"]
    assert rehearsed not in words(desk.dana.get(cash))


# --- payers ---------------------------------------------------------------------------------------------------------


def test_the_people_who_pay_for_the_patient_are_offered(desk: Desk) -> None:
    page = desk.dana.get(desk.path(desk.invoice("theo"))).text
    options = re.findall(r"<option[^>]*>([^<]+)</option>", page[page.index('name="payer"') :])
    assert options[:5] == [
        "Theo Lindqvist, the patient",
        "Maya Lindqvist, pays for them",
        "Sven Lindqvist, pays for them",
        "Someone else on file",
        "Not named",
    ]


@pytest.mark.promise("O8")
@pytest.mark.parametrize("text", ["weber", "JONAS web", "jonas@example.com", "Wéber"])
def test_somebody_else_is_found_without_script(desk: Desk, text: str) -> None:
    found = desk.send(update="find", payer="other", find=text, amount="26")
    assert found.status_code == 200
    assert "Jonas Weber" in words(found)
    assert "born 9 Sep 1975" in words(found)
    assert 'value="26"' in found.text
    jonas = str(desk.site.cast.stranger.id)
    chosen = desk.send(update="payer", payer="other", person=jonas, amount="26")
    assert "Read aloud to Jonas Weber" in words(chosen)
    assert desk.send(payer="other", person=jonas, amount="26", paid_by="cash").status_code == 303
    assert [one.payer_id for one in desk.payments()] == [desk.site.cast.stranger.id]


@pytest.mark.promise("O8")
@pytest.mark.parametrize("text", ["250 555 0177", "0177", "P-{id}"])
def test_the_payer_is_found_by_phone_and_by_number(desk: Desk, text: str) -> None:
    jonas = desk.site.cast.stranger

    def call(session: Session) -> None:
        session.merge(jonas).phone = "(250) 555-0177"

    desk.site.change(call)
    assert "Jonas Weber" in words(desk.send(update="find", payer="other", find=text.format(id=jonas.id)))


@pytest.mark.promise("O8")
def test_a_search_that_fits_too_many_asks_for_more(desk: Desk) -> None:
    def crowd(session: Session) -> None:
        session.add_all(
            Patient(given_name=f"Ann {turn}", family_name="Weberling", created_at=now()) for turn in range(SHOWN)
        )

    desk.site.change(crowd)
    assert "More people fit." in words(desk.send(update="find", payer="other", find="weber"))
    assert "More people fit." not in words(desk.send(update="find", payer="other", find="jonas"))


@pytest.mark.parametrize("text", ["%", "_", "\\", "\0", "nobody at all", " ", "x" * 5000])
def test_a_search_that_finds_nobody_says_so(desk: Desk, text: str) -> None:
    page = desk.send(update="find", payer="other", find=text)
    assert page.status_code == 200
    assert "Jonas Weber" not in words(page)


@pytest.mark.promise("O8")
def test_a_payer_may_stay_unnamed_and_keeps_no_card_then(desk: Desk) -> None:
    shown = desk.send(update="payer", payer="nobody")
    assert "To save a card, choose the payer first: it belongs to them." in words(shown)
    assert 'name="save"' not in shown.text
    assert desk.press(payer="nobody", amount="26.00")["outcome"] == "paid"
    refused = desk.press(payer="nobody", amount="26.00", save="y")
    assert refused["status"] == "422"
    assert [one.payer_id for one in desk.payments()] == [None]


# --- the gateway ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("O8")
def test_the_gateway_of_the_invoices_location_comes_before_the_clinics(desk: Desk) -> None:
    vault = desk.site.parts.vault

    def another_place(session: Session) -> str:
        place = make_location(session, "Harbour", prefix="H-", currency="USD")
        make_gateway(session, vault, location=place, name="Harbour Clinic", secret=desk.sandbox.secret_key)
        return str(make_invoice(session, desk.site.cast.maya, location=place).number)

    number = str(desk.site.change(another_place))
    page = desk.dana.get(desk.path(number))
    assert "Stripe, Harbour Clinic" in words(page)
    assert "Amount, US$" in words(page)
    assert "Stripe, Alder Lane Clinic" in words(desk.dana.get(desk.path()))
    received = desk.send(number, paid_by="cash", amount="26.00")
    assert "US$" in words(desk.dana.get(received.location))
    assert [one.currency for one in desk.payments()] == ["USD"]


@pytest.mark.promise("O8")
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("module", "Payment Gateways are switched off under Settings, Modules. No card can be processed."),
        ("inactive", "Alder Lane has no active gateway. No card can be processed."),
    ],
)
def test_without_a_gateway_a_sentence_says_why_and_cards_are_refused(desk: Desk, how: str, said: str) -> None:
    fields = {**desk.form(), "confirmation_token": "ctoken_any", "card": "new"}
    if how == "module":
        desk.site.setting("module_payment_gateways", "no")
    else:
        desk.site.change(lambda session: session.execute(update(ConfiguredGateway).values(status="inactive")))
    page = desk.dana.get(desk.path())
    assert said in words(page)
    assert '<script src="/static/js/pay.js' not in page.text
    answer = desk.dana.post(desk.path(), data=fields)
    assert answer.status_code == 422
    assert "No card can be processed here now." in words(answer)
    assert desk.taken == 0
    assert desk.send(paid_by="visa", gateway="none").status_code == 303
    assert [(one.kind, one.brand, one.charge_id) for one in desk.payments()] == [("card", "visa", None)]


@pytest.mark.promise("O3", "O8")
def test_in_production_a_test_gateway_takes_no_payment_at_the_desk(desk: Desk) -> None:
    parts = desk.site.parts
    desk.site.app.extensions["portal"] = replace(parts, config=replace(parts.config, production=True))
    said = words(desk.dana.get(desk.path()))
    assert "The gateway is in Test mode, which takes no payment on real invoices." in said
    answer = desk.send(paid_by="visa", gateway="process", card="new", confirmation_token="ctoken_any")
    assert answer.status_code == 422
    assert desk.taken == 0


# --- what can't be received -----------------------------------------------------------------------------------------


@pytest.mark.promise("O8")
def test_a_paid_and_a_void_invoice_have_nothing_to_receive(desk: Desk) -> None:
    fields = {**desk.form(), "paid_by": "cash"}
    desk.site.change(lambda session: make_payment(session, session.merge(desk.row())))
    assert "There is nothing left to pay on it." in words(desk.dana.get(desk.path()))
    void = desk.invoice()
    desk.site.change(lambda session: void_invoice(session, desk.row(void).id, "Entered twice"))
    assert "This invoice is void. Nothing was charged." in words(desk.dana.get(desk.path(void)))
    for number in (desk.number, void):
        late = desk.dana.post(desk.path(number), data=fields)
        assert late.status_code == 409
        assert "There is nothing" in words(late)
    assert len(desk.payments()) == 1


@pytest.mark.promise("O8", "G1")
def test_an_invoice_that_changed_meanwhile_is_shown_anew(desk: Desk) -> None:
    fields = {**desk.form(), "paid_by": "cash", "amount": "100"}
    desk.send(paid_by="cash", amount="50")
    answer = desk.dana.post(desk.path(), data=fields)
    assert answer.status_code == 422  # 76.00 are left: said at the field
    answer = desk.dana.post(desk.path(), data={**fields, "amount": "50"})
    assert answer.status_code == 303
    assert "There is now CA$76.00 left to pay." in words(desk.dana.get(answer.location))
    assert len(desk.payments()) == 1


@pytest.mark.promise("O8", "G1")
def test_somebody_who_is_paying_is_told_of_and_taken_over_only_with_a_word(desk: Desk) -> None:
    def begin(session: Session) -> None:
        invoice = session.merge(desk.row())
        gateway = session.scalars(select(ConfiguredGateway)).one()
        user = desk.site.cast.maya_user.id
        make_attempt(session, invoice, gateway, State.CREATED, user_id=user)

    fields = {**desk.form(), "paid_by": "cash"}
    desk.site.change(begin)
    late = desk.dana.post(desk.path(), data=fields, headers=JSON)
    assert (late.status_code, late.get_json()["reload"]) == (422, True)
    page = desk.dana.get(desk.path())
    assert "Somebody is paying this invoice right now (since" in words(page)
    refused = desk.send(paid_by="cash")
    assert refused.status_code == 422
    assert 'id="take-over-error"' in refused.text
    assert desk.payments() == []
    assert desk.send(paid_by="cash", take_over="y").status_code == 303
    assert [one.state for one in desk.attempts()] == ["failed"]


# --- who may, and what is written down ------------------------------------------------------------------------------


def test_only_those_who_may_receive_open_it(desk: Desk) -> None:
    assert desk.site.visitor("liam@example.com").get(desk.path()).status_code == 403
    assert desk.dana.get(desk.path("nobody's")).status_code == 404
    assert desk.dana.get(f"{desk.path()}/{uuid4()}").status_code == 404
    assert desk.dana.get(f"/office/invoices/{desk.number}/received/R-1").status_code == 404


@pytest.mark.promise("O8")
def test_looking_and_receiving_are_written_down(desk: Desk) -> None:
    desk.send(paid_by="cash", amount="26.00")
    with Session(desk.site.parts.database.reading) as session:
        views = list(session.scalars(select(RecordView).order_by(RecordView.id)))
        (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.action == "payment.received"))
    assert {(one.user_id, one.patient_id, one.page) for one in views} == {
        (desk.site.cast.clerk.id, desk.site.cast.maya.id, "receive payment")
    }
    assert entry.user_id == desk.site.cast.clerk.id
    assert entry.patient_id == desk.site.cast.maya.id
    assert "CA$26.00, cash" in entry.after


@pytest.mark.promise("O8", "G1")
def test_a_repeated_post_answers_the_same_receipt(desk: Desk) -> None:
    for paid_by in ("cash", "visa"):
        fields = {**desk.form(), "paid_by": paid_by, "amount": "20.00", "card": "new"}
        fields["confirmation_token"] = desk.sandbox.elements_token("visa", amount=20_00, currency="cad")
        answers = [desk.dana.post(desk.path(), data=fields) for _ in range(3)]
        assert {answer.status_code for answer in answers} == {303}
        assert len({answer.location for answer in answers}) == 1
    assert [one.amount_cents for one in desk.payments()] == [20_00, 20_00]
    assert desk.taken == 20_00


def test_the_page_takes_few_statements(desk: Desk) -> None:
    desk.dana.get(desk.path())
    with desk.site.counting() as sent:
        desk.dana.get(desk.path())
    assert len([one for one in sent if not one.startswith(("BEGIN", "INSERT"))]) <= 6
