"""The Accounting tab: what a person owes, each invoice to be paid on its own, and the cards they keep."""

from flask import request
from flask.typing import ResponseReturnValue

from portal.invoices.reading import read_key
from portal.patients.accounting import balances, cards_of, invoices_of, payments_of, statement_of
from portal.patients.facts import today_at_the_clinic
from portal.patients.payers import payees_of, payers_of
from portal.permissions import May
from portal.web.access import staff_may
from portal.web.cards import card_words, plastic
from portal.web.office.patients.room import bp, file_page, person_or_404
from portal.web.scope import reading


@bp.get("/<int:patient_id>/accounting")
@staff_may(May.INVOICES)
def accounting(patient_id: int) -> ResponseReturnValue:
    """Balance, invoices, payments, saved cards."""
    person = person_or_404(patient_id)
    today = today_at_the_clinic(reading())
    payees = payees_of(reading(), person.id, today)
    payers = payers_of(reading(), person.id, person.birth_date, today)
    names = {person.id: person.details.given_name} | {payee.id: payee.name for payee in payees}
    after, before = read_key(request.args.get("after", "")), _row_id(request.args.get("before", ""))
    return file_page(
        "accounting",
        person,
        "accounting",
        balances=balances(reading(), person.id),
        invoices=invoices_of(reading(), names, after),
        payments=payments_of(reading(), person.id, before),
        first_invoices=after is None,
        first_payments=before is None,
        cards=cards_of(reading(), person.id, today),
        payers=[(payer, cards_of(reading(), payer.id, today)) for payer in payers],
        payees=payees,
        card_words=card_words,
        plastic=plastic,
    )


def _row_id(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None


@bp.get("/<int:patient_id>/statement")
@staff_may(May.INVOICES)
def statement(patient_id: int) -> ResponseReturnValue:
    """What is open now, fit to print and hand over."""
    person = person_or_404(patient_id)
    today = today_at_the_clinic(reading())
    return file_page(
        "statement", person, "statement", today=today, balances=balances(reading(), person.id),
        rows=statement_of(reading(), person.id),
    )  # fmt: skip
