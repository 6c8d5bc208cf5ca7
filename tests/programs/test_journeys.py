"""Made-up journeys: everything that people, staff, banks, networks and time can do to one program, in any order.

After every step the rules of places and books hold. Once everything is quiet, the books are Stripe's to the cent, and
nobody has paid who has no place, but for what a person must decide.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal.clock import now, shifted
from portal.errors import Refusal
from portal.invariants import broken_invariants
from portal.invoices.books import is_numbered
from portal.invoices.tables import Invoice
from portal.payments.desk import PAID_BY, DeskPayment, record_payment
from portal.payments.states import LIVE as UNDER_WAY
from portal.payments.tables import Case, ChargeLook, Refund
from portal.programs.cancelling import cancel
from portal.programs.ending import let_place_go
from portal.programs.refusals import ProgramFull
from portal.programs.registering import confirm_unpaid
from portal.programs.states import LIVE, ON_A_CLOCK, TAKES_PLACE, Place, Why
from portal.programs.tables import Program, PromoCode, Registration
from portal.refunds.asking import RefundForm, refund
from portal.refunds.by_hand import give_back
from portal.refunds.reversing import Reversal, reverse
from portal.refunds.sweeping import look_now
from portal.refunds.voiding import void
from portal.sandbox.problems import InvalidRequest
from tests.payments.stage import CrashNow
from tests.programs.stage import ProgramStage
from tests.support.databases import Databases

CARDS = ["visa", "visa", "visa", "chargeDeclined", "authenticationRequired", "sandbox_processing",
         "sandbox_turns_into_debit", "refundFail", "pendingRefund"]  # fmt: skip
CALLS = ["payment_intents.confirm", "payment_intents.cancel", "payment_intents.*", "refunds.create", "*"]
FAULTS = ["lost_after", "lost_before", "error_after", "rate_limited"]
# As tests/faults/test_journeys.py: the same for everybody; new ones in a night run: PORTAL_JOURNEYS=1000.
EXAMPLES = int(os.environ.get("PORTAL_JOURNEYS", "24"))
WHO = st.integers(0, 4)


class Journeys(RuleBasedStateMachine):
    """A program with two places, five people, a clerk, banks, a bad network, and the clock."""

    def __init__(self, databases: Databases, database: str) -> None:
        super().__init__()
        self.until_done = ExitStack()
        url = self.until_done.enter_context(databases.fresh(database))
        self.stage = ProgramStage(url, late_share_percent=40, refund_days=20)
        self.until_done.callback(self.stage.close)
        self.people = [self.stage.maya, self.stage.sven, self.stage.jonas,
                       self.stage.newcomer("Anna"), self.stage.newcomer("Ben")]  # fmt: skip
        with self.stage.database.transaction() as session:
            session.add_all(
                [
                    PromoCode(code="HALF", percent=50, uses=1, created_at=now()),
                    PromoCode(code="GIFT", percent=100, uses=1, created_at=now()),
                ]
            )

    def _newest(self, which: int, states: frozenset[Place] = frozenset(Place)) -> Registration | None:
        """The newest registration of one of the people, if it stands so."""
        who = self.people[which]
        with self.stage.database.transaction() as session:
            return session.scalars(
                select(Registration)
                .where(Registration.patient_id == who.payer_id, Registration.state.in_(states))
                .order_by(Registration.id.desc())
            ).first()

    def _try(self, doing: Callable[[], object]) -> object:
        try:
            return doing()
        except (Refusal, CrashNow) as error:
            return error

    # people

    @rule(which=WHO, code=st.sampled_from(["", "", "", "HALF", "GIFT"]))
    def registers(self, which: int, code: str) -> None:
        who, offered = self.people[which], self._newest(which, ON_A_CLOCK)
        public_id = offered.public_id if offered else None
        came = self._try(lambda: self.stage.register(who, code=code, public_id=public_id))
        if isinstance(came, ProgramFull):
            self._try(lambda: self.stage.wait(who))

    @rule(which=WHO, card=st.sampled_from(CARDS))
    def pays(self, which: int, card: str) -> None:
        self._pay(which, card)

    @rule(which=WHO, card=st.sampled_from(CARDS), code=st.sampled_from(["", "", "", "HALF", "GIFT"]))
    def registers_and_pays(self, which: int, card: str, code: str) -> None:
        self.registers(which, code)
        self._pay(which, card)

    def _pay(self, which: int, card: str) -> None:
        registration = self._newest(which)
        if registration is None or registration.invoice_id is None:
            return
        charges = len(self.stage.paid_charges())
        came = self._try(lambda: self.stage.pay_for(self.people[which], registration, card))
        if isinstance(came, Refusal):
            assert len(self.stage.paid_charges()) == charges, f"charged, but told {came}"

    @rule(which=WHO, why=st.sampled_from(["lapsed", "let go"]))
    def pays_while_the_place_is_lost(self, which: int, why: str) -> None:
        """What the locks and the gateway's cancellation rule out: the books must be right even then."""
        self.registers(which, "")
        registration = self._newest(which, ON_A_CLOCK)
        if registration is None or registration.invoice_id is None:
            return

        def lose_it() -> None:
            lost = {"state": Place.LAPSED if why == "lapsed" else Place.RELEASED, "why": Why.TIME}
            with self.stage.database.transaction() as session:
                session.execute(
                    update(Registration)
                    .where(Registration.id == registration.id, Registration.state.in_(ON_A_CLOCK))
                    .values(held_until=None, **lost)
                )
            for other in range(2):
                self.registers((which + 1 + other) % 5, "")

        self.stage.during("confirm", lose_it, when="before")
        self._pay(which, "visa")
        self.stage.acts.clear()

    @rule(which=WHO)
    def lets_go(self, which: int) -> None:
        registration = self._newest(which, LIVE - {Place.CONFIRMED})
        if registration is not None:
            self._try(lambda: let_place_go(self.stage.parts, registration.public_id, self.people[which].user_id))

    @rule(which=WHO, percent=st.sampled_from([None, None, 0, 100, 33]))
    def cancels(self, which: int, percent: int | None) -> None:
        registration = self._newest(which, TAKES_PLACE)
        if registration is not None:
            self._try(
                lambda: cancel(
                    self.stage.parts, registration.public_id, None, by_staff=percent is not None, percent=percent
                )
            )

    # banks, networks, crashes

    @rule(succeed=st.booleans())
    def the_bank_is_answered(self, succeed: bool) -> None:
        for intent in self.stage.sandbox.objects("payment_intent"):
            if intent["status"] == "requires_action":
                self.stage.sandbox.authenticate(intent["id"], succeed=succeed)
            elif intent["status"] == "processing":
                self.stage.sandbox.finish_processing(intent["id"], succeed=succeed)

    @rule(call=st.sampled_from(CALLS), kind=st.sampled_from(FAULTS), skip=st.integers(0, 2))
    def answers_get_lost(self, call: str, kind: Any, skip: int) -> None:
        self.stage.sandbox.fault(call, kind, times=2, skip=skip)

    @rule(call=st.sampled_from(["create_intent", "confirm", "cancel", "refund", "look_at_charge"]),
          when=st.sampled_from(["before", "after"]))  # fmt: skip
    def the_process_will_die(self, call: str, when: str) -> None:
        def die() -> None:
            raise CrashNow

        self.stage.during(call, die, when=when)

    @rule()
    def the_network_is_well_again(self) -> None:
        self.stage.sandbox.clear_faults()
        self.stage.acts.clear()

    @rule(which=st.integers(0, 9), outcome=st.sampled_from(["won", "lost"]))
    def a_bank_disputes_or_decides(self, which: int, outcome: Any) -> None:
        charges = [one for one in self.stage.paid_charges() if self.stage.sandbox.net_cents(one["id"]) > 0]
        under_way = [one for one in self.stage.sandbox.objects("dispute") if one["status"] not in ("won", "lost")]
        if under_way:
            self.stage.sandbox.close_dispute(under_way[0]["id"], outcome)
        elif charges:
            charge = charges[which % len(charges)]["id"]
            self.stage.sandbox.dispute(charge, amount=self.stage.sandbox.net_cents(charge))

    @rule(which=st.integers(0, 9), fails=st.booleans())
    def a_refund_ends_at_the_bank(self, which: int, fails: bool) -> None:
        pending = [one for one in self.stage.sandbox.objects("refund") if fails or one["status"] == "pending"]
        if pending:
            (self.stage.sandbox.fail_refund if fails else self.stage.sandbox.finish_refund)(
                pending[which % len(pending)]["id"]
            )

    @rule(which=st.integers(0, 9), share=st.sampled_from([1, 2]))
    def somebody_refunds_in_the_dashboard(self, which: int, share: int) -> None:
        if charges := self.stage.paid_charges():
            charge = charges[which % len(charges)]
            with suppress(InvalidRequest):
                self.stage.sandbox.refund(charge["id"], max(charge["amount"] // share, 1))

    # the desk

    @rule(which=WHO)
    def the_desk_confirms_unpaid(self, which: int) -> None:
        registration = self._newest(which, TAKES_PLACE)
        if registration is not None:
            self._try(lambda: confirm_unpaid(self.stage.parts, registration.public_id, self.stage.cast.clerk.id))

    @rule(which=WHO, share=st.sampled_from([1, 2]))
    def the_desk_takes_cash(self, which: int, share: int) -> None:
        registration = self._newest(which)
        if registration is None or registration.invoice_id is None:
            return
        invoice = self.stage.invoice(registration.invoice_id)
        cents = max(invoice.balance_cents // share, 1)
        received = DeskPayment(
            uuid4(), PAID_BY["cash"], cents, invoice.balance_cents, "CAD", invoice.version, None, take_over=True
        )
        self._try(lambda: record_payment(self.stage.parts, invoice.id, received, self.stage.cast.clerk.id))

    def _payment_of(self, which: int) -> Any:
        registration = self._newest(which)
        mine = [
            one
            for one in self.stage.payments()
            if registration is not None and one.invoice_id == registration.invoice_id and one.nature == "payment"
        ]
        return mine[-1] if mine else None

    @rule(which=WHO, share=st.sampled_from([1, 1, 2]), still_owed=st.booleans())
    def the_bookkeeper_refunds(self, which: int, share: int, still_owed: bool) -> None:
        payment = self._payment_of(which)
        if payment is None:
            return
        form = RefundForm(uuid4(), payment.id, max(payment.amount_cents // share, 1), "a reason", still_owed)
        if payment.charge_id:
            self._try(lambda: refund(self.stage.parts, payment.invoice_id, form, None))
            return
        self._at_the_desk(
            lambda session: give_back(self.stage.parts, session, payment.invoice_id, form, "cash", None)
        )

    @rule(which=WHO)
    def the_clerk_reverses(self, which: int) -> None:
        payment = self._payment_of(which)
        if payment is not None:
            order = Reversal(uuid4(), payment.id, -payment.amount_cents, "a reason")
            self._at_the_desk(lambda session: reverse(session, payment.invoice_id, order, None))

    @rule(which=WHO)
    def the_clerk_voids(self, which: int) -> None:
        registration = self._newest(which)
        if registration is not None and (invoice_id := registration.invoice_id) is not None:
            by_hand = {one.id: "cash" for one in self.stage.payments()}
            self._try(lambda: void(self.stage.parts, invoice_id, "a reason", by_hand, None))

    def _at_the_desk(self, verb: Callable[[Session], object]) -> None:
        with suppress(Refusal), self.stage.database.transaction() as session:
            verb(session)

    @rule(more=st.integers(0, 1))
    def the_clinic_changes_the_capacity(self, more: int) -> None:
        with self.stage.database.transaction() as session:
            program = session.get_one(Program, self.stage.program_id, with_for_update=True)
            program.capacity = max(program.taken + more, 1)

    @rule(answer=st.sampled_from(["yes", "yes", "no"]))
    def the_module_is_switched(self, answer: str) -> None:
        self.stage.set("module_programs", answer)

    # time

    @rule(minutes=st.sampled_from([1, 1, 6, 21, 60 * 20, 60 * 24 * 7]))
    def time_passes(self, minutes: float) -> None:
        self._pass(minutes)

    def _pass(self, minutes: float) -> None:
        self.until_done.enter_context(shifted(timedelta(minutes=minutes)))
        self.stage.sandbox.advance(minutes * 60)
        with self.stage.database.transaction() as session:  # every look is due
            session.execute(update(ChargeLook).values(next_look_at=self.stage.cast.maya.created_at))
            session.execute(update(Refund).values(next_look_at=self.stage.cast.maya.created_at))
        with suppress(CrashNow):
            self.stage.sweep()

    # what must hold

    @invariant()
    def places_and_books_keep_their_rules(self) -> None:
        # I8 is about a worker that runs: here it sweeps when the journey says so.
        assert [one for one in broken_invariants(self.stage.database) if one.rule != "I8"] == []

    @invariant()
    def who_is_confirmed_has_a_numbered_invoice_or_pays_nothing(self) -> None:
        with self.stage.database.transaction() as session:
            for one in session.scalars(select(Registration).where(Registration.state == Place.CONFIRMED)):
                assert one.invoice_id is not None or one.price_cents == one.discount_cents

    @invariant()
    def who_has_no_place_is_asked_for_no_more_than_the_rule_keeps(self) -> None:
        with self.stage.database.transaction() as session:
            ended = select(Invoice, Registration).join(Registration, Registration.invoice_id == Invoice.id)
            for invoice, one in session.execute(ended.where(Registration.state.not_in(LIVE))):
                if is_numbered(invoice.number):
                    assert invoice.balance_cents <= one.kept_cents, one.why

    @precondition(lambda self: self.stage.acts or self.stage.sandbox.gate.faults.waiting())
    @rule()
    def the_worker_makes_up_for_it(self) -> None:
        self.the_network_is_well_again()
        self._pass(3)

    def teardown(self) -> None:
        with self.until_done:
            self.the_network_is_well_again()
            self.stage.set("module_programs", "yes")
            self.the_bank_is_answered(succeed=True)
            for minutes in (2, 21, 46, 60 * 8, 60 * 16):
                self._pass(minutes)
            assert not [one for one in self.stage.attempts() if one.state in UNDER_WAY]
            with self.stage.database.transaction() as session:
                invoices = session.scalars(select(Registration.invoice_id).distinct()).all()
            for invoice_id in invoices:
                if invoice_id is not None:
                    look_now(self.stage.parts, invoice_id)
            self.stage.check_books()
            self._nobody_waits_for_a_free_place()
            self._all_that_a_machine_can_give_back_went_back()

    def _nobody_waits_for_a_free_place(self) -> None:
        program = self.stage.program()
        with self.stage.database.transaction() as session:
            ends = session.scalars(select(Registration.held_until).where(Registration.state.in_(ON_A_CLOCK))).all()
        is_over = now() > self.stage.cast.maya.created_at + timedelta(weeks=4)
        assert is_over or not (program.waiting and program.taken < program.capacity)
        assert all(end is not None and end > now() - timedelta(minutes=5) for end in ends)

    def _all_that_a_machine_can_give_back_went_back(self) -> None:
        payments = {one.id: one for one in self.stage.payments()}
        with self.stage.database.transaction() as session:
            for case in session.scalars(select(Case).where(Case.kind == "overpaid", Case.closed_at.is_(None))):
                place = session.scalar(select(Registration.state).where(Registration.invoice_id == case.invoice_id))
                payment = payments[case.payment_id]
                refunds = session.scalars(select(Refund.state).where(Refund.payment_id == case.payment_id)).all()
                was_disputed = session.scalar(
                    select(Case.id).where(Case.kind == "dispute", Case.payment_id == case.payment_id)
                )
                assert (
                    place in TAKES_PLACE or not payment.charge_id or "failed" in refunds or was_disputed is not None
                ), f"case {case.id} of a payment by card waits, and nobody looks after it"


@pytest.mark.promise("P7", "G1")
def test_whatever_happens_nobody_pays_without_a_place(databases: Databases, database: str) -> None:
    run_state_machine_as_test(
        partial(Journeys, databases, database),  # type: ignore[arg-type]  # it only calls it
        settings=settings(
            max_examples=EXAMPLES if database == "sqlite" else EXAMPLES // 2,
            stateful_step_count=30,
            deadline=None,
            database=None,
            derandomize="PORTAL_JOURNEYS" not in os.environ,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
