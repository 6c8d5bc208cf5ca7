"""What staff and the command line do with gateways: set one up, change it, make its webhook. Each is audited (O5).

Every verb asks Stripe first, with no transaction open, and then keeps all of it or nothing.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clinic import Location
from portal.db import Database
from portal.errors import Refusal
from portal.gateway.configured import (
    ACTIVE,
    GATEWAY_CHANGED,
    INACTIVE,
    ConfiguredGateway,
    Credentials,
    Keys,
    add_gateway,
    become_default,
    gateway_called,
    keys_of,
    set_webhook_secret,
    store_credentials,
)
from portal.gateway.keys import (
    LOCATION,
    MODE,
    NAME,
    PRODUCTION,
    SECRET,
    TEST,
    TOKEN,
    BadGateway,
    check_name,
    wrong_keys,
)
from portal.gateway.proving import Connect, account_of, proved_account, saying_which_is_wrong
from portal.vault import Vault

WHOLE_CLINIC = "All locations"


@dataclass(frozen=True)
class GatewayWanted:
    """A gateway as somebody wants it. Empty keys mean: those that are kept. Its repr shows no secret."""

    name: str
    location_id: int | None
    mode: str
    active: bool
    default: bool
    token: str = ""
    secret: str = field(default="", repr=False)
    webhook_secret: str = field(default="", repr=False)


class GatewayNotSaved(Refusal):
    """What was typed can't become a gateway, and nothing was kept. `wrong` has a sentence for each field."""

    status = 422

    def __init__(self, wrong: dict[str, LazyString | str]) -> None:
        super().__init__()
        self.wrong = wrong

    @property
    def text(self) -> str:
        """All the sentences, for whoever has no form before them."""
        return " ".join(str(sentence) for sentence in self.wrong.values())


class GatewayChangedMeanwhile(Refusal):
    """Somebody else changed the gateway while this form was open."""

    title = _l("Somebody else has changed this gateway meanwhile")
    message = _l("Nothing was saved. Open it again to see how it stands now.")


@dataclass(frozen=True)
class Tools:
    """What setting up works with: the clinic's database, its vault, and the way to a gateway.

    Without a way (`connect` None) keys are kept untested, and the pages say so.
    """

    database: Database
    vault: Vault = field(repr=False)
    connect: Connect | None = field(repr=False)


# --- a new one ------------------------------------------------------------------------------------------------------


def set_up_gateway(tools: Tools, public_id: str, wanted: GatewayWanted, *, by: int | None) -> str | None:
    """Keep a new gateway once Stripe has taken its two keys together; gives the account.

    `public_id` is made when the form is shown: the same press twice sets up one gateway, and the second gives None.
    Raises GatewayNotSaved or GatewayAway.
    """
    if _is_there(tools, public_id):
        return None
    _check(tools, wanted, wanted.token, wanted.secret)
    account = _tried(tools, wanted, None, wanted.token, wanted.secret)
    try:
        with tools.database.transaction() as session:
            add_gateway(
                session, tools.vault, location_id=wanted.location_id, name=wanted.name, mode=wanted.mode,
                token=wanted.token, secret=wanted.secret, webhook_secret=wanted.webhook_secret, active=wanted.active,
                default=wanted.default, public_id=public_id, account=account, by=by,
            )  # fmt: skip
    except IntegrityError:
        if _is_there(tools, public_id):
            return None
        raise GatewayChangedMeanwhile from None  # another gateway became the default of the same place
    return account


def _is_there(tools: Tools, public_id: str) -> bool:
    with tools.database.read() as connection:
        wanted = select(ConfiguredGateway.id).where(ConfiguredGateway.public_id == public_id)
        return connection.scalar(wanted) is not None


def _check(tools: Tools, wanted: GatewayWanted, token: str, secret: str) -> None:
    """Everything that can be said without asking Stripe, all at once. Raises GatewayNotSaved."""
    wrong: dict[str, LazyString | str] = {}
    try:
        check_name(wanted.name)
    except BadGateway as refusal:
        wrong[NAME] = refusal.text
    if wanted.location_id is not None and not _has_location(tools, wanted.location_id):
        wrong[LOCATION] = _l("There is no such location. Choose one of the list.")
    missing = {
        TOKEN: _l("Enter the Token: Stripe's publishable key for this mode."),
        SECRET: _l("Enter the Secret: Stripe's secret or restricted key for this mode."),
    }
    found = wrong_keys(wanted.mode, token, secret, wanted.webhook_secret)
    for name, typed in ((TOKEN, token), (SECRET, secret)):
        if not typed and MODE not in found:
            found[name] = missing[name]
    if wrong or found:
        raise GatewayNotSaved({**wrong, **found})


def _has_location(tools: Tools, location_id: int) -> bool:
    with tools.database.read() as connection:
        return connection.scalar(select(Location.id).where(Location.id == location_id)) is not None


