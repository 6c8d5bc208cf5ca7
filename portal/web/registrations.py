"""Registering for a program (P6, P7): a place is held, then its details, then the ordinary way to pay.

A place may be held before anybody signs in: the browser has a secret in a cookie until then.
"""

from uuid import uuid4

from flask import Blueprint, Response, abort, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy.orm import Session

from portal.invoices.reading import large, local_day, weekday
from portal.money import format_money, is_chargeable
from portal.parts import parts
from portal.programs.ending import let_place_go
from portal.programs.my_places import (
    Meeting,
    MyPlace,
    place_for,
    price_of_place,
    receipts_of,
    without_place,
)
from portal.programs.online import check_can_be_paid_online, check_online, discount_for, hold_online, register_online
from portal.programs.pricing import Price
from portal.programs.questions import questions_of
from portal.programs.refusals import BadCode, PlaceGone, PriceChanged, RegisterAtTheDesk, RegisteredAlready
from portal.programs.registering import Details, Holder, claim
from portal.programs.states import Place
from portal.programs.waiting import place_in_line
from portal.programs.words import dates_words, span_words
from portal.sign_ins import Person
from portal.web import limits
from portal.web.access import ask_to_sign_in, patient_only, payer, public, who
from portal.web.place_endings import ending_of
from portal.web.place_form import PlaceForm, as_kept, as_typed, people_of, to_keep
from portal.web.places import (
    check_portal,
    check_programs,
    clock_of,
    new_secret,
    place_here,
    remember,
    secret_here,
    viewer,
)
from portal.web.scope import done_reading, payment_modes, person, reading, settings
from portal.web.typed import uuid, words

bp = Blueprint("registrations", __name__)


# --- hold -----------------------------------------------------------------------------------------------------------


def _patient_or_stranger() -> Person | None:
    """Who asks where nobody needs to be signed in: a patient, or None. Staff are turned away. Raises PortalClosed."""
    someone = person()
    if someone is not None and someone.is_staff:
        abort(403)
    check_portal()
    return someone


@bp.post("/programs/<public_id>/hold")
@public
def hold(public_id: str) -> ResponseReturnValue:
    """Hold a place, for whoever is signed in, or for this browser."""
    someone = _patient_or_stranger()
    press = uuid(request.form.get("request_id")) or uuid4()
    secret = secret_here() or (new_secret() if someone is None else "")
    if someone is None:
        holder = Holder(secret=secret)
    else:
        holder = Holder(someone.id, None if someone.payees else someone.payer.id, secret or None)
    code = words(request.form.get("code"), 60)
    done_reading()
    try:
        if someone is None:
            check_online(parts(), public_id, press, holder, code)  # before the counts, which are written
            _count_stranger(public_id)
        held = hold_online(parts(), public_id, press, holder, code)
    except limits.TooManyTries:
        return _sign_in_first(public_id)
    except (BadCode, RegisterAtTheDesk):
        if not code:
            raise
        return redirect(url_for("programs.one", public_id=public_id, code=code), 303)  # it says so, and keeps it
    onward = redirect(url_for(".one", public_id=held), 303)
    if someone is None:
        remember(onward, secret)
    return onward


def _count_stranger(program: str) -> None:
    """So that nobody holds a whole program from one network, again and again, under no name."""
    limits.count(limits.HOLD_BY_NETWORK, "hold", limits.network())
    limits.count(limits.HOLD_BY_NETWORK_AND_PROGRAM, f"hold {program[:40]}", limits.network())


def _sign_in_first(public_id: str) -> ResponseReturnValue:
    flash(
        _("Many people from where you are have just taken places. You have not been charged.")
        + "\n"
        + _("Sign in first, then we hold a place for you."),
        "warn",
    )
    return redirect(url_for("security.login", next=url_for("programs.one", public_id=public_id)), 303)


# --- one place ------------------------------------------------------------------------------------------------------


@bp.get("/registrations/<public_id>")
@public
def one(public_id: str) -> ResponseReturnValue:
    """A place: what is to be done about it now, or what became of it."""
    someone = _patient_or_stranger()
    place = place_for(reading(), viewer(), public_id)
    if place is None and someone is None:
        return ask_to_sign_in()
    place = place or place_here(public_id)
    if place.is_checked and someone is not None:
        return redirect(url_for("place_pay.status", public_id=public_id, attempt=place.attempt), 303)
    if not place.is_kept:
        return _what_became_of(place)
    check_programs()
    if someone is None:
        return show("held", place, sign_up=settings().yes("portal_allow_sign_up"))
    questions = questions_of(reading(), place.program_id, place.id)
    form = as_kept(place, questions, payer())
    if payer().payees and place.patient_id is None:
        form.patient_id = without_place(reading(), place, payer().patients) or form.patient_id
    return _form_page(place, form)


def show(name: str, place: MyPlace, status: int = 200, **words: object) -> Response:
    """A page about a place, with its clock and its program's sessions in words."""
    page = render_template(
        f"programs/{name}.html",
        mine=place,
        clock=clock_of(place),
        dates=dates_words([each.starts_at for each in place.meetings], place.zone),
        room=_one_room(place),
        meetings=[_meeting_words(each, place.zone) for each in place.meetings],
        **words,
    )
    return make_response(page, status)


def _one_room(place: MyPlace) -> str:
    """The room where all sessions are; empty where there are several."""
    rooms = {each.room for each in place.meetings}
    return rooms.pop() if len(rooms) == 1 else ""


def _meeting_words(meeting: Meeting, zone: str) -> tuple[str, str, str]:
    day = weekday(local_day(meeting.starts_at, zone))
    return day, span_words(meeting.starts_at, meeting.ends_at, zone), meeting.room


