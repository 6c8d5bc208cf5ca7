"""The Stripe adapter: the only file that imports `stripe`. (`answers.py` says what Stripe's objects mean.)

It turns a lost connection into OutcomeUnknown, a bad key into KeyRefused, and a declined confirmation into the Intent
as it then stands. Nothing is relied on that Stripe does not document: an answer may leave out what we asked to have
expanded, and an error need not carry its intent. The API version is pinned to the one that this release of the
library is made for. The library's own retries are off: only the steps of the payment flow decide what is asked again.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import stripe

from portal.gateway import (
    BadSignature,
    CardLook,
    ChargeStanding,
    Gateway,
    GatewayBusy,
    GatewayError,
    GatewayEvent,
    GatewayRefund,
    GatewayRefusesUs,
    Intent,
    IntentOrder,
    KeyRefused,
    KeysDiffer,
    Means,
    NoSuchThing,
    OutcomeUnknown,
    PermissionMissing,
    RefundOrder,
    Token,
    TokenRefused,
    WebhookEndpoint,
    facts,
)
from portal.gateway.answers import card_from, charge_from, dispute_from, intent_from, plain, refund_from

API_VERSION = facts.API_VERSION
CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 25
SIGNATURE_AGE_S = 300
EXPAND = ["latest_charge"]

stripe.enable_telemetry = False
# Told to log much, the library writes whole answers down; one of them holds a webhook's signing secret.
logging.getLogger("stripe").setLevel(logging.WARNING)


class StripeConnector:
    """Opens a gateway for a secret key. All of them share one HTTP client, which keeps connections per thread."""

    def __init__(self, api_base: str, http_client: stripe.HTTPClient | None = None) -> None:
        self._api_base = api_base
        self._http_client = http_client or stripe.RequestsClient(timeout=(CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S))

    def __call__(self, secret: str) -> Gateway:
        return StripeGateway(secret, self._client)

    def _client(self, key: str) -> stripe.StripeClient:
        return stripe.StripeClient(
            key,
            stripe_version=API_VERSION,
            base_addresses={"api": self._api_base},
            max_network_retries=0,
            http_client=self._http_client,
        )


class StripeGateway:
    """One Stripe account in one mode, spoken to with one secret key."""

    def __init__(self, secret: str, client: Callable[[str], stripe.StripeClient]) -> None:
        self._stripe = client(secret).v1
        self._client = client
        self._is_restricted = secret.startswith("rk_")

    def look_at_token(self, token_id: str) -> Token:
        with _translated():
            raw = plain(self._stripe.confirmation_tokens.retrieve(token_id))
            return Token(
                card=card_from(raw.get("payment_method_preview")) or CardLook(type="unknown"),
                saves_card=raw.get("setup_future_usage") is not None,
            )

    def look_at_method(self, method_id: str) -> CardLook:
        with _translated():
            return card_from(plain(self._stripe.payment_methods.retrieve(method_id))) or CardLook(type="unknown")

    def create_customer(self, payer_ref: str, key: str) -> str:
        with _translated():
            customer = self._stripe.customers.create(
                {"metadata": {"payer": payer_ref}}, options={"idempotency_key": key}
            )
            return str(plain(customer)["id"])

    def create_intent(self, order: IntentOrder, key: str) -> Intent:
        params: dict[str, Any] = {
            "amount": order.amount_cents,
            "currency": order.currency.lower(),
            "allowed_payment_method_types": ["card"],
            "description": order.description,
            "metadata": order.metadata,
        }
        if order.customer:
            params["customer"] = order.customer
        if order.save_card:
            params["setup_future_usage"] = "off_session"
        with _translated():
            return intent_from(
                self._stripe.payment_intents.create(cast(Any, params), options={"idempotency_key": key})
            )

    def change_intent(self, intent_id: str, customer: str | None, save_card: bool) -> Intent:
        # An empty string is how Stripe's API unsets a field.
        params: dict[str, Any] = {"setup_future_usage": "off_session" if save_card else ""}
        if customer:
            params["customer"] = customer
        with _translated():
            return intent_from(self._stripe.payment_intents.update(intent_id, cast(Any, params)))

    def confirm(self, intent_id: str, means: Means, key: str) -> Intent:
        params: dict[str, Any] = {"return_url": means.return_url, "expand": EXPAND}
        if means.token:
            params["confirmation_token"] = means.token
        else:
            params["payment_method"] = means.method
            if means.off_session:
                # Nobody is there to be asked: say no at once rather than leave a question open.
                params |= {"off_session": True, "error_on_requires_action": True}
            elif means.sdk:
                params["use_stripe_sdk"] = True
        answer: dict[str, Any] | None = None
        with suppress(_CardSaidNo), _translated():
            answer = plain(
                self._stripe.payment_intents.confirm(intent_id, cast(Any, params), options={"idempotency_key": key})
            )
        try:
            # A decline's error may carry the intent, or not, or an older form of it. Asked for, it is what it is.
            return self._with_charge(answer) if answer else self.fetch(intent_id)
        except GatewayError as error:
            # The confirmation itself was carried out: a refusal of what came after it says nothing about the money.
            raise OutcomeUnknown("confirmed, but the outcome can't be read") from error

    def fetch(self, intent_id: str) -> Intent:
        with _translated():
            answer = plain(self._stripe.payment_intents.retrieve(intent_id, {"expand": EXPAND}))
        return self._with_charge(answer)

    def cancel(self, intent_id: str) -> Intent:
        # No key of ours: under one key a failure of the gateway's own would be repeated to us for a day.
        with _translated():
            return intent_from(self._stripe.payment_intents.cancel(intent_id, {"cancellation_reason": "abandoned"}))

    def forget_card(self, method_id: str) -> None:
        with _translated():
            self._stripe.payment_methods.detach(method_id)

    def refund(self, order: RefundOrder, key: str) -> GatewayRefund:
        params = {
            "charge": order.charge_id,
            "amount": order.amount_cents,
            "metadata": {"refund": order.reference},
        }
        with _translated():
            return refund_from(self._stripe.refunds.create(cast(Any, params), options={"idempotency_key": key}))

    def look_at_charge(self, charge_id: str) -> ChargeStanding:
        with _translated():
            raw = plain(self._stripe.charges.retrieve(charge_id))
            of_charge: Any = {"charge": charge_id, "limit": 100}
            refunds = [refund_from(each) for each in self._stripe.refunds.list(of_charge).auto_paging_iter()]
            disputes = self._stripe.disputes.list(of_charge).auto_paging_iter() if raw.get("disputed") else ()
            return ChargeStanding(
                id=raw["id"],
                captured_cents=raw["amount_captured"],
                currency=raw["currency"].upper(),
                live=bool(raw.get("livemode")),
                refunds=tuple(refunds[::-1]),
                disputes=tuple(dispute_from(each) for each in disputes),
            )

    # --- its keys, and its webhook ---

    def account(self) -> str:
        try:
            with _translated():
                return str(plain(self._stripe.accounts.retrieve_current())["id"])
        except PermissionMissing as error:
            # Some accounts offer restricted keys no permission for this. Stripe's refusal names the account, though.
            named = re.search(r"'(acct_\w+)'", str(error.__cause__))
            if named is None:
                raise
            return named[1]

    def prove(self, token: str) -> str:
        account = self.account()
        if self._is_restricted:
            self._check_permissions()
        with _lacking(facts.SETUP_INTENTS), _translated():
            intent = plain(self._stripe.setup_intents.create({"allowed_payment_method_types": ["card"]}))
        try:
            self._look_with(token, intent["id"], intent["client_secret"])
        finally:
            with suppress(GatewayError), _translated():  # left alone it ends by itself, and does nothing until then
                self._stripe.setup_intents.cancel(intent["id"])
        return account

    def _look_with(self, token: str, intent_id: str, client_secret: str) -> None:
        try:
            with _translated():
                self._client(token).v1.setup_intents.retrieve(intent_id, {"client_secret": client_secret})
        except NoSuchThing as error:
            raise KeysDiffer(error.code) from error
        except KeyRefused as error:
            raise TokenRefused(error.code) from error

    def _check_permissions(self) -> None:
        """Ask for things that do not exist: Stripe looks at the key first. Raises PermissionMissing."""
        nothing: Any = {"metadata": {"test": "keys"}}
        asked: dict[facts.Permission, Callable[[], object]] = {
            facts.PAYMENT_INTENTS: lambda: self._stripe.payment_intents.cancel("pi_nobody"),
            facts.CUSTOMERS: lambda: self._stripe.customers.update("cus_nobody", nothing),
            facts.PAYMENT_METHODS: lambda: self._stripe.payment_methods.detach("pm_nobody"),
            facts.CONFIRMATION_TOKENS: lambda: self._stripe.confirmation_tokens.retrieve("ctoken_nobody"),
            facts.CHARGES: lambda: self._stripe.charges.retrieve("ch_nobody"),
            facts.REFUNDS: lambda: self._stripe.refunds.update("re_nobody", nothing),
            facts.DISPUTES: lambda: self._stripe.disputes.retrieve("dp_nobody"),
        }
        for permission, ask in asked.items():
            try:
                with _lacking(permission), _translated():
                    ask()
            except KeyRefused:
                raise
            except GatewayRefusesUs:
                continue  # there is no such thing, as it should be

    def make_webhook(self, url: str, note: str, key: str) -> WebhookEndpoint:
        params: dict[str, Any] = {
            "url": url,
            "enabled_events": list(facts.WEBHOOK_EVENTS),
            "api_version": API_VERSION,
            "metadata": {"made_for": note},
        }
        with _lacking(facts.WEBHOOK_ENDPOINTS), _translated():
            made = plain(self._stripe.webhook_endpoints.create(cast(Any, params), options={"idempotency_key": key}))
            return WebhookEndpoint(made["id"], made["secret"])

    def drop_webhooks(self, url: str, note: str, but: str) -> int:
        with _translated():
            listed = plain(self._stripe.webhook_endpoints.list({"limit": 100}))["data"]
            stale = [
                one["id"]
                for one in listed
                if one["id"] != but and one["url"] == url and (one.get("metadata") or {}).get("made_for") == note
            ]
            for endpoint in stale:
                self._stripe.webhook_endpoints.delete(endpoint)
            return len(stale)

    def _with_charge(self, raw: dict[str, Any]) -> Intent:
        """Where the answer names the charge by its id alone, fetch it: what is posted is what the charge says."""
        with _translated():
            intent = intent_from(raw)
            charge_id = raw.get("latest_charge")
            if intent.status != "succeeded" or not isinstance(charge_id, str):
                return intent
            return replace(intent, charge=charge_from(plain(self._stripe.charges.retrieve(charge_id))))


# --- errors ---------------------------------------------------------------------------------------------------------


class _CardSaidNo(GatewayRefusesUs):
    """A confirmation that the bank or Stripe declined."""


@contextmanager
def _translated() -> Iterator[None]:
    """Stripe's exceptions in the port's words (docs.stripe.com/api/errors, /error-low-level).

    An answer that can't be read is one whose effect is unknown.
    """
    try:
        yield
    except stripe.CardError as error:
        raise _CardSaidNo(error.code or "card_error") from error
    except stripe.RateLimitError as error:
        raise GatewayBusy from error
    except stripe.APIConnectionError as error:
        raise OutcomeUnknown("no answer") from error
    except stripe.IdempotencyError as error:
        raise GatewayRefusesUs(error.code or "idempotency_error") from error
    except stripe.PermissionError as error:
        named = re.search(r"'(rak_\w+)'", str(error))
        raise PermissionMissing(_code(error), named[1] if named else "") from error
    except stripe.AuthenticationError as error:
        raise KeyRefused(_code(error)) from error
    except stripe.InvalidRequestError as error:
        refused = NoSuchThing if error.code == "resource_missing" else GatewayRefusesUs
        raise refused(error.code or "invalid_request") from error
    except stripe.StripeError as error:
        # 409: the same call is still at work. Anything else that is not a plain no may have had its effect.
        if error.http_status is not None and 400 <= error.http_status < 500 and error.http_status != 409:
            raise GatewayRefusesUs(error.code or f"http_{error.http_status}") from error
        raise OutcomeUnknown("a broken answer") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OutcomeUnknown("an answer that can't be read") from error


def _code(error: stripe.StripeError) -> str:
    """Stripe's word for what is wrong with a key. The library leaves it in the body of these errors."""
    body = error.json_body if isinstance(error.json_body, dict) else {}
    told = body.get("error")
    return str((told.get("code") if isinstance(told, dict) else None) or error.code or "bad_key")


