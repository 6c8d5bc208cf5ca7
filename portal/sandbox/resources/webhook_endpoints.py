"""Webhook endpoints. The signing secret is told once, when the endpoint is made."""

from __future__ import annotations

from urllib.parse import urlsplit

from portal.sandbox.ids import random_letters
from portal.sandbox.operations import Call, operation
from portal.sandbox.paging import page
from portal.sandbox.problems import InvalidRequest, Json
from portal.sandbox.resources.common import merge_metadata
from portal.sandbox.shapes import webhook_endpoint_shape
from portal.sandbox.store import Scope
from portal.sandbox.world import World


def open_endpoint(
    world: World, scope: Scope, url: str, *, secret: str | None = None, enabled_events: list[str] | None = None
) -> Json:
    endpoint = webhook_endpoint_shape(
        world.now, url=url, enabled_events=enabled_events or ["*"], livemode=scope.livemode
    )
    endpoint["_secrets"] = [secret or f"whsec_{random_letters(32)}"]
    return world.store.add(scope, endpoint)


def roll_secret(world: World, endpoint: Json, *, keep_old: bool = True) -> str:
    """A new signing secret. While the old one is kept, each webhook is signed with both."""
    fresh = f"whsec_{random_letters(32)}"
    endpoint["_secrets"] = [fresh, *endpoint["_secrets"][:1]] if keep_old else [fresh]
    world.store.save(endpoint)
    return fresh


@operation("POST /webhook_endpoints", "webhook_endpoints.create", params="WebhookEndpointCreateParams")
def create(call: Call) -> Json:
    params = call.params
    _check_url(params["url"], call.scope)
    endpoint = open_endpoint(call.world, call.scope, params["url"], enabled_events=params["enabled_events"])
    endpoint.update(api_version=params.get("api_version"), description=params.get("description"))
    merge_metadata(endpoint, params.get("metadata") or {})
    call.store.save(endpoint)
    return {**endpoint, "secret": endpoint["_secrets"][0]}


@operation("GET /webhook_endpoints/:id", "webhook_endpoints.retrieve", params="WebhookEndpointRetrieveParams")
def retrieve(call: Call) -> Json:
    return call.named("webhook_endpoint")


@operation("POST /webhook_endpoints/:id", "webhook_endpoints.update", params="WebhookEndpointUpdateParams")
def update(call: Call) -> Json:
    endpoint, params = call.named("webhook_endpoint"), call.params
    if params.get("url"):
        _check_url(params["url"], call.scope)
    for name in ("url", "enabled_events", "description"):
        if name in params:
            endpoint[name] = params[name]
    if "disabled" in params:
        endpoint["status"] = "disabled" if params["disabled"] else "enabled"
    if "metadata" in params:
        merge_metadata(endpoint, params["metadata"])
    call.store.save(endpoint)
    return endpoint


@operation("DELETE /webhook_endpoints/:id", "webhook_endpoints.delete", params="WebhookEndpointDeleteParams")
def delete(call: Call) -> Json:
    endpoint = call.named("webhook_endpoint")
    call.store.remove(endpoint)
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


@operation("GET /webhook_endpoints", "webhook_endpoints.list", params="WebhookEndpointListParams")
def list_all(call: Call) -> Json:
    return page(call, "/v1/webhook_endpoints", call.store.newest_first(call.scope, "webhook_endpoint"))


def _check_url(url: str, scope: Scope) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidRequest("Invalid URL: An explicit scheme (such as https) must be provided.", param="url")
    if scope.livemode and parts.scheme != "https":
        raise InvalidRequest("Invalid URL: Live webhooks must use https.", param="url")
