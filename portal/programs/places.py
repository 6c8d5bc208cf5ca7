"""What the payment flow asks about a place: is it still held, and will it be until the money has moved?

`payments/begin.py` comes here for every way to pay (portal, link, desk), with invoice and program locked.
"""

from datetime import datetime

from sqlalchemy.orm import Session

from portal.clock import now
from portal.invoices.books import is_numbered
from portal.invoices.tables import Invoice
from portal.programs.following import registration_of
from portal.programs.refusals import PlaceGone, TriedTooLong
from portal.programs.states import LONGEST_EXTENSION, ON_A_CLOCK, PRESS_TAKES
from portal.programs.tables import Registration


def check_place(session: Session, invoice: Invoice) -> None:
    """Whether the invoice may be paid, as far as its place goes. Raises PlaceGone.

    One with a number is owed like any other. One without is payable only while its place is held.
    """
    if is_numbered(invoice.number):
        return
    registration = registration_of(session, invoice)
    if registration is None or not _is_kept(registration, now()):
        raise PlaceGone


def keep_place(session: Session, invoice: Invoice) -> None:
    """Keep the place past the end of a payment that is about to begin or to be confirmed. Raises PlaceGone or
    TriedTooLong.

    A press in time gets through. One after another does not keep the place forever: there is a last moment.
    """
    if is_numbered(invoice.number):
        return
    registration = registration_of(session, invoice)
    moment = now()
    if registration is None or not _is_kept(registration, moment):
        raise PlaceGone
    assert registration.held_until is not None
    first = registration.first_until or registration.held_until
    if moment + PRESS_TAKES > first + LONGEST_EXTENSION:
        raise TriedTooLong
    registration.held_until = max(registration.held_until, moment + PRESS_TAKES)
    session.flush()


def _is_kept(registration: Registration, moment: datetime) -> bool:
    until = registration.held_until
    return registration.state in ON_A_CLOCK and until is not None and moment < until
