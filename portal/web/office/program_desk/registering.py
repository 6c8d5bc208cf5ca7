"""Register somebody at the desk, to be paid now or later; put them in line; confirm a place without a payment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID, uuid4

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.errors import Refusal
from portal.invoices.reading import plain_day
from portal.invoices.reading.words import money, percent
from portal.parts import parts
from portal.patients.facts import person_on_file
from portal.patients.finding import People, number_of, people_found
from portal.permissions import May
from portal.programs import refusals
from portal.programs.desk import asking, registering
from portal.programs.desk.rosters import Group
from portal.programs.pricing import Price
from portal.programs.questions import LONGEST_ANSWER, Question, questions_of
from portal.programs.registering import Details, confirm_unpaid
from portal.programs.states import Place
from portal.programs.tables import CONSENT, Registration
from portal.web import typed
from portal.web.access import staff_may, who
from portal.web.office.program_desk.room import bp, entry_or_404, group_or_404, to_the_registrations
from portal.web.scope import done_reading, reading

Errors = list[tuple[str, str]]


@dataclass(frozen=True)
class Typed:
    """What stands in the form, as it was typed or as the link to it says."""

    request_id: UUID
    patient_q: str
    patient: int | None
    code: str
    shown: int | None
    answers: dict[int, str]

    @classmethod
    def of(cls, values: Mapping[str, str], asked: list[Question]) -> "Typed":
        return cls(
            request_id=typed.uuid(values.get("request")) or uuid4(),
            patient_q=typed.words(values.get("patient_q"), 100),
            patient=typed.number(values.get("patient")),
            code=typed.words(values.get("code"), 40),
            shown=typed.number(values.get("shown"), 10**12),
            answers={one.id: typed.words(values.get(f"answer-{one.id}"), LONGEST_ANSWER) for one in asked},
        )

    def answered(self, asked: list[Question]) -> dict[int, tuple[str, str]]:
        """What they answered, with each question as it was asked; nothing for those they did not."""
        given = {one.id: (one.text, self._answer(one)) for one in asked}
        return {number: (text, answer) for number, (text, answer) in given.items() if answer}

    def _answer(self, question: Question) -> str:
        answer = self.answers[question.id]
        if question.kind == CONSENT:
            return _("Yes") if answer else ""
        return answer if not question.choices or answer in question.choices else ""


# --- the form -------------------------------------------------------------------------------------------------------


@bp.get("/<public_id>/registrations/new")
@staff_may(May.REGISTER)
def register(public_id: str) -> ResponseReturnValue:
    """The form; a patient that the address names is chosen already."""
    group = group_or_404(public_id)
    return _page(group, Typed.of(request.args, questions_of(reading(), group.id)), focus="patient_q")


@bp.post("/<public_id>/registrations/new")
@staff_may(May.REGISTER)
def register_them(public_id: str) -> ResponseReturnValue:
    """Find a patient, or register the one that is chosen."""
    group = group_or_404(public_id)
    asked = questions_of(reading(), group.id)
    form, pressed = Typed.of(request.form, asked), request.form.get("do", "")
    if pressed == "new":
        back = url_for("office_programs.register", public_id=public_id)
        query = urlencode({"q": form.patient_q, "for": back})
        return redirect(f"{url_for('patients.new')}?{query}", 303)
    if pressed not in ("pay", "unpaid", "wait"):
        return _page(group, form, focus="found" if form.patient_q else "patient_q", searched=True)
    if form.patient is None or person_on_file(reading(), form.patient) is None:
        return _page(group, form, [("patient_q", _("Find and choose a patient"))])
    held = asking.held_for(reading(), group, form.patient)
    if held and held.code and not form.code and request.form.get("seen_code") != held.code:
        return _page(group, form, [("code", _("They hold a place with this code. Look it over, then press again."))])
    done_reading()
    try:
        return _waits(group, form) if pressed == "wait" else _registered(group, form, asked, pressed == "unpaid")
    except Refusal as refusal:
        return _page(group, form, [_as_error(refusal)], refusal.status)


def _registered(group: Group, form: Typed, asked: list[Question], unpaid: bool) -> ResponseReturnValue:
    assert form.patient is not None
    shown = form.shown if not form.code else None
    details = Details(form.patient, form.answered(asked), form.code, shown)
    made = registering.take_place(parts(), group.public_id, form.request_id, details, who().id, unpaid=unpaid)
    if made.state != Place.CONFIRMED:
        return _to_pay(group, made)
    entry = entry_or_404(group, made.public_id)
    told = _("%(person)s is registered for %(program)s", person=entry.name, program=group.name)
    flash(f"{told}\n{_still_to_pay(entry.balance_cents, group.currency)}", "ok")
    return to_the_registrations(group.public_id)


def _to_pay(group: Group, made: Registration) -> ResponseReturnValue:
    entry = entry_or_404(group, made.public_id)
    flash(
        _(
            "A place is held for %(person)s until %(until)s\nIt is theirs once a payment is received.",
            person=entry.name,
            until=entry.until,
        ),
        "ok",
    )
    return redirect(url_for("receive.form", number=entry.invoice), 303)


def _still_to_pay(balance_cents: int, currency: str) -> str:
    if balance_cents > 0:
        return _("%(amount)s is still to pay.", amount=money(balance_cents, currency))
    return _("There is nothing to pay.")


def _waits(group: Group, form: Typed) -> ResponseReturnValue:
    assert form.patient is not None
    there = registering.put_in_line(parts(), group.public_id, form.request_id, form.patient, who().id)
    entry = entry_or_404(group, there)
    if entry.is_held:
        told = _("A place is held for %(person)s until %(until)s", person=entry.name, until=entry.until)
        flash(f"{told}\n{_('They need not wait: take it up for them, or let it go.')}", "warn")
        return to_the_registrations(group.public_id)
    flash(
        _(
            "%(person)s is on the waitlist\nWe write to them when a place comes free and it is their turn.",
            person=entry.name,
        ),
        "ok",
    )
    return to_the_registrations(group.public_id)


def _as_error(refusal: Refusal) -> tuple[str, str]:
    """In the desk's words, at the field that it is about."""
    match refusal:
        case refusals.ProgramFull():
            text = _("Every place is taken or held. Nothing was registered.")
            more = _("You can put them on the waitlist.") if refusal.has_list else _("The waitlist is full, too.")
            return "patient_q", f"{text} {more}"
        case refusals.BadCode():
            return "code", f"{refusal.heading}. {refusal.text}"
        case refusals.PriceChanged():
            return "patient_q", _(
                "The price has changed: it is %(now)s now; this page showed %(shown)s. Look it over and press again.",
                **refusal.words,
            )  # fmt: skip
        case refusals.PlaceGone():
            return "patient_q", _("Their place was let go meanwhile. Nothing was charged. Press again for another.")
    return "patient_q", ". ".join(filter(None, (refusal.heading.rstrip("."), refusal.text)))


