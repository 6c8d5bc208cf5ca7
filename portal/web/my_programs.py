"""My programs: what is coming, held, offered, waited for, past; the calendar file; and cancelling, with its rule."""

from contextlib import suppress
from dataclasses import dataclass

from flask import Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.clock import now
from portal.invoices.reading import full_day
from portal.money import format_money
from portal.parts import parts
from portal.programs.calendar import calendar_of_registration
from portal.programs.cancelling import Rule, kept_and_back, rule_for
from portal.programs.cancelling import cancel as cancel_registration
from portal.programs.my_places import MyPlace, PlaceReceipt, places_of, receipts_of
from portal.programs.refusals import NotConfirmed, RegistrationNotFound
from portal.programs.words import dates_words, until_words
from portal.web.access import patient_only, payer, who
from portal.web.place_endings import how_it_goes_back
from portal.web.places import check_programs, place_here, viewer
from portal.web.programs import calendar_answer
from portal.web.registrations import bp, show
from portal.web.scope import done_reading, reading
from portal.web.typed import number

# --- the list -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A place on the list, in words."""

    public_id: str
    href: str
    name: str
    about: str
    price: str
    look: str
    state: str
    until: str = ""
    act: str = ""
    act_href: str = ""
    is_urgent: bool = False


@bp.get("/my-programs")
@patient_only
def mine() -> ResponseReturnValue:
    """What is to be done, what is coming, what was."""
    places = [each for each in places_of(reading(), viewer()) if not each.is_over or each.is_checked]
    if not places:
        check_programs()
    receipts = receipts_of(reading(), places)
    offers = [each for each in places if each.is_offered]
    past = [each for each in places if each.is_past or each.is_cancelled or each.came_too_late]
    coming = [each for each in places if each not in offers and each not in past]
    coming.sort(key=lambda each: (not each.is_kept, each.starts_at or now()))
    rows = {each.id: _row(each, receipts.get(each.invoice_id or 0, [])) for each in places}
    return render_template(
        "programs/mine.html",
        offers=[rows[each.id] for each in offers],
        coming=[rows[each.id] for each in coming],
        past=[rows[each.id] for each in past if each not in offers],
    )


def _row(each: MyPlace, receipts: list[PlaceReceipt]) -> Row:
    href = url_for("registrations.one", public_id=each.public_id)
    about = f"{dates_words([meeting.starts_at for meeting in each.meetings], each.zone)}, {each.location}"
    if each.patient_id not in (None, payer().id):
        about += " " + _("for %(patient)s", patient=each.patient)
    look, state = _state(each)
    act, act_href = "", ""
    if each.is_kept:
        act, act_href = (_("Pay") if each.invoice_id else _("Go on")), href
    elif receipts:
        act = _("Receipt")
        act_href = url_for("invoices.receipt", number=each.number, receipt=receipts[-1].number)
    until = until_words(each.held_until, each.zone, now()) if each.held_until else ""
    return Row(each.public_id, href, each.name, about, _price(each), look, state, until, act, act_href, each.is_kept)


def _price(each: MyPlace) -> str:
    if each.is_cancelled:
        return ""
    if each.invoice_id is None:
        return _("Free") if each.is_confirmed else ""
    return format_money(max(each.owed_cents or 0, each.paid_cents or 0), each.currency)


def _state(each: MyPlace) -> tuple[str, str]:
    """The look and the words of a place's tag."""
    if each.came_too_late:
        return "late", _("No place, the money goes back")
    if each.is_cancelled:
        return "void", _("Cancelled")
    if each.is_waiting:
        return "new", _("On the waitlist")
    if each.is_offered:
        return "new", _("A place is offered")
    if each.is_checked:
        return "new", _("Checking a payment")
    if each.held_until is not None:
        return "due", _("Held until %(moment)s", moment=until_words(each.held_until, each.zone, now()))
    if (each.balance_cents or 0) > 0:
        return "part", _("Confirmed, to pay")
    return "paid", _("Confirmed")


