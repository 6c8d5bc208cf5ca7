"""What a place costs: the price of the day, a promo code, the taxes."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, and_, or_, select
from sqlalchemy.orm import Session

from portal.clinic import Location, Tax
from portal.clock import now
from portal.invoices.books import Line, TaxAmount, TaxRate, taxes_on, total_cents
from portal.money import share
from portal.programs.refusals import BadCode
from portal.programs.tables import Program, ProgramTax, PromoCode, Registration


@dataclass(frozen=True)
class Price:
    """A place's price: before and after a code, each tax, and all together, in minor units."""

    listed_cents: int
    discount_cents: int
    taxes: tuple[TaxAmount, ...]

    @property
    def net_cents(self) -> int:
        return self.listed_cents - self.discount_cents

    @property
    def total_cents(self) -> int:
        return self.net_cents + sum(tax.amount_cents for tax in self.taxes)

    @property
    def is_free(self) -> bool:
        return self.total_cents == 0


def price_on(program: Program, day: date) -> int:
    """The price without taxes on that day, by the location's clock: the early one until its day is over."""
    if program.early_price_cents is not None and program.early_until is not None and day <= program.early_until:
        return program.early_price_cents
    return program.price_cents


def price_now(session: Session, program: Program) -> int:
    """The price without taxes at this moment."""
    zone = session.get_one(Location, program.location_id).timezone
    return price_on(program, now().astimezone(ZoneInfo(zone)).date())


def taxes_of(source: Session | Connection, program_id: int) -> tuple[TaxRate, ...]:
    """The active taxes that a program's price bears, in the clinic's order."""
    rows = source.execute(
        select(Tax.name, Tax.rate_per_100k, Tax.compound)
        .join(ProgramTax, and_(ProgramTax.tax_id == Tax.id, ProgramTax.program_id == program_id))
        .where(Tax.active)
        .order_by(Tax.position, Tax.id)
    )
    return tuple(TaxRate(row.name, row.rate_per_100k, row.compound) for row in rows)


def priced(listed_cents: int, discount_cents: int, taxes: tuple[TaxRate, ...]) -> Price:
    """A price with its taxes worked out."""
    return Price(listed_cents, discount_cents, tuple(taxes_on(listed_cents - discount_cents, taxes)))


def price_of(source: Session | Connection, registration: Registration) -> Price:
    """What a registration's place costs, at the price at which it was taken."""
    return priced(registration.price_cents, registration.discount_cents, taxes_of(source, registration.program_id))


def line_for(program: Program, what: str, price: Price, taxes: tuple[TaxRate, ...]) -> Line:
    """The invoice's line for a place."""
    line = Line(what, price.net_cents, taxes=taxes)
    assert total_cents([line]) == price.total_cents, f"two prices for {program.public_id}"
    return line


# --- promo codes ----------------------------------------------------------------------------------------------------


def tidy_code(typed: str) -> str:
    """A code as it is kept: in capitals, without spaces."""
    return "".join(typed.split()).upper()[:40]


def code_for(
    session: Session, typed: str, program: Program, moment: datetime, instead_of: int | None = None
) -> PromoCode:
    """The promo code that somebody typed, locked, if it can be used for this program now. Raises BadCode.

    `instead_of`: the one that they used so far. It is locked as well, always in the same order: it loses a use.
    """
    code = tidy_code(typed)
    locked = session.scalars(
        select(PromoCode)
        .where(or_(PromoCode.code == code, PromoCode.id == instead_of))
        .order_by(PromoCode.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    found = next((each for each in locked if each.code == code), None)
    if found is None or not found.active or found.program_id not in (None, program.id):
        raise BadCode
    if found.starts_at is not None and moment < found.starts_at:
        raise BadCode
    if found.ends_at is not None and moment >= found.ends_at:
        raise BadCode
    currency = session.get_one(Location, program.location_id).currency
    if found.amount_cents is not None and found.currency not in (None, currency):
        raise BadCode
    return found


def discount_of(code: PromoCode, listed_cents: int) -> int:
    """What a code takes off this price; never more than all of it."""
    if code.percent is not None:
        return share(listed_cents, code.percent * 1_000)
    return min(code.amount_cents or 0, listed_cents)