def _form_page(
    place: MyPlace,
    form: PlaceForm,
    price: Price | None = None,
    told: tuple[str, str] | None = None,
    status: int = 200,
) -> Response:
    price = price or price_of_place(reading(), place)
    is_too_little = not price.is_free and not is_chargeable(price.total_cents, place.currency)
    return show(
        "registration",
        place,
        status,
        form=form,
        questions=questions_of(reading(), place.program_id, place.id),
        people=people_of(payer(), place),
        price=_price_words(place, price),
        told=told,
        is_too_little=is_too_little,
        can_go_on=price.is_free or (place.gateway_mode in payment_modes() and not is_too_little),
    )


def _price_words(place: MyPlace, price: Price) -> dict[str, object]:
    def money(cents: int) -> str:
        return format_money(cents, place.currency)

    rows = [(_("Price"), money(price.listed_cents))]
    if price.discount_cents:
        rows.append((_("Promo code"), money(-price.discount_cents)))
    rows += [(tax.name, money(tax.amount_cents)) for tax in price.taxes]
    return {
        "rows": rows,
        "total": money(price.total_cents),
        "full": format_money(price.total_cents, place.currency, full=True),
        "sum": large(price.total_cents, place.currency),
        "cents": price.total_cents,
        "is_free": price.is_free,
    }


def _money_left(mine: MyPlace) -> str:
    left = mine.balance_cents or 0
    return format_money(left, mine.currency) if left > 0 else ""


def _what_became_of(mine: MyPlace) -> Response:
    receipts = receipts_of(reading(), [mine]).get(mine.invoice_id or 0, [])
    if mine.is_confirmed:
        left = _money_left(mine)
        return show("confirmed", mine, receipts=receipts, left=left)
    if mine.is_waiting:
        hours = settings().number("program_offer_hours")
        return show("waiting", mine, line=place_in_line(reading(), mine.id), hours=hours)
    return show("ended", mine, receipts=receipts, ending=ending_of(mine, receipts), request_id=uuid4())


# --- the details ----------------------------------------------------------------------------------------------------


@bp.post("/registrations/<public_id>")
@patient_only
def save(public_id: str) -> ResponseReturnValue:
    """Keep the details and go on to pay; what costs nothing is confirmed at once."""
    check_programs()
    place = place_here(public_id)
    questions = questions_of(reading(), place.program_id, place.id)
    typed = as_typed(request.form, place, questions, payer())
    if not place.is_kept or place.is_checked:
        return redirect(url_for(".one", public_id=public_id), 303)
    if typed.code_is_new or "look" in request.form:
        return _with_new_code(place, typed)
    if typed.wrong:
        return _form_page(place, typed, _price_with(place, typed), status=422)
    with Session(parts().database.reading) as looking:
        total = _price_with(place, typed).total_cents
        check_can_be_paid_online(parts(), looking, place.location_id, total)
    done_reading()
    details = Details(typed.patient_id, to_keep(questions, typed), typed.code, typed.shown_cents)
    try:
        if place.user_id is None and secret_here():
            claim(parts(), public_id, secret_here(), who().id)
        kept = register_online(parts(), public_id, details, who().id)
    except BadCode as bad:
        typed.wrong["code"] = bad.heading
        return _form_page(place, typed, price_of_place(reading(), place, 0), status=422)
    except RegisteredAlready as already:
        if len(people_of(payer(), place)) > 1:
            typed.wrong["patient"] = f"{already.heading}. {_('Choose somebody else, or let this place go.')}"
            return _form_page(place, typed, _price_with(place, typed), status=422)
        return _form_page(place, typed, _price_with(place, typed), (already.heading, already.text), 422)
    except PriceChanged as changed:
        return _form_page(place, typed, _price_with(place, typed), (changed.heading, changed.text), 422)
    except PlaceGone:
        return redirect(url_for(".one", public_id=public_id), 303)  # it says so
    if kept.state == Place.CONFIRMED:
        return redirect(url_for(".one", public_id=public_id), 303)
    return redirect(url_for("place_pay.form", public_id=public_id), 303)


def _price_with(place: MyPlace, typed: PlaceForm) -> Price:
    """The price with the code as it was shown; a code that does not count any more takes nothing off."""
    try:
        discount = discount_for(parts(), place.public_id, typed.code) if typed.code else 0
    except BadCode:
        discount = 0
    return price_of_place(reading(), place, discount)


def _with_new_code(place: MyPlace, typed: PlaceForm) -> Response:
    """The page with the price that a code makes, to be looked over before going on. Nothing is kept yet."""
    typed.wrong.clear()
    told = None
    try:
        discount = discount_for(parts(), place.public_id, typed.code) if typed.code else 0
    except BadCode as bad:
        typed.wrong["code"] = f"{bad.heading}. {bad.text}"
        discount = 0
    else:
        typed.priced_code = typed.code
        if typed.code:
            told = (_("Your code takes %(amount)s off", amount=format_money(discount, place.currency)), "")
    price = price_of_place(reading(), place, discount)
    return _form_page(place, typed, price, told, 422 if typed.wrong else 200)


# --- let go ---------------------------------------------------------------------------------------------------------


@bp.post("/registrations/<public_id>/let-go")
@public
def let_go(public_id: str) -> ResponseReturnValue:
    """Give up a held or offered place, or one's turn in line."""
    someone = _patient_or_stranger()
    place_here(public_id)
    done_reading()
    if not let_place_go(parts(), public_id, someone.id if someone is not None else None):
        return redirect(
            url_for(".one", public_id=public_id), 303
        )  # it was paid, or is gone already; the page says so
    flash(_("Your place is free for somebody else now. You have not been charged."), "ok")
    return redirect(url_for("programs.browse"), 303)
