"""The clinic's own facts: its locations, practitioners, services and taxes."""

from flask_babel import lazy_gettext as _l
from sqlalchemy import CheckConstraint, ForeignKey, String, Text, true
from sqlalchemy.orm import Mapped, Session, mapped_column

from portal.db import Base, upsert
from portal.errors import Refusal


class NoLocationYet(Refusal):
    """What hangs on a location can't be shown before there is one; an administrator adds the first."""

    title = _l("There is no location yet")
    message = _l("An administrator adds the first one under Settings.")


class Location(Base):
    """A place where the clinic treats people, with its own currency, zone and run of invoice numbers."""

    __tablename__ = "locations"
    __table_args__ = (
        CheckConstraint("length(currency) = 3", name="currency_is_iso"),
        CheckConstraint("next_invoice_number > 0", name="numbers_are_positive"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    address: Mapped[str] = mapped_column(Text, default="")
    phone: Mapped[str] = mapped_column(String(40), default="")
    timezone: Mapped[str] = mapped_column(String(64))
    currency: Mapped[str] = mapped_column(String(3))
    tax_numbers: Mapped[str] = mapped_column(Text, default="")
    invoice_prefix: Mapped[str] = mapped_column(String(12), default="")
    next_invoice_number: Mapped[int] = mapped_column(default=1)
    payment_terms_days: Mapped[int] = mapped_column(default=14)
    # The hours of its schedule, in minutes since midnight there, on whole quarter hours.
    opens_minute: Mapped[int] = mapped_column(default=8 * 60, server_default="480")
    closes_minute: Mapped[int] = mapped_column(default=18 * 60, server_default="1080")
    active: Mapped[bool] = mapped_column(default=True, server_default=true())


class Practitioner(Base):
    """Someone who treats patients; insurers want the registration number on a receipt."""

    __tablename__ = "practitioners"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    credentials: Mapped[str] = mapped_column(String(40), default="")
    registration: Mapped[str] = mapped_column(String(60), default="")
    active: Mapped[bool] = mapped_column(default=True)


class Tax(Base):
    """A tax by its name and rate. `rate_per_100k` is hundred-thousandths: 5% is 5000, 9.975% is 9975."""

    __tablename__ = "taxes"
    __table_args__ = (CheckConstraint("rate_per_100k BETWEEN 0 AND 100000", name="rate_is_a_share"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    rate_per_100k: Mapped[int]
    compound: Mapped[bool] = mapped_column(default=False)
    position: Mapped[int] = mapped_column(default=0)
    active: Mapped[bool] = mapped_column(default=True, server_default=true())


class Service(Base):
    """What the clinic sells: a treatment or a product, with its price and the taxes on it."""

    __tablename__ = "services"
    __table_args__ = (CheckConstraint("price_cents >= 0", name="price_is_not_negative"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(160), unique=True)
    price_cents: Mapped[int]
    # How long a visit for it takes; a product takes none.
    duration_minutes: Mapped[int] = mapped_column(default=30, server_default="30")
    is_product: Mapped[bool] = mapped_column(default=False)
    active: Mapped[bool] = mapped_column(default=True)


class ServiceTax(Base):
    """Which taxes a service or product bears."""

    __tablename__ = "service_taxes"

    service_id: Mapped[int] = mapped_column(ForeignKey(Service.id), primary_key=True)
    tax_id: Mapped[int] = mapped_column(ForeignKey(Tax.id), primary_key=True)


class Counter(Base):
    """A run of numbers without gaps, taken in the transaction that uses the number."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    next_value: Mapped[int]


def take_number(session: Session, name: str, first: int = 1, count: int = 1) -> int:
    """Take the next `count` numbers of a run, in one statement; gives the first of them.

    The row of the run stays locked until the transaction ends, so no number is taken twice; those of a transaction
    that is rolled back are given again.
    """
    statement = upsert(
        session,
        Counter,
        {"name": name, "next_value": first + count},
        on=["name"],
        changes={"next_value": Counter.next_value + count},
    ).returning(Counter.next_value)
    return int(session.execute(statement).scalar_one()) - count
