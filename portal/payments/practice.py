"""A practice payment: a card paid through a gateway's Test keys, outside the books (O3).

It runs the calls of a real payment, in their order: the card is looked at and held against the policy, the intent is
made unconfirmed, then confirmed. There is no invoice, no attempt and no payment; only the audit log knows of it. It
never uses live keys, so it can't move money.
"""

from dataclasses import dataclass, field
from uuid import UUID

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, select

from portal.cards import CardPolicy
from portal.clinic import Location
from portal.errors import Refusal
from portal.gateway import GatewayError, GatewayRefusesUs, Intent, IntentOrder, Means, NoSuchThing
from portal.gateway.configured import TEST, ConfiguredGateway, Keys, gateway_called, keys_of
from portal.gateway.setting_up import note
from portal.parts import Parts
from portal.payments.words import CardDetailsLost
from portal.settings import read_settings

PRACTICE_CENTS = 10_00
MARK = "practice"
"""The name under which an intent says that it is a practice, and of which gateway."""


class NoTestKeys(Refusal):
    """A practice payment needs the gateway's Test keys."""

    title = _l("There are no Test keys yet")
    message = _l("Enter this gateway's Test keys first. A practice payment never uses the live ones.")


class PracticeStopped(Refusal):
    """The gateway does not answer, or turns us away."""

    status = 503
    title = _l("The practice payment did not come to an end")
    message = _l("No real card is charged in Test mode, and nothing is in the books. Try again in a few minutes.")


@dataclass(frozen=True)
class Practice:
    """What a practice payment works with: the gateway, its Test keys, and the sum in the clinic's currency."""

    public_id: str
    name: str
    token: str
    currency: str
    keys: Keys = field(repr=False)


def practice_for(connection: Connection, public_id: str) -> Practice | None:
    """The practice of one gateway; None where there is no such gateway. Raises NoTestKeys."""
    row = connection.execute(
        select(ConfiguredGateway.id, ConfiguredGateway.name, ConfiguredGateway.location_id).where(
            ConfiguredGateway.public_id == public_id
        )
    ).first()
    if row is None:
        return None
    try:
        keys = keys_of(connection, row.id, TEST)
    except LookupError:
        raise NoTestKeys from None
    here = Location.id == row.location_id if row.location_id else Location.active.is_(True)
    currency = connection.scalar(select(Location.currency).where(here).order_by(Location.id).limit(1))
    return Practice(public_id, row.name, keys.token, currency or "CAD", keys)


def practise(parts: Parts, practice: Practice, press: UUID, card_token: str, return_url: str) -> Intent:
    """Pay the practice sum with the card that was typed; gives the intent as it then stands.

    The same press twice pays once. Raises CardNotAccepted, CardDetailsLost or PracticeStopped.
    """
    gateway = parts.connect(practice.keys.secret(parts.vault))
    order = IntentOrder(PRACTICE_CENTS, practice.currency, "Practice invoice", {MARK: practice.public_id})
    with parts.database.read() as connection:
        prepaid = read_settings(connection).yes("accept_prepaid_cards")
    try:
        CardPolicy(prepaid=prepaid).check(gateway.look_at_token(card_token).card)
        intent = gateway.create_intent(order, f"{press}:practice")
        means = Means(return_url=return_url, token=card_token)
        return gateway.confirm(intent.id, means, f"{press}:practice:{card_token}")
    except NoSuchThing as error:
        raise CardDetailsLost from error
    except GatewayError as error:
        raise PracticeStopped from error


def practice_stands(parts: Parts, practice: Practice, intent_id: str) -> Intent | None:
    """The intent of this gateway's practice as it stands now; None for any other. Raises PracticeStopped."""
    try:
        intent = parts.connect(practice.keys.secret(parts.vault)).fetch(intent_id)
    except GatewayRefusesUs:
        return None
    except GatewayError as error:
        raise PracticeStopped from error
    return intent if intent.metadata.get(MARK) == practice.public_id else None


def note_practice(parts: Parts, practice: Practice, *, by: int) -> None:
    """Record in the audit log that a practice payment went through."""
    with parts.database.transaction() as session:
        note(session, gateway_called(session, practice.public_id), "Practice payment", "", "went through", by)
