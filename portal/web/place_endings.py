"""A place that is gone, in words: why, where the money is, and whether to try again."""

from collections.abc import Sequence
from typing import NamedTuple

from flask_babel import gettext as _

from portal.money import format_money
from portal.programs.my_places import MyPlace, PlaceReceipt
from portal.programs.states import Place, Why


class Ending(NamedTuple):
    """What became of a place. `again`: whether they may register again; `in_vain`: they wanted it, and it is gone."""

    title: str
    text: str
    again: bool
    in_vain: bool = False


def ending_of(mine: MyPlace, receipts: Sequence[PlaceReceipt]) -> Ending:
    """What became of a place that is not held, offered, confirmed or waited for any more."""
    if mine.came_too_late:
        return Ending(
            _("Your payment came when no place was left"),
            _("All of it goes back by itself.") + " " + how_it_goes_back(receipts),
            again=False,
        )
    if mine.why == Why.MOVED:
        told = _("What you paid has moved along. Your new place and its dates are under My programs.")
        return Ending(_("The clinic has moved you to another program"), told, again=False)
    if mine.state == Place.CANCELLED:
        return Ending(_cancelled(mine), _money(mine, receipts), again=not mine.is_past)
    if mine.why == Why.STAFF:
        told = _("You have not been charged. Call us if that is not what you expect.")
        return Ending(_("The clinic has taken you off the list"), told, again=not mine.is_past)
    if mine.why in (Why.LET_GO, Why.DECLINED):
        return Ending(_("You let this place go"), _("You have not been charged."), again=not mine.is_past)
    if mine.why in (Why.VOID, Why.REFUNDED, Why.DISPUTE):
        return Ending(
            _("This place was given up with its invoice"), _("Call us if that is not what you expect."), again=False
        )
    return Ending(
        _("We no longer hold a place for you"),
        _("Your time ran out, and somebody else can have the place now. You have not been charged."),
        again=not mine.is_past,
        in_vain=True,
    )


def _cancelled(mine: MyPlace) -> str:
    titles = {
        Why.PERSON: _("You have cancelled this place"),
        Why.STAFF: _("The clinic has cancelled this place"),
        Why.VOID: _("The clinic has cancelled this place"),
        Why.REFUNDED: _("This place was refunded, and is cancelled"),
        Why.DISPUTE: _("This place is cancelled: the bank took its payment back"),
    }
    return str(titles.get(Why(mine.why), _("This place is cancelled")))


def _money(mine: MyPlace, receipts: Sequence[PlaceReceipt]) -> str:
    if not receipts:
        return _("You have not been charged.") if not mine.kept_cents else _stays_owed(mine)
    if mine.why not in (Why.PERSON, Why.STAFF):
        return _("Call us if you have a question about the money.")
    back = format_money(mine.give_back_cents, mine.currency)
    kept = format_money(mine.kept_cents, mine.currency)
    if not mine.give_back_cents:
        return _("Nothing goes back: the clinic keeps %(kept)s, as the program's rule says.", kept=kept)
    words = _("%(back)s goes back.", back=back) + " " + how_it_goes_back(receipts)
    return words + (" " + _("The clinic keeps %(kept)s.", kept=kept) if mine.kept_cents else "")


def _stays_owed(mine: MyPlace) -> str:
    return _("%(kept)s stays to be paid, as the program's rule says.",
             kept=format_money(mine.kept_cents, mine.currency))  # fmt: skip


def how_it_goes_back(receipts: Sequence[PlaceReceipt]) -> str:
    """Which way the money goes, and how long that takes."""
    cards = [receipt.means for receipt in receipts if receipt.is_card]
    if len(cards) == len(receipts) == 1:
        return _("It goes to %(card)s; banks take up to ten working days.", card=cards[0])
    if cards and len(cards) == len(receipts):
        return _("It goes to the cards that paid; banks take up to ten working days.")
    return _("The front desk gives it back the way it was paid.")
