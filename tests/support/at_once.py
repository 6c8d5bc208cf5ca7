"""What people do at the same moment, each in a thread of their own."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from portal.errors import Refusal


def at_once(doings: Sequence[Callable[[], object]]) -> list[Any]:
    """Do everything at once; gives what each came to, a refusal included. Anything else that is raised fails."""
    start = Barrier(len(doings))

    def one(doing: Callable[[], object]) -> object:
        start.wait()
        try:
            return doing()
        except Refusal as refusal:
            return refusal

    with ThreadPoolExecutor(len(doings)) as pool:
        return list(pool.map(one, doings))


def names(answers: Sequence[object]) -> Counter[str]:
    """How often each kind of answer, or refusal, came."""
    return Counter(type(answer).__name__ for answer in answers)
