"""The Stripe adapter: the only file that imports `stripe`.

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
    Charge,
    ChargeStanding,
    Decline,
    Gateway,
    GatewayBusy,
    GatewayDispute,
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
            raw = _plain(self._stripe.confirmation_tokens.retrieve(token_id))
            return Token(
                card=_card(raw.get("payment_method_preview")) or CardLook(type="unknown"),
                saves_card=raw.get("setup_future_usage") is not None,
            )

    def look_at_method(self, method_id: str) -> CardLook:
        with _translated():
            return _card(_plain(self._stripe.payment_methods.retrieve(method_id))) or CardLook(type="unknown")

    def create_customer(self, payer_ref: str, key: str) -> str:
        with _translated():
            customer = self._stripe.customers.create(
                {"metadata": {"payer": payer_ref}}, options={"idempotency_key": key}
            )
            return str(_plain(customer)["id"])

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
            return _intent(self._stripe.payment_intents.create(cast(Any, params), options={"idempotency_key": key}))

    def change_intent(self, intent_id: str, customer: str | None, save_card: bool) -> Intent:
        # An empty string is how Stripe's API unsets a field.
        params: dict[str, Any] = {"setup_future_usage": "off_session" if save_card else ""}
        if customer:
            params["customer"] = customer
        with _translated():
            return _intent(self._stripe.payment_intents.update(intent_id, cast(Any, params)))

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
            answer = _plain(
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
            answer = _plain(self._stripe.payment_intents.retrieve(intent_id, {"expand": EXPAND}))
        return self._with_charge(answer)

    def cancel(self, intent_id: str) -> Intent:
        # No key of ours: under one key a failure of the gateway's own would be repeated to us for a day.
        with _translated():
            return _intent(self._stripe.payment_intents.cancel(intent_id, {"cancellation_reason": "abandoned"}))

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
            return _refund(self._stripe.refunds.create(cast(Any, params), options={"idempotency_key": key}))

    def look_at_charge(self, charge_id: str) -> ChargeStanding:
        with _translated():
            raw = _plain(self._stripe.charges.retrieve(charge_id))
            of_charge: Any = {"charge": charge_id, "limit": 100}
            refunds = [_refund(each) for each in self._stripe.refunds.list(of_charge).auto_paging_iter()]
            disputes = self._stripe.disputes.list(of_charge).auto_paging_iter() if raw.get("disputed") else ()
            return ChargeStanding(
                id=raw["id"],
                captured_cents=raw["amount_captured"],
                currency=raw["currency"].upper(),
                live=bool(raw.get("livemode")),
                refunds=tuple(refunds[::-1]),
                disputes=tuple(_dispute(each) for each in disputes),
            )

    # --- its keys, and its webhook ---

    def account(self) -> str:
        try:
            with _translated():
                return str(_plain(self._stripe.accounts.retrieve_current())["id"])
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
            intent = _plain(self._stripe.setup_intents.create({"allowed_payment_method_types": ["card"]}))
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
            made = _plain(self._stripe.webhook_endpoints.create(cast(Any, params), options={"idempotency_key": key}))
            return WebhookEndpoint(made["id"], made["secret"])

    def drop_webhooks(self, url: str, note: str, but: str) -> int:
        with _translated():
            listed = _plain(self._stripe.webhook_endpoints.list({"limit": 100}))["data"]
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
            intent = _intent(raw)
            charge_id = raw.get("latest_charge")
            if intent.status != "succeeded" or not isinstance(charge_id, str):
                return intent
            return replace(intent, charge=_charge(_plain(self._stripe.charges.retrieve(charge_id))))


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


# --- Stripe's objects in our words ----------------------------------------------------------------------------------


def _plain(thing: Any) -> dict[str, Any]:
    return thing if isinstance(thing, dict) else cast(dict[str, Any], thing.to_dict())


def _intent(thing: Any) -> Intent:
    raw = _plain(thing)
    error = raw.get("last_payment_error")
    charge = raw.get("latest_charge")
    method = raw.get("payment_method")
    action = raw.get("next_action") or {}
    return Intent(
        id=raw["id"],
        status=raw["status"],
        amount_cents=raw["amount"],
        received_cents=raw.get("amount_received") or 0,
        currency=raw["currency"].upper(),
        live=bool(raw.get("livemode")),
        metadata={str(k): str(v) for k, v in (raw.get("metadata") or {}).items()},
        client_secret=raw.get("client_secret"),
        charge=_charge(_plain(charge)) if charge and not isinstance(charge, str) else None,
        decline=Decline(error.get("code") or "unknown", error.get("decline_code")) if error else None,
        method_id=method if isinstance(method, str) or method is None else _plain(method)["id"],
        redirect_url=(action.get("redirect_to_url") or {}).get("url"),
    )


def _charge(raw: dict[str, Any]) -> Charge:
    return Charge(
        id=raw["id"],
        amount_cents=raw.get("amount_captured") or raw["amount"],
        currency=raw["currency"].upper(),
        card=_card(raw.get("payment_method_details")),
        created_at=datetime.fromtimestamp(raw["created"], UTC),
    )


_REFUND_STATES = {"requires_action": "pending", "pending": "pending", "succeeded": "succeeded", "failed": "failed",
                  "canceled": "canceled"}  # fmt: skip


def _refund(thing: Any) -> GatewayRefund:
    raw = _plain(thing)
    return GatewayRefund(
        id=raw["id"],
        charge_id=_id_of(raw["charge"]),
        amount_cents=raw["amount"],
        state=_REFUND_STATES[raw["status"]],
        created_at=datetime.fromtimestamp(raw["created"], UTC),
        reference=(raw.get("metadata") or {}).get("refund"),
        failure=raw.get("failure_reason"),
    )


_DISPUTE_STAGES = {
    "warning_needs_response": "inquiry", "warning_under_review": "inquiry", "warning_closed": "won",
    "needs_response": "open", "under_review": "open", "won": "won", "prevented": "won", "lost": "lost",
}  # fmt: skip


def _dispute(thing: Any) -> GatewayDispute:
    """A dispute, with what it holds back by its balance transactions (an inquiry has none).

    They are in the account's own currency. Where that is not the charge's, they say only whether money is held back.
    """
    raw = _plain(thing)
    entries = [_plain(each) for each in raw.get("balance_transactions") or []]
    taken = -sum(entry["amount"] for entry in entries)
    if any(entry["currency"] != raw["currency"] for entry in entries):
        taken = raw["amount"] if taken > 0 else 0
    return GatewayDispute(
        id=raw["id"],
        stage=_DISPUTE_STAGES[raw["status"]],
        amount_cents=raw["amount"],
        withdrawn_cents=max(taken, 0),
        reason=str(raw.get("reason") or ""),
        entries=tuple(each["id"] for each in sorted(entries, key=lambda each: each["created"], reverse=True)),
    )


def _id_of(thing: Any) -> str:
    return thing if isinstance(thing, str) else str(_plain(thing)["id"])


def _card(raw: dict[str, Any] | None) -> CardLook | None:
    """The card in a payment method, a token's preview or a charge's details; they agree on these fields."""
    if not raw:
        return None
    card = raw.get("card") or {}
    customer = raw.get("customer")
    return CardLook(
        type=raw.get("type") or "unknown",
        brand=card.get("brand"),
        funding=card.get("funding"),
        last4=card.get("last4"),
        exp_month=card.get("exp_month"),
        exp_year=card.get("exp_year"),
        wallet=(card.get("wallet") or {}).get("type"),
        customer=customer if isinstance(customer, str) or customer is None else _plain(customer)["id"],
    )


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
