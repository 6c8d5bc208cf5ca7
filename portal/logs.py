"""What the web server and the worker write to their logs: no address of an object at a gateway, no token, no name."""

import logging


def init() -> None:
    """One line for each thing that happened, with its time and who says so."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # The libraries that talk to gateways log whole addresses, and those hold ids of cards and tokens.
    for chatty in ("stripe", "urllib3", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
