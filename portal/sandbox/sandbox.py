"""The sandbox as one object: a whole small Stripe, and the hands that a test needs in it."""

from __future__ import annotations

import fnmatch
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from portal.sandbox import resources as _registered  # noqa: F401  (registers every operation)
from portal.sandbox.accounts import DEFAULT, DEFAULT_ACCOUNT, Account, Kind
from portal.sandbox.client import InProcessClient
from portal.sandbox.clock import Clock
from portal.sandbox.faults import Fault
from portal.sandbox.faults import Kind as FaultKind
from portal.sandbox.gate import Entry, Gate, Request
from portal.sandbox.operations import ROUTES
from portal.sandbox.problems import Json
from portal.sandbox.resources import disputes, payment_intents, payouts, refunds, setup_intents, webhook_endpoints
from portal.sandbox.store import Scope, Store
from portal.sandbox.webhooks import Transport, WebhookPolicy
from portal.sandbox.world import World, public

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class Sandbox:
    """`state` is a file to survive restarts in; `start` a Unix time at which the clock stands until advanced."""

    default_account = DEFAULT
    publishable_key = DEFAULT.test_publishable_key
    secret_key = DEFAULT.test_secret_key

    def __init__(self, *, state: Path | str | None = None, start: float | None = None) -> None:
        self.clock = Clock(start)
        store = Store(Path(state) if state else None)
        self.clock.added_s = store.table("clock").get("added_s", 0.0)
        self.world = World(store, self.clock)
        self.gate = Gate(self.world)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._open_default_account()

    def _open_default_account(self) -> None:
        if not self.world.store.table("accounts"):
            self.world.accounts.open(
                "Sandbox Clinic", now=self.world.now, account_id=DEFAULT_ACCOUNT, key_ending="sandbox"
            )
            self.world.store.flush()

    # ways in

    @cached_property
    def wsgi_app(self) -> WSGIApplication:
        from portal.sandbox.wsgi import application

        return application(self)

    def http_client(self) -> InProcessClient:
        """For `stripe.StripeClient(key, http_client=…)`: no sockets, no threads."""
        return InProcessClient(self.gate)

    @property
    def base_url(self) -> str:
        return self.world.base_url

    @base_url.setter
    def base_url(self, url: str) -> None:
        self.world.base_url = url.rstrip("/")

    # accounts and keys

    def add_account(self, name: str = "Another Clinic") -> Account:
        with self._changing():
            return self.world.accounts.open(name, now=self.world.now)

    def add_key(
        self,
        kind: Kind,
        *,
        account: str = DEFAULT_ACCOUNT,
        livemode: bool = False,
        permissions: list[str] | None = None,
    ) -> str:
        """`permissions` narrow a restricted key, such as `["payment_intents:write", "charges:read"]`."""
        with self._changing():
            return self.world.accounts.add_key(account, kind, livemode=livemode, permissions=permissions)

    def revoke_key(self, key: str) -> None:
        with self._changing():
            self.world.accounts.revoke_key(key)

    # the payer's browser

    def elements_token(
        self,
        card: str = "visa",
        *,
        amount: int,
        currency: str = "cad",
        setup_future_usage: str | None = None,
        allowed_payment_method_types: tuple[str, ...] = ("card",),
        publishable_key: str | None = None,
    ) -> str:
        """The id of a confirmation token, as if the payer had typed this card into Elements set up in this way.

        `card` is a name in `portal.sandbox.cards`. Raises ValueError when the API refuses.
        """
        params = {
            "payment_method": f"pm_card_{card}",
            "client_context[mode]": "payment",
            "client_context[amount]": amount,
            "client_context[currency]": currency,
        }
        for index, kind in enumerate(allowed_payment_method_types):
            params[f"client_context[allowed_payment_method_types][{index}]"] = kind
        if setup_future_usage:
            params["setup_future_usage"] = setup_future_usage
            params["client_context[setup_future_usage]"] = setup_future_usage
        headers = {"authorization": f"Bearer {publishable_key or self.publishable_key}"}
        answer = self.gate.answer(Request("POST", "/v1/confirmation_tokens", body=urlencode(params), headers=headers))
        found = json.loads(answer.body)
        if answer.status != 200:
            raise ValueError(found["error"]["message"])
        token: str = found["id"]
        return token

    # time

    def advance(self, seconds: float) -> None:
        """Let time pass: what was to happen meanwhile happens."""
        with self._changing():
            self.clock.advance(seconds)
            self.world.store.put("clock", "added_s", self.clock.added_s)
            self.world.run_due_tasks()
            self.gate.keys.forget_expired()

    # faults

    def fault(
        self, operation: str, kind: FaultKind, *, times: int = 1, latency_s: float = 0.0, skip: int = 0
    ) -> None:
        """Let the next `times` calls of an operation (after `skip` more) meet this fault.

        Raises ValueError for a kind or an operation that does not exist.
        """
        names = {known.name for known in ROUTES.values()}
        if not fnmatch.filter(names, operation):
            raise ValueError(f"no operation is called {operation!r}; they are: {', '.join(sorted(names))}")
        self.gate.faults.add(Fault(operation, kind, times, latency_s, skip))

    def clear_faults(self) -> None:
        self.gate.faults.clear()

    # what people do at Stripe's dashboard and at their banks

    def refund(self, charge_or_intent: str, amount: int | None = None) -> Json:
        """A refund made in the dashboard."""
        with self._changing():
            return _copy(refunds.refund_charge(self.world, self._charge(charge_or_intent), amount))

    def fail_refund(self, refund: str) -> Json:
        """The refund comes back from the bank, now."""
        with self._changing():
            found = self._named(refund)
            refunds.fail_refund(self.world, found)
            return _copy(found)

    def finish_refund(self, refund: str) -> Json:
        """A pending refund succeeds."""
        with self._changing():
            found = self._named(refund)
            refunds.finish_refund(self.world, found)
            return _copy(found)

    def dispute(
        self, charge_or_intent: str, *, amount: int | None = None, reason: str = "fraudulent", inquiry: bool = False
    ) -> Json:
        with self._changing():
            charge = self._charge(charge_or_intent)
            return _copy(disputes.open_dispute(self.world, charge, amount=amount, reason=reason, inquiry=inquiry))

    def escalate_dispute(self, dispute: str) -> Json:
        """An inquiry becomes a chargeback."""
        with self._changing():
            found = self._named(dispute)
            disputes.escalate_inquiry(self.world, found)
            return _copy(found)

    def close_dispute(self, dispute: str, outcome: Literal["won", "lost"]) -> Json:
        with self._changing():
            found = self._named(dispute)
            disputes.close_dispute(self.world, found, outcome)
            return _copy(found)

    def authenticate(self, intent: str, *, succeed: bool = True) -> Json:
        """The payer passes, or fails, 3-D Secure."""
        with self._changing():
            found = self._named(intent)
            module = payment_intents if found["object"] == "payment_intent" else setup_intents
            module.finish_authentication(self.world, found, succeeded=succeed)
            return _copy(found)

    def finish_processing(self, intent: str, *, succeed: bool = True) -> Json:
        """The end of a payment that is `processing`."""
        with self._changing():
            found = self._named(intent)
            payment_intents.finish_processing(self.world, found, succeeded=succeed)
            return _copy(found)

    def process_payouts(
        self, *, account: str = DEFAULT_ACCOUNT, livemode: bool = False, available_only: bool = False
    ) -> list[Json]:
        with self._changing():
            made = payouts.pay_out(self.world, Scope(account, livemode), available_only=available_only)
            return [_copy(payout) for payout in made]

    # webhooks

    def add_webhook_endpoint(
        self,
        url: str,
        *,
        secret: str | None = None,
        enabled_events: list[str] | None = None,
        account: str = DEFAULT_ACCOUNT,
        livemode: bool = False,
    ) -> Json:
        """The endpoint, with its `secret`."""
        with self._changing():
            endpoint = webhook_endpoints.open_endpoint(
                self.world, Scope(account, livemode), url, secret=secret, enabled_events=enabled_events
            )
            return {**_copy(endpoint), "secret": endpoint["_secrets"][0]}

    def use_webhook_endpoint(self, url: str, *, secret: str) -> None:
        """The one endpoint of the default account's test mode at this address, whether it is new or remembered."""
        with self._changing():
            for endpoint in self.world.store.newest_first(Scope(DEFAULT_ACCOUNT, False), "webhook_endpoint"):
                if endpoint["url"] == url:
                    endpoint["_secrets"] = [secret]
                    self.world.store.save(endpoint)
                    return
            self.add_webhook_endpoint(url, secret=secret)

    def roll_webhook_secret(self, endpoint: str, *, keep_old: bool = True) -> str:
        with self._changing():
            return webhook_endpoints.roll_secret(self.world, self._named(endpoint), keep_old=keep_old)

    @property
    def webhook_policy(self) -> WebhookPolicy:
        return self.world.post_office.policy

    @webhook_policy.setter
    def webhook_policy(self, policy: WebhookPolicy) -> None:
        self.world.post_office.policy = policy

    def send_webhooks_with(self, transport: Transport) -> None:
        """Another way to send webhooks than by HTTP, such as a test client of the application."""
        self.world.post_office.transport = transport

    def deliver_webhooks(self, *, everything: bool = False) -> int:
        """Send what is due; with `everything`, also what is late or waits for another try."""
        return self.world.post_office.deliver(everything=everything)

    def resend_event(self, event: str) -> None:
        with self._changing():
            self.world.post_office.resend(self._named(event))

    def deliveries(self) -> list[Json]:
        with self.world.store.lock:
            return [dict(row) for row in self.world.store.table("deliveries").values()]

    # what happened

    def objects(self, kind: str, *, account: str = DEFAULT_ACCOUNT, livemode: bool = False) -> list[Json]:
        """All of a kind, oldest first."""
        with self.world.store.lock:
            found = self.world.store.newest_first(Scope(account, livemode), kind)
            return [_copy(one) for one in found][::-1]

    def charges(self, **where: Any) -> list[Json]:
        return self.objects("charge", **where)

    def get(self, object_id: str) -> Json:
        with self.world.store.lock:
            return _copy(self._named(object_id))

    def captured_cents(self, intent: str) -> int:
        """What was taken under this intent, over all of its charges, before refunds."""
        return sum(charge["amount_captured"] for charge in self._charges_of(intent) if charge["paid"])

    def net_cents(self, charge: str) -> int:
        """What is left of a charge: captured, less refunds that stand, less disputes that took money."""
        with self.world.store.lock:
            found = self._named(charge)
            scope = Scope(*found["_scope"])
            rows = [*self.world.store.linked(scope, "balance_transaction", "source", charge)]
            for kind in ("refund", "dispute"):
                for one in self.world.store.linked(scope, kind, "charge", charge):
                    rows += self.world.store.linked(scope, "balance_transaction", "source", one["id"])
            return int(sum(row["amount"] for row in rows))

    def _charges_of(self, intent: str) -> list[Json]:
        with self.world.store.lock:
            scope = Scope(*self._named(intent)["_scope"])
            return [_copy(one) for one in self.world.store.linked(scope, "charge", "payment_intent", intent)]

    @property
    def requests(self) -> list[Entry]:
        """The last requests, oldest first."""
        return list(self.gate.log)

    # running

    def start(self) -> None:
        """Send webhooks, and let due things happen, from a thread of its own."""
        if self._thread is None:
            self._stopped.clear()
            self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self._stopped.set()
            self.world.post_office.wake.set()
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        wake = self.world.post_office.wake
        while not self._stopped.is_set():
            wake.wait(timeout=0.25)
            wake.clear()
            with self._changing():
                self.world.run_due_tasks()
            self.deliver_webhooks()

    def reset(self) -> None:
        """As new: no objects, no keys but the default ones, no faults, no time added."""
        with self._changing():
            self.world.store.clear()
            self.clock.added_s = 0.0
            self.gate.faults.clear()
            self.gate.log.clear()
            self.world.post_office.forget()
            self._open_default_account()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self.world.store.lock:
            yield
            self.world.store.flush()

    def _named(self, object_id: str) -> Json:
        found = self.world.store.find(object_id)
        if found is None:
            raise LookupError(f"the sandbox knows no {object_id}")
        return found

    def _charge(self, charge_or_intent: str) -> Json:
        found = self._named(charge_or_intent)
        return found if found["object"] == "charge" else self._named(found["latest_charge"])


def _copy(thing: Json) -> Json:
    """What a test may keep and change without changing the sandbox."""
    copied: Json = json.loads(json.dumps(public(thing)))
    return copied
