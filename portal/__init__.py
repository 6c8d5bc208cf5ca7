"""A patient portal and clinic office that takes card payments through the clinic's own Stripe account."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from portal.config import Config
    from portal.gateway import Gateway

ROOT = Path(__file__).parent.parent
LONGEST_FORM = 64 * 1024


def create_app(config: "Config | None" = None, *, connect: "Callable[[str], Gateway] | None" = None) -> "Flask":
    """The application, wired: the one place that knows all parts. Raises BadConfiguration.

    `connect` gives the gateway of a secret key; by default, Stripe's own.
    """
    from flask import Flask
    from flask_babel import Babel
    from flask_wtf import CSRFProtect

    from portal.config import from_environment
    from portal.db import Database
    from portal.parts import Parts
    from portal.vault import Vault
    from portal.web import (
        access,
        asking,
        assets,
        auth,
        cards,
        demo_mails,
        errors,
        headers,
        health,
        held_names,
        hooks,
        invitations,
        invoices,
        limits,
        look,
        mail_choices,
        my_programs,
        office,
        pay,
        pay_links,
        payers,
        place_pay,
        programs,
        proxy,
        scope,
        second_factor,
        sign_up,
        start,
        waitlist,
    )

    config = config or from_environment()
    parts = Parts(config, Database(config.database_url), Vault(config.encryption_keys), connect or _stripe(config))

    app = Flask("portal", root_path=str(ROOT), static_folder=None)
    app.config.update(
        SECRET_KEY=config.secret_key,
        MAX_CONTENT_LENGTH=LONGEST_FORM,
        TEMPLATES_AUTO_RELOAD=not config.production,
    )
    app.extensions["portal"] = parts
    # Werkzeug redirects to the right spelling on the Host header, which the asker chooses: nothing is respelled.
    app.url_map.strict_slashes = app.url_map.merge_slashes = False
    app.url_map.converters["default"] = app.url_map.converters["string"] = asking.Readable

    asking.init(app, but=hooks.bp)
    Babel(app, default_locale="en", locale_selector=lambda: "en")
    csrf = CSRFProtect(app)
    scope.init(app)
    held_names.init(app)
    headers.init(app, config)
    limits.init(app, parts)
    assets.init(app, ROOT / "static", keep=config.production)
    auth.init(app, parts)
    errors.init(app)
    look.init(app)
    for module in (
        start,
        health,
        invoices,
        pay,
        pay_links,
        cards,
        payers,
        mail_choices,
        programs,
        my_programs,
        place_pay,
        waitlist,
        hooks,
        second_factor,
        invitations,
        sign_up,
    ):
        app.register_blueprint(module.bp)
    office.init(app)
    demo_mails.init(app, config)
    app.register_blueprint(mail_choices.from_mails)
    for posted_from_outside in (hooks.bp, mail_choices.from_mails):
        csrf.exempt(posted_from_outside)
    access.check_that_every_route_has_a_rule(app)
    app.wsgi_app = proxy.behind_proxies(app.wsgi_app, config)  # type: ignore[method-assign]  # as Flask documents it
    return app


def _stripe(config: "Config") -> "Callable[[str], Gateway]":
    from portal.gateway.stripe import StripeConnector

    return StripeConnector(config.stripe_api_base)
