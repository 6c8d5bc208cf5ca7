"""Lists as Stripe gives them: newest first, a page at a time, filtered by time of creation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from portal.sandbox.operations import Call
from portal.sandbox.problems import InvalidRequest, Json

_MOST = 100
_DEFAULT = 10


def page(
    call: Call,
    url: str,
    things: Iterable[Json],
    *,
    matching: Callable[[Json], bool] | None = None,
    time: str = "created",
) -> Json:
    """One page of `things` (which come newest first), as the call's limit, cursors and times say."""
    params = call.params
    limit = params.get("limit", _DEFAULT)
    if not 1 <= limit <= _MOST:
        raise InvalidRequest(f"Invalid limit: must be between 1 and {_MOST}", param="limit")
    wanted: Iterable[Json] = (thing for thing in things if _in_time(thing[time], params.get(time)))
    if matching:
        wanted = filter(matching, wanted)
    if params.get("ending_before"):
        newer = list(_before(wanted, params["ending_before"]))
        return _answer(url, newer[-limit:], len(newer) > limit)
    if params.get("starting_after"):
        wanted = _after(wanted, params["starting_after"])
    found = list(islice(wanted, limit + 1))
    return _answer(url, found[:limit], len(found) > limit)


def _answer(url: str, data: list[Json], has_more: bool) -> Json:
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def _after(things: Iterable[Json], cursor: str) -> Iterator[Json]:
    rest = iter(things)
    for thing in rest:
        if thing["id"] == cursor:
            return rest
    raise InvalidRequest(f"No such object: '{cursor}'", code="resource_missing", param="starting_after")


def _before(things: Iterable[Json], cursor: str) -> Iterator[Json]:
    for thing in things:
        if thing["id"] == cursor:
            return
        yield thing
    raise InvalidRequest(f"No such object: '{cursor}'", code="resource_missing", param="ending_before")


def _in_time(moment: int, bounds: Json | int | None) -> bool:
    if bounds is None:
        return True
    if isinstance(bounds, int):
        return moment == bounds
    return bool(
        moment > bounds.get("gt", moment - 1)
        and moment >= bounds.get("gte", moment)
        and moment < bounds.get("lt", moment + 1)
        and moment <= bounds.get("lte", moment)
    )
