"""View Payments: what was paid, and how mistakes are put right."""

from typing import NamedTuple
from uuid import UUID, uuid4

from flask import Blueprint, abort, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal import audit
from portal.cards import brand_name
from portal.errors import Refusal
from portal.gateway import GatewayError
from portal.invoices.books import ReasonMissing, SentBefore, adjust, is_numbered
from portal.money import parse_amount
from portal.parts import parts
from portal.payments.kinds import KIND_NAMES
from portal.payments.tables import KINDS
from portal.permissions import May
from portal.programs.desk.asking import place_of
from portal.refunds import asking, words
from portal.refunds.asking import RefundForm, refund
from portal.refunds.by_hand import INSTEAD_OF_A_CARD, give_back, give_back_instead
from portal.refunds.entries import Entry, Head
from portal.refunds.following import close_dispute
from portal.refunds.reading import PaymentsPage, head_of, payments_of
from portal.refunds.reversing import Reversal, reverse
from portal.refunds.sweeping import look_now
from portal.refunds.voiding import void
from portal.web.access import staff_may, who
from portal.web.scope import done_reading, reading

bp = Blueprint("payments", __name__, url_prefix="/office/invoices")

CARD_TYPES = ("visa", "mastercard", "amex", "discover")
LONGEST_REASON = 500
TO_THE_CARD = "stripe"
"""How the refund form says: to the card once more, though a refund of it has failed."""


class Problem(NamedTuple):
    """What is wrong with a field of a form."""

    field: str
    text: str


class Typed(dict[str, str]):
    """What somebody typed into a form, as far as it can be shown again."""

    @classmethod
    def from_request(cls, *names: str) -> "Typed":
        """The fields of the posted form."""
        kept = {
            name: "".join(c for c in request.form.get(name, "") if c.isprintable() or c == "\n") for name in names
        }
        return cls(kept)

    @property
    def request_id(self) -> UUID:
        """The number that makes a second press the first."""
        try:
            return UUID(self.get("request_id", ""))
        except ValueError:
            abort(400)

    def renewed(self, refusal: Refusal) -> "Typed":
        """As it is shown again: with a number of its own where that of the form stands for something else."""
        return Typed({**self, "request_id": str(uuid4())}) if isinstance(refusal, SentBefore) else self

    @property
    def reason(self) -> str:
        return self.get("reason", "").strip()[:LONGEST_REASON]

    def number(self, name: str) -> int:
        """A row's number; 0 for anything else."""
        text = self.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _linked(problems: list[Problem], *, shown: bool) -> list[Problem]:
    """The problems, each leading to its field; where the form isn't shown any more, to the page."""
    return problems if shown else [Problem("main", problem.text) for problem in problems]


def _invoice(number: str) -> Head:
    """The invoice of the address; 404 where there is none, or it has no number yet: a held place is not in the books,
    and is let go, confirmed or paid from the page of its program."""
    return (is_numbered(number) and head_of(reading(), number)) or abort(404)


def _back(head: Head) -> ResponseReturnValue:
    return redirect(url_for("payments.page", number=head.number), 303)


# --- View Payments, and New Payment ---------------------------------------------------------------------------------


@bp.get("/<number>/payments")
@staff_may(May.INVOICES)
def page(number: str) -> ResponseReturnValue:
    """What was paid on an invoice."""
    head = _invoice(number)
    answer = _view(head, Typed(request_id=str(uuid4())), [])
    audit.note_view(parts().database, who().id, head.patient_id, "payments")
    return answer


@bp.post("/<number>/payments")
@staff_may(May.CORRECT)
def record(number: str) -> ResponseReturnValue:
    """New Payment: a negative amount reverses; for a positive one the page says where money is received."""
    head = _invoice(number)
    typed = Typed.from_request("request_id", "paid_by", "gateway", "reverses", "amount", "reason")
    request_id = typed.request_id
    try:
        cents = parse_amount(typed["amount"], head.currency)
    except ValueError:
        return _view(head, typed, [Problem("amount", _("Type the amount in figures, such as −168.00."))], 422)
    if cents > 0:
        comes_in = _("Money that comes in is taken under Receive Payment. To reverse, put a minus before the amount.")
        return _view(head, typed, [Problem("amount", comes_in)], 422)
    order = Reversal(request_id, typed.number("reverses"), cents, typed.reason)
    try:
        _check_means(head, typed, order)
        done_reading()
        with parts().database.transaction() as session:
            reversal = reverse(session, head.id, order, who().id)
    except Refusal as refusal:
        problem = Problem(_field_of(refusal), refusal.text)
        return _view(_invoice(number), typed.renewed(refusal), [problem], refusal.status)
    flash(
        _(
            "Payment %(name)s corrects the books.\nNo money moved, and Stripe was not called.",
            name=reversal.receipt_number,
        ),
        "ok",
    )
    return _back(head)


