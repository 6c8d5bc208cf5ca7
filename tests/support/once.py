"""What every application and every database of a run has in common is worked out once in a process, not once a test.

Each test still has an application and a database of its own. Shared is only what the same source always gives: the
code of a template, of a route, and of a statement. Passwords are hashed with argon2id at its lowest cost.
"""

import gc
from collections.abc import Iterator, MutableMapping
from functools import partial
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
    """A rule that compiles its way of building an address unless another application has just the same rule.

    What is compiled takes the rule itself as an argument, and so belongs to none.
    """

    _compiled: dict[Any, Any] = {}  # noqa: RUF012  one for all rules is what it is for

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


def pytest_collection_finish() -> None:
    """What is there by now stays until the end: no collection has to look through it again."""
    gc.collect()
    gc.freeze()
