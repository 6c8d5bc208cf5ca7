"""The command line: every command says what it did, or in one sentence why not."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.cli import ScriptInfo
from sqlalchemy import select

from portal.audit import AuditEntry
from portal.cli import make_app, portal
from portal.db import Database
from portal.sandbox import Sandbox
from portal.sandbox.server import serve
from portal.vault import new_key

ROOT = Path(__file__).resolve().parent.parent
KEYS = new_key()


@dataclass(frozen=True)
class Done:
    """What a command said, and how it ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def environ(database_url: str, tmp_path: Path) -> dict[str, str]:
    """What an operator has set."""
    return {
        "PORTAL_ENV": "development",
        "PORTAL_DATABASE_URL": database_url,
        "PORTAL_ENCRYPTION_KEYS": KEYS,
        "PORTAL_MAIL_URL": f"file:{tmp_path}",
    }


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    """Run `portal` with these words."""

    def run_portal(*arguments: str, **changes: str) -> Done:
        result = CliRunner().invoke(
            portal, arguments, prog_name="portal", env={**environ, **changes}, obj=ScriptInfo(create_app=make_app)
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    return run_portal


def test_the_installed_command_ends_without_a_traceback_or_a_warning(environ: dict[str, str]) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PORTAL_", "STRIPE_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "from portal.cli import main; main()", "setting", "set", "x", "y"],
        cwd=ROOT, env={**clean, **environ}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "Error: There is no setting called x. “portal setting list” shows them all.\n"


def test_bad_configuration_is_named_without_a_traceback(run: Run) -> None:
    done = run("setting", "list", PORTAL_ENV="production", PORTAL_BASE_URL="http://pay.example.com")
    assert done.returncode == 2
    assert "PORTAL_SECRET_KEY is missing" in done.stderr
    assert "PORTAL_BASE_URL is not https" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.promise("O1")
def test_a_setting_can_be_listed_read_and_set(run: Run) -> None:
    assert "accept_payments_in_portal = no" in run("setting", "list").stdout
    done = run("setting", "set", "accept_payments_in_portal", "on")
    assert done.stdout == "accept_payments_in_portal: no -> yes\n"
    assert run("setting", "get", "accept_payments_in_portal").stdout == "yes\n"
    wrong = run("setting", "set", "accept_payments_in_portal", "maybe")
    assert wrong.returncode == 1
    assert wrong.stderr == "Error: accept_payments_in_portal takes yes or no, not 'maybe'.\n"
    assert run("setting", "get", "nonsense").returncode == 1


@pytest.mark.promise("O3")
def test_a_gateway_is_added_and_its_secrets_never_shown(run: Run) -> None:
    keys = ("--token", "pk_test_abc", "--secret", "sk_test_hidden", "--webhook-secret", "whsec_hidden")
    done = run("gateway", "add", "--name", "Cards", "--mode", "test", *keys, "--active", "--default", "--offline")
    assert done.returncode == 0, done.stderr
    assert re.search(r"Webhook address: \S+/webhooks/stripe/[0-9a-f]{16}\n", done.stdout)
    listed = run("gateway", "list").stdout
    assert "Cards  for the whole clinic  test, active, default  pk_test_abc" in listed
    assert "hidden" not in done.stdout + listed
    gateway = listed.split()[0]
    assert run("gateway", "status", gateway, "inactive").returncode == 0
    assert "inactive" in run("gateway", "list").stdout