@contextmanager
def _lacking(permission: facts.Permission) -> Iterator[None]:
    """Name the permission that a call needs, beside Stripe's own name for it."""
    try:
        yield
    except PermissionMissing as error:
        told = f"{permission} ({error.permission})" if error.permission else str(permission)
        raise PermissionMissing(error.code, told) from error


# --- webhooks -------------------------------------------------------------------------------------------------------


def read_event(body: bytes, signature: str, secrets: Sequence[str]) -> GatewayEvent:
    """Check a webhook against the secrets that count now, and its age; raises BadSignature otherwise."""
    verify = cast(Callable[..., bool], stripe.WebhookSignature.verify_header)
    try:
        text = body.decode()
        if not any(_verifies(verify, text, signature, secret) for secret in secrets):
            raise BadSignature("no secret fits")
        raw = json.loads(text)
        thing = raw["data"]["object"]
        intent = thing["id"] if thing.get("object") == "payment_intent" else thing.get("payment_intent")
        return GatewayEvent(
            id=str(raw["id"])[:255],
            type=str(raw["type"])[:80],
            object_id=str(thing.get("id") or "")[:255],
            intent_id=intent if isinstance(intent, str) and len(intent) <= 255 else None,
            live=bool(raw.get("livemode")),
            created_at=datetime.fromtimestamp(int(raw["created"]), UTC),
        )
    except (
        UnicodeDecodeError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        OSError,
        RecursionError,
    ) as error:
        raise BadSignature("not an event") from error


def _verifies(verify: Callable[..., bool], text: str, signature: str, secret: str) -> bool:
    try:
        return verify(text, signature, secret, SIGNATURE_AGE_S)
    except stripe.SignatureVerificationError:
        return False