class Choice(NamedTuple):
    """A patient, told apart from others of the same name."""

    id: int
    name: str
    about: str


def _choice(patient_id: int, name: str, birth_date: date | None, phone: str) -> Choice:
    born = _("born %(day)s", day=plain_day(birth_date)) if birth_date else ""
    return Choice(patient_id, name, ", ".join(filter(None, (number_of(patient_id), born, phone))))


def _page(
    group: Group,
    form: Typed,
    errors: Errors | None = None,
    status: int = 422,
    *,
    focus: str = "",
    searched: bool = False,
) -> ResponseReturnValue:
    person = person_on_file(reading(), form.patient) if form.patient else None
    chosen = [_choice(person.id, person.name, person.birth_date, person.details.phone)] if person else []
    found = people_found(reading(), form.patient_q) if form.patient_q else People([])
    others = (_choice(one.id, one.name, one.birth_date, one.phone) for one in found.rows if one.id != form.patient)
    held = asking.held_for(reading(), group, person.id) if person else None
    price = held.price if held else asking.price_today(reading(), group)
    is_over = asking.is_over(reading(), group)
    page = render_template(
        "office/programs/register.html",
        group=group,
        form=form,
        chosen=chosen,
        people=[*chosen, *others],
        found=found,
        searched=searched and bool(form.patient_q),
        questions=questions_of(reading(), group.id),
        price=price,
        sums=_sums(price, group.currency),
        total=money(price.total_cents, group.currency),
        is_over=is_over,
        held=held,
        left=group.capacity - group.taken if is_over else group.left,  # who waits is not called any more
        errors=errors or [],
        wrong=dict(errors or []),
        focus="" if errors else focus,
        may_add=who().may(May.PATIENTS),
    )
    return page, status if errors else 200


def _sums(price: Price, currency: str) -> list[tuple[str, str]]:
    taxes = [(f"{tax.name} {percent(tax.rate_per_100k)}", money(tax.amount_cents, currency)) for tax in price.taxes]
    return [(_("Place"), money(price.net_cents, currency)), *taxes]


# --- confirm without a payment --------------------------------------------------------------------------------------


@bp.post("/<public_id>/registrations/<key>/confirm")
@staff_may(May.REGISTER)
def confirm(public_id: str, key: str) -> ResponseReturnValue:
    """A held place is theirs; its price is owed like any other invoice."""
    group = group_or_404(public_id)
    entry = entry_or_404(group, key)
    done_reading()
    try:
        confirm_unpaid(parts(), entry.public_id, who().id)
    except refusals.PlaceGone:
        flash(_("Nothing was confirmed\nThe place of %(person)s was let go meanwhile.", person=entry.name), "warn")
    else:
        balance = entry_or_404(group, key).balance_cents
        told = _("The place of %(person)s is confirmed", person=entry.name)
        flash(f"{told}\n{_still_to_pay(balance, group.currency)}", "ok")
    return to_the_registrations(public_id)