@pytest.mark.promise("O3", "G6")
def test_a_gateway_gets_its_webhook_secret_and_new_keys_later(run: Run) -> None:
    keys = ("--token", "pk_test_abc", "--secret", "sk_test_abc")
    run("gateway", "add", "--name", "Cards", "--mode", "test", *keys, "--active", "--default", "--offline")
    gateway = run("gateway", "list").stdout.split()[0]
    none_new = ("--secret", "", "--webhook-secret", "", "--offline")
    given = run("gateway", "keys", gateway, "--secret", "", "--webhook-secret", "whsec_hidden", "--offline")
    assert given.stdout == f"Gateway {gateway} has its test keys.\n", given.stderr
    assert run("gateway", "keys", gateway, "--token", "pk_test_new", *none_new).returncode == 0
    assert "pk_test_new" in run("gateway", "list").stdout
    missing = run("gateway", "keys", gateway, "--mode", "production", "--token", "pk_live_a", *none_new)
    assert "Enter the Secret: Stripe's secret or restricted key for this mode." in missing.stderr
    assert "hidden" not in run("gateway", "list").stdout
    wrong = run("gateway", "keys", gateway, "--secret", "", "--webhook-secret", "sk_test_wrong_place")
    assert "begins with whsec_" in wrong.stderr
    assert "There is no such gateway" in run("gateway", "keys", "nobody", *none_new).stderr


@pytest.mark.promise("O3", "O5")
def test_stripe_is_asked_for_the_account_and_each_change_is_audited(run: Run, database_url: str) -> None:
    with serve(Sandbox()) as url:
        keys = ("--token", "pk_test_sandbox", "--secret", "sk_test_sandbox")
        done = run("gateway", "add", "--name", "Cards", "--mode", "test", *keys, "--active", STRIPE_API_BASE=url)
        assert "(active, Stripe account acct_1SandboxClinic)" in done.stdout, done.stderr
        gateway = run("gateway", "list").stdout.split()[0]
        wrong = run(
            "gateway", "keys", gateway, "--secret", "sk_test_nobody", "--webhook-secret", "", STRIPE_API_BASE=url
        )
        assert wrong.stderr.startswith("Error: Stripe does not know this Secret.")
        signing = ("--secret", "", "--webhook-secret", "whsec_hidden")
        assert run("gateway", "keys", gateway, *signing, STRIPE_API_BASE=url).returncode == 0
    away = run("gateway", "keys", gateway, "--secret", "sk_test_x", "--webhook-secret", "", STRIPE_API_BASE=url)
    assert away.stderr == "Error: We can't reach Stripe just now. Nothing was saved. Try again in a few minutes.\n"
    run("gateway", "status", gateway, "inactive")
    clinic = Database(database_url)
    with clinic.read() as connection:
        said = connection.execute(select(AuditEntry.subject, AuditEntry.before, AuditEntry.after)).all()
    clinic.close()
    assert [tuple(entry) for entry in said] == [
        ("Gateway Cards", "", "test, active"),
        ("Gateway Cards, Webhook signing secret (Test)", "", "set"),
        ("Gateway Cards, Status", "active", "inactive"),
    ]


@pytest.mark.promise("O3")
@pytest.mark.parametrize(
    ("mode", "token", "secret", "sentence"),
    [
        ("test", "sk_test_a", "sk_test_a", "The Token is a secret key"),
        ("test", "pk_test_a", "pk_test_a", "The Secret is not a secret key"),
        ("production", "pk_test_a", "sk_live_a", "The Token is a test key (it begins with pk_test_)"),
        ("production", "pk_live_a", "rk_test_a", "The Secret is a test key (it begins with rk_test_)"),
        ("test", "pk_test_a", "sk_live_a", "The Secret is a live key (it begins with sk_live_)"),
        ("test", "hello", "sk_test_a", "does not look like a publishable key"),
        ("test", "pk_test_a", "hello", "does not look like a secret or restricted key"),
    ],
)
def test_keys_in_the_wrong_place_are_named(run: Run, mode: str, token: str, secret: str, sentence: str) -> None:
    done = run("gateway", "add", "--name", "Cards", "--mode", mode, "--token", token, "--secret", secret)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "No gateway" in run("gateway", "list").stdout


def test_an_unknown_location_is_answered_with_those_there_are(run: Run) -> None:
    run("demo-data")
    keys = ("--token", "pk_test_abc", "--secret", "sk_test_abc")
    done = run("gateway", "add", "--location", "Elsewhere", "--name", "Cards", "--mode", "test", *keys, "--offline")
    assert "There is no location called Elsewhere. Locations: Alder Lane, Riverside." in done.stderr


