"""Refuses what Stripe would refuse: unknown parameters, missing ones and wrong types.

The tree of what is allowed is read off the `stripe` library's own typed parameters, which are generated from
Stripe's specification; so it follows the pinned version by itself. A class is read once, when first needed.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin

import stripe.params
import stripe.params.test_helpers
from stripe._request_options import RequestOptions
from stripe._stripe_object import StripeObject
from typing_extensions import is_typeddict

from portal.sandbox.problems import InvalidRequest, Json

_OF_THE_LIBRARY = frozenset(RequestOptions.__annotations__)
_FREE_TEXT = frozenset({"description", "name", "email", "phone", "line1", "line2", "city", "state", "postal_code"})
_METADATA_KEYS, _METADATA_KEY_LENGTH, _METADATA_VALUE_LENGTH = 50, 40, 500

Check = Callable[[Any, str], Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """The parameters that one operation takes, each with its check; and the names that must be there."""

    checks: Mapping[str, Check]
    required: frozenset[str]

    def __call__(self, value: Any, name: str = "") -> Json:
        if not isinstance(value, dict):
            raise InvalidRequest("Invalid object", param=name)
        checks, checked = self.checks, {}
        for key, given in value.items():
            path = f"{name}[{key}]" if name else key
            check = checks.get(key)
            if check is None:
                raise InvalidRequest(f"Received unknown parameter: {path}", code="parameter_unknown", param=path)
            checked[key] = check(given, path)
        for key in self.required:
            if key not in checked:
                path = f"{name}[{key}]" if name else key
                raise InvalidRequest(f"Missing required param: {path}.", code="parameter_missing", param=path)
        return checked

    def only(self, *names: str) -> Shape:
        """The same checks for some of the names: what a publishable key may say."""
        return Shape({name: self.checks[name] for name in names}, frozenset())

    def extended(self, checks: Mapping[str, Check]) -> Shape:
        return Shape({**self.checks, **checks}, self.required)


def as_given(value: Any, _path: str) -> Any:
    """For what a browser may send without its being in the library's types, and for what a rule refuses later."""
    return value


NO_PARAMETERS = Shape({}, frozenset())


@cache
def shape_of(class_name: str) -> Shape:
    """The shape of a typed parameter class, by its name in `stripe.params` (or in its `test_helpers`)."""
    module, _, name = class_name.rpartition(".")
    holder = stripe.params.test_helpers if module == "test_helpers" else stripe.params
    return _shape(getattr(holder, name))


@cache
def _shape(params: type) -> Shape:
    hints = typing.get_type_hints(params, localns={"StripeContext": object, "Mapping": Mapping})
    names = [name for name in hints if name not in _OF_THE_LIBRARY]
    required = frozenset(params.__required_keys__) - _OF_THE_LIBRARY  # type: ignore[attr-defined]  # each is a TypedDict
    return Shape({name: _check_for(name, hints[name]) for name in names}, required)


def _check_for(name: str, hint: Any) -> Check:
    options = get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    clearable, literals, nested, scalars = False, [], None, set()
    for option in options:
        origin = get_origin(option)
        if origin is Literal:
            words = get_args(option)
            clearable = clearable or "" in words
            literals += [word for word in words if word]
        elif option in (str, int, bool, float) or getattr(option, "__name__", "") == "Decimal":
            scalars.add(option)
        elif origin is list:
            nested = _list_of(_check_for(name, get_args(option)[0]))
        elif origin is dict:
            nested = _map_of_text
        elif is_typeddict(option):
            nested = _nested(option)
        elif (isinstance(option, type) and issubclass(option, StripeObject)) or isinstance(origin, type):
            continue  # the library's own object in place of a dict: the same thing on the wire
    return _either(name, clearable, tuple(literals), nested, scalars)


def _either(name: str, clearable: bool, literals: tuple[str, ...], nested: Check | None, scalars: set[Any]) -> Check:
    """One check for a union, tried in the order that can't be wrong: structure, words, numbers, text."""
    words = frozenset(literals)

    def check(value: Any, path: str) -> Any:
        if value == "" and (clearable or name in _FREE_TEXT):
            return None
        if isinstance(value, dict | list):
            if nested is None:
                raise InvalidRequest(f"Invalid string: {path}", param=path)
            return nested(value, path)
        if words and value in words:
            return value
        if value == "":
            raise InvalidRequest(
                f"You passed an empty string for '{path}'. We assume empty values are an attempt to unset a "
                f"parameter; however '{path}' cannot be unset. You should remove '{path}' from your request or "
                "supply a non-empty value.",
                code="parameter_invalid_empty",
                param=path,
            )
        if bool in scalars and value in ("true", "false"):
            return value == "true"
        if int in scalars and _is_integer(value):
            return int(value)
        if str in scalars and not words:
            return str(value)
        if words:
            allowed = ", ".join(sorted(words)[:-1]) + (" or " if len(words) > 1 else "") + sorted(words)[-1]
            raise InvalidRequest(f"Invalid {path}: must be one of {allowed}", param=path)
        if int in scalars:
            raise InvalidRequest(f"Invalid integer: {value}", code="parameter_invalid_integer", param=path)
        if bool in scalars:
            raise InvalidRequest(f"Invalid boolean: {value}", param=path)
        if scalars:
            return str(value)
        raise InvalidRequest("Invalid object", param=path)

    return check


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) or (
        isinstance(value, str) and (value[1:] if value[:1] == "-" else value).isdecimal() and len(value) < 20
    )


def _nested(params: Any) -> Check:
    def check(value: Any, path: str) -> Any:
        return _shape(params)(value, path)

    return check


def _list_of(item: Check) -> Check:
    def check(value: Any, path: str) -> Any:
        if not isinstance(value, list):
            raise InvalidRequest("Invalid array", param=path)
        return [item(entry, f"{path}[{index}]") for index, entry in enumerate(value)]

    return check


def _map_of_text(value: Any, path: str) -> Any:
    """Metadata and its like: text to text, with Stripe's limits. None unsets a key."""
    if not isinstance(value, dict):
        raise InvalidRequest("Invalid object", param=path)
    if len(value) > _METADATA_KEYS:
        raise InvalidRequest(f"Metadata can have at most {_METADATA_KEYS} keys.", param=path)
    for key, text in value.items():
        where = f"{path}[{key}]"
        if not isinstance(text, str):
            raise InvalidRequest("Metadata values must be strings.", param=where)
        if len(key) > _METADATA_KEY_LENGTH:
            raise InvalidRequest(f"Metadata keys can have at most {_METADATA_KEY_LENGTH} characters.", param=where)
        if len(text) > _METADATA_VALUE_LENGTH:
            raise InvalidRequest(
                f"Metadata values can have up to {_METADATA_VALUE_LENGTH} characters, but you passed in a value "
                f"that is {len(text)} characters.",
                param=where,
            )
    return {key: text or None for key, text in value.items()}
