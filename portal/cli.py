"""The command line of the portal: `portal --help`. Every command says what it did, or in a sentence why not."""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from flask.cli import FlaskGroup, ScriptInfo
from sqlalchemy import select
from sqlalchemy.exc import OperationalError, ProgrammingError

from portal import logs
from portal.config import BadConfiguration, from_environment
from portal.errors import Refusal
from portal.parts import parts

if TYPE_CHECKING:
    from portal.outbox import Waiting


def make_app() -> Any:
    """The application behind a command; its database is closed when the command ends."""
    from portal import create_app

    app = create_app()
    context = click.get_current_context(silent=True)
    if context is not None:
        context.find_root().call_on_close(app.extensions["portal"].database.close)
    return app


class _Portal(FlaskGroup):
    """Turns refusals and bad configuration into one sentence and exit code 2 or 1, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BadConfiguration as error:
            click.echo(str(error), err=True)
            sys.exit(2)
        except Refusal as refusal:
            raise click.ClickException(" ".join(part for part in (refusal.heading, refusal.text) if part)) from None
        except (OperationalError, ProgrammingError) as error:
            if re.search(r"no such table|does not exist|undefined", str(error.orig), re.IGNORECASE):
                raise click.ClickException("The database has no tables yet. Run: portal db upgrade") from None
            raise click.ClickException(f"The database does not answer: {error.orig}") from None


@click.group(cls=_Portal, create_app=make_app, add_default_commands=False, load_dotenv=False)
def portal() -> None:
    """The patient portal and clinic office."""


# --- the database ---------------------------------------------------------------------------------------------------


@portal.group()
def db() -> None:
    """The clinic database."""


@db.command("upgrade", with_appcontext=False)
def db_upgrade() -> None:
    """Make the tables, or bring them to the newest form. Safe to run again."""
    from portal.db import REVISION, upgrade

    upgrade(from_environment().database_url)
    click.echo(f"The database is at revision {REVISION}.")


@portal.command("demo-data")
@click.option(
    "--invoices", type=click.IntRange(1, 10_000_000), help="Make this many more invoices, fast, for measuring."
)
@click.option("--token", default="", help="The publishable key of the demo's test gateway.")
@click.option("--secret", default="", help="The secret key of the demo's test gateway.")
@click.option("--webhook-secret", default="", help="The webhook signing secret of the demo's test gateway.")
def demo_data(invoices: int | None, token: str, secret: str, webhook_secret: str) -> None:
    """Fill an empty database with a believable clinic; with --invoices, add many invoices to it."""
    from portal.demo import make_demo, say_sign_ins
    from portal.demo_data import make_many_invoices

    if parts().config.production:
        raise click.ClickException("Demo data has known passwords: it is for development only.")
    made = make_demo(parts(), token=token, secret=secret, webhook_secret=webhook_secret, more=invoices is not None)
    if made is not None:
        say_sign_ins(made)
    if invoices is not None:
        with click.progressbar(length=invoices, label="Invoices", file=sys.stderr) as bar:
            make_many_invoices(parts().database, invoices, progress=lambda done: bar.update(done - bar.pos))
        click.echo(f"{invoices} invoices made.")


# --- people ---------------------------------------------------------------------------------------------------------


@portal.command("create-user")
@click.argument("email")
@click.option("--role", required=True, help="patient, front_desk, billing, practitioner or administrator")
@click.option("--name", required=True, help="The person's name.")
@click.option("--patient", "patient_id", type=int, help="For role patient: the id of the patient on file.")
@click.password_option(help="Asked for when not given.")
def create_user(email: str, role: str, name: str, patient_id: int | None, password: str) -> None:
    """Make an account that can sign in."""
    from portal.accounts import create_account

    made = create_account(
        parts().database, email=email, role=role, name=name, patient_id=patient_id, password=password
    )
    click.echo(f"{made} can sign in.")


@portal.group("second-factor")
def second_factor_group() -> None:
    """The second factor of staff."""


@second_factor_group.command("reset")
@click.argument("email")
def second_factor_reset(email: str) -> None:
    """Take the second factor off a staff account whose owner lost phone and recovery codes. Ends its sign-ins."""
    from portal.people import PATIENT, User
    from portal.second_factor import reset

    with parts().database.transaction() as session:
        found = session.scalar(select(User.id).where(User.email == email.strip().lower(), User.role != PATIENT))
        if found is None:
            raise click.ClickException(f"There is no staff account {email}.")
        reset(session, found, by=None)
    click.echo(f"{email} is signed out everywhere, and sets up a new second factor at the next sign-in.")


# --- what the clinic has already ------------------------------------------------------------------------------------


@portal.command("import")
@click.argument("kind", type=click.Choice(["patients", "practitioners", "services", "invoices"]))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--write", is_flag=True, help="Write it. Without this, the file is only looked through.")
def import_(kind: str, file: Path, write: bool) -> None:
    """Take over what the clinic has, from a CSV file (docs/import.md). All of it is written, or nothing."""
    from portal.imports.run import run_import

    with click.progressbar(length=count_lines(file), label=kind.capitalize(), file=sys.stderr) as bar:
        report = run_import(
            parts().database, kind, file, write=write, progress=lambda done: bar.update(done - bar.pos)
        )
        bar.update((bar.length or 0) - bar.pos)
    for problem in report.problems:
        click.echo(f"Line {problem.line}: {problem.reason}")
    click.echo(f"{report.lines} lines: {report.new} new, {report.there} there already.")
    if report.problems:
        click.echo(f"To mend: {len(report.problems)}. Nothing was written.")
        sys.exit(1)
    for remark in report.remarks:
        click.echo(remark)
    if report.written:
        click.echo("Written.")
    else:
        click.echo("Nothing is new, so nothing was written." if not report.new else
                   "Nothing was written yet: this was a look. Run it again with --write.")  # fmt: skip


def count_lines(file: Path) -> int:
    """How long a file is, for showing how far one is."""
    with file.open("rb") as opened:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: opened.read(1 << 20), b""))


# --- settings -------------------------------------------------------------------------------------------------------


@portal.group()
def setting() -> None:
    """The clinic's own switches and texts (docs/settings.md)."""


