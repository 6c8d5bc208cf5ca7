"""Who may import whom: web, cli, worker → nouns → outbox, limits → db, money, errors. Read from the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PORTAL = ROOT / "portal"

# Each layer may import from itself and from those below it.
LAYERS: list[set[str]] = [
    {"", "cli", "web", "worker", "demo", "migrations"},
    {"demo_data", "imports", "invariants", "tables"},
    {"invitations", "second_factor", "sign_ups", "passkeys", "setup", "staff"},
    {
        "accounts",
        "passwords",
        "sign_ins",
        "checkout",
        "payments",
        "refunds",
        "invoices",
        "cards",
        "letters",
        "mail",
        "patients",
        "paylinks",
        "post",
        "programs",
        "receipt_pdf",
        "schedule",
    },
    {"parts"},
    {"webhooks", "gateway", "people", "clinic", "settings"},
    {"outbox", "limits", "audit"},
    {"db", "vault", "config"},
    {"money", "errors", "clock", "logs", "permissions"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PORTAL.rglob("*.py")):
        parts = path.relative_to(PORTAL).with_suffix("").parts
        yield (parts[0] if parts[0] != "__init__" else ""), path


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _noun(imported: str) -> str | None:
    """The part of the portal that an import reaches for; None for anything else."""
    steps = imported.split(".")
    if steps[0] != "portal":
        return None
    return steps[1] if len(steps) > 1 and steps[1] in LEVEL | {"sandbox": 0} else None


def upward_imports() -> list[str]:
    """Imports that go against the layers."""
    return sorted(
        {
            f"{path.relative_to(ROOT)} imports portal.{noun}"
            for name, path in _modules()
            if name != "sandbox"
            for imported in _imports(path)
            if (noun := _noun(imported)) is not None and noun != name and LEVEL.get(noun, 0) < LEVEL[name]
        }
    )


def test_imports_go_downwards_only() -> None:
    assert upward_imports() == []


def test_every_module_has_its_layer() -> None:
    assert {name for name, _ in _modules()} - set(LEVEL) == {"sandbox"}


def test_one_file_alone_imports_stripe() -> None:
    users = {
        str(path.relative_to(ROOT))
        for name, path in _modules()
        if name != "sandbox" and any(i == "stripe" or i.startswith("stripe.") for i in _imports(path))
    }
    assert users == {"portal/gateway/stripe.py"}


def test_the_adapter_is_known_to_the_edges_alone() -> None:
    users = {
        str(path.relative_to(ROOT))
        for _, path in _modules()
        if any(i.startswith("portal.gateway.stripe") for i in _imports(path))
    }
    assert users <= {"portal/__init__.py", "portal/web/hooks.py"}


def test_what_stripes_objects_look_like_is_known_to_the_adapter_alone() -> None:
    users = {
        str(path.relative_to(ROOT))
        for _, path in _modules()
        if any(i.startswith("portal.gateway.answers") for i in _imports(path))
    }
    assert users == {"portal/gateway/stripe.py"}


def test_the_product_does_not_know_its_sandbox() -> None:
    users = {
        str(path.relative_to(ROOT))
        for name, path in _modules()
        if name != "sandbox" and any(i.startswith("portal.sandbox") for i in _imports(path))
    }
    assert users == set()


@pytest.mark.parametrize("imported", ["flask", "flask_login", "flask_wtf", "wtforms"])
def test_rules_do_not_know_the_web(imported: str) -> None:
    """Nouns know no request. (Flask-Babel's lazy texts are words, not requests.)"""
    edges = {"", "web", "cli", "worker", "demo", "accounts", "parts", "mail", "sandbox"}
    users = [
        str(path.relative_to(ROOT))
        for name, path in _modules()
        if name not in edges and any(i.split(".")[0] == imported for i in _imports(path))
    ]
    assert users == []


def test_no_module_grows_past_reading() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines}"
        for name, path in _modules()
        if name != "migrations" and (lines := len(path.read_text().splitlines())) > 560
    ]
    assert long == []
