"""The stage on which payment stories are told: a clinic, its gateway, and a small Stripe behind it.

Every call goes through the real `stripe` library into the sandbox. Around each one stands a watch, which fails the
test if a transaction is open in the calling thread, and lets a story act at that very moment.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from sqlalchemy import event, select

from portal.clock import shifted
from portal.config import Config
from portal.db import Database
from portal.errors import Refusal
from portal.gateway import Gateway
from portal.gateway.configured import ConfiguredGateway
from portal.gateway.stripe import StripeConnector
from portal.invariants import broken_invariants
from portal.invoices.tables import Invoice
from portal.parts import Parts
from portal.payments.cases import awaited_cents
from portal.payments.outcomes import Outcome
from portal.payments.pay import PayerRef, PayForm, pay
from portal.payments.settle import sweep
from portal.payments.states import LIVE
from portal.payments.tables import Case, Payment, PaymentAttempt
from portal.sandbox import Sandbox
from portal.sandbox.cards import CARDS
from portal.sandbox.gate import Request
from portal.settings import change_setting
from portal.vault import new_key, parse_key
from tests.makers import MASSAGE, Cast, Lines, make_cast, make_gateway, make_invoice

RETURN_URL = "https://pay.example.com/invoices/1/pay/{attempt}/return"
HOOK_SECRET = "whsec_stage"

Act = Callable[[str, str], None]
"""Called with "before" or "after" and the name of the call to the gateway."""


class OpenTransactions:
    """How many connections of the database each thread has in hand."""

    def __init__(self, database: Database) -> None:
        self._counts = threading.local()
        event.listen(database.engine.pool, "checkout", lambda *_: self._add(1))
        event.listen(database.engine.pool, "checkin", lambda *_: self._add(-1))

    def _add(self, change: int) -> None:
        self._counts.here = self.here + change

    @property
    def here(self) -> int:
        return getattr(self._counts, "here", 0)


class Watched:
    """A gateway, with the watch around every call."""

    def __init__(self, gateway: Gateway, stage: "Stage") -> None:
        self._gateway = gateway
        self._stage = stage

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._gateway, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            assert self._stage.open_transactions.here == 0, f"a transaction is open across {name}"
            self._stage.happens("before", name)
            answer = method(*args, **kwargs)
            self._stage.happens("after", name)
            return answer

        return call


class CrashNow(BaseException):
    """The process dies here: nothing behind this runs, but what Python unwinds."""


@dataclass(frozen=True)
class Person:
    """Somebody who presses Pay."""

    payer_id: int | None
    user_id: int | None

    @property
    def ref(self) -> PayerRef:
        return PayerRef(self.payer_id, self.user_id)


class Stage:
    """One clinic with an open invoice of Theo's, whom Maya and Sven pay for."""

    def __init__(self, database_url: str, *, lines: Lines = MASSAGE) -> None:
        self.database = Database(database_url)
        self.open_transactions = OpenTransactions(self.database)
        self.key = parse_key(new_key())
        self.sandbox = Sandbox()
        self.sandbox.world.sleep = lambda _seconds: None
        config = Config(
            production=False,
            database_url=database_url,
            secret_key="x" * 40,
            encryption_keys=(self.key,),
            base_url="https://pay.example.com",
            mail_url="file:build/mail",
        )
        from portal.vault import Vault

        connector = StripeConnector("https://api.stripe.test", http_client=self.sandbox.http_client())
        self.calls: list[str] = []
        self.acts: list[Act] = []
        self.parts = Parts(config, self.database, Vault([self.key]), self._watched(connector))
        self.cast: Cast
        with self.database.transaction() as session:
            self.cast = make_cast(session)
            self.gateway = make_gateway(
                session, self.parts.vault, secret=self.sandbox.secret_key, webhook_secret=HOOK_SECRET
            )
            self.gateway_id, self.gateway_public_id = self.gateway.id, self.gateway.public_id
            for key in ("module_payment_gateways", "accept_payments_in_portal"):
                change_setting(session, key, "yes")
            session.flush()
        self.maya = Person(self.cast.maya.id, self.cast.maya_user.id)
        self.sven = Person(self.cast.second_payer.id, self.cast.second_payer_user.id)
        self.invoice_id = self.new_invoice(lines)

    def close(self) -> None:
        self.database.close()

    def _watched(self, connector: Callable[[str], Gateway]) -> Callable[[str], Gateway]:
        return lambda secret: Watched(connector(secret), self)

    def happens(self, when: str, call: str) -> None:
        if when == "before":
            self.calls.append(call)
        for act in list(self.acts):
            act(when, call)

    def during(self, call: str, act: Callable[[], object], when: str = "before", skip: int = 0) -> None:
        """Let something happen, once, around a call to the gateway."""
        left = [skip]

        def once(at: str, name: str) -> None:
            if (at, name) != (when, call):
                return
            if left[0]:
                left[0] -= 1
                return
            self.acts.remove(once)
            act()

        self.acts.append(once)

    # the clinic

    def new_invoice(self, lines: Lines = MASSAGE) -> int:
        with self.database.transaction() as session:
            return make_invoice(session, self.cast.theo, lines, location=self.cast.location).id

    def invoice(self, invoice_id: int | None = None) -> Invoice:
        with self.database.transaction() as session:
            return session.get_one(Invoice, invoice_id or self.invoice_id)

    def set(self, key: str, value: str) -> None:
        with self.database.transaction() as session:
            change_setting(session, key, value)

    def change_gateway(self, gateway_id: int | None = None, **values: Any) -> None:
        with self.database.transaction() as session:
            gateway = session.get_one(ConfiguredGateway, gateway_id or self.gateway_id)
            for name, value in values.items():
                setattr(gateway, name, value)

    # the browser

    def token(
        self, card: str = "visa", *, saves: bool = False, cents: int | None = None, key: str | None = None
    ) -> str:
        """What Elements make of a typed card, in the payer's browser."""
        year = 2031
        fields: dict[str, Any] = {
            "payment_method_data[type]": "card",
            "payment_method_data[card][number]": CARDS[card].number,
            "payment_method_data[card][exp_month]": 12,
            "payment_method_data[card][exp_year]": year,
            "payment_method_data[card][cvc]": "1234" if CARDS[card].brand == "amex" else "123",
            "client_context[mode]": "payment",
            "client_context[amount]": self.invoice().balance_cents if cents is None else cents,
            "client_context[currency]": "cad",
            "client_context[allowed_payment_method_types][0]": "card",
        }
        if saves:
            fields |= {"client_context[setup_future_usage]": "off_session", "setup_future_usage": "off_session"}
        request = Request(
            "POST",
            "/v1/confirmation_tokens",
            body=urlencode(fields),
            headers={"authorization": f"Bearer {key or self.sandbox.publishable_key}"},
        )
        with self._the_payers_own_network():
            answer = self.sandbox.gate.answer(request)
        body = json.loads(answer.body)
        assert answer.status == 200, body
        return str(body["id"])

    @contextmanager
    def _the_payers_own_network(self) -> Iterator[None]:
        """Faults are ordered for our calls, not for those of the payer's browser."""
        ordered = self.sandbox.gate.faults.waiting()
        self.sandbox.clear_faults()
        yield
        for fault in ordered:
            self.sandbox.gate.faults.add(fault)

    def form(self, card: str | None = "visa", *, saves: bool = False, **also: Any) -> PayForm:
        """A filled-in form. With `saved_card` no card is typed."""
        invoice = self.invoice(also.pop("invoice_id", None))
        shown = int(also.pop("shown_cents", invoice.balance_cents))
        # The fields are made for the amount shown. A page with nothing to pay has none: who posts there all the
        # same brings a token that was made elsewhere.
        typed_for = shown if shown > 0 else 50
        typed = None if also.get("saved_card") or card is None else self.token(card, saves=saves, cents=typed_for)
        form = PayForm(uuid4(), shown, invoice.currency, token=typed, save_card=saves)
        return replace(form, **also)

    def press(self, form: PayForm, by: Person | None = None, invoice_id: int | None = None) -> Outcome:
        return pay(self.parts, invoice_id or self.invoice_id, form, (by or self.maya).ref, RETURN_URL)

    def try_to_press(self, form: PayForm, by: Person | None = None) -> Outcome | Refusal:
        """Press, and give what the payer sees: an outcome or a refusal."""
        try:
            return self.press(form, by)
        except Refusal as refusal:
            return refusal

    # what came of it

    def attempts(self) -> list[PaymentAttempt]:
        with self.database.transaction() as session:
            return list(session.scalars(select(PaymentAttempt).order_by(PaymentAttempt.started_at)))

    def attempt(self, attempt_id: UUID | None = None) -> PaymentAttempt:
        found = [one for one in self.attempts() if attempt_id in (None, one.id)]
        assert len(found) == 1, f"{len(found)} attempts"
        return found[0]

    def payments(self) -> list[Payment]:
        with self.database.transaction() as session:
            return list(session.scalars(select(Payment).order_by(Payment.id)))

    def cases(self) -> list[Case]:
        with self.database.transaction() as session:
            return list(session.scalars(select(Case).order_by(Case.id)))

    def paid_charges(self) -> list[dict[str, Any]]:
        return [charge for charge in self.sandbox.charges() if charge["paid"]]

    def sweep(self) -> int:
        return sweep(self.parts)

    def sweep_until_quiet(self) -> None:
        """Let time pass, with sweeps, until nothing is under way any more."""
        for minutes in (0, 1, 3, 6, 20, 25, 30, 60):
            with shifted(timedelta(minutes=minutes)):
                self.sweep()
        left = [(one.state, one.needs_person) for one in self.attempts() if one.state in LIVE]
        assert not left, f"still live: {left}"

    def check_books(self) -> None:
        """The invariants, and that the books are Stripe's to the cent (I2)."""
        assert broken_invariants(self.database) == []
        posted = {
            one.charge_id: one.amount_cents for one in self.payments() if one.nature == "payment" and one.charge_id
        }
        assert posted == {charge["id"]: charge["amount_captured"] for charge in self.paid_charges()}
        for intent in {charge["payment_intent"] for charge in self.paid_charges()}:
            paid = [one for one in self.paid_charges() if one["payment_intent"] == intent]
            assert len(paid) == 1, "two charges under one intent"
        for charge_id in posted:
            assert self.net_in_books(str(charge_id)) == self.sandbox.net_cents(str(charge_id)), charge_id

    def net_in_books(self, charge_id: str) -> int:
        """What the books hold of a charge, and what was reversed there and still awaits its refund (I2). What was
        given back by hand is still there; what went back twice is not."""
        payment = next(one for one in self.payments() if one.charge_id == charge_id and one.nature == "payment")
        rows = [
            one.amount_cents
            for one in self.payments()
            if payment.id in (one.id, one.reverses_id) and (one.nature != "refund" or one.refund_id)
        ]
        with self.database.transaction() as session:
            return sum(rows) + awaited_cents(session, payment)

    def check_paid_once(self) -> None:
        """One charge, one payment, nothing left to pay."""
        assert len(self.paid_charges()) == 1
        assert [one.amount_cents for one in self.payments()] == [self.paid_charges()[0]["amount"]]
        assert self.invoice().balance_cents == 0
        self.check_books()

    def check_nothing_charged(self) -> None:
        assert self.paid_charges() == []
        assert self.payments() == []
        self.check_books()


@contextmanager
def staged(database_url: str, **how: Any) -> Iterator[Stage]:
    stage = Stage(database_url, **how)
    try:
        yield stage
    finally:
        stage.close()
