"""Stripe's form encoding: `card[number]=…&expand[]=…&items[0][id]=…` to nested dicts and lists of strings."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from portal.sandbox.problems import InvalidRequest, Json

_KEY = re.compile(r"\A([^\[\]]+)((?:\[[^\[\]]*\])*)\Z")
_PART = re.compile(r"\[([^\[\]]*)\]")
_APPENDED = "\0"  # marks `name[]`: position by order of appearance


def decode(encoded: str) -> Json:
    """Raises InvalidRequest when two keys contradict each other (`a=1&a[b]=2`)."""
    if not encoded:
        return {}
    root: dict[str, Any] = {}
    for key, value in parse_qsl(encoded, keep_blank_values=True):
        match = _KEY.match(key)
        if match is None:
            raise InvalidRequest(f"Received unknown parameter: {key}", code="parameter_unknown", param=key)
        _put(root, key, [match.group(1), *_PART.findall(match.group(2))], value)
    return {name: _lists(value) for name, value in root.items()}


def _put(node: dict[str, Any], key: str, path: list[str], value: str) -> None:
    for index, name in enumerate(path):
        part = name or f"{_APPENDED}{len(node)}"
        if index == len(path) - 1:
            node[part] = value
            return
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise InvalidRequest(f"Invalid {key}", param=key)
        node = child


def _lists(node: Any) -> Any:
    """A dict whose every key is a position becomes a list."""
    if not isinstance(node, dict):
        return node
    if node and all(name.startswith(_APPENDED) or name.isdecimal() for name in node):
        return [_lists(value) for value in node.values()]
    return {name: _lists(value) for name, value in node.items()}
