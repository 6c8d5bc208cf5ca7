"""The port: what the product asks of a payment gateway, in the product's own words.

One adapter knows the vendor (`gateway/stripe.py`, with `answers.py`). It answers with these value objects and raises
these exceptions, and nothing else of the vendor's comes through.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


class GatewayError(Exception):
    """Something between us and the gateway."""


class OutcomeUnknown(GatewayError):
    """The call may or may not have had its effect: a lost connection, a time-out, a 5xx, a key still in use."""


class GatewayBusy(GatewayError):
    """The gateway turned the call away before doing anything (429). Try again later."""


class GatewayRefusesUs(GatewayError):
    """The gateway says that our call is wrong: a bad key, a bad parameter, an object in another state.

    The call had no effect. `code` is the gateway's own, for logs and tests; it is never shown to a person.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class NoSuchThing(GatewayRefusesUs):
    """The gateway does not know that id (in this account and mode)."""


class KeyRefused(GatewayRefusesUs):
    """The gateway does not take our key, or not for this call. It says nothing about what we asked for."""


class PermissionMissing(KeyRefused):
    """A restricted key may not do what is needed. `permission` names what it lacks, as far as that can be told."""

    def __init__(self, code: str, permission: str = "") -> None:
        super().__init__(code)
        self.permission = permission


class TokenRefused(GatewayRefusesUs):
    """The gateway does not take the publishable key."""


class KeysDiffer(GatewayRefusesUs):
    """The publishable key and the secret key belong to two accounts."""


class BadSignature(GatewayError):
    """A webhook that the gateway did not sign, or not lately."""


@dataclass(frozen=True)
class CardLook:
    """What can be known of a card before it is charged. Any field may be missing; the policy says what then."""

    type: str
    brand: str | None = None
    funding: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    wallet: str | None = None
    customer: str | None = None


@dataclass(frozen=True)
class Token:
    """What the payer's browser made of the card it was given: used once, then gone."""

    card: CardLook
    saves_card: bool


@dataclass(frozen=True)
class Decline:
    """Why the last confirmation did not go through."""

    code: str
    decline_code: str | None = None


@dataclass(frozen=True)
class Charge:
    """Money that the gateway took."""

    id: str
    amount_cents: int
    currency: str
    card: CardLook | None
    created_at: datetime


@dataclass(frozen=True)
class Intent:
    """One PaymentIntent as the gateway holds it now."""

    id: str
    status: str
    amount_cents: int
    received_cents: int
    currency: str
    live: bool
    metadata: dict[str, str]
    client_secret: str | None = field(repr=False)
    charge: Charge | None = None
    decline: Decline | None = None
    method_id: str | None = None
    redirect_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class IntentOrder:
    """What an intent is made with. The same order under the same key gives the same intent."""

    amount_cents: int
    currency: str
    description: str
    metadata: dict[str, str]
    customer: str | None = None
    save_card: bool = False


@dataclass(frozen=True)
class Means:
    """What a confirmation is made with: a fresh token, or a saved card.

    `sdk`: the payer's page runs the gateway's script, so that it can show the bank's question in place.
    `off_session`: the payer is not there to be asked; where their bank wants to ask, the confirmation is declined.
    """

    return_url: str
    token: str | None = None
    method: str | None = None
    sdk: bool = True
    off_session: bool = False


@dataclass(frozen=True)
class WebhookEndpoint:
    """Where the gateway sends its events, and what it signs them with: told once, when the endpoint is made."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class RefundOrder:
    """Money of a charge that is to go back. `reference` is kept with the refund, so that a lost answer is found."""

    charge_id: str
    amount_cents: int
    reference: str


@dataclass(frozen=True)
class GatewayRefund:
    """One refund as the gateway holds it now. `state`: pending, succeeded, failed or canceled; never unknown."""

    id: str
    charge_id: str
    amount_cents: int
    state: str
    created_at: datetime
    reference: str | None = None
    failure: str | None = None


@dataclass(frozen=True)
class GatewayDispute:
    """One dispute of a charge. `stage`: inquiry, open, won or lost; `withdrawn_cents` is what it holds back now.

    `entries` are the ids of what it took and returned in the gateway's balance, newest first.
    """

    id: str
    stage: str
    amount_cents: int
    withdrawn_cents: int
    reason: str
    entries: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChargeStanding:
    """A charge and everything that took money of it back, as the gateway holds it now."""

    id: str
    captured_cents: int
    currency: str
    live: bool
    refunds: tuple[GatewayRefund, ...] = ()
    disputes: tuple[GatewayDispute, ...] = ()


@dataclass(frozen=True)
class GatewayEvent:
    """A signed hint that something changed. What changed is fetched, never believed."""

    id: str
    type: str
    object_id: str
    intent_id: str | None
    live: bool
    created_at: datetime


class Gateway(Protocol):
    """One gateway account in one mode. Every method may raise GatewayError.

    A `key` makes a call that is asked twice happen once. Without one, asking twice does no harm: the call says how
    things shall be, not what shall be added.
    """

    def look_at_token(self, token_id: str) -> Token: ...
    def look_at_method(self, method_id: str) -> CardLook: ...
    def create_customer(self, payer_ref: str, key: str) -> str: ...
    def create_intent(self, order: IntentOrder, key: str) -> Intent: ...
    def change_intent(self, intent_id: str, customer: str | None, save_card: bool) -> Intent: ...
    def confirm(self, intent_id: str, means: Means, key: str) -> Intent: ...
    def fetch(self, intent_id: str) -> Intent: ...
    def cancel(self, intent_id: str) -> Intent: ...
    def forget_card(self, method_id: str) -> None: ...
    def refund(self, order: RefundOrder, key: str) -> GatewayRefund: ...
    def look_at_charge(self, charge_id: str) -> ChargeStanding: ...

    def account(self) -> str:
        """The id of the account that the secret key belongs to."""

    def prove(self, token: str) -> str:
        """Try the publishable key together with the secret one, moving no money; gives the account's id.

        Raises KeyRefused, PermissionMissing, TokenRefused or KeysDiffer.
        """

    def make_webhook(self, url: str, note: str, key: str) -> WebhookEndpoint:
        """An endpoint at this address for the events that the product follows. `note` marks it as ours."""

    def drop_webhooks(self, url: str, note: str, but: str) -> int:
        """Take away our own older endpoints at this address, all `but` one; gives how many."""
