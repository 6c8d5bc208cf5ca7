"""The sandbox's clock: real time plus what a test has added, so that 24 hours pass at once."""

from __future__ import annotations

import time


class Clock:
    def __init__(self, start: float | None = None) -> None:
        """With `start` (a Unix time) the clock stands still until it is advanced; without, it runs."""
        self._frozen_at = start
        self.added_s = 0.0

    def now(self) -> float:
        """Seconds since the Unix epoch."""
        base = time.time() if self._frozen_at is None else self._frozen_at
        return base + self.added_s

    def seconds(self) -> int:
        return int(self.now())

    def advance(self, seconds: float) -> None:
        self.added_s += seconds
