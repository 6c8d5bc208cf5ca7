# Each target does all of its own set-up: a fresh machine needs only Python 3.11 or newer, git and make.

PORT ?= 8000
# One for each thread of the processor. (With "auto" it is one for each core: half as many, often.)
WORKERS ?= logical

VENV := .venv
RUN := $(VENV)/bin/python
RUNTIME := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help demo portal test check bench contract lock clean

help:
	@echo 'make demo      the portal with made-up people, on http://127.0.0.1:$(PORT) (PORT=$(PORT))'
	@echo 'make portal    a command on the demo: make portal ARGS="setting list"'
	@echo 'make test      every test, on SQLite and PostgreSQL, with a real browser'
	@echo 'make check     lint, format, types, and who may import whom'
	@echo 'make bench     the measurements'
	@echo 'make contract  the gateway contract: the sandbox, and Stripe itself when test keys are set'
	@echo 'make lock      resolve the dependencies again and lock them by hash'
	@echo 'make clean     remove everything that make made'

demo: $(RUNTIME)
	@exec $(VENV)/bin/portal demo --port $(PORT)

# One command of the portal, on the demo's database: make portal ARGS="setting list"
portal: $(RUNTIME)
	@$(RUN) -m tools.on_the_demo $(ARGS)

test: $(DEV)
	@$(RUN) -m tools.get_chromium
	@exec $(RUN) -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal $(ARGS)

check: $(DEV)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m pytest -q --results build/check tests/test_architecture.py

bench: $(DEV)
	@exec $(RUN) -m bench $(ARGS)

contract: $(DEV)
	@exec $(RUN) -m pytest --results build/contract $(if $(STRIPE_TEST_SECRET_KEY),--open-network) tests/contract $(ARGS)

# The second lock is constrained by the first: what is tested is what runs.
COMPILE := $(RUN) -m uv pip compile pyproject.toml --quiet --universal --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header
lock: $(DEV)
	$(COMPILE) $(ARGS) --output-file requirements.lock
	$(COMPILE) $(ARGS) --extra dev --constraint requirements.lock --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) build .demo .mypy_cache .ruff_cache .hypothesis *.egg-info

$(RUNTIME): requirements.lock pyproject.toml tools/install.sh
	@PYTHON='$(PYTHON)' tools/install.sh requirements.lock
	@touch $@

# The development requirements are a superset of the runtime's, in the same environment.
$(DEV): requirements-dev.lock requirements.lock pyproject.toml tools/install.sh
	@PYTHON='$(PYTHON)' tools/install.sh requirements-dev.lock
	@touch $(RUNTIME) $@
