"""What every answer says about itself: which sources a page may use, who may frame it, how long it may be kept."""

import logging
from urllib.parse import urlsplit

from flask import Flask, Response, g, request

from portal.config import STRIPE_API, STRIPE_JS, Config

# docs.stripe.com/security/guide: what Stripe.js needs of a Content-Security-Policy.
_STRIPE_SCRIPTS = "https://js.stripe.com https://*.js.stripe.com"
_STRIPE_FRAMES = f"{_STRIPE_SCRIPTS} https://hooks.stripe.com"

_BASE = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'"
_BASE += "; frame-ancestors 'none'"
_QUIET = f"{_BASE}; script-src 'none'"
_OWN_SCRIPTS = f"{_BASE}; script-src 'self'; connect-src 'self'"

_ALWAYS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    # A bank's 3-D Secure page may open in a window of its own and must be able to answer.
    ("Cross-Origin-Opener-Policy", "same-origin-allow-popups"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    (
        "Permissions-Policy",
        "camera=(), microphone=(), geolocation=(), usb=(), serial=(), hid=(), midi=(),"
        " accelerometer=(), gyroscope=(), magnetometer=(), display-capture=(), interest-cohort=()",
    ),
]
_HSTS = ("Strict-Transport-Security", "max-age=63072000; includeSubDomains")

access_log = logging.getLogger("portal.access")


def allow_gateway_scripts(response: Response) -> Response:
    """Let this page run our own script and the gateway's, and show the gateway's frames."""
    g.gateway_scripts = True
    return response


def allow_own_scripts() -> None:
    """Let this page run our own scripts, which fetch from here alone. The template's `script()` asks for it."""
    g.own_scripts = True


def answer_with(policy: str, *, is_framed: bool = False) -> None:
    """Give this answer a policy of its own. `is_framed`: a page of ours shows it in a frame."""
    g.own_policy = (policy, is_framed)


def framing_itself(*, own_scripts: bool = False) -> str:
    """The policy of a page that shows another page of ours in a frame; a quiet one, or with our own scripts."""
    return f"{_OWN_SCRIPTS if own_scripts else _QUIET}; frame-src 'self'"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def pay_policy(config: Config) -> str:
    """The policy of a page that takes a card."""
    scripts, api = _origin(config.stripe_js_url), _origin(config.stripe_api_base)
    if scripts == _origin(STRIPE_JS):
        scripts, frames, calls = _STRIPE_SCRIPTS, _STRIPE_FRAMES, STRIPE_API
    else:
        frames = calls = " ".join(dict.fromkeys([scripts, api]))
    return f"{_BASE}; script-src 'self' {scripts}; frame-src {frames}; connect-src 'self' {calls}"


def init(app: Flask, config: Config) -> None:
    """Put the headers on every answer, and write the access log, in one hook."""
    secure = [_HSTS] if config.over_https else []
    with_cache = [*_ALWAYS, *secure, ("Content-Security-Policy", _QUIET)]
    private = [*with_cache, ("Cache-Control", "no-store")]
    with_own = [*_ALWAYS, *secure, ("Content-Security-Policy", _OWN_SCRIPTS), ("Cache-Control", "no-store")]
    with_scripts = [*_ALWAYS, *secure, ("Content-Security-Policy", pay_policy(config)), ("Cache-Control", "no-store")]

    def finish(response: Response) -> Response:
        headers = response.headers
        if "own_policy" in g:
            policy, is_framed = g.own_policy
            headers.extend([*_ALWAYS, *secure, ("Content-Security-Policy", policy), ("Cache-Control", "no-store")])
            if is_framed:
                headers["X-Frame-Options"] = "SAMEORIGIN"
        elif "gateway_scripts" in g:
            headers.extend(with_scripts)
        elif "own_scripts" in g:
            headers.extend(with_own)
        elif "Cache-Control" in headers:
            headers.extend(with_cache)
        else:
            headers.extend(private)
        if access_log.isEnabledFor(logging.INFO):
            # The rule, not the path: a path can hold a token. Never the query.
            rule = request.url_rule.rule if request.url_rule else "(no such page)"
            access_log.info("%s %s %s", request.method, rule, response.status_code)
        return response

    app.after_request(finish)
