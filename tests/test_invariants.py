"""Each rule is broken once, past every safeguard, and `portal check` sees it. A sound clinic has no findings."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from portal.clock import now, shifted
from portal.db import Database
from portal.gateway.configured import ConfiguredGateway
from portal.invariants import MOST_IDS, Finding, broken_invariants
from portal.invoices.books import adjust, void_invoice
from portal.invoices.tables import Invoice
from portal.payments.states import State
from portal.payments.tables import Case, Payment, Refund
from tests.makers import (
    MASSAGE_AND_CUSHION,
    Cast,
    make_attempt,
    make_cast,
    make_gateway,
    make_invoice,
    make_payment,
    make_vault,
)


@dataclass(frozen=True)
class Story:
    """A clinic with one invoice of everything: paid by card, part paid, void."""

    clinic: Database
    cast: Cast
    gateway: ConfiguredGateway
    paid: Invoice
    part_paid: Invoice
    void: Invoice
    card_payment: Payment
    attempt_id: UUID

    def break_by(self, *statements: str, **values: object) -> list[Finding]:
        """Do what the product never does, and look."""
        with self.clinic.transaction() as session:
            for statement in statements:
                session.execute(text(statement), values)
        return broken_invariants(self.clinic)

    def drop_trigger(self, table: str, name: str) -> None:
        with self.clinic.transaction() as session:
            if self.clinic.is_sqlite:
                session.execute(text(f"DROP TRIGGER {name}"))
            else:
                session.execute(text(f"DROP TRIGGER {name} ON {table}"))

    def let_change(self, table: str) -> set[tuple[str, str]]:
        """Take the append-only rule from a table; gives the finding that this alone makes."""
        if self.clinic.is_sqlite:
            names = [f"{table}_only_grow_update", f"{table}_only_grow_delete"]
        else:
            names = [f"{table}_only_grow"]
        for name in names:
            self.drop_trigger(table, name)
        return {("I7", name) for name in names}


@pytest.fixture
def story(database_url: str) -> Iterator[Story]:
    clinic = Database(database_url)
    with clinic.transaction() as session:
        cast = make_cast(session)
        gateway = make_gateway(session, make_vault())
        paid = make_invoice(session, cast.maya, MASSAGE_AND_CUSHION)
        attempt = make_attempt(session, paid, gateway, State.SUCCEEDED, account="acct_clinic")
        payment = make_payment(
            session, paid, kind="card", attempt_id=attempt.id, gateway_id=gateway.id, charge_id="ch_1"
        )
        part_paid = make_invoice(session, cast.theo)
        make_payment(session, part_paid, 40_00, payer_id=cast.maya.id)
        adjust(session, part_paid.id, -1_00, "Late.", cast.clerk)
        void = make_invoice(session, cast.stranger)
        void_invoice(session, void.id, "Wrong patient.")
    yield Story(clinic, cast, gateway, paid, part_paid, void, payment, attempt.id)
    clinic.close()


def seen(findings: list[Finding]) -> set[tuple[str, str]]:
    """Each finding as (rule, id)."""
    return {(finding.rule, where) for finding in findings for where in finding.ids}


def test_a_sound_clinic_has_no_findings(story: Story) -> None:
    assert broken_invariants(story.clinic) == []


# --- I1 -------------------------------------------------------------------------------------------------------------


def test_i1_a_stored_sum_that_is_not_the_books(story: Story) -> None:
    owed, paid = story.paid.id, story.part_paid.id
    found = story.break_by(
        f"UPDATE invoices SET owed_cents = owed_cents + 1 WHERE id = {owed}",
        f"UPDATE invoices SET paid_cents = paid_cents + 1 WHERE id = {paid}",
    )
    assert seen(found) == {("I1", str(owed)), ("I1", str(paid))}
    assert len(found) == 2


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("invoice_lines", "(invoice_id, position, description, quantity, unit_cents, net_cents)"
         " VALUES (:id, 9, 'Tape', 1, 100, 100)"),
        ("adjustments", "(invoice_id, amount_cents, reason, made_at)"
         " VALUES (:id, 100, 'Tape', '2026-11-24 10:00:00')"),
        ("line_taxes", "(line_id, position, name, rate_per_100k, amount_cents, invoice_id)"
         " SELECT id, 9, 'HST', 13000, 100, invoice_id FROM invoice_lines WHERE invoice_id = :id AND position = 1"),
    ],
)  # fmt: skip
def test_i1_a_row_that_was_not_added_up(story: Story, table: str, row: str) -> None:
    trigger = f"{table}_are_owed"
    story.drop_trigger(table, trigger)
    found = story.break_by(f"INSERT INTO {table} {row}", id=story.part_paid.id)
    assert seen(found) == {("I1", trigger), ("I1", str(story.part_paid.id))}


def test_i1_a_payment_that_was_not_added_up(story: Story) -> None:
    story.drop_trigger("payments", "payments_are_paid")
    with story.clinic.transaction() as session:
        make_payment(session, story.part_paid, 1_00)
    found = broken_invariants(story.clinic)
    assert seen(found) == {("I1", "payments_are_paid"), ("I1", str(story.part_paid.id))}


def test_i1_a_tax_of_one_invoices_line_on_another(story: Story) -> None:
    found = story.break_by(
        "INSERT INTO line_taxes (line_id, position, name, rate_per_100k, amount_cents, invoice_id)"
        " SELECT id, 9, 'HST', 13000, 100, :other FROM invoice_lines WHERE invoice_id = :id AND position = 1",
        id=story.paid.id,
        other=story.part_paid.id,
    )
    assert [(finding.rule, finding.what) for finding in found] == [
        ("I1", "the line's tax stands on another invoice than the line")
    ]


def test_i1_a_payment_in_another_currency(story: Story) -> None:
    with story.clinic.transaction() as session:
        payment = make_payment(session, story.part_paid, 1_00, currency="USD")
    assert seen(broken_invariants(story.clinic)) == {("I1", str(payment.id))}


# --- I3, I8 ---------------------------------------------------------------------------------------------------------


def test_i3_two_live_attempts_on_one_invoice(story: Story) -> None:
    story.break_by("DROP INDEX uq_payment_attempts_live")
    with story.clinic.transaction() as session:
        for state in (State.CREATED, State.PROCESSING):
            make_attempt(session, story.part_paid, story.gateway, state)
    assert seen(broken_invariants(story.clinic)) == {("I3", str(story.part_paid.id))}


def test_i3_an_attempt_that_posted_twice(story: Story) -> None:
    story.break_by("DROP INDEX uq_payments_attempt")
    with story.clinic.transaction() as session:
        make_payment(session, story.part_paid, 1_00, attempt_id=story.attempt_id)
    assert seen(broken_invariants(story.clinic)) == {("I3", str(story.attempt_id))}


def test_i3_money_that_was_taken_but_never_posted(story: Story) -> None:
    with story.clinic.transaction() as session:
        attempt = make_attempt(session, story.part_paid, story.gateway, State.SUCCEEDED)
    assert seen(broken_invariants(story.clinic)) == {("I3", str(attempt.id))}


def test_i8_an_attempt_that_everybody_forgot(story: Story) -> None:
    with story.clinic.transaction() as session:
        attempt = make_attempt(session, story.part_paid, story.gateway, State.CONFIRMING)
    assert broken_invariants(story.clinic) == []
    with shifted(timedelta(minutes=3)):
        assert broken_invariants(story.clinic) == []  # past its deadline, but the sweep has its turn yet
    with shifted(timedelta(minutes=5)):
        assert seen(broken_invariants(story.clinic)) == {("I8", str(attempt.id))}
        assert story.break_by("UPDATE payment_attempts SET needs_person = 'the gateway refuses'") == []


# --- I4, I5, I9 -----------------------------------------------------------------------------------------------------


def overpay(session: Session, story: Story) -> Payment:
    payment = make_payment(session, story.paid, 25_00)
    assert story.paid.balance_cents == -25_00
    return payment


def open_case(session: Session, payment: Payment, amount_cents: int, kind: str = "overpaid") -> Case:
    case = Case(
        kind=kind,
        invoice_id=payment.invoice_id,
        payment_id=payment.id,
        amount_cents=amount_cents,
        reason="more was paid than is owed",
        opened_at=now(),
    )
    session.add(case)
    session.flush()
    return case


@pytest.mark.parametrize("covered_cents", [None, 24_99, 25_01])
def test_i4_an_overpayment_that_no_case_covers_exactly(story: Story, covered_cents: int | None) -> None:
    with story.clinic.transaction() as session:
        payment = overpay(session, story)
        if covered_cents:
            open_case(session, payment, covered_cents)
    assert seen(broken_invariants(story.clinic)) == {("I4", str(story.paid.id))}


def test_i4_an_overpayment_with_its_case_is_in_order(story: Story) -> None:
    with story.clinic.transaction() as session:
        payment = overpay(session, story)
        open_case(session, payment, 25_00)
        open_case(session, payment, 25_00, "refund_due")  # the card was no good either: the same money
    assert broken_invariants(story.clinic) == []
    found = story.break_by("UPDATE cases SET closed_at = opened_at")
    assert seen(found) == {("I4", str(story.paid.id))}


def test_i4_a_case_that_outlived_its_overpayment(story: Story) -> None:
    with story.clinic.transaction() as session:
        open_case(session, story.card_payment, 1_00)
    assert seen(broken_invariants(story.clinic)) == {("I4", str(story.paid.id))}


def test_i5_more_went_back_than_the_charge_took(story: Story) -> None:
    with story.clinic.transaction() as session:
        make_payment(
            session, story.paid, -179_77, "card", receipt_number=None, gateway_id=story.gateway.id, charge_id="ch_1"
        )
    assert seen(broken_invariants(story.clinic)) == {("I5", "ch_1")}


def reverse_by_hand(session: Session, story: Story, cents: int = 100_00) -> Payment:
    """A reversal of money that the gateway took, past every rule of the product."""
    return make_payment(
        session, story.paid, -cents, "card", receipt_number=None, nature="reversal", reverses_id=story.card_payment.id
    )


def refund_by_hand(story: Story, cents: int, *, matched: int = 0, state: str = "succeeded") -> Refund:
    return Refund(
        payment_id=story.card_payment.id, invoice_id=story.paid.id, gateway_id=story.gateway.id, mode="test",
        refund_id=f"re_{cents}", amount_cents=cents, matched_cents=matched, state=state, asked_at=now(),
        next_look_at=now(),
    )  # fmt: skip


def test_i2_a_reversal_whose_refund_nobody_awaits(story: Story) -> None:
    with story.clinic.transaction() as session:
        reverse_by_hand(session, story)
    assert seen(broken_invariants(story.clinic)) == {("I2", str(story.card_payment.id))}
    with story.clinic.transaction() as session:
        open_case(session, story.card_payment, 100_00, "refund_expected")
    assert broken_invariants(story.clinic) == []


def test_i2_a_case_that_met_a_refund_which_never_was(story: Story) -> None:
    with story.clinic.transaction() as session:
        reverse_by_hand(session, story)
        open_case(session, story.card_payment, 100_00, "refund_expected")
    found = story.break_by("UPDATE cases SET matched_cents = 60 WHERE kind = 'refund_expected'")
    assert seen(found) == {("I2", str(story.card_payment.id))}


def test_i2_a_refund_that_is_not_in_the_books(story: Story) -> None:
    with story.clinic.transaction() as session:
        session.add(refund_by_hand(story, 40_00))
    assert seen(broken_invariants(story.clinic)) == {("I2", str(story.card_payment.id))}
    with story.clinic.transaction() as session:
        make_payment(
            session, story.paid, -40_00, "card", receipt_number=None, gateway_id=story.gateway.id, charge_id="ch_1",
            refund_id="re_4000", reverses_id=story.card_payment.id,
        )  # fmt: skip
    assert broken_invariants(story.clinic) == []


@pytest.mark.parametrize("state", ["asked", "failed", "canceled"])
def test_i2_a_refund_that_did_not_go_back_is_not_in_the_books(story: Story, state: str) -> None:
    with story.clinic.transaction() as session:
        session.add(refund_by_hand(story, 40_00, state=state))
    assert broken_invariants(story.clinic) == []


def test_i5_more_is_asked_back_than_the_charge_took(story: Story) -> None:
    with story.clinic.transaction() as session:
        session.add_all([refund_by_hand(story, 100_00, state="asked"), refund_by_hand(story, 79_77, state="asked")])
    assert seen(broken_invariants(story.clinic)) == {("I5", str(story.card_payment.id))}


def test_i4_what_went_back_counts(story: Story) -> None:
    with story.clinic.transaction() as session:
        payment = overpay(session, story)
        open_case(session, payment, 30_00)
    found = story.break_by("UPDATE cases SET matched_cents = 500")
    assert found == []
    assert seen(story.break_by("UPDATE cases SET matched_cents = 501")) == {("I4", str(story.paid.id))}


def test_i5_a_payment_reversed_twice(story: Story) -> None:
    with story.clinic.transaction() as session:
        for _ in range(2):
            make_payment(session, story.paid, -100_00, receipt_number=None, reverses_id=story.card_payment.id)
    assert seen(broken_invariants(story.clinic)) == {("I5", str(story.card_payment.id))}


def test_i5_more_was_given_by_hand_than_failed(story: Story) -> None:
    back: dict[str, Any] = {"receipt_number": None, "nature": "refund", "reverses_id": story.card_payment.id}
    with story.clinic.transaction() as session:
        session.add(refund_by_hand(story, 100_00, state="failed"))
        make_payment(session, story.paid, -100_00, request_id=uuid4(), **back)
    assert broken_invariants(story.clinic) == []
    with story.clinic.transaction() as session:
        make_payment(session, story.paid, -1, request_id=uuid4(), **back)
    assert seen(broken_invariants(story.clinic)) == {("I5", str(story.card_payment.id))}


def test_i9_somebody_is_paying_a_void_invoice(story: Story) -> None:
    with story.clinic.transaction() as session:
        make_attempt(session, story.void, story.gateway, amount_cents=126_00)
    assert seen(broken_invariants(story.clinic)) == {("I9", str(story.void.id))}


def test_i9_a_void_invoice_holds_money(story: Story) -> None:
    with story.clinic.transaction() as session:
        payment = make_payment(session, story.void, 126_00)
    assert seen(broken_invariants(story.clinic)) == {("I9", str(story.void.id))}
    with story.clinic.transaction() as session:
        open_case(session, payment, 126_00)
        open_case(session, payment, 126_00, "refund_due")
    assert broken_invariants(story.clinic) == []


# --- I7, I10, settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["invoice_lines", "line_taxes", "adjustments", "payments"])
def test_i7_a_table_that_could_be_changed(story: Story, table: str) -> None:
    expected = story.let_change(table)
    assert seen(broken_invariants(story.clinic)) == expected


def test_i7_a_payment_that_was_changed(story: Story) -> None:
    expected = story.let_change("payments")
    found = story.break_by("UPDATE payments SET amount_cents = 1 WHERE id = :id", id=story.card_payment.id)
    assert seen(found) == {*expected, ("I1", str(story.paid.id))}


@pytest.mark.of_database("postgresql")  # SQLite can't turn a trigger off
def test_i7_a_trigger_that_is_there_but_off(story: Story) -> None:
    found = story.break_by("ALTER TABLE payments DISABLE TRIGGER payments_only_grow")
    assert seen(found) == {("I7", "payments_only_grow")}


def test_i7_an_amount_in_parts_of_a_cent(story: Story) -> None:
    if story.clinic.is_sqlite:
        found = story.break_by(
            "INSERT INTO adjustments (invoice_id, amount_cents, reason, made_at)"
            " VALUES (:id, 0.5, 'Half.', '2026-11-24 10:00:00')",
            id=story.part_paid.id,
        )
        assert ("I7", "adjustments.amount_cents 2") in seen(found)
        assert ("I7", f"invoices.owed_cents {story.part_paid.id}") in seen(found)
    else:
        found = story.break_by("ALTER TABLE cases ALTER COLUMN amount_cents TYPE numeric(12, 2)")
        assert seen(found) == {("I7", "cases.amount_cents")}


def test_i10_an_attempt_that_could_become_another(story: Story) -> None:
    story.drop_trigger("payment_attempts", "payment_attempts_stay_what_they_are")
    assert seen(broken_invariants(story.clinic)) == {("I10", "payment_attempts_stay_what_they_are")}


def test_settings_that_nobody_can_read(story: Story) -> None:
    found = story.break_by(
        "INSERT INTO settings (key, value) VALUES ('portal_enabled', 'maybe'), ('colour_of_money', 'green'),"
        " ('idle_minutes', '30')"
    )
    assert seen(found) == {("settings", "portal_enabled"), ("settings", "colour_of_money")}


def test_a_flood_of_findings_is_cut_short(story: Story) -> None:
    with story.clinic.transaction() as session:
        for _ in range(MOST_IDS + 5):
            make_attempt(session, story.part_paid, story.gateway, State.SUCCEEDED, id=uuid4())
    [finding] = broken_invariants(story.clinic)
    assert len(finding.ids) == MOST_IDS
