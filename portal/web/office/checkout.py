"""Appointment checkout: from a visit, or a purchase at the desk, to its invoice.

The form goes round: every button sends all of it, and what comes back has everything that was typed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from uuid import UUID, uuid4

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from werkzeug.datastructures import MultiDict

from portal.audit import note_view
from portal.checkout import (
    MOST_LINES,
    MOST_OF_ONE,
    Bill,
    CheckedOut,
    Item,
    Order,
    TotalChanged,
    check_out,
    offers,
    priced,
)
from portal.errors import Refusal
from portal.invoices.reading import large, weekday
from portal.invoices.reading.words import money, percent
from portal.letters.requests import Requested
from portal.money import exponent, parse_amount
from portal.parts import parts
from portal.patients.facts import person_on_file
from portal.permissions import May
from portal.schedule import reading as looking
from portal.schedule.reading import Place
from portal.schedule.refusals import VisitIsOver
from portal.web import typed
from portal.web.access import staff_may, who
from portal.web.office.mails import ask_for
from portal.web.office.schedule import chosen_place
from portal.web.scope import reading, settings

bp = Blueprint("checkout", __name__, url_prefix="/office/checkout")

LONGEST_NOTES = 2000
LONGEST_KEY = 40
Errors = list[tuple[str, str]]


# --- whose invoice --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """Whom the invoice is for, where, and for which visit, if it is for one."""

    patient_id: int
    patient: str
    email: str
    place_id: int
    currency: str
    places: list[Place] = field(default_factory=list)
    visit: looking.Visit | None = None


def _subject(values: Mapping[str, str]) -> Subject:
    """The visit, or the patient, that the address names; 404 for neither."""
    visit = looking.visit(reading(), typed.words(values.get("appointment"), LONGEST_KEY))
    if visit is not None:
        return Subject(visit.patient_id, visit.patient, visit.patient_email, visit.location_id, visit.currency,
                       visit=visit)  # fmt: skip
    patient = person_on_file(reading(), typed.number(values.get("patient")) or 0) or abort(404)
    places = looking.places(reading())
    place = chosen_place(places, typed.number(values.get("location")))
    return Subject(patient.id, patient.name, patient.details.email, place.id, place.currency, places)


# --- what stands in the form ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TypedLine:
    """A line as it was typed. `listed` is the list price that the form showed; a price like it follows the list."""

    service_id: int
    quantity: str
    price: str = ""
    listed: int | None = None

    def read(self, place: int, currency: str) -> tuple[Item | None, Errors]:
        """The line in our own words; None with what is wrong with it."""
        errors: Errors = []
        quantity = typed.number(self.quantity, MOST_OF_ONE)
        if not quantity:
            errors.append((f"quantity-{place}", _wrong_quantity()))
        cents: int | None = None
        try:
            cents = parse_amount(self.price, currency) if self.price else None
        except ValueError:
            errors.append((f"price-{place}", _("Type the price like 120.00")))
        if cents is not None and cents < 0:
            errors.append((f"price-{place}", _("A price is zero or more; credit an invoice to take something off")))
        if errors or not quantity:
            return None, errors
        return Item(self.service_id, quantity, None if cents == self.listed else cents), []


@dataclass(frozen=True)
class Typed:
    """The whole form."""

    request_id: UUID
    lines: tuple[TypedLine, ...]
    item: int | None
    quantity: str
    notes: str
    mail: bool
    ask: bool
    shown: int
    completes: bool


def _typed(form: MultiDict[str, str]) -> Typed:
    columns = [form.getlist(name) for name in ("service", "quantity", "price", "listed")]
    rows = list(zip(*columns, strict=False))[:MOST_LINES]
    lines = [
        TypedLine(service, typed.words(quantity, 20), typed.words(price, 20), typed.number(listed))
        for service, quantity, price, listed in ((typed.number(row[0]), *row[1:]) for row in rows)
        if service
    ]
    return Typed(
        request_id=typed.uuid(form.get("request")) or uuid4(),
        lines=tuple(lines),
        item=typed.number(form.get("item")) or None,
        quantity=typed.words(form.get("more", "1"), 20),
        notes=typed.words(form.get("notes"), LONGEST_NOTES),
        mail="mail" in form,
        ask="ask" in form,
        shown=typed.number(form.get("shown"), 10**14) or 0,
        completes=form.get("complete") == "1",
    )


def _begun(subject: Subject) -> Typed:
    """The form as it is first shown: the service of the visit, at its price."""
    lines = (TypedLine(subject.visit.service_id, "1"),) if subject.visit else ()
    completes = request.args.get("complete") == "1"
    return Typed(uuid4(), lines, None, "1", "", bool(subject.email), False, 0, completes)


def _wrong_quantity() -> str:
    return _("A quantity is a whole number from 1 to %(most)s", most=MOST_OF_ONE)


class Read(NamedTuple):
    """The lines that could be read, and what is wrong with the others."""

    items: tuple[Item, ...]
    errors: Errors


def _read(form: Typed, currency: str) -> Read:
    found = [line.read(place, currency) for place, line in enumerate(form.lines)]
    return Read(tuple(item for item, _wrong in found if item), [error for _item, wrong in found for error in wrong])


def _with_added(form: Typed) -> tuple[Typed, Errors]:
    """The chosen product or service becomes a line: it is not forgotten, whichever button is pressed."""
    if not form.item:
        return form, []
    if not typed.number(form.quantity, MOST_OF_ONE):
        return form, [("more", _wrong_quantity())]
    if len(form.lines) >= MOST_LINES:
        return form, [("item", _("An invoice has at most %(most)s lines", most=MOST_LINES))]
    return replace(form, lines=(*form.lines, TypedLine(form.item, form.quantity)), item=None, quantity="1"), []


# --- the page -------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A line on the page."""

    place: int
    service_id: int
    name: str
    quantity: str
    price: str
    listed: int
    taxes: str
    amount: str


