"""What a gateway's keys and name may look like: what can be said of them before anybody asks the gateway."""

import re

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString

from portal.errors import Refusal

TEST, PRODUCTION = "test", "production"
NAME, LOCATION, MODE, STATUS = "name", "location", "mode", "status"
TOKEN, SECRET, WEBHOOK_SECRET = "token", "secret", "webhook_secret"


class BadGateway(Refusal):
    """What was typed can't become a gateway; `text` says which part and why, `field` names the part."""

    status = 422
    message = _l("{why}")

    def __init__(self, *, why: LazyString | str, field: str = "") -> None:
        super().__init__(why=why)
        self.field = field


_PREFIX = {TEST: "test", PRODUCTION: "live"}
_NOT_A_TOKEN = _l("The Token is a secret key. It takes the publishable key, which begins with pk_.")
_NOT_A_SECRET = _l("The Secret is not a secret key. It takes the key that begins with sk_ or rk_.")
_IS_A_TEST_KEY = _l(
    "The %(field)s is a test key (it begins with %(start)s), but the mode is Production. "
    "Enter the live key, or set the mode to Test."
)
_IS_A_LIVE_KEY = _l(
    "The %(field)s is a live key (it begins with %(start)s), but the mode is Test. "
    "Enter the test key, or set the mode to Production."
)


def wrong_keys(mode: str, token: str, secret: str, webhook_secret: str) -> dict[str, LazyString | str]:
    """What can't be right about keys of this mode, by field: those in each other's place, those of the other mode.

    What begins with pk_ is publishable, sk_ secret, rk_ restricted, whsec_ a signing secret; then the mode
    (docs.stripe.com/keys). Whether Stripe knows them is another question, which only Stripe answers.
    """
    if mode not in _PREFIX:
        return {MODE: _l("The mode is test or production.")}
    sentences = {
        TOKEN: _wrong_token(mode, token),
        SECRET: _wrong_secret(mode, secret),
        WEBHOOK_SECRET: _wrong_webhook_secret(webhook_secret),
    }
    return {field: sentence for field, sentence in sentences.items() if sentence is not None}


def _wrong_token(mode: str, token: str) -> LazyString | None:
    if token.startswith(("sk_", "rk_", "whsec_")):
        return _NOT_A_TOKEN
    if other := _of_the_other_mode(mode, "Token", token, ("pk",)):
        return other
    if not token.startswith(f"pk_{_PREFIX[mode]}_") or not _is_plain(token):
        return _l("The Token does not look like a publishable key of this mode: pk_%(mode)s_…", mode=_PREFIX[mode])
    return None


def _wrong_secret(mode: str, secret: str) -> LazyString | None:
    if secret.startswith(("pk_", "whsec_")):
        return _NOT_A_SECRET
    if other := _of_the_other_mode(mode, "Secret", secret, ("sk", "rk")):
        return other
    if not secret.startswith((f"sk_{_PREFIX[mode]}_", f"rk_{_PREFIX[mode]}_")) or not _is_plain(secret):
        return _l(
            "The Secret does not look like a secret or restricted key of this mode: sk_%(mode)s_… or rk_%(mode)s_…",
            mode=_PREFIX[mode],
        )
    return None


def _wrong_webhook_secret(webhook_secret: str) -> LazyString | None:
    if webhook_secret and not (webhook_secret.startswith("whsec_") and _is_plain(webhook_secret)):
        return _l("The webhook signing secret begins with whsec_.")
    return None


def _of_the_other_mode(mode: str, field: str, key: str, kinds: tuple[str, ...]) -> LazyString | None:
    other = _PREFIX[PRODUCTION if mode == TEST else TEST]
    start = next((start for kind in kinds if key.startswith(start := f"{kind}_{other}_")), None)
    if start is None:
        return None
    sentence = _IS_A_LIVE_KEY if mode == TEST else _IS_A_TEST_KEY
    return LazyString(lambda: str(sentence) % {"field": field, "start": start})


def _is_plain(key: str) -> bool:
    return len(key) <= 255 and key.isascii() and key.isprintable() and " " not in key


def check_keys(mode: str, token: str, secret: str, webhook_secret: str) -> None:
    """Raises BadGateway for the first thing that can't be right about these keys."""
    for field, sentence in wrong_keys(mode, token, secret, webhook_secret).items():
        raise BadGateway(why=sentence, field=field)


def check_name(name: str) -> None:
    """Raises BadGateway for a name that patients could not read, or that is a key pasted into the wrong field."""
    if not name.strip() or len(name.strip()) > 120 or not name.strip().isprintable():
        raise BadGateway(why=_l("The name takes 1 to 120 characters; patients see it at checkout."), field=NAME)
    if holds_a_secret(name):
        raise BadGateway(why=_l("The Name holds a secret key. It takes the words that patients read."), field=NAME)


def holds_a_secret(typed: str) -> bool:
    """Whether a text that is shown on pages has a secret key in it, pasted there by mistake."""
    return re.search(r"(sk|rk)_(test|live)_|whsec_", typed) is not None
