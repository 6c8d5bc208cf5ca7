"""The pay routes as a client that means ill, or is confused, meets them. (Paying itself is told in tests/e2e.)"""

import re
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import create_app
from portal.cards import Consent, keep_card
from portal.clock import now
from portal.errors import Refusal
from portal.gateway import CardLook
from portal.invariants import broken_invariants
from portal.parts import Parts
from portal.payments.owing import check_chargeable
from portal.payments.tables import PaymentAttempt
from portal.sandbox import Sandbox
from tests.makers import make_gateway, make_invoice, make_location
from tests.web.conftest import Site, Visitor, no_gateway, words

JSON = {"Accept": "application/json"}


class Till:
    """A site where cards can be charged, at a sandbox in this process."""

    def __init__(self, site: Site, sandbox: Sandbox) -> None:
        self.site = site
        self.sandbox = sandbox
        self.number = str(site.change(lambda session: make_invoice(session, site.cast.maya).number))

    def form(self, visitor: Visitor, number: str = "") -> dict[str, str]:
        """The fields of the pay page as they stand."""
        page = visitor.get(f"/invoices/{number or self.number}/pay").text
        return {
            name: re.search(rf'name="{name}" value="([^"]*)"', page)[1]  # type: ignore[index]  # it is there
            for name in ("csrf_token", "attempt", "amount", "currency")
        }

    def press(self, visitor: Visitor, number: str = "", **changes: str) -> dict[str, str]:
        """Press Pay with a good card and these changes; gives the answer and its status."""
        fields = {**self.form(visitor), "card": "new", "script": "1", "name": "Maya Lindqvist"}
        amount, currency = int(fields["amount"]), fields["currency"].lower()
        fields["confirmation_token"] = self.sandbox.elements_token("visa", amount=amount, currency=currency)
        answer = visitor.post(f"/invoices/{number or self.number}/pay", data={**fields, **changes}, headers=JSON)
        return {"status": str(answer.status_code), **(answer.get_json(silent=True) or {})}

    @property
    def taken(self) -> int:
        return sum(charge["amount_captured"] for charge in self.sandbox.charges() if charge["paid"])

    def attempts(self) -> list[PaymentAttempt]:
        with Session(self.site.parts.database.reading) as session:
            return list(session.scalars(select(PaymentAttempt)))


@pytest.fixture
def till(site: Site) -> Iterator[Till]:
    sandbox = Sandbox()
    site.take_cards_at(sandbox)
    for key in ("module_payment_gateways", "accept_payments_in_portal"):
        site.setting(key, "yes")
    site.change(lambda session: make_gateway(session, site.parts.vault, secret=sandbox.secret_key))
    yield Till(site, sandbox)
    assert broken_invariants(site.parts.database) == []


@pytest.fixture
def maya(till: Till) -> Visitor:
    return till.site.visitor("maya@example.com")


@pytest.mark.promise("P3")
def test_a_press_pays_and_a_repeated_one_answers_the_same(till: Till, maya: Visitor) -> None:
    fields = {**till.form(maya), "card": "new", "script": "1"}
    fields["confirmation_token"] = till.sandbox.elements_token("visa", amount=int(fields["amount"]), currency="cad")
    answers = [maya.post(f"/invoices/{till.number}/pay", data=fields, headers=JSON).get_json() for _ in range(3)]
    assert [answer["outcome"] for answer in answers] == ["paid"] * 3
    assert len({answer["location"] for answer in answers}) == 1
    assert till.taken == int(fields["amount"])


@pytest.mark.promise("P3")
@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("amount", "1", "409"),
        ("amount", "0", "409"),
        ("amount", "-100", "409"),
        ("amount", "12000.00", "409"),
        ("amount", "9" * 40, "409"),
        ("amount", "１２０００", "409"),
        ("currency", "usd", "409"),
        ("currency", "", "409"),
        ("attempt", "", "409"),
        ("attempt", "not-a-uuid", "409"),
        ("attempt", "../../etc/passwd", "409"),
        ("card", "", "409"),
        ("card", "' OR 1=1 --", "409"),
        ("card", "0123456789abcdef", "422"),
        ("confirmation_token", "", "422"),
        ("confirmation_token", "ctoken_nobody_made_this", "409"),
        ("confirmation_token", "pi_3/../../charges", "409"),
        ("confirmation_token", "x" * 5000, "409"),
        ("confirmation_token", "tök en", "409"),
        ("csrf_token", "forged", "400"),
        ("save", "y", "200"),
        ("script", "11111", "409"),
    ],
)
def test_a_tampered_field_charges_nothing_that_was_not_shown(
    till: Till, maya: Visitor, field: str, value: str, status: str
) -> None:
    answer = till.press(maya, **{field: value})
    assert answer["status"] == status, answer
    assert till.taken == (12_600 if status == "200" else 0)


