"""My cards: the ones a payer keeps, and the way to remove one."""

from typing import Any, NamedTuple

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import Connection, bindparam, select

from portal.cards import SavedCard, brand_name, remove_card
from portal.clinic import Location
from portal.invoices.reading import local_day, plain_day
from portal.parts import parts
from portal.web.access import patient_only, payer, who
from portal.web.scope import reading

bp = Blueprint("cards", __name__)

_PLASTIC = {"visa": "VISA", "mastercard": "MC", "amex": "AMEX", "discover": "DISC", "diners": "DC", "jcb": "JCB",
            "unionpay": "UP"}  # fmt: skip


class CardRow(NamedTuple):
    """A saved card, in words."""

    public_id: str
    name: str
    about: str
    plastic: str
    is_usual: bool


_cards, _locations = SavedCard.__table__.c, Location.__table__.c
_CARDS = (
    select(
        _cards.public_id,
        _cards.brand,
        _cards.funding,
        _cards.last4,
        _cards.exp_month,
        _cards.exp_year,
        _cards.is_usual,
        _cards.consented_at,
        _cards.consented_by,
        select(_locations.timezone).order_by(_locations.id).limit(1).scalar_subquery().label("zone"),
    )
    .where(_cards.payer_id == bindparam("payer"), _cards.removed_at.is_(None))
    .order_by(_cards.is_usual.desc(), _cards.id.desc())
)


def saved_cards(connection: Connection, payer_id: int, user_id: int) -> list[CardRow]:
    """The cards that a payer keeps, the usual one first."""
    return [_words(row, user_id) for row in connection.execute(_CARDS, {"payer": payer_id})]


def card_words(brand: str, funding: str, last4: str) -> str:
    """A card as its owner knows it: "Visa Debit ending 5556"."""
    name = str(brand_name(brand))
    words = {"debit": _("%(brand)s Debit", brand=name), "prepaid": _("%(brand)s prepaid", brand=name)}
    return _("%(card)s ending %(last4)s", card=words.get(funding, name), last4=last4)


def plastic(brand: str) -> str:
    """What the little picture of a card says."""
    return _PLASTIC.get(brand, brand[:4].upper())


def _words(row: Any, user_id: int) -> CardRow:
    day = plain_day(local_day(row.consented_at, row.zone or "UTC"))
    saved = (
        _("Saved by you on %(day)s.", day=day)
        if row.consented_by == user_id
        else _("Saved at the front desk on %(day)s, with your consent.", day=day)
    )
    return CardRow(
        row.public_id,
        card_words(row.brand, row.funding, row.last4),
        _("Expires %(month)s/%(year)s.", month=f"{row.exp_month:02}", year=row.exp_year) + " " + saved,
        plastic(row.brand),
        row.is_usual,
    )


@bp.get("/cards")
@patient_only
def mine() -> ResponseReturnValue:
    """The cards I keep."""
    return render_template("cards/list.html", cards=saved_cards(reading(), payer().id, who().id))


@bp.post("/cards/<public_id>/remove")
@patient_only
def remove(public_id: str) -> ResponseReturnValue:
    """Forget one of my cards."""
    remove_card(parts(), payer().id, public_id, by=who().id)
    flash(_("The card is removed. The clinic can't charge it any more."), "ok")
    return redirect(url_for("cards.mine"), 303)
