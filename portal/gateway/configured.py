"""The clinic's gateways as staff set them up, their credentials, and which one a payment uses."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import (
    CheckConstraint,
    Connection,
    ForeignKey,
    Index,
    ScalarSelect,
    String,
    Text,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from portal.audit import record
from portal.clinic import Location
from portal.clock import now
from portal.db import Base, Utc
from portal.gateway.keys import (
    PRODUCTION as PRODUCTION,
)
from portal.gateway.keys import (
    TEST as TEST,
)
from portal.gateway.keys import (
    BadGateway,
    check_keys,
    check_name,
)
from portal.vault import Vault

ACTIVE, INACTIVE = "active", "inactive"
GATEWAY_ADDED, GATEWAY_CHANGED = "gateway.added", "gateway.changed"
"""The audit log's words for what happens to a gateway."""
PREVIOUS_SECRET_COUNTS = timedelta(days=1)
CLINIC_WIDE = "location_id IS NULL AND is_default"
AT_LOCATION = "location_id IS NOT NULL AND is_default"


class ConfiguredGateway(Base):
    """A payment gateway of one location, or of the whole clinic where `location_id` is empty."""

    __tablename__ = "gateways"
    __table_args__ = (
        CheckConstraint("mode IN ('test', 'production')", name="mode_is_known"),
        CheckConstraint("status IN ('active', 'inactive')", name="status_is_known"),
        CheckConstraint("kind IN ('stripe')", name="kind_is_known"),
        Index("uq_gateways_default_of_location", "location_id", unique=True,
              sqlite_where=text(AT_LOCATION), postgresql_where=text(AT_LOCATION)),
        Index("uq_gateways_default_of_clinic", "is_default", unique=True,
              sqlite_where=text(CLINIC_WIDE), postgresql_where=text(CLINIC_WIDE)),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(32), unique=True)
    kind: Mapped[str] = mapped_column(String(16), default="stripe", server_default="stripe")
    location_id: Mapped[int | None] = mapped_column(ForeignKey(Location.id))
    name: Mapped[str] = mapped_column(String(120))
    mode: Mapped[str] = mapped_column(String(10))
    status: Mapped[str] = mapped_column(String(10))
    is_default: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(Utc)


