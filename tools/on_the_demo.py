"""`make portal ARGS="…"`: one command of the portal on the demo's database, with the demo's keys."""

import json
import os
import sys
from pathlib import Path

from portal.cli import main
from portal.demo import demo_environment

if __name__ == "__main__":
    home = Path.cwd() / ".demo"
    if not (home / "ports.json").exists():
        sys.exit("There is no demo yet. Start it first: make demo")
    os.environ.update(demo_environment(home, **json.loads((home / "ports.json").read_text())))
    main()
