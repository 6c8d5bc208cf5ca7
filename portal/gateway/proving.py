"""Trying a gateway's two keys together before they are kept. Each way to be wrong has its own sentence.

Call it with no transaction open: it asks the gateway several times.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask_babel import lazy_gettext as _l

from portal.errors import Refusal
from portal.gateway import (
    Gateway,
    GatewayBusy,
    GatewayRefusesUs,
    KeyRefused,
    KeysDiffer,
    OutcomeUnknown,
    PermissionMissing,
    TokenRefused,
)
from portal.gateway.keys import SECRET, TOKEN, BadGateway

Connect = Callable[[str], Gateway]

_REVOKED = "api_key_expired"


class GatewayAway(Refusal):
    """The gateway does not answer, so nothing can be said of the keys, and nothing was kept."""

    status = 503
    title = _l("We can't reach Stripe just now.")
    message = _l("Nothing was saved. Try again in a few minutes.")


def proved_account(connect: Connect, token: str, secret: str, known: str | None = None) -> str:
    """The account of two keys that belong together and may do what the product needs.

    `known` is the account that the gateway has had: it never changes. Raises BadGateway or GatewayAway.
    """
    with saying_which_is_wrong():
        account = connect(secret).prove(token)
    if known is not None and account != known:
        raise BadGateway(
            why=_l(
                "These keys belong to another Stripe account (%(other)s). This gateway stays with %(known)s: set the "
                "other account up as a new gateway.",
                other=account,
                known=known,
            ),
            field=SECRET,
        )
    return account


def account_of(connect: Connect, secret: str) -> str | None:
    """The account of a key that was kept before accounts were asked for; None where it can't be told any more."""
    try:
        with saying_which_is_wrong():
            return connect(secret).account()
    except BadGateway:
        return None


@contextmanager
def saying_which_is_wrong() -> Iterator[None]:
    """What the gateway says of keys, in sentences for the people who typed them."""
    try:
        yield
    except PermissionMissing as error:
        raise BadGateway(why=_lacks(error.permission), field=SECRET) from error
    except TokenRefused as error:
        raise BadGateway(why=_TOKEN_REVOKED if error.code == _REVOKED else _TOKEN_UNKNOWN, field=TOKEN) from error
    except KeyRefused as error:
        raise BadGateway(why=_SECRET_REVOKED if error.code == _REVOKED else _SECRET_UNKNOWN, field=SECRET) from error
    except KeysDiffer as error:
        raise BadGateway(why=_OF_TWO_ACCOUNTS, field=TOKEN) from error
    except GatewayRefusesUs as error:
        why = _l("Stripe said no, and nothing was saved. Its word for it: %(code)s", code=error.code)
        raise BadGateway(why=why) from error
    except (OutcomeUnknown, GatewayBusy) as error:
        raise GatewayAway from error


_TOKEN_UNKNOWN = _l("Stripe does not know this Token. Copy all of it again from Stripe's dashboard.")
_TOKEN_REVOKED = _l("Stripe says that this Token was revoked or has expired. Copy the one in use from its dashboard.")
_SECRET_UNKNOWN = _l("Stripe does not know this Secret. Copy all of it again from Stripe's dashboard.")
_SECRET_REVOKED = _l("Stripe says that this Secret was revoked or has expired. Make a new one in its dashboard.")
_OF_TWO_ACCOUNTS = _l("The Token and the Secret belong to two different Stripe accounts. Copy both from one.")


def _lacks(permission: str) -> str:
    if not permission:
        return str(_l("The Secret is a restricted key that lacks a permission. Give it all those listed here."))
    return str(
        _l(
            "The Secret is a restricted key that lacks a permission: %(name)s. Add it in Stripe's dashboard.",
            name=permission,
        )
    )