@setting.command("list")
def setting_list() -> None:
    """Every setting, its value now, and what it means."""
    from portal.settings import KEYS, read_settings

    with parts().database.read() as connection:
        found = read_settings(connection)
    for key, spec in KEYS.items():
        click.echo(f"{key} = {found.text(key)}\n    {spec.meaning} ({spec.kind}; default: {spec.default or 'empty'})")


@setting.command("get")
@click.argument("key")
def setting_get(key: str) -> None:
    """The value of one setting as it counts now."""
    from portal.settings import KEYS, UnknownSetting, read_settings

    if key not in KEYS:
        raise UnknownSetting(key=key)
    with parts().database.read() as connection:
        click.echo(read_settings(connection).text(key))


@setting.command("set")
@click.argument("key")
@click.argument("value")
def setting_set(key: str, value: str) -> None:
    """Change one setting; the portal follows at the next request."""
    from portal.settings import change_setting

    with parts().database.transaction() as session:
        before, after = change_setting(session, key, value)
    click.echo(f"{key}: {before} -> {after}")


# --- gateways -------------------------------------------------------------------------------------------------------


@portal.group()
def gateway() -> None:
    """The clinic's payment gateways."""


@gateway.command("add")
@click.option("--location", help="The clinic location's name or id; without it, the gateway is clinic-wide.")
@click.option("--name", required=True, help="Shown to patients at checkout.")
@click.option("--mode", required=True, type=click.Choice(["test", "production"]))
@click.option("--token", required=True, help="Stripe's publishable key, pk_…")
@click.option("--secret", help="Stripe's secret or restricted key, sk_… or rk_…; asked for when not given.")
@click.option("--webhook-secret", default="", help="The webhook's signing secret, whsec_…")
@click.option("--active", is_flag=True, help="Take payments through it from now on.")
@click.option("--default", "default", is_flag=True, help="The location's default gateway.")
@click.option("--offline", is_flag=True, help="Keep the keys without trying them at Stripe first.")
def gateway_add(
    location: str | None, name: str, mode: str, token: str, secret: str | None, webhook_secret: str, active: bool,
    default: bool, offline: bool,
) -> None:  # fmt: skip
    """Set up a Stripe gateway, once Stripe has taken its keys. Secrets are kept encrypted and never shown again."""
    from secrets import token_hex

    from portal.gateway.setting_up import GatewayWanted, set_up_gateway

    secret = secret or click.prompt("Secret", hide_input=True)
    with parts().database.read() as connection:
        location_id = _location_id(connection, location)
    made = token_hex(8)
    wanted = GatewayWanted(name, location_id, mode, active, default, token, secret, webhook_secret)
    account = set_up_gateway(_tools(offline), made, wanted, by=None)
    address = f"{parts().config.base_url}/webhooks/stripe/{made}"
    click.echo(
        f"Gateway {made} is set up ({'active' if active else 'inactive'}, {_tested(account)}).\n"
        f"Webhook address: {address}"
    )