def _check_means(head: Head, typed: Typed, order: Reversal) -> None:
    """Only the books are corrected here, and under the means that the payment was posted with."""
    if typed["gateway"]:
        raise words.OnlyBooks
    reversed_entry = payments_of(reading(), head).entry(order.reverses_id)
    if reversed_entry is None or reversed_entry.nature != "payment":
        return  # the verb says why not
    if typed["paid_by"] != reversed_entry.means_key:
        raise words.PaidByAnother(payment=reversed_entry.name, means=reversed_entry.means)


_FIELDS: dict[type[Refusal], str] = {
    words.AmountNotNegative: "amount",
    words.MoreThanIsLeft: "amount",
    words.RefundTooLarge: "amount",
    words.MoreThanFailed: "amount",
    words.SayHow: "kind-cash",
    words.OnlyBooks: "gateway",
    words.PaidByAnother: "paid-by",
    SentBefore: "amount",
    ReasonMissing: "reason",
}


def _field_of(refusal: Refusal, otherwise: str = "reverses") -> str:
    return _FIELDS.get(type(refusal), otherwise)


def _view(head: Head, typed: Typed, problems: list[Problem], status: int = 200) -> ResponseReturnValue:
    shown = payments_of(reading(), head)
    html = render_template(
        "office/payments/page.html",
        shown=shown,
        head=head,
        typed=typed,
        problems=_linked(problems, shown=not head.is_void),
        wrong=dict(problems),
        paid_by=_paid_by(shown),
        may=who().may,
    )
    return make_response(html, status)


def _paid_by(shown: PaymentsPage) -> list[tuple[str, str]]:
    """The card types, and whatever else a payment of this invoice was paid by."""
    there = [entry.means_key for entry in shown.entries if entry.nature == "payment"]
    keys = [*CARD_TYPES, *(key for key in dict.fromkeys(there) if key not in CARD_TYPES)]
    return [(key, str(KIND_NAMES.get(key) or brand_name(key))) for key in keys]


@bp.post("/<number>/payments/look")
@staff_may(May.CORRECT)
def look(number: str) -> ResponseReturnValue:
    """Ask the gateway now what became of this invoice's money."""
    head = _invoice(number)
    done_reading()
    try:
        look_now(parts(), head.id)
    except GatewayError:
        flash(_("We can't reach Stripe just now.\nNothing was changed. It is asked again by itself."), "warn")
    else:
        flash(_("Stripe was asked just now.\nThe books say what it said."), "ok")
    return _back(head)


# --- void -----------------------------------------------------------------------------------------------------------


@bp.get("/<number>/void")
@staff_may(May.CORRECT)
def void_page(number: str) -> ResponseReturnValue:
    """What voiding would do to this invoice's money, and the form for it."""
    return _void_view(_invoice(number), Typed(), [])


@bp.post("/<number>/void", endpoint="void")
@staff_may(May.CORRECT)
def void_it(number: str) -> ResponseReturnValue:
    """Void the invoice; its money goes back as the form says."""
    head = _invoice(number)
    kinds = {name: kind for name, kind in request.form.items() if name.startswith("back-")}
    typed = Typed.from_request("reason", *kinds)
    given_back = {typed_id: kind for name, kind in kinds.items() if (typed_id := _id_in(name))}
    done_reading()
    try:
        void(parts(), head.id, typed.reason, given_back, who().id)
    except Refusal as refusal:
        field = _field_of(refusal, "reason")
        if isinstance(refusal, words.HowGivenBack):
            field = next((name for name, kind in kinds.items() if kind not in KINDS), field)
        problem = Problem(field, refusal.text)
        return _void_view(_invoice(number), typed, [problem], refusal.status, refusal.heading)
    flash(_("Invoice %(number)s is void.\nNothing is owed on it any more.", number=number), "ok")
    return _back(head)


