"""A patient's invoices: what is open, what is done, one of them, one receipt."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.invoices.books import is_numbered
from portal.invoices.reading import (
    Head,
    closed_invoices,
    greeting,
    invoice_for,
    listed,
    open_invoices,
    paper_for,
    read_key,
    receipt_for,
    totals,
)
from portal.programs.naming import registration_in
from portal.web.access import patient_only, payer, who
from portal.web.pdf import pdf_answer
from portal.web.scope import done_reading, payment_modes, reading, settings

bp = Blueprint("invoices", __name__)


@bp.get("/invoices")
@patient_only
def still_open() -> ResponseReturnValue:
    """What is left to pay."""
    someone = who()
    after = read_key(request.args.get("after", ""))
    counted = totals(reading(), someone.payer)
    return render_template(
        "invoices/list.html",
        page=open_invoices(reading(), someone.payer, payment_modes(), after),
        totals=counted,
        others=_names([payee.name for payee in someone.payees]),
        greeting=greeting(counted.zone, someone.given_name),
        first=after is None,
    )


def _names(payees: list[str], most: int = 6) -> str:
    """ "Theo and Ingrid"; an employer's hundreds are counted, not listed."""
    others = [_("%(count)s others", count=len(payees) - most)] if len(payees) > most else []
    return listed([*payees[:most], *others])


@bp.get("/invoices/paid")
@patient_only
def closed() -> ResponseReturnValue:
    """What is paid or void."""
    after = read_key(request.args.get("after", ""))
    return render_template(
        "invoices/closed.html",
        page=closed_invoices(reading(), payer(), after),
        totals=totals(reading(), payer()),
        first=after is None,
    )


def _head(number: str) -> Head:
    return invoice_for(reading(), payer(), number) or abort(404)


@bp.get("/invoices/<number>")
@patient_only
def one(number: str) -> ResponseReturnValue:
    """One invoice: its lines, taxes, payments and receipts, and the way to pay it. A held place has its own page."""
    if not is_numbered(number):
        return redirect(url_for("registrations.one", public_id=registration_in(number)), 303)
    head = _head(number)
    return render_template(
        "invoices/one.html",
        head=head,
        paper=paper_for(reading(), head),
        takes_payments=head.gateway_mode in payment_modes(),
        can_pay=head.can_be_paid_online(payment_modes()),
        is_own=head.patient_id == payer().id,
    )


@bp.get("/invoices/<number>/receipts/<receipt>")
@patient_only
def receipt(number: str, receipt: str) -> ResponseReturnValue:
    """One receipt, fit to print."""
    found = receipt_for(reading(), _head(number), receipt) or abort(404)
    return render_template("invoices/receipt.html", receipt=found, head=found.paper.head)


@bp.get("/invoices/<number>/receipts/<receipt>.pdf")
@patient_only
def receipt_pdf(number: str, receipt: str) -> ResponseReturnValue:
    """The same as a PDF, for an insurer."""
    found = receipt_for(reading(), _head(number), receipt) or abort(404)
    clinic = settings()
    done_reading()
    return pdf_answer(found, clinic)
