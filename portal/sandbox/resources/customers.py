"""Customers."""

from __future__ import annotations

from portal.sandbox.operations import Call, operation
from portal.sandbox.paging import page
from portal.sandbox.problems import Json, no_such_reference
from portal.sandbox.resources.common import take
from portal.sandbox.resources.payment_methods import attach_to, usable_method
from portal.sandbox.shapes import address, customer_shape

_KEPT = (
    "address",
    "description",
    "email",
    "metadata",
    "name",
    "phone",
    "preferred_locales",
    "shipping",
    "tax_exempt",
)


@operation("POST /customers", "customers.create", params="CustomerCreateParams")
def create(call: Call) -> Json:
    customer = customer_shape(call.world.now, livemode=call.scope.livemode)
    _write(customer, call)
    call.store.add(call.scope, customer)
    if call.params.get("payment_method"):
        attach_to(call.world, usable_method(call, call.params["payment_method"]), customer["id"])
    call.world.emit("customer.created", customer)
    return customer


@operation("GET /customers/:id", "customers.retrieve", params="CustomerRetrieveParams")
def retrieve(call: Call) -> Json:
    return call.named("customer")


@operation("POST /customers/:id", "customers.update", params="CustomerUpdateParams")
def update(call: Call) -> Json:
    customer = _living(call)
    _write(customer, call)
    call.store.save(customer)
    call.world.emit("customer.updated", customer, {})
    return customer


@operation("DELETE /customers/:id", "customers.delete", params="CustomerDeleteParams")
def delete(call: Call) -> Json:
    """Its cards go with it; what names it later finds it deleted."""
    customer = _living(call)
    call.world.emit("customer.deleted", customer)
    for method in list(call.store.linked(call.scope, "payment_method", "customer", customer["id"])):
        method.update(customer=None, _detached=True)
        call.store.save(method)
    gone = {"id": customer["id"], "object": "customer", "deleted": True, "_scope": customer["_scope"]}
    call.store.save({**gone, "created": customer["created"]})
    return gone


@operation("GET /customers", "customers.list", params="CustomerListParams")
def list_all(call: Call) -> Json:
    email = call.params.get("email")
    things = call.store.newest_first(call.scope, "customer")
    return page(
        call,
        "/v1/customers",
        things,
        matching=lambda one: not one.get("deleted") and email in (None, one["email"]),
    )


def _living(call: Call) -> Json:
    customer = call.named("customer")
    if customer.get("deleted"):
        raise no_such_reference("customer", customer["id"], param="id")
    return customer


def _write(customer: Json, call: Call) -> None:
    take(customer, call.params, _KEPT)
    if customer["address"]:
        customer["address"] = address(customer["address"])
    settings = call.params.get("invoice_settings") or {}
    customer["invoice_settings"] = {**customer["invoice_settings"], **settings}


@operation(
    "GET /customers/:id/payment_methods", "customers.payment_methods.list", params="CustomerPaymentMethodListParams"
)
def list_payment_methods(call: Call) -> Json:
    customer = call.named("customer")
    kind = call.params.get("type")
    things = call.store.linked(call.scope, "payment_method", "customer", customer["id"])
    url = f"/v1/customers/{customer['id']}/payment_methods"
    return page(call, url, things, matching=lambda one: kind in (None, one["type"]))


@operation(
    "GET /customers/:id/payment_methods/:payment_method",
    "customers.payment_methods.retrieve",
    params="CustomerPaymentMethodRetrieveParams",
)
def retrieve_payment_method(call: Call) -> Json:
    method = call.named("payment_method", call.ids[1])
    if method["customer"] != call.ids[0]:
        raise no_such_reference("payment_method", method["id"], param="payment_method")
    return method
