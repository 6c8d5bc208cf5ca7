"""The list of operations of the API, and what each is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from portal.sandbox.accounts import Caller
from portal.sandbox.expansion import check_expansion
from portal.sandbox.problems import InvalidRequest, Json, no_such_reference, not_found
from portal.sandbox.store import Scope, Store
from portal.sandbox.strictness import NO_PARAMETERS, Check, Shape, shape_of
from portal.sandbox.world import World


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation, after its caller is known and its parameters are checked."""

    world: World
    caller: Caller
    ids: tuple[str, ...]
    params: Json

    @property
    def scope(self) -> Scope:
        return self.caller.scope

    @property
    def store(self) -> Store:
        return self.world.store

    def given(self, name: str, otherwise: Any = None) -> Any:
        """A parameter, or what holds when it was not given."""
        return self.params.get(name, otherwise)

    def named(self, kind: str, object_id: str | None = None) -> Json:
        """The object that the path names. 404 when it is not this account's and mode's."""
        object_id = object_id or self.ids[0]
        found = self.store.get(self.scope, kind, object_id)
        if found is None:
            raise not_found(kind, object_id, param=_PARAMETER_OF.get(kind, "id"), hint=self._hint(object_id))
        return found

    def referred(self, kind: str, object_id: str, *, param: str) -> Json:
        """The object that a parameter names. 400 when it is not this account's and mode's."""
        found = self.store.get(self.scope, kind, object_id)
        if found is None or found.get("deleted"):
            raise no_such_reference(kind, object_id, param=param, hint=self._hint(object_id))
        return found

    def _hint(self, object_id: str) -> str:
        other = self.store.find(object_id)
        mine = self.scope
        if other is None or other["_scope"] != [mine.account, not mine.livemode]:
            return ""
        there, here = ("test", "live") if mine.livemode else ("live", "test")
        return f"; a similar object exists in {there} mode, but a {here} mode key was used to make this request."


_PARAMETER_OF = {"payment_intent": "intent", "setup_intent": "intent", "payment_method": "payment_method"}

Run = Callable[[Call], Json]


@dataclass(frozen=True)
class Operation:
    name: str
    """Resource and verb, such as `payment_intents.confirm`: for faults, permissions and the log."""
    method: str
    run: Run
    params: str | None
    replaced: dict[str, Callable[[], Check]]
    browser: tuple[str, ...] | None
    """What a publishable key may say; None: it may not call this at all."""
    browser_only: dict[str, Check]
    server: bool
    """Whether a secret key may call this: one thing is for browsers alone."""
    rules: Callable[[Json], None] | None

    @property
    def resource(self) -> str:
        return self.name.partition(".")[0]

    @property
    def kind(self) -> str:
        """The kind of object that it answers with, or lists."""
        return self.name.split(".")[-2].removesuffix("s")

    @property
    def lists(self) -> bool:
        return self.name.endswith(".list")

    @cached_property
    def shape(self) -> Shape:
        shape = shape_of(self.params) if self.params else NO_PARAMETERS
        return shape.extended({name: make() for name, make in self.replaced.items()})

    @cached_property
    def browser_shape(self) -> Shape:
        return self.shape.only(*(self.browser or ())).extended(self.browser_only)

    def checked(self, caller: Caller, params: Json) -> Json:
        """The parameters, typed. Raises InvalidRequest; nothing has happened then."""
        checked = (self.browser_shape if caller.is_browser else self.shape)(params)
        if self.rules:
            self.rules(checked)
        check_expansion(self.kind, checked.get("expand") or (), listed=self.lists)
        return checked


Route = tuple[str, tuple[str, ...]]
ROUTES: dict[Route, Operation] = {}


def operation(
    route: str,
    name: str,
    *,
    params: str | None = None,
    replaced: dict[str, Callable[[], Check]] | None = None,
    browser: tuple[str, ...] | None = None,
    browser_only: dict[str, Check] | None = None,
    server: bool = True,
    rules: Callable[[Json], None] | None = None,
) -> Callable[[Run], Run]:
    """Puts a function under a route such as `POST /payment_intents/:id/confirm`."""
    method, _, path = route.partition(" ")

    def register(run: Run) -> Run:
        pattern = tuple("*" if part.startswith(":") else part for part in path.strip("/").split("/"))
        ROUTES[method, pattern] = Operation(
            name, method, run, params, replaced or {}, browser, browser_only or {}, server, rules
        )
        return run

    return register


def routed(method: str, path: str) -> tuple[Operation, tuple[str, ...]]:
    """The operation at a path below /v1, and the ids in that path. Raises a 404 Problem."""
    parts = tuple(path.strip("/").split("/"))
    for pattern in (parts, *_patterns(parts)):
        found = ROUTES.get((method, pattern))
        if found:
            return found, tuple(part for part, name in zip(parts, pattern, strict=True) if name == "*")
    raise InvalidRequest(f"Unrecognized request URL ({method}: /v1/{path.strip('/')}).", status=404)


def _patterns(parts: tuple[str, ...]) -> list[tuple[str, ...]]:
    patterns = [tuple("*" if index % 2 else part for index, part in enumerate(parts))]
    return patterns
