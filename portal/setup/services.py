"""Services and products: what the clinic sells, at which price, for how long, with which taxes."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, delete, select
from sqlalchemy.orm import Session

from portal.clinic import Location, Service, ServiceTax, Tax
from portal.money import Cents, exponent, parse_amount
from portal.setup.entry import Entry
from portal.setup.kinds import Kind, Shown, namesake

SHORTEST, LONGEST, STEP = 5, 600, 5
LARGEST_PRICE = 99_999_999
BLANK: Shown = {"kind": "service", "duration": "30", "active": "yes"}
FIRST_CURRENCY = "CAD"


class TaxChoice(NamedTuple):
    """A tax as the form of a service offers it."""

    id: str
    name: str
    rate_per_100k: int
    active: bool


def price_currencies(connection: Connection | Session) -> list[str]:
    """The currencies of the locations in use, each once, that of the first location first. A price is one figure:
    each location takes it in its own currency."""
    rows = connection.execute(select(Location.currency).where(Location.active).order_by(Location.id))
    return list(dict.fromkeys(rows.scalars()))


def tax_choices(connection: Connection | Session, ticked: Sequence[str]) -> list[TaxChoice]:
    """The taxes in use, and those out of use that this service bears from earlier."""
    rows = connection.execute(select(Tax.id, Tax.name, Tax.rate_per_100k, Tax.active).order_by(Tax.position, Tax.id))
    choices = [TaxChoice(str(row.id), row.name, row.rate_per_100k, row.active) for row in rows]
    return [choice for choice in choices if choice.active or choice.id in ticked]


def plain_amount(cents: int, currency: str) -> str:
    """An amount as somebody types it: 12000 is "120.00"."""
    places = exponent(currency)
    whole, part = divmod(cents, 10**places)
    return f"{whole}.{part:0{places}}" if places else str(whole)


def taxes_of(connection: Connection | Session) -> dict[int, list[tuple[str, str]]]:
    """Of each service, its taxes: (id, name), in their order."""
    borne: dict[int, list[tuple[str, str]]] = {}
    statement = select(ServiceTax.service_id, Tax.id, Tax.name).join(Tax, Tax.id == ServiceTax.tax_id)
    for service_id, tax_id, name in connection.execute(statement.order_by(Tax.position, Tax.id)):
        borne.setdefault(service_id, []).append((str(tax_id), name))
    return borne


def ticked_taxes(connection: Connection | Session, service_id: int) -> list[str]:
    """The ids of a service's taxes."""
    return [tax_id for tax_id, _name in taxes_of(connection).get(service_id, [])]


def _currency(connection: Connection | Session) -> str:
    return next(iter(price_currencies(connection)), FIRST_CURRENCY)


def _shown(connection: Connection | Session, rows: Iterable[Any]) -> list[Shown]:
    currency, borne = _currency(connection), taxes_of(connection)
    return [
        {
            "name": row.name,
            "kind": "product" if row.is_product else "service",
            "price": plain_amount(row.price_cents, currency),
            "duration": str(row.duration_minutes),
            "taxes": ", ".join(name for _id, name in borne.get(row.id, [])),
            "active": "yes" if row.active else "",
        }
        for row in rows
    ]


def _read(session: Session, entry: Entry, _own: Service | None) -> dict[str, Any]:
    is_product = entry.choice("kind", ("service", "product")) == "product"
    values: dict[str, Any] = {
        "name": entry.line("name", 160, required=True),
        "is_product": is_product,
        "price_cents": _price(entry, _currency(session)),
        "duration_minutes": 0 if is_product else entry.whole("duration", SHORTEST, LONGEST, step=STEP),
        "active": entry.yes("active"),
        "taxes": [],
    }
    known = {str(tax_id): tax_id for tax_id in session.scalars(select(Tax.id))}
    ticked = entry.several("taxes")
    if set(ticked) - set(known):
        entry.refuse("taxes", _l("Taxes: please choose from the list."))
    values["taxes"] = sorted({known[each] for each in ticked if each in known})
    return values


def _price(entry: Entry, currency: str) -> int:
    try:
        cents = parse_amount(entry.raw("price"), currency)
    except ValueError:
        cents = Cents(-1)
    if not 0 <= cents <= LARGEST_PRICE:
        sentence = _l("Price: an amount such as 120.00, at most %(most)s; 0 for what is free.",
                      most=plain_amount(LARGEST_PRICE, currency))  # fmt: skip
        entry.refuse("price", sentence)
    return cents


def _check(session: Session, entry: Entry, values: dict[str, Any], own: Service | None) -> None:
    if namesake(session, Service, values["name"], own) is not None:
        entry.refuse("name", _l("There is a service or product called %(name)s already.", name=values["name"]))


def _write_taxes(session: Session, service: Service, values: dict[str, Any]) -> None:
    wanted = set(values["taxes"])
    session.execute(delete(ServiceTax).where(ServiceTax.service_id == service.id, ServiceTax.tax_id.not_in(wanted)))
    there = set(session.scalars(select(ServiceTax.tax_id).where(ServiceTax.service_id == service.id)))
    session.add_all(ServiceTax(service_id=service.id, tax_id=tax_id) for tax_id in sorted(wanted - there))
    session.flush()


def _has_these_taxes(session: Session, service: Service, values: dict[str, Any]) -> bool:
    return set(ticked_taxes(session, service.id)) == {str(tax_id) for tax_id in values["taxes"]}


SERVICES = Kind(
    what="service",
    table=Service,
    words={
        "name": _l("Name"),
        "kind": _l("Service or product"),
        "price": _l("Price"),
        "duration": _l("Minutes"),
        "taxes": _l("Taxes"),
        "active": _l("Active"),
    },
    read=_read,
    check=_check,
    shown=_shown,
    order=(Service.active.desc(), Service.is_product, Service.name),
    write_more=_write_taxes,
    is_same=_has_these_taxes,
)
