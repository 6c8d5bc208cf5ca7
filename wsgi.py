"""What a WSGI server runs: `granian --interface wsgi wsgi:app`."""

import gc
import logging
import sys

from portal import create_app
from portal.config import BadConfiguration

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")

try:
    app = create_app()
except BadConfiguration as error:
    sys.stderr.write(f"{error}\n")
    raise SystemExit(2) from None

# What is loaded by now stays: the collector need not walk it again and again.
gc.collect()
gc.freeze()
