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
    update,
)
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from portal.clinic import Location
from portal.clock import now
from portal.db import Base, Utc
from portal.errors import Refusal
from portal.vault import Vault

TEST, PRODUCTION = "test", "production"
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


class BadGateway(Refusal):
    """What was typed can't become a gateway; `text` says which part and why."""

    status = 422
    message = _l("{why}")


_PREFIX = {TEST: "test", PRODUCTION: "live"}


def check_keys(mode: str, token: str, secret: str, webhook_secret: str) -> None:
    """Raises BadGateway for keys that can't belong to this mode, or stand in each other's place.

    What begins with pk_ is publishable, sk_ secret, rk_ restricted, whsec_ a signing secret; then the mode
    (docs.stripe.com/keys). Whether Stripe knows them is another question, which only Stripe answers.
    """
    if mode not in _PREFIX:
        raise BadGateway(why=_l("The mode is test or production."))
    wanted, other = _PREFIX[mode], _PREFIX[PRODUCTION if mode == TEST else TEST]
    if token.startswith(("sk_", "rk_", "whsec_")):
        raise BadGateway(why=_l("The Token is a secret key. It takes the publishable key, which begins with pk_."))
    if secret.startswith(("pk_", "whsec_")):
        raise BadGateway(why=_l("The Secret is not a secret key. It takes the key that begins with sk_ or rk_."))
    if token.startswith(f"pk_{other}_") or secret.startswith((f"sk_{other}_", f"rk_{other}_")):
        raise BadGateway(why=_l("One of the keys belongs to the other mode: test keys say _test_, live keys _live_."))
    if not token.startswith(f"pk_{wanted}_") or len(token) > 255 or not token.isascii() or not token.isprintable():
        raise BadGateway(why=_l("The Token does not look like a publishable key of this mode."))
    if not secret.startswith((f"sk_{wanted}_", f"rk_{wanted}_")) or len(secret) > 255 or not secret.isascii():
        raise BadGateway(why=_l("The Secret does not look like a secret or restricted key of this mode."))
    if webhook_secret and not webhook_secret.startswith("whsec_"):
        raise BadGateway(why=_l("The webhook signing secret begins with whsec_."))


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
) -> ConfiguredGateway:
    """Set up a Stripe gateway with its keys; as default it takes the place of the location's former one."""
    check_keys(mode, token, secret, webhook_secret)
    if not name.strip() or len(name) > 120:
        raise BadGateway(why=_l("The name takes 1 to 120 characters; patients see it at checkout."))
    if default:
        session.execute(
            update(ConfiguredGateway)
            .where(ConfiguredGateway.location_id.is_not_distinct_from(location_id))
            .values(is_default=False)
        )
    gateway = ConfiguredGateway(
        public_id=token_hex(8),
        location_id=location_id,
        name=name.strip(),
        mode=mode,
        status=ACTIVE if active else INACTIVE,
        is_default=default,
        created_at=now(),
    )
    session.add(gateway)
    session.flush()
    store_credentials(session, vault, gateway.id, mode, token, secret, webhook_secret)
    return gateway


def change_keys(
    session: Session, vault: Vault, public_id: str, mode: str | None, token: str, secret: str, webhook_secret: str
) -> str:
    """Give a gateway new keys for a mode (by default the one it is in); what is empty stays as it is. Gives the mode.

    Raises BadGateway, in the words that fit.
    """
    gateway = session.scalars(select(ConfiguredGateway).where(ConfiguredGateway.public_id == public_id)).first()
    if gateway is None:
        raise BadGateway(why=_l("There is no such gateway."))
    mode = mode or gateway.mode
    try:
        kept = keys_of(session, gateway.id, mode)
    except LookupError:
        if not (token and secret):
            raise BadGateway(why=_l("This mode has no keys yet: give both the Token and the Secret.")) from None
    else:
        token, secret = token or kept.token, secret or kept.secret(vault)
    check_keys(mode, token, secret, webhook_secret)
    store_credentials(session, vault, gateway.id, mode, token, secret, webhook_secret)
    return mode


def store_credentials(
    session: Session, vault: Vault, gateway_id: int, mode: str, token: str, secret: str, webhook_secret: str
) -> None:
    """Keep the keys of one mode, sealed. A webhook secret that is replaced is still accepted for a day (F25)."""
    credentials = session.scalars(
        select(Credentials).where(Credentials.gateway_id == gateway_id, Credentials.mode == mode).with_for_update()
    ).first()
    sealed = vault.seal(webhook_secret, _place("webhook_secret_sealed", gateway_id, mode)) if webhook_secret else None
    if credentials is None:
        credentials = Credentials(gateway_id=gateway_id, mode=mode, webhook_secret_sealed=sealed)
        session.add(credentials)
    elif sealed:
        _replace_webhook_secret(credentials, vault, webhook_secret, sealed)
    credentials.token = token
    credentials.secret_sealed = vault.seal(secret, _place("secret_sealed", gateway_id, mode))
    credentials.changed_at = now()
    session.flush()


def _replace_webhook_secret(credentials: Credentials, vault: Vault, secret: str, sealed: str) -> None:
    """Take up a new signing secret and keep the former one for a while. Typing the same one again changes nothing."""
    of = (credentials.gateway_id, credentials.mode)
    current = credentials.webhook_secret_sealed
    former = vault.open(current, _place("webhook_secret_sealed", *of)) if current else None
    if former == secret:
        return
    credentials.webhook_secret_sealed = sealed
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
