"""Worked examples, by hand on paper first: tax, part payment, credit, refund, write-off. One line each."""

from typing import Any

import pytest

from portal.invoices.books import TaxRate
from tests.makers import GST, PST, Lines
from tests.payments.stage import Stage
from tests.refunds.desk import Desk

QST = TaxRate("QST", 9_975)
OLD_QST = TaxRate("QST", 9_500, compound=True)

# lines (what, how many, cents each, taxes) → total; then what is done; then owed, paid, balance in cents.
EXAMPLES: dict[str, tuple[Lines, list[tuple[Any, ...]], tuple[int, int, int]]] = {
    "two taxes, each half up: 33.30 + 1.67 (1.665) + 2.33 (2.331)": (
        [("Salve", 1, 33_30, (GST, PST))], [], (37_30, 0, 37_30)),
    "per line, not on the sum: 3 lines of 0.10 bear 0.01 (0.005) each": (
        [(f"Pin {n}", 1, 10, (GST,)) for n in range(3)], [], (33, 0, 33)),
    "a quantity is one line: 3 × 0.10 bears 0.02 (0.015)": (
        [("Pins", 3, 10, (GST,))], [], (32, 0, 32)),
    "Québec today: 100.00 + 5.00 + 9.98 (9.975)": (
        [("Massage", 1, 100_00, (GST, QST))], [], (114_98, 0, 114_98)),
    "Québec before 2013, tax on tax: 100.00 + 5.00 + 9.98 (9.975)": (
        [("Massage", 1, 100_00, (GST, OLD_QST))], [], (114_98, 0, 114_98)),
    "part paid: 126.00 − 40.00": (
        [("Massage", 1, 120_00, (GST,))], [("cash", 40_00)], (126_00, 40_00, 86_00)),
    "part paid by insurance, the rest by card": (
        [("Massage", 1, 120_00, (GST,))], [("insurance", 80_00), ("card",)], (126_00, 126_00, 0)),
    "a credit lowers what is owed, not the tax that was taken": (
        [("Massage", 1, 120_00, (GST,))], [("adjust", -26_00)], (100_00, 0, 100_00)),
    "credit, then paid": (
        [("Massage", 1, 120_00, (GST,))], [("adjust", -26_00), ("card",)], (100_00, 100_00, 0)),
    "refund of a part, no longer owed: 126.00 − 26.00 owed, 100.00 paid": (
        [("Massage", 1, 120_00, (GST,))], [("card",), ("refund", 26_00, False)], (100_00, 100_00, 0)),
    "refund of a part, still owed": (
        [("Massage", 1, 120_00, (GST,))], [("card",), ("refund", 26_00, True)], (126_00, 100_00, 26_00)),
    "refund of all, no longer owed": (
        [("Massage", 1, 120_00, (GST,))], [("card",), ("refund", 126_00, False)], (0, 0, 0)),
    "write-off of what is left": (
        [("Massage", 1, 120_00, (GST,))], [("cash", 100_00), ("adjust", -26_00)], (100_00, 100_00, 0)),
    "reversal of a payment that never was": (
        [("Massage", 1, 120_00, (GST,))], [("cash", 126_00), ("reverse", 126_00)], (126_00, 0, 126_00)),
    "an extra amount owed after all was paid": (
        [("Massage", 1, 120_00, (GST,))], [("card",), ("adjust", 15_00)], (141_00, 126_00, 15_00)),
}  # fmt: skip


@pytest.mark.promise("O16", "G3")
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_worked_example(stage: Stage, desk: Desk, name: str) -> None:
    lines, done, expected = EXAMPLES[name]
    stage.invoice_id = stage.new_invoice(lines)
    for verb, *how in done:
        match verb:
            case "cash" | "insurance":
                desk.received(how[0], verb)
            case "card":
                desk.card_pays()
            case "adjust":
                desk.adjusts(how[0])
            case "refund":
                desk.refunds(stage.payments()[-1], how[0], still_owed=how[1])
            case "reverse":
                desk.reverses(stage.payments()[-1], how[0])
    invoice = stage.invoice()
    assert (invoice.owed_cents, invoice.paid_cents, invoice.balance_cents) == expected
