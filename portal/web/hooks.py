"""Where gateways knock: file the hint, answer at once. Nothing that is not signed is stored."""

from flask import Blueprint, Response, request

from portal.gateway import BadSignature
from portal.gateway.configured import PRODUCTION, TEST, signing_secrets
from portal.gateway.stripe import read_event
from portal.parts import parts
from portal.web.access import signed_by_gateway
from portal.webhooks import MAX_BODY_BYTES, file_event

bp = Blueprint("hooks", __name__)


def _answer(status: int, text: str) -> Response:
    return Response(text + "\n", status, mimetype="text/plain")


@bp.post("/webhooks/stripe/<gateway>")
@signed_by_gateway
def stripe(gateway: str) -> Response:
    """Check who signed and how old it is, file it once, answer 2xx; the worker does the rest."""
    if request.content_length is None:
        return _answer(411, "An event says how long it is.")
    if request.content_length > MAX_BODY_BYTES:
        return _answer(413, "An event is at most 256 KB long.")
    body = request.get_data(cache=False)
    signature = request.headers.get("Stripe-Signature", "")
    with parts().database.read() as connection:
        secrets = signing_secrets(connection, parts().vault, gateway)
    if secrets is None:
        return _answer(404, "No gateway has this address.")
    for mode, of_mode in secrets.by_mode.items():
        try:
            event = read_event(body, signature, of_mode)
        except BadSignature:
            continue
        if event.live != (mode == PRODUCTION):
            return _answer(
                400, f"This secret belongs to {TEST if mode == TEST else PRODUCTION} mode, the event does not."
            )
        with parts().database.transaction() as session:
            file_event(session, secrets.gateway_id, mode, event)
        return _answer(200, "Filed.")
    return _answer(400, "The signature does not fit, or is too old.")