@bp.get("/new")
@staff_may(May.CHECKOUT)
def new() -> ResponseReturnValue:
    """The form. A visit that has its invoice leads to that."""
    subject = _subject(request.args)
    visit = subject.visit
    if visit is not None and visit.invoice:
        return _led_to(CheckedOut(visit.invoice, is_new=False))
    if visit is not None and visit.is_cancelled:
        raise VisitIsOver(status=visit.status)
    note_view(parts().database, who().id, subject.patient_id, "checkout")
    return _page(subject, _begun(subject))


@bp.post("/new")
@staff_may(May.CHECKOUT)
def press() -> ResponseReturnValue:
    """Add or remove a line, work the total out again, or check out."""
    subject, form = _subject(request.form), _typed(request.form)
    pressed, _sep, which = request.form.get("do", "").partition(":")
    if pressed == "remove" and (place := typed.number(which)) is not None:
        lines = tuple(line for number, line in enumerate(form.lines) if number != place)
        return _page(subject, replace(form, lines=lines), focus="item", status=200)
    form, errors = _with_added(form)
    if pressed == "add" and not errors and len(form.lines) == 0:
        errors = [("item", _("Choose a product or service"))]
    errors = [*errors, *_read(form, subject.currency).errors]
    if errors or pressed != "checkout":
        return _page(subject, form, errors, focus="item" if pressed == "add" else "")
    return _check_out(subject, form)


def _check_out(subject: Subject, form: Typed) -> ResponseReturnValue:
    order = Order(
        request_id=form.request_id,
        items=_read(form, subject.currency).items,
        shown_cents=form.shown,
        visit_key=subject.visit.key if subject.visit else None,
        patient_id=subject.patient_id,
        location_id=subject.place_id,
        note=form.notes,
        email_wanted=form.mail and bool(subject.email),
        request_wanted=form.ask,
        completes=form.completes,
    )
    try:
        return _led_to(check_out(parts(), order, who().id))
    except Refusal as refusal:
        return _page(subject, form, refusal=refusal)


