"""What every application and every database of a run has in common is worked out once in a process, not once a test.

Each test still has an application and a database of its own. Shared is only what the same source always gives: the
code of a template, of a route, and of a statement. Passwords are hashed with argon2id at its lowest cost.
"""

import gc
from collections.abc import Iterable, Iterator, MutableMapping
from functools import partial
from itertools import count
from typing import Any

import pytest
from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import create_engine
from werkzeug.routing import Rule

CHEAP = {"PASSES": 1, "MEMORY_KIB": 8}


class Templates(BytecodeCache):
    """The code of each template, kept as long as its text stays the same."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], Any] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key, bucket.checksum] = bucket.code


class Route(Rule):
    """A rule that is read, and its way of building an address compiled, unless another application has just the same.

    What is compiled takes the rule itself as an argument, and so belongs to none. Each has converters of its own.
    """

    _compiled: dict[Any, Any] = {}  # noqa: RUF012  one for all rules is what it is for
    _read: dict[Any, tuple[list[Any], list[Any], list[Any]]] = {}  # noqa: RUF012  one for all rules, too

    def _parse_rule(self, rule: str) -> Iterable[Any]:
        assert self.map is not None
        key = (rule, *self.map.converters.items())
        if key not in self._read:
            self._asked_for: list[Any] = []
            before = len(self._trace)
            parts = [*super()._parse_rule(rule)]
            self._read[key] = parts, self._trace[before:], self._asked_for
            return parts
        parts, trace, asked_for = self._read[key]
        self._trace += trace
        for variable, *converter in asked_for:
            self._converters[variable] = super().get_converter(variable, *converter)
            self.arguments.add(variable)
        return parts

    def get_converter(self, *asked_for: Any) -> Any:
        self._asked_for.append(asked_for)
        return super().get_converter(*asked_for)

    def _compile_builder(self, append_unknown: bool = True) -> Any:
        key = (repr(self.rule), repr(self.defaults), tuple(self._trace), append_unknown)
        if key not in self._compiled:
            self._compiled[key] = super()._compile_builder(append_unknown)
        return self._compiled[key]


class Statements(MutableMapping[Any, Any]):
    """Compiled statements, for all engines of a kind. SQLAlchemy keeps them by the one engine's dialect."""

    def __init__(self) -> None:
        self._compiled: dict[Any, Any] = {}

    @staticmethod
    def _key(key: Any) -> Any:
        dialect, *statement = key
        return (type(dialect), *statement)

    def __getitem__(self, key: Any) -> Any:
        return self._compiled[self._key(key)]

    def __setitem__(self, key: Any, compiled: Any) -> None:
        self._compiled[self._key(key)] = compiled

    def __delitem__(self, key: Any) -> None:
        del self._compiled[self._key(key)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._compiled)

    def __len__(self) -> int:
        return len(self._compiled)


@pytest.fixture(scope="session", autouse=True)
def _once() -> Iterator[None]:
    from portal import db, passwords
    from portal.web import auth

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flask, "jinja_options", {"bytecode_cache": Templates()})
        patch.setattr(Flask, "url_rule_class", Route)
        statements = {"compiled_cache": Statements()}
        patch.setattr(db, "create_engine", partial(create_engine, execution_options=statements))
        for name, value in CHEAP.items():
            for module in (passwords, auth):
                patch.setattr(module, name, value)
        yield


# --- garbage --------------------------------------------------------------------------------------------------------

TESTS_PER_COLLECTION = 25


def pytest_collection_finish() -> None:
    _collect()
    # Each application leaves so much garbage that every few tests all that there is would be looked through, which
    # took a third of the run. Now that happens between tests only, and what stays is set aside.
    gc.set_threshold(100_000, 20, 1_000_000)


def _collect() -> None:
    """Throw away what is left of earlier tests. The rest stays to the end: no collection looks through it again."""
    gc.collect()
    gc.freeze()


_finished = count(1)


def pytest_runtest_logfinish() -> None:
    if next(_finished) % TESTS_PER_COLLECTION == 0:
        _collect()
