"""Paying for a held place: the ordinary pay pages, under the registration's own address.

Its invoice has no number before it is paid, so these pages are found by the registration; they speak of the program,
show the clock, and lead back to the registration.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.errors import Refusal
from portal.payments.reading import AttemptStatus, Payable, payable_place, place_attempt_status
from portal.payments.words import OnlinePaymentOff
from portal.programs.my_places import MyPlace
from portal.programs.refusals import PlaceGone, RegisterAtTheDesk
from portal.programs.words import dates_words
from portal.web.access import patient_only
from portal.web.asking import wants_json
from portal.web.errors import refused as answer_refusal
from portal.web.pay import PatientsTill, is_own, paying, press_pay, refused_at, show_form
from portal.web.paying import answer_on_return, answer_to_whoever_waits, status_page
from portal.web.places import Clock, check_programs, clock_of, place_here
from portal.web.scope import done_reading, reading, settings

bp = Blueprint("place_pay", __name__, url_prefix="/registrations/<public_id>/pay")


@dataclass(frozen=True)
class PlaceTill(PatientsTill):
    """The pay pages of one place."""

    held: MyPlace
    room = "place_pay"
    form_page = "pay/place.html"
    checking_page = "pay/place_checking.html"
    here = "my-programs"

    @property
    def clock(self) -> Clock | None:
        """How long the place is kept yet."""
        return clock_of(self.held)

    def place(self, number: str) -> dict[str, Any]:
        return {"public_id": self.held.public_id}

    def title(self, number: str) -> str:
        return _("Pay for %(program)s", program=self.held.name)

    def over(self, number: str) -> str:
        return self.held.name

    def words_back(self) -> str:
        return _("Back to your registration")

    def words_again(self) -> str:
        return _("Pay for your place")

    def back_url(self, number: str) -> str:
        return url_for("registrations.one", public_id=self.held.public_id)

    def paid_url(self, number: str, receipt_number: str) -> str:
        return self.back_url(number)

    def about(self, invoice: Payable) -> str:
        dates = dates_words([each.starts_at for each in self.held.meetings], self.held.zone)
        words = f"{settings().clinic_name}, {dates}"
        return (
            words
            if self.held.patient_id == paying().payer_id
            else words + " " + _("for %(patient)s", patient=invoice.patient)
        )


def _back(place: MyPlace) -> ResponseReturnValue:
    """To the registration: its page says what is to be done, or what became of it."""
    return redirect(url_for("registrations.one", public_id=place.public_id), 303)


def _to_pay(place: MyPlace) -> Payable | None:
    """The invoice of a place that can still be paid here; None where there is nothing to pay on this page."""
    if place.invoice_id is None or not place.is_kept:
        return None
    payer_id = paying().payer_id
    assert payer_id is not None
    return payable_place(reading(), payer_id, place.invoice_id)


@bp.get("")
@patient_only
def form(public_id: str) -> ResponseReturnValue:
    """The form, or the page of the attempt that is under way."""
    check_programs()
    place = place_here(public_id)
    invoice = _to_pay(place)
    return show_form(PlaceTill(place), invoice) if invoice is not None else _back(place)


@bp.post("")
@patient_only
def press(public_id: str) -> ResponseReturnValue:
    """Pay, once."""
    check_programs()
    place = place_here(public_id)
    if place.invoice_id is None:
        return _back(place)
    payer_id = paying().payer_id
    assert payer_id is not None
    invoice = payable_place(reading(), payer_id, place.invoice_id)
    return press_pay(PlaceTill(place), invoice) if invoice is not None else _back(place)


def _seen(place: MyPlace, attempt: UUID) -> AttemptStatus | None:
    payer_id = paying().payer_id
    if place.invoice_id is None or payer_id is None:
        return None
    return place_attempt_status(reading(), payer_id, place.invoice_id, attempt)


@bp.post("/<uuid:attempt>/settle")
@patient_only
def settle(public_id: str, attempt: UUID) -> ResponseReturnValue:
    """Ask the gateway again, for the page that waits."""
    place = place_here(public_id)
    found = _seen(place, attempt)
    if found is None:
        return _back(place)
    done_reading()
    return answer_to_whoever_waits(PlaceTill(place), found.invoice_number, attempt, is_own(found))


@bp.get("/<uuid:attempt>/return")
@patient_only
def come_back(public_id: str, attempt: UUID) -> ResponseReturnValue:
    """Back from a bank's page. Records what the gateway already did; then a clean URL."""
    place = place_here(public_id)
    found = _seen(place, attempt)
    if found is None or not is_own(found):
        return _back(place)
    done_reading()
    return answer_on_return(PlaceTill(place), found.invoice_number, attempt)


@bp.get("/<uuid:attempt>")
@patient_only
def status(public_id: str, attempt: UUID) -> ResponseReturnValue:
    """What is known of an attempt: that we are checking, or how it ended."""
    place = place_here(public_id)
    found = _seen(place, attempt)
    if found is None:
        return _back(place)
    return status_page(PlaceTill(place), found.invoice_number, found, is_own(found))


@bp.errorhandler(Refusal)
def refused(refusal: Refusal) -> ResponseReturnValue:
    """A refusal on a pay page leads back to its registration."""
    public_id = (request.view_args or {}).get("public_id", "")
    if wants_json() or refusal.status == 404:
        return answer_refusal(refusal)
    place = place_here(public_id)
    if isinstance(refusal, PlaceGone):
        return _back(place)
    if isinstance(refusal, OnlinePaymentOff):
        refusal = RegisterAtTheDesk(phone=settings().text("clinic_phone"))
    return refused_at(PlaceTill(place), place.number or "", refusal)