def _led_to(made: CheckedOut) -> ResponseReturnValue:
    """On to the payment, whoever made the invoice."""
    if made.is_new:
        flash(_("Invoice %(number)s is issued", number=made.number) + "\n" + _("Nothing is paid yet."), "ok")
    else:
        told = _("Nothing was issued a second time. To change it, void it and check out again.")
        flash(_("Invoice %(number)s was made already", number=made.number) + "\n" + told, "warn")
    if isinstance(made.requested, Requested):
        flash(_("A request to pay is on its way.\nIt goes to %(email)s.", email=made.requested.email), "ok")
    elif made.requested is not None:
        flash(f"{made.requested.heading}\n{made.requested.text}", "warn")
    return redirect(url_for("receive.form", number=made.number), 303)


def _page(
    subject: Subject,
    form: Typed,
    errors: Errors | None = None,
    *,
    refusal: Refusal | None = None,
    focus: str = "",
    status: int = 200,
) -> ResponseReturnValue:
    """The form with all that was typed, and what it comes to now."""
    items = _read(form, subject.currency).items
    listed = priced(reading(), [Item(line.service_id) for line in form.lines], strict=False)
    bill = priced(reading(), items, strict=False)
    page = render_template(
        "office/checkout.html",
        subject=subject,
        day=weekday(subject.visit.day) if subject.visit else "",
        form=form,
        rows=_rows(form, listed, subject.currency),
        offers=_offer_options(subject.currency),
        bill=bill,
        total=large(bill.total_cents, subject.currency),
        net=money(bill.net_cents, subject.currency),
        taxes=[(f"{t.name} {percent(t.rate_per_100k)}", money(t.amount_cents, subject.currency)) for t in bill.taxes],
        total_words=money(bill.total_cents, subject.currency),
        errors=errors or [],
        wrong=dict(errors or []),
        refusal=refusal,
        has_changed=isinstance(refusal, TotalChanged),
        focus="" if errors or refusal else focus,
        mail_hint=_mail_hint(subject),
        ask=ask_for(subject.patient_id),
        location_options=[(place.id, place.name) for place in subject.places],
    )
    return page, refusal.status if refusal else 422 if errors else status


def _mail_hint(subject: Subject) -> str:
    """Where it goes, and whether it can be paid from there."""
    if settings().yes("email_pay_online_request"):
        return _("%(email)s, with a link to pay online.", email=subject.email)
    return _("%(email)s.", email=subject.email)


def _rows(form: Typed, listed: Bill, currency: str) -> list[Row]:
    """One row for each typed line; `listed` has the same lines at the list's prices."""
    rows = []
    for place, (line, one) in enumerate(zip(form.lines, listed.priced, strict=True)):
        item, _wrong = line.read(place, currency)
        follows = line.price == "" or (item is not None and item.price_cents is None)
        price = _plain(one.listed_cents, currency) if follows else line.price
        unit = one.listed_cents if item is None or item.price_cents is None else item.price_cents
        amount = money(unit * item.quantity, currency) if item else "–"
        taxes = ", ".join(tax.name for tax in one.line.taxes) or _("none")
        rows.append(
            Row(place, line.service_id, one.line.description, line.quantity, price, one.listed_cents, taxes, amount)
        )
    return rows


def _plain(cents: int, currency: str) -> str:
    """An amount as it stands in a field: 120.00"""
    places = exponent(currency)
    digits = str(cents).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


def _offer_options(currency: str) -> dict[str, list[tuple[int, str]]]:
    """What can be added, by kind."""
    found = offers(reading())
    kinds = {_("Products and fees"): True, _("Services"): False}
    shown = {one: f"{one.name}, {money(one.price_cents, currency)}" for one in found}
    return {words: [(one.id, shown[one]) for one in found if one.is_product is kind] for words, kind in kinds.items()}
