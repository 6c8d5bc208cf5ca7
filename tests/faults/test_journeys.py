"""Made-up journeys: everything that people, banks, networks and time can do to one invoice, in any order.

After every step the books' own rules hold. Once everything is quiet, the books are Stripe's to the cent.
"""

import os
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from portal.clock import shifted
from portal.errors import Refusal
from portal.gateway.configured import signing_secrets
from portal.gateway.stripe import read_event
from portal.invariants import broken_invariants
from portal.invoices.books import adjust
from portal.invoices.tables import Invoice
from portal.payments.begin import PayForm
from portal.payments.cases import UNDER_WAY
from portal.payments.hints import follow_hint
from portal.payments.outcomes import Declined, Paid
from portal.payments.settle import settle
from portal.payments.states import LIVE
from portal.payments.tables import Payment
from portal.refunds.asking import RefundForm, refund
from portal.refunds.by_hand import give_back, give_back_instead
from portal.refunds.reversing import Reversal, reverse
from portal.refunds.standing import rest_of
from portal.refunds.sweeping import look_now, sweep_refunds
from portal.refunds.voiding import void
from portal.sandbox.faults import KINDS
from portal.sandbox.problems import InvalidRequest
from portal.webhooks import file_event, handle_waiting_events
from tests.makers import make_payment
from tests.payments.stage import HOOK_SECRET, CrashNow, Person, Stage
from tests.support.databases import Databases

CARDS = ["visa", "visa", "visa_debit", "chargeDeclined", "authenticationRequired", "mastercard_debit",
         "sandbox_processing", "threeDSecureRequiredChargeDeclined", "sandbox_turns_into_debit",
         "refundFail", "pendingRefund"]  # fmt: skip
CALLS = ["confirmation_tokens.retrieve", "payment_intents.*", "payment_intents.confirm", "customers.create",
         "refunds.create", "charges.retrieve", "*"]  # fmt: skip
# The same fifteen for everybody, so that a change is judged by what it changes; new ones in a night run:
# PORTAL_JOURNEYS=1000.
EXAMPLES = int(os.environ.get("PORTAL_JOURNEYS", "15"))
MINUTES = [0.2, 1, 1, 3, 16, 60 * 25]


