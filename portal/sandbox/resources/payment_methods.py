"""Payment methods: made from a typed card or a test id, attached to a customer, detached for good."""

from __future__ import annotations

import datetime

from portal.sandbox.cards import CARDS, TEST_ID_PREFIX, Card, card_of_number, card_of_test_id, decline_of
from portal.sandbox.operations import Call, operation
from portal.sandbox.paging import page
from portal.sandbox.problems import CardError, InvalidRequest, Json, no_such_reference
from portal.sandbox.resources.common import merge_metadata
from portal.sandbox.shapes import billing_details, card_shape, payment_method_shape
from portal.sandbox.strictness import Shape, as_given, shape_of
from portal.sandbox.world import World

DATA = ("type", "card", "billing_details", "allow_redisplay", "metadata")


def data_shape() -> Shape:
    """What `payment_method_data` may hold. The typed parameters leave raw cards out; a browser sends them."""
    return shape_of("PaymentMethodCreateParams").only(*DATA)


def method_from_data(call: Call, data: Json, *, param: str) -> Json:
    """A new payment method, not filed yet, from a card as typed. Raises CardError as the form would show it."""
    if data.get("type") != "card" or not isinstance(data.get("card"), dict):
        raise InvalidRequest("The sandbox takes cards only.", param=f"{param}[type]" if param else "type")
    typed = data["card"]
    within = f"{param}[card]" if param else "card"
    card = card_of_number(str(typed.get("number", "")), param=f"{within}[number]")
    month, year = _expiry(call.world, typed, within)
    cvc = typed.get("cvc")
    if cvc is not None and (not cvc.isdecimal() or len(cvc) != (4 if card.brand == "amex" else 3)):
        raise CardError("Your card's security code is invalid.", code="invalid_cvc", param=f"{within}[cvc]")
    shown = card_shape(card, exp_month=month, exp_year=year, cvc_given=cvc is not None)
    method = payment_method_shape(
        call.world.now,
        card=shown,
        name=card.name,
        billing=data.get("billing_details"),
        livemode=call.scope.livemode,
    )
    method["allow_redisplay"] = data.get("allow_redisplay", "unspecified")
    merge_metadata(method, data.get("metadata") or {})
    return method


def _expiry(world: World, typed: Json, within: str) -> tuple[int, int]:
    month, year = typed.get("exp_month"), typed.get("exp_year")
    if not isinstance(month, int) or not 1 <= month <= 12:
        raise CardError(
            "Your card's expiration month is invalid.", code="invalid_expiry_month", param=f"{within}[exp_month]"
        )
    today = datetime.datetime.fromtimestamp(world.clock.now(), datetime.UTC)
    if isinstance(year, int) and year < 100:
        year += 2000
    if not isinstance(year, int) or not today.year <= year <= today.year + 50:
        raise CardError(
            "Your card's expiration year is invalid.", code="invalid_expiry_year", param=f"{within}[exp_year]"
        )
    if (year, month) < (today.year, today.month):
        raise CardError(
            "Your card's expiration month is invalid.", code="invalid_expiry_month", param=f"{within}[exp_month]"
        )
    return month, year


def method_from_test_id(call: Call, test_id: str, *, param: str) -> Json:
    """A new payment method, not filed yet, for an id such as `pm_card_visa`."""
    card = card_of_test_id(test_id)
    if card is None:
        raise no_such_reference("PaymentMethod", test_id, param=param)
    year = datetime.datetime.fromtimestamp(call.world.clock.now(), datetime.UTC).year + 1
    shown = card_shape(card, exp_month=12, exp_year=year, cvc_given=False)
    return payment_method_shape(
        call.world.now, card=shown, name=card.name, billing=None, livemode=call.scope.livemode
    )


def card_of(method: Json) -> Card:
    return CARDS[method["_card"]]


def usable_method(call: Call, method_id: str, *, param: str = "payment_method") -> Json:
    """The payment method that a parameter names; a test id makes a new one, as at Stripe."""
    if method_id.startswith(TEST_ID_PREFIX):
        return call.store.add(call.scope, method_from_test_id(call, method_id, param=param))
    method = call.referred("payment_method", method_id, param=param)
    if method["_detached"]:
        raise InvalidRequest(
            "This PaymentMethod was previously used without being attached to a Customer or was detached from a "
            "Customer, and may not be used again.",
            param=param,
        )
    return method


def attach_to(world: World, method: Json, customer_id: str) -> None:
    method["customer"] = customer_id
    world.store.save(method)
    world.emit("payment_method.attached", method)


@operation(
    "POST /payment_methods", "payment_methods.create", params="PaymentMethodCreateParams", browser=DATA,
    browser_only={"key": as_given},
)  # fmt: skip
def create(call: Call) -> Json:
    method = method_from_data(call, call.params, param="")
    return call.store.add(call.scope, method)


@operation("GET /payment_methods/:id", "payment_methods.retrieve", params="PaymentMethodRetrieveParams")
def retrieve(call: Call) -> Json:
    if call.ids[0].startswith(TEST_ID_PREFIX):
        return usable_method(call, call.ids[0])
    return call.named("payment_method")


@operation("POST /payment_methods/:id", "payment_methods.update", params="PaymentMethodUpdateParams")
def update(call: Call) -> Json:
    method = call.named("payment_method")
    if method["customer"] is None:
        raise InvalidRequest("You must save this PaymentMethod to a customer before you can update it.")
    if "metadata" in call.params:
        merge_metadata(method, call.params["metadata"])
    if "billing_details" in call.params:
        method["billing_details"] = billing_details({**method["billing_details"], **call.params["billing_details"]})
    if "allow_redisplay" in call.params:
        method["allow_redisplay"] = call.params["allow_redisplay"]
    call.store.save(method)
    call.world.emit("payment_method.updated", method, {})
    return method


@operation("GET /payment_methods", "payment_methods.list", params="PaymentMethodListParams")
def list_all(call: Call) -> Json:
    customer, kind = call.params.get("customer"), call.params.get("type")
    things = (
        call.store.linked(call.scope, "payment_method", "customer", customer)
        if customer
        else call.store.newest_first(call.scope, "payment_method")
    )
    return page(call, "/v1/payment_methods", things, matching=lambda one: kind in (None, one["type"]))


@operation("POST /payment_methods/:id/attach", "payment_methods.attach", params="PaymentMethodAttachParams")
def attach(call: Call) -> Json:
    customer_id = call.params.get("customer")
    if not customer_id:
        raise InvalidRequest("Missing required param: customer.", code="parameter_missing", param="customer")
    customer = call.referred("customer", customer_id, param="customer")
    method = usable_method(call, call.ids[0])
    if method["customer"] not in (None, customer["id"]):
        raise InvalidRequest("The payment method you provided has already been attached to a customer.")
    card = card_of(method)
    if card.declines and card.declines_attach:
        raise CardError(**decline_of(card.declines))
    attach_to(call.world, method, customer["id"])
    return method


@operation("POST /payment_methods/:id/detach", "payment_methods.detach", params="PaymentMethodDetachParams")
def detach(call: Call) -> Json:
    method = call.named("payment_method")
    if method["customer"] is None:
        raise InvalidRequest(
            "The payment method you provided is not attached to a customer so detachment is impossible.",
            param="payment_method",
        )
    customer = method["customer"]
    method.update(customer=None, _detached=True)
    call.store.save(method)
    call.world.emit("payment_method.detached", method, {"customer": customer})
    return method