def test_demo_data_is_made_once_and_passes_the_check(run: Run) -> None:
    assert "maya@example.com" in run("demo-data").stdout
    again = run("demo-data")
    assert again.returncode == 1
    assert "Traceback" not in again.stderr
    more = run("demo-data", "--invoices", "300")
    assert "300 invoices made." in more.stdout, more.stderr
    check = run("check")
    assert check.stdout.endswith("\nEverything holds.\n"), check.stdout
    assert re.match(r"Audit log: \d+ entries are chained, \d+ wait for the worker\.\n", check.stdout)
    assert re.search(r"^Email: \d+ waiting( since .+ UTC)?, 0 failed in the last 7 days\.$", check.stdout, re.M)
    assert check.returncode == 0


def test_demo_data_is_refused_in_production(run: Run) -> None:
    safe = {"PORTAL_ENV": "production", "PORTAL_SECRET_KEY": "Xk2-pQ9v_Lr7ZtN4wBy8HsDf3MgCj6Ea",
            "PORTAL_BASE_URL": "https://pay.example.com", "PORTAL_MAIL_URL": "smtp://mail.example.com"}  # fmt: skip
    done = run("demo-data", **safe)
    assert done.returncode == 1
    assert "for development only" in done.stderr


@pytest.mark.promise("P1")
def test_a_user_is_made_with_a_role_and_a_good_password(run: Run) -> None:
    run("demo-data")
    made = run("create-user", "New.Clerk@example.com", "--role", "front_desk", "--name", "Noor", "--password",
               "a password that is long")  # fmt: skip
    assert made.stdout == "new.clerk@example.com can sign in.\n", made.stderr
    for wrong in (
        ("not an address", "--role", "front_desk", "--password", "a password that is long"),
        ("a@example.com", "--role", "boss", "--password", "a password that is long"),
        ("b@example.com", "--role", "front_desk", "--password", "short"),
        ("new.clerk@example.com", "--role", "front_desk", "--password", "a password that is long"),
        ("c@example.com", "--role", "patient", "--password", "a password that is long"),
        ("d@example.com", "--role", "patient", "--patient", "999999", "--password", "a password that is long"),
    ):
        done = run("create-user", *wrong, "--name", "Somebody")
        assert done.returncode == 1, wrong
        assert "Traceback" not in done.stderr, wrong


def test_a_round_of_work_a_sweep_and_rotation_report_what_they_did(run: Run) -> None:
    run("demo-data", "--token", "pk_test_abc", "--secret", "sk_test_abc", "--webhook-secret", "whsec_abc")
    assert re.fullmatch(r"\d+ things done\.\n", run("work", "--once").stdout)
    assert re.fullmatch(r"\d+ looked at\.\n", run("sweep").stdout)
    rotated = run("rotate-keys", PORTAL_ENCRYPTION_KEYS=f"{new_key()},{KEYS}")
    assert rotated.stdout == "6 values sealed under the newest key.\n", rotated.stderr


def test_the_last_administrator_who_lost_the_phone_gets_in_again(run: Run) -> None:
    run("demo-data")
    done = run("second-factor", "reset", "Marc@example.com")
    assert done.returncode == 0, done.stderr
    assert "sets up a new second factor at the next sign-in" in done.stdout
    for nobody in ("maya@example.com", "nobody@example.com"):
        assert "There is no staff account" in run("second-factor", "reset", nobody).stderr


def test_a_database_without_tables_is_named(run: Run, tmp_path: Path) -> None:
    empty = f"sqlite:///{tmp_path}/empty.db"
    done = run("setting", "list", PORTAL_DATABASE_URL=empty)
    assert done.returncode == 1
    assert "portal db upgrade" in done.stderr
    assert "revision" in run("db", "upgrade", PORTAL_DATABASE_URL=empty).stdout
    assert run("setting", "list", PORTAL_DATABASE_URL=empty).returncode == 0