def _tools(offline: bool) -> Any:
    from portal.gateway.setting_up import Tools

    return Tools(parts().database, parts().vault, None if offline else parts().connect)


def _tested(account: str | None) -> str:
    return f"Stripe account {account}" if account else "keys not tested"


def _location_id(connection: Any, location: str | None) -> int | None:
    from portal.clinic import Location

    if not location:
        return None
    by = Location.id == int(location) if location.isdecimal() else Location.name == location
    found: int | None = connection.scalar(select(Location.id).where(by))
    if found is None:
        names = ", ".join(connection.scalars(select(Location.name).order_by(Location.name))) or "none yet"
        raise click.ClickException(f"There is no location called {location}. Locations: {names}.")
    return found


@gateway.command("list")
def gateway_list() -> None:
    """Every gateway: its address, location, mode and status. Never a secret."""
    from portal.clinic import Location
    from portal.gateway.configured import ConfiguredGateway, Credentials

    with parts().database.read() as connection:
        rows = connection.execute(
            select(
                ConfiguredGateway.public_id,
                ConfiguredGateway.name,
                Location.name.label("location"),
                ConfiguredGateway.mode,
                ConfiguredGateway.status,
                ConfiguredGateway.is_default,
                Credentials.token,
            )
            .outerjoin(Location, Location.id == ConfiguredGateway.location_id)
            .outerjoin(
                Credentials,
                (Credentials.gateway_id == ConfiguredGateway.id) & (Credentials.mode == ConfiguredGateway.mode),
            )
            .order_by(ConfiguredGateway.id)
        ).all()
    production = parts().config.production
    if not rows:
        click.echo("No gateway is set up yet. See: portal gateway add --help")
    for row in rows:
        where = row.location or "the whole clinic"
        default = ", default" if row.is_default else ""
        idle = "  (takes no payment here: test mode in production)" if production and row.mode == "test" else ""
        click.echo(f"{row.public_id}  {row.name}  for {where}  {row.mode}, {row.status}{default}  {row.token}{idle}")


@gateway.command("keys")
@click.argument("gateway_id")
@click.option("--mode", type=click.Choice(["test", "production"]), help="By default the mode it is in.")
@click.option("--token", help="Stripe's publishable key; by default it stays.")
@click.option("--secret", help="A new secret or restricted key; asked for, and empty keeps the one there is.")
@click.option("--webhook-secret", help="A new signing secret; asked for likewise. The former counts for a day.")
@click.option("--offline", is_flag=True, help="Keep the keys without trying them at Stripe first.")
def gateway_keys(
    gateway_id: str, mode: str | None, token: str | None, secret: str | None, webhook_secret: str | None,
    offline: bool,
) -> None:  # fmt: skip
    """Give a gateway new keys, or its webhook signing secret once Stripe has made one. Secrets are never shown."""
    from portal.gateway.configured import gateway_called
    from portal.gateway.setting_up import change_keys

    secret = _asked("Secret", secret)
    webhook_secret = _asked("Webhook signing secret", webhook_secret)
    with parts().database.transaction() as session:
        mode = mode or gateway_called(session, gateway_id).mode
    account = change_keys(_tools(offline), gateway_id, mode, token or "", secret, webhook_secret, by=None)
    of = f" of Stripe account {account}" if account else ""
    click.echo(f"Gateway {gateway_id} has its {mode} keys{of}.")