# --- the calendar ---------------------------------------------------------------------------------------------------


@bp.get("/registrations/<public_id>/calendar.ics")
@patient_only
def calendar(public_id: str) -> ResponseReturnValue:
    """The sessions of a confirmed place, for a calendar."""
    place = place_here(public_id)
    if not place.is_confirmed:
        raise RegistrationNotFound
    return calendar_answer(calendar_of_registration(reading(), place.id, parts().config.base_url), place.name)


# --- cancel ---------------------------------------------------------------------------------------------------------


@bp.get("/registrations/<public_id>/cancel")
@patient_only
def cancel_page(public_id: str) -> ResponseReturnValue:
    """What goes back, before it is done."""
    place = place_here(public_id)
    if not place.is_confirmed:
        return redirect(url_for(".one", public_id=public_id), 303)
    return _cancel_page(place)


def _cancel_page(place: MyPlace, status: int = 200, told: str = "") -> Response:
    rule = _rule(place)
    receipts = receipts_of(reading(), [place]).get(place.invoice_id or 0, [])
    back = _amounts(place, rule)[1]
    button = _("Cancel my place")
    if back:
        button = _("Cancel, and give back %(back)s", back=format_money(back, place.currency))
    sentences = _what_goes_back(place, rule, receipts)
    return show("cancel", place, status, sentences=sentences, back_cents=back, button=button, told=told)


def _rule(place: MyPlace) -> Rule:
    return rule_for(place, place.starts_at, place.zone, now())


def _amounts(place: MyPlace, rule: Rule) -> tuple[int, int]:
    return kept_and_back(place.owed_cents or 0, place.paid_cents or 0, rule.percent)


def _what_goes_back(place: MyPlace, rule: Rule, receipts: list[PlaceReceipt]) -> list[str]:
    """The rule at this moment, in sentences: what goes back, and what the clinic keeps."""
    if place.invoice_id is None:
        return [_("It was free of charge: no money moves.")]
    kept, back = _amounts(place, rule)
    amounts = {"kept": format_money(kept, place.currency), "back": format_money(back, place.currency)}
    last = full_day(rule.full_until) if rule.full_until else ""
    if rule.percent == 100 and not back:
        words = [_("Nothing was paid yet, and nothing is owed any more.")]
    elif rule.percent == 100 and last:
        words = [_("Until the end of %(day)s all you have paid goes back: %(back)s.", day=last, **amounts)]
    elif rule.percent == 100:
        words = [_("All you have paid goes back: %(back)s.", **amounts)]
    elif back:
        words = [
            _("A full refund was possible until %(day)s.", day=last)
            + " "
            + _("Now %(back)s goes back, and the clinic keeps %(kept)s.", **amounts)
        ]
    else:
        words = [_("A full refund was possible until %(day)s. Nothing goes back any more.", day=last)]
        if kept > (place.paid_cents or 0):
            words.append(_("%(kept)s stays to be paid, as the program's rule says.", **amounts))
        words.append(_("Is there a reason that we should know? Call us before you cancel."))
    if back:
        words[-1] += " " + how_it_goes_back(receipts)
    return words


@bp.post("/registrations/<public_id>/cancel")
@patient_only
def cancel(public_id: str) -> ResponseReturnValue:
    """Cancel, giving back what the page said."""
    place = place_here(public_id)
    if not place.is_confirmed:
        return redirect(url_for(".one", public_id=public_id), 303)
    rule = _rule(place)
    if number(request.form.get("back"), 10**12) != _amounts(place, rule)[1]:
        told = _("What goes back has changed meanwhile. Nothing was cancelled. Please look it over.")
        return _cancel_page(place, 409, told)
    done_reading()
    with suppress(NotConfirmed):  # pressed twice; the page says how it stands
        cancel_registration(parts(), public_id, who().id, percent=rule.percent)
    return redirect(url_for(".one", public_id=public_id), 303)
