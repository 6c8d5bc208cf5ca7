"""What is open on an invoice's payments: what a person should know or do, in words, and where to do it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask_babel import gettext as _
from sqlalchemy import Row

from portal.payments.cases import UNDER_WAY
from portal.refunds.entries import Entry, Head
from portal.refunds.following import GIVEN_TWICE
from portal.refunds.standing import was_sent_back

Found = Row[*tuple[Any, ...]]


@dataclass(frozen=True)
class Note:
    """Something that is open, or that a person should see: where it stands, and the link to do something about it.

    `gives_back_id`: the payment whose refund has failed, where it can be given back another way.
    """

    look: str
    heading: str
    text: str
    link: str = ""
    refund_id: int = 0
    asks_still_owed: bool = False
    case_id: int = 0
    gives_back_id: int = 0


def notes_on(
    head: Head, entries: Mapping[int, Entry], cases: Sequence[Found], refunds: Sequence[Found]
) -> list[Note]:
    """The open cases, the refunds that are under way or need a person, and a payment that is being made."""
    notes = [_case_note(head, entries[case.payment_id], case) for case in cases if case.closed_at is None]
    notes += [_refund_note(head, entries[one.payment_id], one) for one in refunds]
    if head.is_being_paid:
        notes.append(
            Note(
                "wait", _("Somebody is paying this invoice"), _("The payment appears here once its outcome is known.")
            )
        )
    return [note for note in notes if note is not None]


def _case_note(head: Head, entry: Entry, case: Found) -> Note | None:
    amount = head.money(case.amount_cents - case.matched_cents)
    words = {"amount": amount, "name": entry.name}
    if case.kind == "dispute":
        return _dispute_note(head, entry, case)
    if case.kind == "overpaid" and head.is_void:
        return None
    heading, text = {
        "overpaid": (
            _("Paid too much: %(amount)s", **words),
            _("More was paid than is owed. Was payment %(name)s entered in error? Reverse it. Was the money really "
              "taken? Refund it.", **words),
        ),
        "refund_due": (
            _("%(amount)s of payment %(name)s is to be refunded", **words),
            _("The card turned out to be one that the clinic does not accept."),
        ),
        "refund_pending": (
            _("Void, refund pending: %(amount)s", **words),
            _("This invoice is void. The %(amount)s of payment %(name)s goes back once it is refunded in Stripe, and "
              "then this closes by itself.", **words)
            if entry.has_charge
            else _("This invoice is void. Give the %(amount)s of payment %(name)s back and record it here.", **words),
        ),
        "refund_expected": (
            _("Refund expected: %(amount)s", **words),
            _("Payment %(name)s was reversed here, but Stripe still has its %(amount)s. Refund it in Stripe; it is "
              "matched with the reversal by itself.", **words),
        ),
    }[case.kind]  # fmt: skip
    return Note("warn", heading, text, entry.link)


def _dispute_note(head: Head, entry: Entry, case: Found) -> Note:
    words = {"amount": head.money(case.amount_cents), "name": entry.name}
    if case.stage in UNDER_WAY:
        text = (
            _("The bank asks about %(amount)s of payment %(name)s. No money has been taken back so far. Answer in "
              "Stripe's dashboard in time.", **words)
            if case.stage == "inquiry"
            else _("The bank has taken back %(amount)s of payment %(name)s until it is decided. Answer in Stripe's "
                   "dashboard in time. Nothing is refunded and nobody is reminded meanwhile.", **words)
        )  # fmt: skip
        return Note("warn", _("Payment %(name)s is disputed", **words), text, entry.link)
    return Note(
        "bad",
        _("The dispute of payment %(name)s is lost", **words),
        _("The bank keeps the %(amount)s, and the invoice is owed again. Write it off, or talk to the patient; no "
          "reminder goes out by itself.", **words),
        entry.link,
        case_id=case.id,
    )  # fmt: skip


def _refund_note(head: Head, entry: Entry, refund: Found) -> Note | None:
    words = {"amount": head.money(refund.amount_cents), "name": entry.name, "when": head.moment(refund.asked_at)}
    if refund.needs_person == "credited":
        return Note(
            "warn",
            _("Refunded in Stripe: %(amount)s", **words),
            _("Somebody refunded %(amount)s of payment %(name)s in Stripe's dashboard. It was credited here too, so "
              "that it is not owed again. Is that right?", **words),
            entry.link, refund.id, asks_still_owed=True,
        )  # fmt: skip
    if refund.state == "asked":
        return Note(
            "wait",
            _("We are checking a refund of %(amount)s", **words),
            _("It was asked for on %(when)s, and Stripe has not answered yet. Please don't refund again; this "
              "settles by itself.", **words),
            entry.link,
        )  # fmt: skip
    if refund.state == "pending":
        return Note("wait", _("A refund of %(amount)s is on its way", **words),
                    _("Stripe has taken it; the bank has not confirmed it yet."), entry.link)  # fmt: skip
    if refund.needs_person == GIVEN_TWICE:
        return Note(
            "bad",
            _("Payment %(name)s went back twice", **words),
            _("It was given back by hand, and Stripe has now sent back %(amount)s of it as well. Ask for what was "
              "given too much. To have it on the invoice, add an extra amount owed.", **words),
            entry.link, refund.id,
        )  # fmt: skip
    if refund.needs_person is not None and was_sent_back(refund) and entry.can_go_by_hand:
        return Note(
            "bad",
            _("A refund of %(amount)s has failed", **words),
            _("The card company sent it back, as it does where a card is closed. The money of payment %(name)s is "
              "with the clinic again. Give it back another way, and record that here.", **words),
            entry.link, refund.id, gives_back_id=entry.id,
        )  # fmt: skip
    if refund.needs_person is not None:
        return Note(
            "bad",
            _("A refund of %(amount)s has failed", **words),
            _("The money of payment %(name)s did not arrive and is back with the clinic. Look at the "
                "payment in Stripe, and refund it again.",
                **words),
            entry.link, refund.id,
        )  # fmt: skip
    return None
