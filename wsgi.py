"""What a WSGI server runs: `granian --interface wsgi wsgi:app`."""

import gc
import sys

from portal import create_app, logs
from portal.config import BadConfiguration

logs.init()

try:
    app = create_app()
except BadConfiguration as error:
    sys.stderr.write(f"{error}\n")
    raise SystemExit(2) from None

# What is loaded by now stays: the collector need not walk it again and again.
gc.collect()
gc.freeze()
