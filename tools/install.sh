#!/bin/sh
# Installs what a lock file names, and this project, into .venv; makes .venv first if it is missing or broken.
#   tools/install.sh requirements.lock          PYTHON=/path/to/python3 chooses the interpreter
set -eu
cd "$(dirname "$0")/.."
lock=$1

say() { printf '%s\n' "$*" >&2; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
makes_venvs() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# Naming a version's command isn't having it (pyenv's shims), so each candidate is tried. Versions that the tests'
# PostgreSQL wheel is made for come first.
find_python() {
    without_venv=
    for candidate in ${PYTHON:-python3.12 python3.11 python3.13 python3.14 python3 python}; do
        new_enough "$candidate" || continue
        if makes_venvs "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
        without_venv=$candidate
    done
    if [ -n "$without_venv" ]; then
        say "$without_venv lacks the venv module. On Debian and Ubuntu: apt-get install python3-venv"
    elif [ -n "${PYTHON:-}" ]; then
        say "PYTHON=$PYTHON isn't a Python 3.11 or newer that starts."
    else
        say "This needs Python 3.11 or newer, and found none. Install it, or name it: make PYTHON=/path/to/python3"
    fi
    return 1
}

# An environment made elsewhere and copied here would install into that other place.
works() {
    [ "$(.venv/bin/python -c 'import os, sys; print(os.path.realpath(sys.prefix))' 2>/dev/null)" = "$(pwd -P)/.venv" ] &&
        new_enough .venv/bin/python && .venv/bin/python -c 'import pip' >/dev/null 2>&1
}

if ! works; then
    python=$(find_python)
    say "Making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

say "Installing $lock"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
