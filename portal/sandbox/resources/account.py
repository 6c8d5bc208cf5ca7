"""Who the key belongs to."""

from __future__ import annotations

from portal.sandbox.operations import Call, operation
from portal.sandbox.problems import Json, Problem


@operation("GET /account", "account.retrieve", params="AccountRetrieveCurrentParams")
def retrieve_current(call: Call) -> Json:
    account: Json = call.store.table("accounts")[f"{call.scope.account} {call.scope.livemode}"]
    return account


@operation("GET /accounts/:id", "account.retrieve", params="AccountRetrieveParams")
def retrieve(call: Call) -> Json:
    if call.ids[0] != call.scope.account:
        raise Problem(
            f"The provided key '{call.caller.masked_key}' does not have access to account '{call.ids[0]}' (or that "
            "account does not exist). Application access may have been revoked.",
            code="account_invalid",
            status=403,
        )
    return retrieve_current(call)
