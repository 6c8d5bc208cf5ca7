"""Where a registration stands, and the steps from there. Taking one is compare-and-set, in `seats.step`."""

from datetime import timedelta
from enum import StrEnum


class Place(StrEnum):
    """Where a registration stands. The first three have a place of the program; the database counts them."""

    HELD = "held"  # a place, until a moment: to register and pay
    OFFERED = "offered"  # a place that came free, offered to whoever waited longest, until a moment
    CONFIRMED = "confirmed"  # paid, or taken without a payment: a free program, or the desk says so
    WAITING = "waiting"  # no place; in line for the next
    LAPSED = "lapsed"  # the time of a held or offered place ran out
    RELEASED = "released"  # let go, or declined, by the person
    CANCELLED = "cancelled"  # was confirmed, and is not any more


TAKES_PLACE = frozenset({Place.HELD, Place.OFFERED, Place.CONFIRMED})
ON_A_CLOCK = frozenset({Place.HELD, Place.OFFERED})
LIVE = TAKES_PLACE | {Place.WAITING}
"""At most one of these per person and program."""
ENDED = frozenset(Place) - LIVE

COMES_FROM: dict[Place, frozenset[Place]] = {
    Place.HELD: frozenset({Place.OFFERED}),
    Place.OFFERED: frozenset({Place.WAITING}),
    # A payment that arrives late gets the place back where one is free.
    Place.CONFIRMED: frozenset({Place.HELD, Place.OFFERED, Place.LAPSED, Place.RELEASED}),
    Place.LAPSED: ON_A_CLOCK,
    Place.RELEASED: ON_A_CLOCK | {Place.WAITING},
    Place.CANCELLED: frozenset({Place.CONFIRMED}),
}


class Why(StrEnum):
    """Why a registration ended, or has no place."""

    NONE = ""
    TIME = "time ran out"
    LET_GO = "let go"
    DECLINED = "offer declined"
    PERSON = "cancelled by the person"
    STAFF = "cancelled by the clinic"
    VOID = "invoice void"
    REFUNDED = "refunded"
    DISPUTE = "dispute lost"
    FULL = "paid when no place was left"
    MOVED = "moved to another program"


PRESS_TAKES = timedelta(minutes=20)
"""A press on Pay keeps its place so long: confirming, the bank's own steps, and a sweep (payments/states.py)."""

SIGN_UP_TAKES = timedelta(minutes=20)
"""Whoever makes an account on the way gets so long, once, to open the mail that proves their address."""

LONGEST_EXTENSION = timedelta(minutes=45)
"""So far beyond its first end presses on Pay may move a hold: nobody keeps a place by trying cards all day."""