class Journeys(RuleBasedStateMachine):
    """One invoice, two payers, a clerk, a bank, a bad network, and the clock."""

    def __init__(self, databases: Databases, database: str) -> None:
        super().__init__()
        self.until_done = ExitStack()
        self.stage = Stage(self.until_done.enter_context(databases.fresh(database)))
        self.until_done.callback(self.stage.close)
        self.stage.sandbox.add_webhook_endpoint("http://portal.test/hook", secret=HOOK_SECRET)
        self.stage.sandbox.send_webhooks_with(self._hear)
        self.forms: list[tuple[PayForm, Person]] = []

    def _hear(self, _url: str, body: bytes, headers: Any) -> int:
        with self.stage.database.read() as connection:
            secrets = signing_secrets(connection, self.stage.parts.vault, self.stage.gateway_public_id)
        assert secrets is not None
        with self.stage.database.transaction() as session:
            file_event(session, secrets.gateway_id, "test", read_event_now(body, headers["Stripe-Signature"]))
        return 200

    # the payers

    @rule(card=st.sampled_from(CARDS), saves=st.booleans(), sven=st.booleans())
    def press(self, card: str, saves: bool, sven: bool) -> None:
        """Open the page, enter a card, press Pay."""
        form, who = self.stage.form(card, saves=saves), self.stage.sven if sven else self.stage.maya
        self.forms.append((form, who))
        self._press(form, who)

    @precondition(lambda self: self.forms)
    @rule(which=st.integers(0, 9), card=st.sampled_from(CARDS))
    def press_with_another_card(self, which: int, card: str) -> None:
        """From a page that is open already."""
        form, who = self.forms[which % len(self.forms)]
        again = self.stage.form(card, attempt_id=form.attempt_id, shown_cents=form.shown_cents)
        self._press(again, who)

    @precondition(lambda self: self.forms)
    @rule(which=st.integers(0, 9))
    def press_the_very_same_again(self, which: int) -> None:
        """A double click, a reload, the back button."""
        self._press(*self.forms[which % len(self.forms)])

    def _press(self, form: PayForm, who: Person) -> None:
        balance, charges = self.stage.invoice().balance_cents, len(self.stage.paid_charges())
        try:
            outcome = self.stage.try_to_press(form, who)
        except CrashNow:
            return
        taken = len(self.stage.paid_charges()) - charges
        assert taken <= 1
        if taken:
            assert form.shown_cents == balance, "charged an amount that was not shown"
        if isinstance(outcome, (Refusal, Declined)):
            assert not taken, f"charged, but told {outcome}"

    @rule()
    def look_at_the_page_that_waits(self) -> None:
        for attempt in self.stage.attempts():
            settle(self.stage.parts, attempt.id)

    # the banks

    @rule(succeed=st.booleans())
    def the_bank_is_answered(self, succeed: bool) -> None:
        for intent in self.stage.sandbox.objects("payment_intent"):
            if intent["status"] == "requires_action":
                self.stage.sandbox.authenticate(intent["id"], succeed=succeed)

    @rule(succeed=st.booleans())
    def processing_ends(self, succeed: bool) -> None:
        for intent in self.stage.sandbox.objects("payment_intent"):
            if intent["status"] == "processing":
                self.stage.sandbox.finish_processing(intent["id"], succeed=succeed)

    # the network

    @rule(call=st.sampled_from(CALLS), kind=st.sampled_from([kind for kind in KINDS if kind != "latency"]),
          times=st.integers(1, 3), skip=st.integers(0, 4))  # fmt: skip
    def answers_get_lost(self, call: str, kind: Any, times: int, skip: int) -> None:
        self.stage.sandbox.fault(call, kind, times=times, skip=skip)

    @rule(call=st.sampled_from(["look_at_token", "create_intent", "confirm", "change_intent"]),
          when=st.sampled_from(["before", "after"]))  # fmt: skip
    def the_process_will_die(self, call: str, when: str) -> None:
        def die() -> None:
            raise CrashNow

        self.stage.during(call, die, when=when)

    @rule()
    def the_network_is_well_again(self) -> None:
        self.stage.sandbox.clear_faults()
        self.stage.acts.clear()

    @rule(newest_first=st.booleans(), duplicates=st.integers(0, 1))
    def webhooks_come(self, newest_first: bool, duplicates: int) -> None:
        self.stage.sandbox.webhook_policy.reorder = newest_first
        self.stage.sandbox.webhook_policy.duplicates = duplicates
        self.stage.sandbox.deliver_webhooks()
        handle_waiting_events(self.stage.database, lambda hint: follow_hint(self.stage.parts, hint))

    @rule()
    def the_worker_sweeps(self) -> None:
        self.stage.sweep()
        sweep_refunds(self.stage.parts)

    # money that goes back

    def _received(self, which: int) -> Payment | None:
        received = [one for one in self.stage.payments() if one.nature == "payment"]
        return received[which % len(received)] if received else None

    @rule(which=st.integers(0, 9), share=st.sampled_from([1, 2, 3]))
    def the_clerk_reverses(self, which: int, share: int) -> None:
        payment = self._received(which)
        if payment is not None:
            order = Reversal(uuid4(), payment.id, -max(payment.amount_cents // share, 1), "a reason")
            self._at_the_desk(lambda session: reverse(session, self.stage.invoice_id, order, None))

    @rule(which=st.integers(0, 9), share=st.sampled_from([1, 2, 3]), still_owed=st.booleans())
    def the_bookkeeper_refunds(self, which: int, share: int, still_owed: bool) -> None:
        payment = self._received(which)
        if payment is None:
            return
        form = RefundForm(uuid4(), payment.id, max(payment.amount_cents // share, 1), "a reason", still_owed)
        if payment.charge_id is None:
            self._at_the_desk(
                lambda session: give_back(self.stage.parts, session, self.stage.invoice_id, form, "cash", None)
            )
            return
        with suppress(Refusal, CrashNow):
            refund(self.stage.parts, self.stage.invoice_id, form, None)

    @rule(which=st.integers(0, 9), share=st.sampled_from([1, 2, 3]), still_owed=st.booleans())
    def the_bookkeeper_gives_back_what_failed(self, which: int, share: int, still_owed: bool) -> None:
        """A refund came back from the card company: its money goes back by hand."""
        payment = self._received(which)
        if payment is None or payment.charge_id is None:
            return
        with self.stage.database.transaction() as session:
            most = rest_of(session, payment).by_hand_cents
        form = RefundForm(uuid4(), payment.id, max(most // share, 1), "a reason", still_owed)
        with suppress(Refusal, CrashNow):
            give_back_instead(self.stage.parts, self.stage.invoice_id, form, "cash", None)

    @rule(which=st.integers(0, 9), share=st.sampled_from([1, 2, 3]))
    def somebody_refunds_in_the_dashboard(self, which: int, share: int) -> None:
        charges = self.stage.paid_charges()
        if charges:
            charge = charges[which % len(charges)]
            with suppress(InvalidRequest):
                self.stage.sandbox.refund(charge["id"], max(charge["amount"] // share, 1))

    @rule(which=st.integers(0, 9), fails=st.booleans())
    def a_refund_ends_at_the_bank(self, which: int, fails: bool) -> None:
        pending = [one for one in self.stage.sandbox.objects("refund") if fails or one["status"] == "pending"]
        if pending:
            name = pending[which % len(pending)]["id"]
            (self.stage.sandbox.fail_refund if fails else self.stage.sandbox.finish_refund)(name)

    @rule(which=st.integers(0, 9), outcome=st.sampled_from(["won", "lost"]))
    def a_bank_disputes_or_decides(self, which: int, outcome: Any) -> None:
        """The cardholder disputes what is left of a charge; where that is under way already, it is decided."""
        charges = [one for one in self.stage.paid_charges() if self.stage.sandbox.net_cents(one["id"]) > 0]
        under_way = [one for one in self.stage.sandbox.objects("dispute") if one["status"] not in ("won", "lost")]
        if under_way:
            self.stage.sandbox.close_dispute(under_way[0]["id"], outcome)
        elif charges:
            charge = charges[which % len(charges)]["id"]
            self.stage.sandbox.dispute(charge, amount=self.stage.sandbox.net_cents(charge))

    # the desk

    @rule(share=st.sampled_from([1, 2, 1000]))
    def cash_at_the_desk(self, share: int) -> None:
        with self.stage.database.transaction() as session:
            invoice = session.get_one(Invoice, self.stage.invoice_id, with_for_update=True)
            if invoice.balance_cents >= share and invoice.voided_at is None:
                make_payment(session, invoice, invoice.balance_cents // share)

    @rule(cents=st.sampled_from([-500, 300, -1]))
    def the_clerk_changes_what_is_owed(self, cents: int) -> None:
        self._at_the_desk(lambda session: adjust(session, self.stage.invoice_id, cents, "a reason", None))

    @rule()
    def the_clerk_voids(self) -> None:
        by_hand = {one.id: "cash" for one in self.stage.payments()}
        with suppress(Refusal, CrashNow):
            void(self.stage.parts, self.stage.invoice_id, "a reason", by_hand, None)

    def _at_the_desk(self, verb: Any) -> None:
        try:
            with self.stage.database.transaction() as session:
                verb(session)
        except Refusal:
            pass

    # time

    @rule(minutes=st.sampled_from(MINUTES))
    def time_passes(self, minutes: float) -> None:
        self.until_done.enter_context(shifted(timedelta(minutes=minutes)))
        self.stage.sandbox.advance(minutes * 60)
        self.stage.sweep()
        sweep_refunds(self.stage.parts)

    # what must hold

    @invariant()
    def the_books_keep_their_rules(self) -> None:
        # I8 is about a worker that runs: here it sweeps when the journey says so.
        assert [one for one in broken_invariants(self.stage.database) if one.rule != "I8"] == []

    @invariant()
    def an_attempt_succeeds_once(self) -> None:
        charged = [charge["payment_intent"] for charge in self.stage.paid_charges()]
        assert len(charged) == len(set(charged))

    def teardown(self) -> None:
        with self.until_done:
            self.the_network_is_well_again()
            self.processing_ends(succeed=True)
            for minutes in (2, 16, 16, 60 * 8, 60 * 8):
                self.time_passes(minutes)
            assert not [one for one in self.stage.attempts() if one.state in LIVE]
            look_now(self.stage.parts, self.stage.invoice_id)
            self.stage.check_books()
            self._the_next_payer_gets_on()

    def _the_next_payer_gets_on(self) -> None:
        """Nothing that went before blocks the next try (P5)."""
        invoice = self.stage.invoice()
        disputed = any(case.kind == "dispute" and case.stage in UNDER_WAY for case in self.stage.cases())
        if invoice.balance_cents >= 50 and invoice.voided_at is None and not disputed:
            assert isinstance(self.stage.press(self.stage.form("visa"), self.stage.sven), Paid)
            assert self.stage.invoice().balance_cents == 0
            self.stage.check_books()


def read_event_now(body: bytes, header: str) -> Any:
    """The signature's age is measured by the machine's clock; here only the journey's time passes."""
    from unittest.mock import patch

    from portal.gateway import stripe as adapter

    with patch.object(adapter, "SIGNATURE_AGE_S", 10**9):
        return read_event(body, header, [HOOK_SECRET])


@pytest.mark.promise("G1", "G2", "P3", "P5")
def test_whatever_happens_the_books_are_stripes(databases: Databases, database: str) -> None:
    run_state_machine_as_test(
        partial(Journeys, databases, database),  # type: ignore[arg-type]  # it only calls it
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=16,
            deadline=None,
            database=None,
            derandomize="PORTAL_JOURNEYS" not in os.environ,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