@contextmanager
def _at_its_field() -> Iterator[None]:
    try:
        yield
    except BadGateway as refusal:
        raise GatewayNotSaved({refusal.field or SECRET: refusal.text}) from refusal


# --- changing one ---------------------------------------------------------------------------------------------------


def fingerprint(connection: Connection | Session, gateway_id: int) -> str:
    """A gateway as it stands, in a few letters: a form says with it what it was made from."""
    about = connection.execute(
        select(
            ConfiguredGateway.name, ConfiguredGateway.location_id, ConfiguredGateway.mode,
            ConfiguredGateway.status, ConfiguredGateway.is_default,
        ).where(ConfiguredGateway.id == gateway_id)
    ).one()  # fmt: skip
    keys = connection.execute(
        select(Credentials.mode, Credentials.changed_at, Credentials.account)
        .where(Credentials.gateway_id == gateway_id)
        .order_by(Credentials.mode)
    ).all()
    return hashlib.sha256(repr((tuple(about), [tuple(row) for row in keys])).encode()).hexdigest()[:16]


def change_gateway(
    tools: Tools, public_id: str, seen: str | None, wanted: GatewayWanted, *, by: int | None
) -> str | None:
    """Keep what was changed of a gateway; gives the account when the keys were tried, None when there was no need.

    `seen` is the fingerprint of what the form showed. The keys are tried whenever new ones are typed, and whenever
    the gateway will be active: only switching it off, or leaving it off, needs no Stripe. Raises GatewayNotSaved,
    GatewayAway, GatewayChangedMeanwhile, and BadGateway for an unknown id.
    """
    now_stands, kept = _as_it_stands(tools, public_id, wanted.mode)
    if seen is not None and seen != now_stands:
        raise GatewayChangedMeanwhile
    token, secret = _with_kept(tools, wanted, kept)
    _check(tools, wanted, token, secret)
    account = _tried(tools, wanted, kept, token, secret)
    try:
        with tools.database.transaction() as session:
            gateway = _unchanged(session, public_id, now_stands)
            _keep_keys(session, tools.vault, gateway, wanted, kept, account, by)
            _keep_details(session, gateway, wanted, by)
    except IntegrityError:
        raise GatewayChangedMeanwhile from None  # another gateway became the default of the same place
    return account


def change_keys(
    tools: Tools, public_id: str, mode: str, token: str, secret: str, webhook_secret: str, *, by: int | None
) -> str | None:
    """Give a gateway new keys for a mode, also one that it is not in; what is empty stays as it is.

    Gives the account when the keys were tried. Raises as `change_gateway` does.
    """
    now_stands, kept = _as_it_stands(tools, public_id, mode)
    wanted = GatewayWanted("-", None, mode, False, False, token, secret, webhook_secret)
    _check(tools, wanted, *_with_kept(tools, wanted, kept))
    account = _tried(tools, wanted, kept, *_with_kept(tools, wanted, kept))
    with tools.database.transaction() as session:
        _keep_keys(session, tools.vault, _unchanged(session, public_id, now_stands), wanted, kept, account, by)
    return account


def _unchanged(session: Session, public_id: str, as_it_stood: str) -> ConfiguredGateway:
    """The gateway, held, unless somebody changed it while Stripe was asked."""
    gateway = gateway_called(session, public_id)
    if fingerprint(session, gateway.id) != as_it_stood:
        raise GatewayChangedMeanwhile
    return gateway


def _as_it_stands(tools: Tools, public_id: str, mode: str) -> tuple[str, Keys | None]:
    with tools.database.read() as connection:
        gateway_id = connection.scalar(select(ConfiguredGateway.id).where(ConfiguredGateway.public_id == public_id))
        if gateway_id is None:
            raise BadGateway(why=_l("There is no such gateway."))
        try:
            kept = keys_of(connection, gateway_id, mode)
        except LookupError:
            kept = None
        return fingerprint(connection, gateway_id), kept


def _with_kept(tools: Tools, wanted: GatewayWanted, kept: Keys | None) -> tuple[str, str]:
    """The keys to be: those typed, and for those left empty the ones that are kept."""
    if kept is None:
        return wanted.token, wanted.secret
    return wanted.token or kept.token, wanted.secret or kept.secret(tools.vault)


def _tried(tools: Tools, wanted: GatewayWanted, kept: Keys | None, token: str, secret: str) -> str | None:
    if tools.connect is None or not (wanted.active or wanted.token or wanted.secret):
        return None
    known = kept.account if kept else None
    if kept is not None and known is None and wanted.secret:
        # Kept before anybody asked for its account: while the former key still answers, it tells.
        known = account_of(tools.connect, kept.secret(tools.vault))
    with _at_its_field():
        return proved_account(tools.connect, token, secret, known)