def _id_in(name: str) -> int:
    text = name.removeprefix("back-")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _void_view(
    head: Head, typed: Typed, problems: list[Problem], status: int = 200, heading: str = ""
) -> ResponseReturnValue:
    entries = [entry for entry in payments_of(reading(), head).entries if entry.rest and entry.rest.left_cents > 0]
    html = render_template(
        "office/payments/void.html",
        head=head,
        registered=place_of(reading(), head.id),
        typed=typed,
        problems=_linked(problems, shown=not head.is_void),
        wrong=dict(problems),
        heading=heading,
        in_stripe=[entry for entry in entries if entry.has_charge],
        by_hand=[entry for entry in entries if not entry.has_charge],
        kinds=_kinds(),
    )
    return make_response(html, status)


def _kinds() -> list[tuple[str, str]]:
    """What can be given back by hand; a card then is one on the clinic's own terminal."""
    names = {kind: str(name) for kind, name in KIND_NAMES.items()} | {"card": _("Card, on the terminal")}
    return list(names.items())


# --- refund ---------------------------------------------------------------------------------------------------------


@bp.get("/<number>/payments/<int:payment_id>/refund")
@staff_may(May.REFUND, fresh=True)
def refund_page(number: str, payment_id: int) -> ResponseReturnValue:
    """The form that gives a payment back."""
    head = _invoice(number)
    entry = _received(head, payment_id)
    assert entry.rest is not None
    amount = head.figures(entry.rest.by_hand_cents if entry.can_go_by_hand else entry.rest.refundable_cents)
    return _refund_view(head, entry, Typed(request_id=str(uuid4()), amount=amount), [])


@bp.post("/<number>/payments/<int:payment_id>/refund", endpoint="refund")
@staff_may(May.REFUND, fresh=True)
def refund_it(number: str, payment_id: int) -> ResponseReturnValue:
    """Give a payment back: through Stripe where Stripe took it, by hand otherwise, or where that has failed."""
    head = _invoice(number)
    entry = _received(head, payment_id)
    typed = Typed.from_request("request_id", "amount", "reason", "owed", "kind")
    request_id = typed.request_id
    try:
        cents = parse_amount(typed["amount"], head.currency)
    except ValueError:
        problem = Problem("amount", _("Type the amount in figures, such as 40.00."))
        return _refund_view(head, entry, typed, [problem], 422)
    form = RefundForm(request_id, payment_id, cents, typed.reason, typed["owed"] == "still")
    done_reading()
    try:
        message, look_of_it = _given_back(head, entry, form, typed["kind"])
    except Refusal as refusal:
        head = _invoice(number)
        problem = Problem(_field_of(refusal, "amount"), refusal.text)
        entry = _received(head, payment_id)
        return _refund_view(head, entry, typed.renewed(refusal), [problem], refusal.status, refusal.heading)
    flash(message, look_of_it)
    return _back(head)


def _received(head: Head, payment_id: int) -> Entry:
    """A payment that came in on this invoice; 404 for anything else."""
    entry = payments_of(reading(), head).entry(payment_id)
    return entry if entry is not None and entry.rest is not None else abort(404)


def _given_back(head: Head, entry: Entry, form: RefundForm, kind: str) -> tuple[str, str]:
    """Give it back; the sentence for the next page, and how it looks."""
    amount = head.money(form.amount_cents)
    ways = (*INSTEAD_OF_A_CARD, TO_THE_CARD, "") if entry.has_charge else KINDS
    if kind not in ways:
        abort(400)
    if entry.can_go_by_hand and not kind:
        raise words.SayHow
    if entry.has_charge and kind in INSTEAD_OF_A_CARD:
        give_back_instead(parts(), head.id, form, kind, who().id)
        return _(
            "%(amount)s is booked as given back.\nHand it over or send it, if that is not done yet. Stripe was not "
            "told.", amount=amount,
        ), "ok"  # fmt: skip
    if not entry.has_charge:
        with parts().database.transaction() as session:
            give_back(parts(), session, head.id, form, kind, who().id)
        return _("%(amount)s is booked as given back.\nHand it over, if that is not done yet.", amount=amount), "ok"
    made = refund(parts(), head.id, form, who().id)
    if made.state == "asked":
        return _(
            "We are checking the refund of %(amount)s.\nStripe has not answered. Please don't refund again; "
            "this page will tell.", amount=amount,
        ), "warn"  # fmt: skip
    if made.state in ("failed", "canceled"):
        return _("The refund of %(amount)s has failed.\nThe money is still with the clinic.", amount=amount), "error"
    return _(
        "%(amount)s is on its way back to %(means)s.\nBanks take five to ten days.", amount=amount, means=entry.means
    ), "ok"


