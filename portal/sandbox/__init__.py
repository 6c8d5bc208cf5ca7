"""A local stand-in for Stripe: its API, its Stripe.js and its webhooks, as far as this product uses them.

It is a test double. It moves no money, knows only Stripe's published test cards (and a few of its own), listens on
this machine only, and says so on every page.

As a process:

    python -m portal.sandbox --port 12111 --state FILE --webhook-url URL --webhook-secret whsec_…

with the keys `pk_test_sandbox` and `sk_test_sandbox`: the API at `/v1/…`, Stripe.js at `/endive/stripe.js`, what
it has recorded at `/`, its controls at `/_sandbox/<name>` (POST a JSON object; `control` has the names).

In a test or a simulation:

    sandbox = Sandbox()
    stripe.StripeClient(sandbox.secret_key, http_client=sandbox.http_client(), max_network_retries=0)
    sandbox.fault("payment_intents.confirm", "lost_after")
    token = sandbox.elements_token("visa", amount=1000)

Start reading at `sandbox` (what a test can do), `gate` (how a request becomes an answer) and `resources` (what Stripe
does). Where it differs from Stripe on purpose: the wording of error messages is only close to Stripe's; there
are cards and nothing else; a charge's balance transaction is there at once unless `world.balance_delay_s` is set.
"""

from portal.sandbox.sandbox import Sandbox
from portal.sandbox.server import serve
from portal.sandbox.webhooks import WebhookPolicy

__all__ = ["Sandbox", "WebhookPolicy", "serve"]
