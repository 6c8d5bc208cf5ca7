"""Registering by oneself: what the portal's pages ask for, with the clinic's switches read each time (O4)."""

from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clinic import Location
from portal.clock import now
from portal.money import is_chargeable
from portal.parts import Parts
from portal.payments.begin import gateway_at
from portal.payments.tables import PORTAL
from portal.payments.words import OnlinePaymentOff
from portal.programs.ending import lapse, let_place_go
from portal.programs.pricing import code_for, discount_of, price_now, priced, taxes_of
from portal.programs.refusals import (
    BadCode,
    ProgramNotFound,
    ProgramsClosed,
    RegisterAtTheDesk,
    RegisteredAlready,
    RegistrationNotFound,
    TooLittleForACard,
)
from portal.programs.registering import (
    Details,
    Holder,
    check_places,
    hash_of,
    hold,
    locked_with_invoice,
    register,
    use_code,
)
from portal.programs.states import ENDED, ON_A_CLOCK, SIGN_UP_TAKES, Place
from portal.programs.tables import Program, PromoCode, Registration
from portal.settings import read_settings


def check_programs_are_open(session: Session) -> None:
    """Whether the module is on. Raises ProgramsClosed."""
    if not read_settings(session).yes("module_programs"):
        raise ProgramsClosed


def check_can_be_paid_online(parts: Parts, session: Session, location_id: int, total_cents: int) -> None:
    """Whether what costs that much can be registered for in the portal now. Raises RegisterAtTheDesk, or its
    TooLittleForACard.
    """
    if total_cents == 0:
        return
    if not is_chargeable(total_cents, session.get_one(Location, location_id).currency):
        raise TooLittleForACard(phone=read_settings(session).text("clinic_phone"))
    try:
        gateway_at(parts, session, location_id, PORTAL)
    except OnlinePaymentOff:
        raise RegisterAtTheDesk(phone=read_settings(session).text("clinic_phone")) from None


def check_online(parts: Parts, program_public_id: str, request_id: UUID, holder: Holder, code: str = "") -> None:
    """Whether somebody at a browser may hold a place, as far as reading alone can tell. Raises as `hold_online`."""
    with Session(parts.database.reading) as session:
        check_programs_are_open(session)
        check_places(parts, program_public_id, request_id, holder)
        program = session.scalars(select(Program).where(Program.public_id == program_public_id)).first()
        if program is None:
            raise ProgramNotFound
        listed = price_now(session, program)
        discount = discount_of(_code_that_counts(session, code, program), listed) if code else 0
        total = priced(listed, discount, taxes_of(session, program.id)).total_cents
        check_can_be_paid_online(parts, session, program.location_id, total)


def _code_that_counts(session: Session, typed: str, program: Program) -> PromoCode:
    code = code_for(session, typed, program, now())
    if code.uses is not None and code.used >= code.uses:
        raise BadCode
    return code


def hold_online(parts: Parts, program_public_id: str, request_id: UUID, holder: Holder, code: str = "") -> str:
    """Hold a place for somebody at a browser; gives the registration's public id.

    With a promo `code` it is held at that price: one that makes it free of charge needs no gateway (O4). Raises
    BadCode too then.

    The form of a place that is over by now holds a new one: the old one is taken back, and what was being paid for it
    is cancelled first. Where that may still go through, they get the old one. Raises ProgramsClosed,
    RegisterAtTheDesk, and what `registering.hold` raises.
    """
    check_online(parts, program_public_id, request_id, holder, code)
    public_id = hold(parts, program_public_id, request_id, holder)
    if _is_over(parts, public_id):  # the form of a place that they had before
        lapse(parts, public_id)
        public_id = hold(parts, program_public_id, uuid4(), holder)
    if code:
        _take_with_code(parts, public_id, code, holder)
    return public_id


def _take_with_code(parts: Parts, public_id: str, code: str, holder: Holder) -> None:
    """Where somebody else has taken the code's last use at this moment, the place goes too."""
    try:
        use_code(parts, public_id, code)
    except BadCode:
        let_place_go(parts, public_id, holder.user_id)
        raise


def register_online(parts: Parts, public_id: str, details: Details, by: int) -> Registration:
    """Keep the details of a place, as `register`. An earlier place of the same person whose time is over, and that
    was only not taken back yet, is in nobody's way. Raises what `register` raises.
    """
    try:
        return register(parts, public_id, details, by)
    except RegisteredAlready:
        earlier = _earlier_and_over(parts, public_id, details.patient_id)
        if earlier is None or not lapse(parts, earlier):
            raise
    return register(parts, public_id, details, by)


def _earlier_and_over(parts: Parts, public_id: str, patient_id: int) -> str | None:
    this = select(Registration.program_id).where(Registration.public_id == public_id).scalar_subquery()
    with parts.database.read() as connection:
        return connection.scalar(
            select(Registration.public_id).where(
                Registration.program_id == this,
                Registration.patient_id == patient_id,
                Registration.public_id != public_id,
                Registration.state.in_(ON_A_CLOCK),
                Registration.held_until <= now(),
            )
        )


def keep_for_sign_up(parts: Parts, secret: str) -> str | None:
    """Who holds a place as a stranger makes an account: once, they get time for the mail that proves their address.

    Gives the public id of the place that this browser took last; None where it holds none.
    """
    with parts.database.transaction() as session:
        newest = session.scalar(
            select(Registration.public_id)
            .where(
                Registration.holder_hash == hash_of(secret),
                Registration.user_id.is_(None),
                Registration.state == Place.HELD,
                Registration.held_until > now(),
            )
            .order_by(Registration.id.desc())
            .limit(1)
        )
        if newest is None:
            return None
        registration = locked_with_invoice(session, newest)
        until = registration.held_until
        if registration.state == Place.HELD and until is not None and until == registration.first_until:
            registration.held_until = max(until, now() + SIGN_UP_TAKES)
        return newest


def hand_over(parts: Parts, public_id: str, user_id: int) -> None:
    """Who held a place as a stranger has proved their new account, maybe in another browser: it is theirs now. The
    caller has proof that it was they. Whoever's it is already keeps it."""
    with parts.database.transaction() as session:
        registration = locked_with_invoice(session, public_id)
        if registration.user_id is None and registration.patient_id is None:
            registration.user_id = user_id


def _is_over(parts: Parts, public_id: str) -> bool:
    with parts.database.read() as connection:
        row = connection.execute(
            select(Registration.state, Registration.held_until).where(Registration.public_id == public_id)
        ).one()
    return row.state in ENDED or (row.state in ON_A_CLOCK and row.held_until <= now())


def discount_for(parts: Parts, public_id: str, typed: str) -> int:
    """What a promo code would take off this place's price, without taking it up. Raises BadCode."""
    with Session(parts.database.reading) as session:
        found = session.execute(
            select(Registration, Program)
            .join(Program, Program.id == Registration.program_id)
            .where(Registration.public_id == public_id)
        ).first()
        if found is None:
            raise RegistrationNotFound
        registration, program = found
        code = code_for(session, typed, program, now())
        if code.uses is not None and code.used >= code.uses and registration.promo_code_id != code.id:
            raise BadCode
        return discount_of(code, registration.price_cents)