def _asked(what: str, given: str | None) -> str:
    if given is not None:
        return given
    return click.prompt(f"{what} (empty: keep it)", hide_input=True, default="", show_default=False)


@gateway.command("status")
@click.argument("gateway_id")
@click.argument("status", type=click.Choice(["active", "inactive"]))
def gateway_status(gateway_id: str, status: str) -> None:
    """Switch one gateway on or off; the portal follows at the next request."""
    from portal.gateway.configured import set_status

    with parts().database.transaction() as session:
        set_status(session, gateway_id, status, by=None)
    click.echo(f"Gateway {gateway_id} is {status}.")


@portal.command("rotate-keys")
def rotate_keys() -> None:
    """Seal every stored secret anew under the first key of PORTAL_ENCRYPTION_KEYS; afterwards the others can go."""
    from portal.cards import seal_cards_again
    from portal.gateway.configured import seal_credentials_again
    from portal.outbox import seal_mail_again
    from portal.paylinks import seal_links_again
    from portal.payments.orders import seal_customers_again
    from portal.second_factor import seal_keys_again

    with parts().database.transaction() as session:
        count = sum(
            seal(session, parts().vault)
            for seal in (
                seal_credentials_again,
                seal_customers_again,
                seal_cards_again,
                seal_mail_again,
                seal_links_again,
                seal_keys_again,
            )
        )
    click.echo(f"{count} values sealed under the newest key.")


# --- work -----------------------------------------------------------------------------------------------------------


@portal.command()
@click.option("--once", is_flag=True, help="One round, then end.")
def work(once: bool) -> None:
    """Follow webhooks, send mail and sweep, until stopped."""
    from portal.worker import Worker, sweep_once, work_once

    logs.init()
    if once:
        click.echo(f"{work_once(parts()) + sweep_once(parts())} things done.")
        return
    Worker(parts()).run()


@portal.command()
def sweep() -> None:
    """Settle or end the payments that were left open, once."""
    from portal.worker import sweep_once

    click.echo(f"{sweep_once(parts())} looked at.")


@portal.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def check(as_json: bool) -> None:
    """Check what must always hold: the books, the attempts, the settings, the audit log. Exit code 1 when something
    does not."""
    from portal.audit import chain_end
    from portal.invariants import broken_invariants
    from portal.outbox import waiting_mail

    findings = broken_invariants(parts().database)
    if as_json:
        click.echo(json.dumps([{"rule": f.rule, "what": f.what, "ids": list(f.ids)} for f in findings]))
    else:
        for found in findings:
            ids = ", ".join(str(i) for i in list(found.ids)[:20])
            click.echo(f"{found.rule}: {found.what}" + (f" ({ids})" if ids else ""))
        with parts().database.read() as connection:
            chain = chain_end(connection)
            mail = waiting_mail(connection)
        click.echo(f"Audit log: {chain.length} entries are chained, {chain.waiting} wait for the worker.")
        click.echo(_how_mail_stands(mail))
        click.echo("Everything holds." if not findings else f"Not holding: {len(findings)}.")
    if findings:
        sys.exit(1)


def _how_mail_stands(mail: "Waiting") -> str:
    """What waits or was given up is no broken rule: it is told, and does not change the exit code."""
    since = f" since {mail.oldest:%Y-%m-%d %H:%M} UTC" if mail.oldest else ""
    failed = f"{mail.failed_lately} failed in the last 7 days"
    return f"Email: {mail.count} waiting{since}, {failed}."


@portal.command(with_appcontext=False)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--folder", default=".demo", show_default=True, help="Where the demo keeps its database and keys.")
def demo(port: int, folder: str) -> None:
    """Start everything on this machine: a demo clinic, the Stripe sandbox, the web server and the worker."""
    from portal.demo import run_demo

    sys.exit(run_demo(port, folder))


def main() -> None:
    """The `portal` command."""
    portal.main(prog_name="portal", obj=ScriptInfo(create_app=make_app))