@pytest.mark.promise("P3")
def test_another_persons_attempt_and_invoice_are_out_of_reach(till: Till, maya: Visitor) -> None:
    jonas = till.site.visitor("jonas@example.com")
    his = str(till.site.change(lambda session: make_invoice(session, till.site.cast.stranger).number))
    token = till.form(jonas, his)["csrf_token"]
    stolen = {**till.form(maya), "csrf_token": token, "card": "new", "confirmation_token": "ctoken_x"}
    assert jonas.post(f"/invoices/{till.number}/pay", data=stolen, headers=JSON).status_code == 404
    assert till.press(maya)["outcome"] == "paid"
    attempt = till.attempts()[0].id
    again = {**till.form(jonas, his), "attempt": str(attempt), "card": "new", "confirmation_token": "ctoken_x"}
    assert jonas.post(f"/invoices/{his}/pay", data=again, headers=JSON).status_code == 404
    for path in (f"/invoices/{till.number}/pay/{attempt}", f"/invoices/{till.number}/pay/{attempt}/return"):
        assert jonas.get(path).status_code == 404
    for path in (f"/invoices/{his}/pay/{attempt}/settle", f"/invoices/{till.number}/pay/{attempt}/settle"):
        assert jonas.post(path, data={"csrf_token": token}, headers=JSON).status_code == 404
    assert till.taken == 12_600


def _theos(till: Till, card: str, maya: Visitor) -> str:
    """Maya presses Pay on an invoice of Theo's, for whom Sven pays too; gives the address of her attempt."""
    number = str(till.site.change(lambda session: make_invoice(session, till.site.cast.theo).number))
    fields = {**till.form(maya, number), "card": "new", "script": "1"}
    amount = int(fields["amount"])
    fields["confirmation_token"] = till.sandbox.elements_token(card, amount=amount, currency="cad")
    answer = maya.post(f"/invoices/{number}/pay", data=fields, headers=JSON).get_json()
    attempt = next(one for one in till.attempts())
    assert answer["outcome"] in ("action", "declined", "paid"), answer
    return f"/invoices/{number}/pay/{attempt.id}"


@pytest.mark.parametrize("card", ["authenticationRequired", "visa_chargeDeclinedInsufficientFunds"])
def test_what_her_bank_says_to_one_payer_is_not_told_to_another(till: Till, maya: Visitor, card: str) -> None:
    address = _theos(till, card, maya)
    sven = till.site.visitor("sven@example.com")
    fields = {"csrf_token": sven.token("/invoices")}
    answer = sven.post(f"{address}/settle", data=fields, headers=JSON)
    assert answer.get_json() == {"outcome": "refused", "reload": True}
    form = address.rpartition("/")[0]
    assert sven.post(f"{address}/settle", data=fields).location == form
    assert sven.get(address).location == form
    assert sven.get(f"{address}/return").status_code == 404
    assert "4242" not in sven.get(form).text and "not enough money" not in words(sven.get(form))


def test_a_payer_who_waited_is_not_thanked_for_anothers_payment(till: Till, maya: Visitor) -> None:
    address = _theos(till, "visa", maya)
    sven = till.site.visitor("sven@example.com")
    answer = sven.post(f"{address}/settle", data={"csrf_token": sven.token("/invoices")}, headers=JSON).get_json()
    assert answer["outcome"] == "paid"
    page = words(sven.get(answer["location"]))
    assert "Somebody else has just paid this invoice. You were not charged." in page
    assert "Thank you" not in page


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    "path",
    ["/invoices/{number}/pay/not-a-uuid", "/invoices/{number}/pay/{nobody}", "/invoices/{number}/pay/{nobody}/settle",
     "/invoices/{number}/pay/{nobody}/return", "/invoices/%00/pay", "/invoices/a%2Fb/pay", "/invoices/' or 1=1/pay",
     "/invoices/" + "9" * 400 + "/pay"],
)  # fmt: skip
def test_an_address_that_nobody_wrote_is_an_answer_of_its_own(
    till: Till, maya: Visitor, method: str, path: str
) -> None:
    send: Callable[..., object] = maya.get if method == "get" else maya.send
    address = path.format(number=till.number, nobody=uuid4())
    answer = maya.get(address) if method == "get" else maya.send(address, page=f"/invoices/{till.number}/pay")
    assert send is not None
    assert answer.status_code in (404, 405), address


@pytest.mark.promise("P3")
def test_a_double_post_without_script_leads_to_one_receipt(till: Till, maya: Visitor) -> None:
    assert till.press(maya, save="y", card="new")["outcome"] == "paid"
    assert maya.get(f"/invoices/{till.number}/pay").status_code == 409
    assert "This invoice is paid" in words(maya.get(f"/invoices/{till.number}/pay"))


def test_the_pay_page_costs_four_statements_and_calls_nobody(till: Till, maya: Visitor) -> None:
    maya.get(f"/invoices/{till.number}/pay")
    before = len(till.sandbox.requests)
    with till.site.counting() as sent:
        assert maya.get(f"/invoices/{till.number}/pay").status_code == 200
    assert len(sent) == 4, sent
    assert len(till.sandbox.requests) == before


