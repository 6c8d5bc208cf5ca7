"""Events, for those who ask instead of being told: 30 days back."""

from __future__ import annotations

from fnmatch import fnmatchcase

from portal.sandbox.operations import Call, operation
from portal.sandbox.paging import page
from portal.sandbox.problems import InvalidRequest, Json

_KEPT_S = 30 * 86400


@operation("GET /events/:id", "events.retrieve", params="EventRetrieveParams")
def retrieve(call: Call) -> Json:
    return call.named("event")


@operation("GET /events", "events.list", params="EventListParams")
def list_all(call: Call) -> Json:
    kind, kinds = call.params.get("type"), call.params.get("types")
    if kind and kinds:
        raise InvalidRequest("You may only specify one of these parameters: type, types.", param="types")
    delivered = call.params.get("delivery_success")
    oldest = call.world.now - _KEPT_S

    def wanted(event: Json) -> bool:
        return (
            event["created"] >= oldest
            and (kind is None or fnmatchcase(event["type"], kind))
            and (kinds is None or event["type"] in kinds)
            and (delivered is None or delivered == (event["pending_webhooks"] == 0))
        )

    return page(call, "/v1/events", call.store.newest_first(call.scope, "event"), matching=wanted)
