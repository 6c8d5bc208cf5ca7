"""What every operation works on: the store, the clock, the events that follow from changes, and what comes later."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from portal.sandbox.accounts import Accounts
from portal.sandbox.clock import Clock
from portal.sandbox.ids import random_letters
from portal.sandbox.problems import Json
from portal.sandbox.shapes import event_shape
from portal.sandbox.store import Scope, Store
from portal.sandbox.webhooks import PostOffice

Task = Callable[["World", Json], None]
TASKS: dict[str, Task] = {}


def later(name: str) -> Callable[[Task], Task]:
    """Names a function that happens to an object some time after the request, such as a refund that fails."""

    def register(task: Task) -> Task:
        TASKS[name] = task
        return task

    return register


class World:
    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.accounts = Accounts(store)
        self.post_office = PostOffice(store, clock)
        self.base_url = "http://127.0.0.1:12111"
        self.sleep: Callable[[float], None] = time.sleep
        self.balance_delay_s = 0.0
        """How long after a charge its balance transaction exists. Stripe makes it some seconds later."""
        self.refund_failure_delay_s = 60.0
        """How long after it was made the refund of a refundFail card fails."""
        self.request: Json = {"id": None, "idempotency_key": None}
        """The request being carried out; events name it. Guarded by the store's lock."""

    @property
    def now(self) -> int:
        return self.clock.seconds()

    def emit(self, kind: str, thing: Json, previous: Json | None = None) -> None:
        """Record the event that `thing` changed, with a copy of it as it is now."""
        scope = Scope(*thing["_scope"])
        data = {"object": json.loads(json.dumps(public(thing)))}
        if previous is not None:
            data["previous_attributes"] = previous
        event = event_shape(self.now, kind=kind, data=data, request=dict(self.request), livemode=scope.livemode)
        self.store.add(scope, event)
        self.post_office.accept(scope, event)

    def schedule(self, name: str, thing: Json, *, after_s: float) -> None:
        row = {"task": name, "object": thing["id"], "due": self.clock.now() + after_s}
        self.store.put("tasks", random_letters(12), row)

    def run_due_tasks(self) -> int:
        """Do what has come due. Returns how many things happened."""
        if not self.store.table("tasks"):
            return 0
        now = self.clock.now()
        due = sorted((row["due"], key, row) for key, row in self.store.table("tasks").items() if row["due"] <= now)
        for _, key, row in due:
            self.store.put("tasks", key, None)
            thing = self.store.find(row["object"])
            if thing is not None:
                TASKS[row["task"]](self, thing)
        return len(due)


def public(thing: Json) -> Json:
    """An object as answers show it: without the sandbox's notes to itself."""
    return {name: value for name, value in thing.items() if name[0] != "_"}