def test_looking_changes_nothing(till: Till, maya: Visitor) -> None:
    with till.site.counting() as sent:
        for path in (f"/invoices/{till.number}/pay", f"/invoices/{till.number}", "/invoices", "/cards"):
            maya.get(path)
    assert [statement for statement in sent if not statement.lstrip("( ").upper().startswith("SELECT")] == []
    assert till.attempts() == []


def test_own_script_is_on_the_pay_page_alone_and_small(till: Till, maya: Visitor) -> None:
    page = maya.get(f"/invoices/{till.number}/pay")
    scripts = re.findall(r'<script src="([^"]+)"', page.text)
    own = [script for script in scripts if script.startswith("/")]
    assert len(own) == 1
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in policy
    for other in ("/invoices", f"/invoices/{till.number}", "/cards"):
        answer = maya.get(other)
        assert "<script" not in answer.text
        assert "script-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "stripe" not in answer.headers["Content-Security-Policy"]


@pytest.mark.promise("O10")
def test_a_refusal_by_the_card_policy_is_a_sentence_for_scripts_too(till: Till, maya: Visitor) -> None:
    token = till.sandbox.elements_token("mastercard_debit", amount=12_600, currency="cad")
    answer = till.press(maya, confirmation_token=token)
    assert answer["status"] == "422"
    assert answer["outcome"] == "refused"
    assert "the only debit card we can take online is Visa Debit" in answer["text"]
    assert till.taken == 0
    assert till.press(maya)["outcome"] == "paid"


def test_no_gateway_is_called_for_a_page(till: Till, maya: Visitor) -> None:
    quiet = create_app(till.site.config, connect=no_gateway)
    quiet.test_client_class = Visitor
    client = quiet.test_client()
    assert isinstance(client, Visitor)
    client.sign_in("maya@example.com")
    assert client.get(f"/invoices/{till.number}/pay").status_code == 200
    quiet_parts: Parts = quiet.extensions["portal"]
    quiet_parts.database.close()


@pytest.mark.parametrize(
    ("currency", "shown"),
    [("CAD", "CA$120.00"), ("USD", "US$120.00"), ("AUD", "AU$120.00"), ("EUR", "€120.00"), ("JPY", "JP¥12,000")],
)
def test_the_big_amount_names_its_currency_once(till: Till, maya: Visitor, currency: str, shown: str) -> None:
    def issue(session: Session) -> str:
        abroad = make_location(session, "Abroad", prefix="A-", currency=currency, timezone="Asia/Tokyo")
        return str(make_invoice(session, till.site.cast.maya, (("Massage", 1, 12_000, ()),), location=abroad).number)

    number = till.site.change(issue)
    page = maya.get(f"/invoices/{number}/pay").text
    assert re.sub(r"<[^>]+>", "", re.search(r'class="sum">(.*?)</p>', page)[1]) == shown  # type: ignore[index]  # it is there
    till.sandbox.fault("payment_intents.confirm", "lost_before")
    fields = till.form(maya, number)
    amount = int(fields["amount"])
    fields["confirmation_token"] = till.sandbox.elements_token("visa", amount=amount, currency=currency.lower())
    answer = maya.post(f"/invoices/{number}/pay", data={**fields, "card": "new"}, headers=JSON).get_json()
    assert answer["outcome"] == "checking"
    page = maya.get(answer["location"]).text
    assert re.sub(r"<[^>]+>", "", re.search(r'class="sum">(.*?)</p>', page)[1]) == shown  # type: ignore[index]  # it is there


@pytest.mark.promise("O4")
def test_a_clinic_without_a_phone_sends_patients_to_the_desk(till: Till, maya: Visitor) -> None:
    till.site.setting("clinic_phone", "")
    till.site.setting("accept_payments_in_portal", "no")
    told = words(maya.get(f"/invoices/{till.number}/pay"))
    assert "Please pay at the front desk." in told
    assert "or call" not in told


@pytest.mark.parametrize(
    ("cents", "currency", "told"),
    [
        (49, "CAD", "too small for a card payment"),
        (100_000_000, "CAD", "too large for one card payment"),
        (12_345, "KWD", "takes no third decimal"),
    ],
)
def test_an_amount_that_no_card_can_be_charged_has_its_sentence(cents: int, currency: str, told: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_chargeable(cents, currency, is_void=False)
    assert told in f"{caught.value.heading} {caught.value.text}"
    check_chargeable(12_340, "KWD", is_void=False)


@pytest.mark.promise("P8")
def test_every_card_that_is_kept_can_be_seen_and_removed(till: Till, maya: Visitor) -> None:
    def keep_sixty(session: Session) -> None:
        for number in range(60):
            look = CardLook("card", brand="visa", funding="credit", last4=f"{number:04}", exp_month=1, exp_year=2040)
            keep_card(session, till.site.parts.vault, payer_id=till.site.cast.maya.id, gateway_id=1, mode="test",
                      method_id=f"pm_{number}", card=look, consent=Consent("2026-11", now(), None))  # fmt: skip

    till.site.change(keep_sixty)
    page = maya.get("/cards").text
    assert len(re.findall(r'action="/cards/[0-9a-f]+/remove"', page)) == 60
