"""The Accounting tab: what a person owes, each invoice to be paid on its own, and the cards they keep."""

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.cards import make_usual, remove_card
from portal.invoices.reading import read_key
from portal.parts import parts
from portal.patients.accounting import balances, cards_of, invoices_of, payments_of, statement_of
from portal.patients.facts import today_at_the_clinic
from portal.patients.payers import payees_of, payers_of
from portal.permissions import May
from portal.web.access import staff_may, who
from portal.web.cards import card_words, plastic
from portal.web.office.patients.room import bp, file_page, person_or_404
from portal.web.scope import done_reading, reading

MOST_PAYEES = 30  # an employer may pay for hundreds; their invoices are then in each one's own file


@bp.get("/<int:patient_id>/accounting")
@staff_may(May.INVOICES)
def accounting(patient_id: int) -> ResponseReturnValue:
    """Balance, invoices, payments, saved cards."""
    person = person_or_404(patient_id)
    today = today_at_the_clinic(reading())
    payees = payees_of(reading(), person.id, today)
    payers = payers_of(reading(), person.id, person.birth_date, today)
    names = {person.id: person.details.given_name} | {payee.id: payee.name for payee in payees[:MOST_PAYEES]}
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
        most_payees=MOST_PAYEES,
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


@bp.post("/<int:patient_id>/cards/<card>/remove")
@staff_may(May.RECEIVE)
def remove_saved_card(patient_id: int, card: str) -> ResponseReturnValue:
    """Forget a card, as its payer asked."""
    person = person_or_404(patient_id)
    done_reading()
    remove_card(parts(), person.id, card, by=who().id)
    flash(_("The card is removed. Nobody can charge it any more."), "ok")
    return _to_cards(patient_id)


@bp.post("/<int:patient_id>/cards/<card>/default")
@staff_may(May.RECEIVE)
def make_default(patient_id: int, card: str) -> ResponseReturnValue:
    """The card that is offered first from now on."""
    person = person_or_404(patient_id)
    done_reading()
    make_usual(parts(), person.id, card, by=who().id)
    flash(_("This card is offered first from now on."), "ok")
    return _to_cards(patient_id)


def _to_cards(patient_id: int) -> ResponseReturnValue:
    return redirect(url_for("patients.accounting", patient_id=patient_id, _anchor="cards"), 303)
