"""`make portal ARGS="…"`: one command of the portal on the demo's database, with the demo's keys."""

import os
import sys
from pathlib import Path

from portal.cli import main
from portal.demo import demo_environment

if __name__ == "__main__":
    home = Path.cwd() / ".demo"
    if not (home / "keys.json").exists():
        sys.exit("There is no demo yet. Start it first: make demo")
    os.environ.update(demo_environment(home, port=8000, sandbox_port=8001))
    main()