class Credentials(Base):
    """The keys of one gateway in one mode. Secrets are sealed; the token is public by nature.

    A mode's keys stay when the gateway's mode changes: every attempt keeps the mode it began with (G6).
    """

    __tablename__ = "gateway_credentials"
    __table_args__ = (
        CheckConstraint("mode IN ('test', 'production')", name="mode_is_known"),
        Index("uq_gateway_credentials_mode", "gateway_id", "mode", unique=True),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    gateway_id: Mapped[int] = mapped_column(ForeignKey(ConfiguredGateway.id))
    mode: Mapped[str] = mapped_column(String(10))
    account: Mapped[str | None] = mapped_column(String(64))
    token: Mapped[str] = mapped_column(Text)
    secret_sealed: Mapped[str] = mapped_column(Text)
    webhook_secret_sealed: Mapped[str | None] = mapped_column(Text)
    previous_webhook_secret_sealed: Mapped[str | None] = mapped_column(Text)
    previous_webhook_secret_until: Mapped[datetime | None] = mapped_column(Utc)
    changed_at: Mapped[datetime] = mapped_column(Utc)
    # When both keys were last tried together at the gateway, and the webhook endpoint that this product made there.
    tested_at: Mapped[datetime | None] = mapped_column(Utc)
    webhook_endpoint: Mapped[str | None] = mapped_column(String(255))


# --- setting one up -------------------------------------------------------------------------------------------------


def add_gateway(
    session: Session,
    vault: Vault,
    *,
    location_id: int | None,
    name: str,
    mode: str,
    token: str,
    secret: str,
    webhook_secret: str = "",
    active: bool = False,
    default: bool = False,
    public_id: str = "",
    account: str | None = None,
    by: int | None = None,
) -> ConfiguredGateway:
    """Set up a Stripe gateway with its keys; as default it takes the place of the location's former one.

    `account` is what Stripe said of the keys when they were tried together; None when nobody asked.
    """
    check_keys(mode, token, secret, webhook_secret)
    check_name(name)
    gateway = ConfiguredGateway(
        public_id=public_id or token_hex(8),
        location_id=location_id,
        name=name.strip(),
        mode=mode,
        status=INACTIVE,
        is_default=False,
        created_at=now(),
    )
    session.add(gateway)
    session.flush()
    store_credentials(session, vault, gateway.id, mode, token, secret, webhook_secret, account=account)
    if default:
        become_default(session, gateway, by)
    gateway.status = ACTIVE if active else INACTIVE  # only now: the database lets nothing be active without keys
    session.flush()
    how = f"{mode}, {gateway.status}{', default' if default else ''}"
    record(session, GATEWAY_ADDED, f"Gateway {gateway.name}", by=by, after=how)
    return gateway


def become_default(session: Session, gateway: ConfiguredGateway, by: int | None) -> None:
    """Make this the one default of its location (or of the clinic); the former one is a default no longer."""
    formers = session.scalars(
        select(ConfiguredGateway)
        .where(
            ConfiguredGateway.location_id.is_not_distinct_from(gateway.location_id),
            ConfiguredGateway.is_default.is_(True),
            ConfiguredGateway.id != gateway.id,
        )
        .with_for_update()
    ).all()
    for former in formers:
        former.is_default = False
        record(session, GATEWAY_CHANGED, f"Gateway {former.name}, Default", by=by, before="yes", after="no")
    session.flush()
    gateway.is_default = True
    session.flush()


def gateway_called(session: Session, public_id: str) -> ConfiguredGateway:
    """The gateway of that id, held until the transaction ends. Raises BadGateway when there is none."""
    found = session.scalars(
        select(ConfiguredGateway).where(ConfiguredGateway.public_id == public_id).with_for_update()
    ).first()
    if found is None:
        raise BadGateway(why=_l("There is no such gateway."))
    return found


def set_status(session: Session, public_id: str, status: str, by: int | None) -> None:
    """Switch a gateway on or off. Raises BadGateway; without both keys of its mode it can't be switched on."""
    gateway = gateway_called(session, public_id)
    if status == ACTIVE and not has_keys(session, gateway.id, gateway.mode):
        raise BadGateway(why=_l("Without both keys of its mode, this gateway can't become active."))
    if gateway.status != status:
        what = f"Gateway {gateway.name}, Status"
        record(session, GATEWAY_CHANGED, what, by=by, before=gateway.status, after=status)
    gateway.status = status
    session.flush()


def has_keys(connection: Connection | Session, gateway_id: int, mode: str) -> bool:
    """Whether a gateway has both keys of a mode."""
    try:
        keys_of(connection, gateway_id, mode)
    except LookupError:
        return False
    return True


def store_credentials(
    session: Session,
    vault: Vault,
    gateway_id: int,
    mode: str,
    token: str,
    secret: str,
    webhook_secret: str,
    *,
    account: str | None = None,
) -> None:
    """Keep the keys of one mode, sealed. A webhook secret that is replaced is still accepted for a day (F25).

    With `account`, the keys were tried together just now.
    """
    credentials = session.scalars(
        select(Credentials).where(Credentials.gateway_id == gateway_id, Credentials.mode == mode).with_for_update()
    ).first()
    if credentials is None:
        credentials = Credentials(gateway_id=gateway_id, mode=mode)
        session.add(credentials)
    if webhook_secret:
        set_webhook_secret(vault, credentials, webhook_secret)
    credentials.token = token
    credentials.secret_sealed = vault.seal(secret, _place("secret_sealed", gateway_id, mode))
    credentials.changed_at = now()
    if account is not None:
        credentials.account = account
    credentials.tested_at = now() if account is not None else None
    session.flush()


def set_webhook_secret(vault: Vault, credentials: Credentials, secret: str) -> None:
    """Take up a new signing secret and keep the former one for a while. Typing the same one again changes nothing."""
    of = (credentials.gateway_id, credentials.mode)
    current = credentials.webhook_secret_sealed
    former = vault.open(current, _place("webhook_secret_sealed", *of)) if current else None
    if former == secret:
        return
    credentials.webhook_secret_sealed = vault.seal(secret, _place("webhook_secret_sealed", *of))
    credentials.changed_at = now()
    if former is not None:
        credentials.previous_webhook_secret_sealed = vault.seal(former, _place("previous_webhook_secret_sealed", *of))
        credentials.previous_webhook_secret_until = now() + PREVIOUS_SECRET_COUNTS


def _place(column: str, gateway_id: int, mode: str) -> str:
    return f"gateway_credentials.{column}:{gateway_id}/{mode}"


def seal_credentials_again(session: Session, vault: Vault) -> int:
    """Seal every secret anew under the newest key; gives how many were (for `portal rotate-keys`)."""
    count = 0
    for row in session.scalars(select(Credentials).with_for_update()):
        for column in ("secret_sealed", "webhook_secret_sealed", "previous_webhook_secret_sealed"):
            sealed = getattr(row, column)
            if sealed and vault.needs_sealing_again(sealed):
                place = _place(column, row.gateway_id, row.mode)
                setattr(row, column, vault.seal(vault.open(sealed, place), place))
                count += 1
    return count


# --- choosing one, and opening it -----------------------------------------------------------------------------------


def chosen_gateway(location_id: Any) -> ScalarSelect[int]:
    """The gateway of a location, as a subquery: its active default, else the clinic-wide one, else none (O3).

    One without both keys of its mode does not count: it could take no payment.
    """
    gateway = aliased(ConfiguredGateway)
    keys = aliased(Credentials)
    return (
        select(gateway.id)
        .join(keys, (keys.gateway_id == gateway.id) & (keys.mode == gateway.mode))
        .where(
            gateway.is_default.is_(True),
            gateway.status == ACTIVE,
            or_(gateway.location_id == location_id, gateway.location_id.is_(None)),
        )
        .order_by(gateway.location_id.is_(None))
        .limit(1)
        .scalar_subquery()
    )


@dataclass(frozen=True)
class Keys:
    """What is needed to speak to one gateway in one mode. Its repr shows no secret."""

    gateway_id: int
    mode: str
    account: str | None
    token: str
    secret_sealed: str = field(repr=False)

    @property
    def live(self) -> bool:
        return self.mode == PRODUCTION

    def secret(self, vault: Vault) -> str:
        """The secret key, opened. Hand it to the adapter and keep it nowhere."""
        return vault.open(self.secret_sealed, _place("secret_sealed", self.gateway_id, self.mode))


_KEYS = select(
    Credentials.gateway_id, Credentials.mode, Credentials.account, Credentials.token, Credentials.secret_sealed
)


def keys_of(connection: Connection | Session, gateway_id: int, mode: str | None = None) -> Keys:
    """The keys of a gateway in a mode (by default, the one it is in). LookupError when it has none."""
    statement = _KEYS.where(Credentials.gateway_id == gateway_id)
    if mode is None:
        statement = statement.join(
            ConfiguredGateway,
            (ConfiguredGateway.id == Credentials.gateway_id) & (ConfiguredGateway.mode == Credentials.mode),
        )
    else:
        statement = statement.where(Credentials.mode == mode)
    row = connection.execute(statement).first()
    if row is None:
        raise LookupError(f"gateway {gateway_id} has no keys for mode {mode}")
    return Keys(*row)


@dataclass(frozen=True)
class SigningSecrets:
    """The webhook secrets of one gateway that count now, by mode."""

    gateway_id: int
    by_mode: dict[str, list[str]] = field(repr=False)


def signing_secrets(connection: Connection, vault: Vault, public_id: str) -> SigningSecrets | None:
    """What a webhook to this gateway's address may be signed with; None for an address that no gateway has."""
    rows = connection.execute(
        select(
            ConfiguredGateway.id,
            Credentials.mode,
            Credentials.webhook_secret_sealed,
            Credentials.previous_webhook_secret_sealed,
            Credentials.previous_webhook_secret_until,
        )
        .join(Credentials, Credentials.gateway_id == ConfiguredGateway.id)
        .where(ConfiguredGateway.public_id == public_id)
    ).all()
    if not rows:
        return None
    by_mode: dict[str, list[str]] = {}
    for gateway_id, mode, current, previous, until in rows:
        secrets = []
        if current:
            secrets.append(vault.open(current, _place("webhook_secret_sealed", gateway_id, mode)))
        if previous and until and until > now():
            secrets.append(vault.open(previous, _place("previous_webhook_secret_sealed", gateway_id, mode)))
        by_mode[mode] = secrets
    return SigningSecrets(rows[0][0], by_mode)