def _keep_keys(
    session: Session, vault: Vault, gateway: ConfiguredGateway, wanted: GatewayWanted, kept: Keys | None,
    account: str | None, by: int | None,
) -> None:  # fmt: skip
    """The keys of the wanted mode; those of the other mode stay as they are (G6)."""
    if account is None and not (wanted.token or wanted.secret or wanted.webhook_secret):
        return
    token = wanted.token or (kept.token if kept else "")
    secret = wanted.secret or (kept.secret(vault) if kept else "")
    store_credentials(session, vault, gateway.id, wanted.mode, token, secret, wanted.webhook_secret, account=account)
    of_mode = MODE_WORDS[wanted.mode]
    if kept is None or token != kept.token:
        note(session, gateway, f"Token ({of_mode})", shortened(kept.token) if kept else "", shortened(token), by)
    if wanted.secret:
        note(session, gateway, f"Secret ({of_mode})", "set" if kept else "", "replaced" if kept else "set", by)
    if wanted.webhook_secret:
        note(session, gateway, f"Webhook signing secret ({of_mode})", "", "set", by)


def _keep_details(session: Session, gateway: ConfiguredGateway, wanted: GatewayWanted, by: int | None) -> None:
    before = _details(session, gateway)
    if gateway.is_default and (not wanted.default or gateway.location_id != wanted.location_id):
        gateway.is_default = False
        session.flush()
    gateway.name, gateway.location_id, gateway.mode = wanted.name.strip(), wanted.location_id, wanted.mode
    gateway.status = ACTIVE if wanted.active else INACTIVE
    session.flush()
    if wanted.default and not gateway.is_default:
        become_default(session, gateway, by)
    for what, after in _details(session, gateway).items():
        if after != before[what]:
            note(session, gateway, what, before[what], after, by)


def _details(session: Session, gateway: ConfiguredGateway) -> dict[str, str]:
    """A gateway's details as the audit log has them."""
    place = session.scalar(select(Location.name).where(Location.id == gateway.location_id))
    return {
        "Name": gateway.name,
        "Clinic location": place or WHOLE_CLINIC,
        "Mode": gateway.mode,
        "Status": gateway.status,
        "Default": "yes" if gateway.is_default else "no",
    }


def note(session: Session, gateway: ConfiguredGateway, what: str, before: str, after: str, by: int | None) -> None:
    """Record one change of a gateway; never pass a secret."""
    record(session, GATEWAY_CHANGED, f"Gateway {gateway.name}, {what}", by=by, before=before, after=after)


MODE_WORDS = {TEST: "Test", PRODUCTION: "Production"}


def shortened(token: str) -> str:
    """A publishable key so that people recognise it: "pk_test_••••7Qd2"."""
    head = token[: len("pk_test_")]
    return f"{head}••••{token[-4:]}" if len(token) > len(head) + 8 else f"{head}••••"


# --- its webhook ----------------------------------------------------------------------------------------------------


def make_webhook(tools: Tools, public_id: str, url: str, request_id: str, *, by: int | None) -> int:
    """Make the webhook endpoint at Stripe in the gateway's mode and keep its signing secret; gives how many of our
    own older ones were taken away.

    The same press twice (`request_id`) makes one endpoint: Stripe answers a repeated key with what it made. The
    former signing secret counts for another day. Raises BadGateway or GatewayAway.
    """
    with tools.database.read() as connection:
        gateway_id = connection.scalar(select(ConfiguredGateway.id).where(ConfiguredGateway.public_id == public_id))
        if gateway_id is None:
            raise BadGateway(why=_l("There is no such gateway."))
        try:
            keys = keys_of(connection, gateway_id)
        except LookupError:
            raise BadGateway(why=_l("This gateway has no keys yet. Enter them first.")) from None
    assert tools.connect is not None, "an endpoint is made at Stripe or not at all"
    secret = keys.secret(tools.vault)
    with saying_which_is_wrong():
        made = tools.connect(secret).make_webhook(url, public_id, f"{public_id}:webhook:{request_id}")
    with tools.database.transaction() as session:
        gateway = gateway_called(session, public_id)
        kept = session.scalars(
            select(Credentials)
            .where(Credentials.gateway_id == gateway.id, Credentials.mode == keys.mode)
            .with_for_update()
        ).one()
        if kept.webhook_endpoint != made.id:
            set_webhook_secret(tools.vault, kept, made.secret)
            kept.webhook_endpoint = made.id
            note(
                session, gateway, f"Webhook endpoint ({MODE_WORDS[keys.mode]})", "", f"made at Stripe: {made.id}", by
            )
    try:
        with saying_which_is_wrong():
            return tools.connect(secret).drop_webhooks(url, public_id, but=made.id)
    except Refusal:
        return 0  # an older endpoint does no harm: its events are filed once, or refused
