"""How long a receipt's PDF takes, beside an empty page by the same press."""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import typst

from portal.receipt_pdf.press import TEMPLATE, set_page

ROUNDS = 30
RECEIPT = {
    "lang": "en", "region": "CA", "title": "", "clinic": "Alder Lane Clinic",
    "clinic_lines": ["118 Alder Lane, Kelowna BC V1Y 0A1", "250-555-0142", "frontdesk@example.com"],
    "tax_numbers": ["GST 71234 5678 RT0001", "PST-1234-5678"], "warning": "", "paid": "CA$139.76",
    "paid_line": "Tuesday 24 November 2026, Visa ending 4242", "state": "Paid in full", "about": "About this receipt",
    "facts": [["Patient", "Maya Lindqvist"], ["Paid by", "Maya Lindqvist"], ["Invoice", "10482"],
              ["Practitioner", "Liam Tremblay, RMT"], ["Registration", "CMTBC 08842"]],
    "lines_title": "What was paid", "columns": ["Service or product", "Amount"],
    "lines": [["Massage therapy, 60 minutes", "17 Nov 2026, 1 × $120.00, GST", "$120.00"],
              ["Lumbar support cushion", "17 Nov 2026, 1 × $48.00, GST and PST", "$48.00"]],
    "sums": [["GST 5%", "$8.40"], ["PST 7%", "$3.36"], ["Total", "$179.76"], ["Insurance", "−$40.00"]],
    "total": ["Paid by Visa ending 4242", "$139.76"], "left": "Left to pay on invoice 10482: $0.00",
}  # fmt: skip


def receipt_pdfs() -> dict[str, float]:
    """Milliseconds of a receipt, each with another number so that none is remembered, and the ratio to nothing."""
    took: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        nothing = Path(folder, "empty.typ")
        nothing.write_text("#set document(title: sys.inputs.words)\n")
        receipts, empty = typst.Compiler(TEMPLATE), typst.Compiler(nothing)
        for number in range(ROUNDS):
            words = json.dumps({**RECEIPT, "title": f"Receipt R-{number}"})
            took.append((_ms(partial(set_page, receipts, words)), _ms(partial(set_page, empty, str(number)))))
    warm = took[3:]
    return {
        "receipt_pdf_ms": statistics.median(one for one, _ in warm),
        "receipt_pdf_vs_empty": statistics.median(one / other for one, other in warm),
    }


def _ms(work: Callable[[], bytes]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000
