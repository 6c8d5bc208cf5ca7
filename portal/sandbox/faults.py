"""Faults to order: what a network and a busy Stripe do to a caller, for the next calls of an operation."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

Kind = Literal[
    "latency",  # the answer takes `latency_s` longer
    "rate_limited",  # 429 and nothing happens
    "error_before",  # 500 and nothing happens
    "error_after",  # 500 although it happened
    "lost_before",  # the connection drops and nothing happens
    "lost_after",  # the connection drops although it happened
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass
class Fault:
    operation: str
    """Such as `payment_intents.confirm`; `*` is a wildcard."""
    kind: Kind
    times: int = 1
    latency_s: float = 0.0
    skip: int = 0
    """How many calls pass first."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"a fault is one of {', '.join(KINDS)}, not {self.kind!r}")


class Faults:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def waiting(self) -> list[Fault]:
        with self._lock:
            return list(self._waiting)

    def strike(self, operation: str) -> dict[Kind, Fault]:
        """The faults that hit this call, by kind; each is used up by one."""
        if not self._waiting:
            return {}
        struck: dict[Kind, Fault] = {}
        with self._lock:
            for fault in self._waiting:
                if fault.kind in struck or not fnmatchcase(operation, fault.operation):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                struck[fault.kind] = fault
            self._waiting = [fault for fault in self._waiting if fault.times > 0]
        return struck