def _refund_view(
    head: Head, entry: Entry, typed: Typed, problems: list[Problem], status: int = 200, heading: str = ""
) -> ResponseReturnValue:
    html = render_template(
        "office/payments/refund.html",
        head=head,
        registered=place_of(reading(), head.id),
        entry=entry,
        typed=typed,
        problems=_linked(problems, shown=entry.can_be_refunded),
        wrong=dict(problems),
        heading=heading,
        kinds=_kinds(),
        instead=[(kind, KIND_NAMES[kind]) for kind in INSTEAD_OF_A_CARD],
    )
    return make_response(html, status)


@bp.post("/<number>/refunds/<int:refund_id>/seen")
@staff_may(May.CORRECT)
def seen(number: str, refund_id: int) -> ResponseReturnValue:
    """Staff have seen what became of a refund, and say whether it is still owed."""
    head = _invoice(number)
    done_reading()
    with parts().database.transaction() as session:
        asking.confirm(session, head.id, refund_id, still_owed=request.form.get("owed") == "still", by=who().id)
    flash(_("Noted."), "ok")
    return _back(head)


@bp.post("/<number>/disputes/<int:case_id>/seen")
@staff_may(May.CORRECT)
def dispute_seen(number: str, case_id: int) -> ResponseReturnValue:
    """Staff have seen a lost dispute and decided what to do about it."""
    head = _invoice(number)
    done_reading()
    with parts().database.transaction() as session:
        close_dispute(session, head.id, case_id, who().id)
    flash(_("Noted."), "ok")
    return _back(head)


# --- credits and write-offs -----------------------------------------------------------------------------------------


@bp.get("/<number>/adjust")
@staff_may(May.CORRECT)
def adjust_page(number: str) -> ResponseReturnValue:
    """The form for a credit, a write-off or an extra amount owed."""
    return _adjust_view(_invoice(number), Typed(request_id=str(uuid4())), [])


@bp.post("/<number>/adjust", endpoint="adjust")
@staff_may(May.CORRECT)
def adjust_it(number: str) -> ResponseReturnValue:
    """Credit an amount, write it off, or add to what is owed."""
    head = _invoice(number)
    typed = Typed.from_request("request_id", "what", "amount", "reason")
    request_id = typed.request_id
    try:
        cents = parse_amount(typed["amount"], head.currency)
    except ValueError:
        cents = parse_amount("0", head.currency)
    if cents <= 0:
        problem = Problem("amount", _("Type an amount above zero in figures, such as 40.00."))
        return _adjust_view(head, typed, [problem], 422)
    reason = typed.reason
    if typed["what"] == "write-off" and reason:
        reason = _("Written off: %(reason)s", reason=reason)
    signed = cents if typed["what"] == "extra" else -cents
    done_reading()
    try:
        with parts().database.transaction() as session:
            adjust(session, head.id, signed, reason, who(), request_id)
    except Refusal as refusal:
        problem = Problem(_field_of(refusal, "amount"), refusal.text)
        return _adjust_view(_invoice(number), typed.renewed(refusal), [problem], refusal.status)
    flash(_("What is owed has changed by %(amount)s.\nNo money moved.", amount=head.money(signed)), "ok")
    return _back(head)


def _adjust_view(head: Head, typed: Typed, problems: list[Problem], status: int = 200) -> ResponseReturnValue:
    html = render_template(
        "office/payments/adjust.html",
        head=head,
        typed=typed,
        problems=_linked(problems, shown=not head.is_void),
        wrong=dict(problems),
    )
    return make_response(html, status)
