"""What stands on a receipt's PDF: what the receipt's page says, to the same reader."""

from typing import Any

from flask_babel import gettext as _

from portal.invoices.reading import Head, Receipt
from portal.settings import Settings


def words_of(receipt: Receipt, settings: Settings) -> dict[str, Any]:
    """The words of a receipt that was loaded for its reader; lines and practitioner only where they may see them."""
    head, paper = receipt.paper.head, receipt.paper
    lines = [[line.description, _line_detail(head, line.detail), line.amount] for line in paper.lines]
    sums = [[tax.name, tax.amount] for tax in paper.taxes]
    sums += [[f"{change.description} {change.detail}".strip(), change.amount] for change in paper.adjustments]
    if head.sees_lines:
        sums.append([_("Total"), paper.total])
    sums += [[f"{paid.label}, {paid.detail}", paid.amount] for paid in receipt.others]
    return {
        "lang": "en",
        "region": "CA",
        "title": _("Receipt %(number)s", number=receipt.number),
        "clinic": settings.clinic_name,
        "clinic_lines": list(filter(None, _clinic_lines(head, settings))),
        "tax_numbers": [line.strip() for line in head.tax_numbers.splitlines() if line.strip()],
        "warning": _("Test mode: this payment was a rehearsal. No money moved, and this is no proof of payment.")
        if receipt.is_test
        else "",
        "paid": receipt.paid.whole,
        "paid_line": f"{receipt.paid_on}, {receipt.means}",
        "state": _state(receipt),
        "about": _("About this receipt"),
        "facts": _facts(receipt),
        "lines_title": _("What was paid"),
        "columns": [_("Service or product") if head.sees_lines else _("Invoice"), _("Amount")],
        "lines": lines or [[_("Invoice %(number)s, taxes included", number=head.number), "", paper.total]],
        "sums": sums,
        "total": [_("Paid by %(means)s", means=receipt.means), receipt.paid_words],
        "left": _("Left to pay on invoice %(number)s: %(amount)s", number=head.number, amount=head.left_words),
    }


def _line_detail(head: Head, detail: str) -> str:
    return f"{head.service_day}, {detail}" if detail else head.service_day


def _clinic_lines(head: Head, settings: Settings) -> list[str]:
    return [
        head.place_address or settings.text("clinic_address"),
        head.place_phone or settings.text("clinic_phone"),
        settings.text("clinic_email"),
    ]


def _state(receipt: Receipt) -> str:
    if receipt.went_back:
        return str(_("%(amount)s of this payment went back later", amount=receipt.went_back))
    if receipt.in_full:
        return str(_("Paid in full"))
    if receipt.paper.head.voided:
        return str(_("Invoice void"))
    return ""


def _facts(receipt: Receipt) -> list[list[str]]:
    head = receipt.paper.head
    facts = [(_("Patient"), head.patient_name), (_("Paid by"), receipt.paid_by), (_("Invoice"), head.number)]
    if head.sees_lines:
        facts += [(_("Practitioner"), head.practitioner), (_("Registration"), head.registration)]
    facts.append((_("Date of service"), head.service_day))
    return [[name, value] for name, value in facts if value]
