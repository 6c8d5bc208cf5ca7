"""Gateways as the settings pages show them: never a secret, of a token its two ends."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from portal.clinic import Location
from portal.gateway.configured import ACTIVE, ConfiguredGateway, Credentials
from portal.gateway.keys import PRODUCTION, TEST
from portal.gateway.setting_up import fingerprint, shortened
from portal.webhooks import WebhookEvent


@dataclass(frozen=True)
class KeysShown:
    """What may be seen of the keys of one mode."""

    mode: str
    token: str
    account: str | None
    tested_at: datetime | None
    has_webhook_secret: bool
    webhook_endpoint: str | None
    last_event_at: datetime | None


@dataclass(frozen=True)
class GatewayShown:
    """One gateway with the keys of both modes, as far as they may be seen."""

    id: int
    public_id: str
    name: str
    location_id: int | None
    location: str | None
    mode: str
    is_active: bool
    is_default: bool
    keys: dict[str, KeysShown]

    @property
    def current(self) -> KeysShown | None:
        """The keys of the mode that it is in."""
        return self.keys.get(self.mode)


def gateways(connection: Connection, public_id: str | None = None) -> list[GatewayShown]:
    """Every gateway, or the one of that id, those that are in use first."""
    statement = select(ConfiguredGateway, Location.name.label("location")).outerjoin(
        Location, Location.id == ConfiguredGateway.location_id
    )
    if public_id is not None:
        statement = statement.where(ConfiguredGateway.public_id == public_id)
    order = (ConfiguredGateway.status, Location.name.is_not(None), Location.name, ConfiguredGateway.id)
    rows = connection.execute(statement.order_by(*order)).all()
    keys = _keys(connection, [row.id for row in rows])
    return [
        GatewayShown(
            row.id,
            row.public_id,
            row.name,
            row.location_id,
            row.location,
            row.mode,
            row.status == ACTIVE,
            row.is_default,
            {mode: keys[row.id, mode] for mode in (PRODUCTION, TEST) if (row.id, mode) in keys},
        )
        for row in rows
    ]


def _keys(connection: Connection, ids: list[int]) -> dict[tuple[int, str], KeysShown]:
    last_event = (
        select(func.max(WebhookEvent.received_at))
        .where(WebhookEvent.gateway_id == Credentials.gateway_id, WebhookEvent.mode == Credentials.mode)
        .correlate(Credentials)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(
            Credentials.gateway_id,
            Credentials.mode,
            Credentials.token,
            Credentials.account,
            Credentials.tested_at,
            Credentials.webhook_secret_sealed.is_not(None).label("has_webhook_secret"),
            Credentials.webhook_endpoint,
            last_event.label("last_event_at"),
        ).where(Credentials.gateway_id.in_(ids))
    ).all()
    return {
        (row.gateway_id, row.mode): KeysShown(
            row.mode,
            shortened(row.token),
            row.account,
            row.tested_at,
            bool(row.has_webhook_secret),
            row.webhook_endpoint,
            row.last_event_at,
        )
        for row in rows
    }


def seen_as(connection: Connection, gateway: GatewayShown) -> str:
    """The fingerprint that a form made of this gateway carries."""
    return fingerprint(connection, gateway.id)


def locations(connection: Connection) -> list[tuple[int, str]]:
    """The locations that a gateway can be for, by name."""
    rows = connection.execute(select(Location.id, Location.name).order_by(Location.name)).all()
    return [(row.id, row.name) for row in rows]
