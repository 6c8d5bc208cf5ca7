"""The migrations make exactly the tables that the code describes."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

import portal.tables
from portal.clinic import Service
from portal.db import MIGRATIONS, REVISION, Database, current_revision, upgrade
from portal.invariants import broken_invariants
from portal.invoices.tables import Invoice
from portal.payments.tables import Payment
from portal.people import Patient
from tests.support.databases import Databases


def test_the_migrated_database_is_what_the_code_describes(clinic: Database) -> None:
    with clinic.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, portal.tables.Base.metadata) == []


def test_upgrading_again_changes_nothing(clinic: Database, database_url: str) -> None:
    upgrade(database_url)
    with clinic.read() as connection:
        assert current_revision(connection) == REVISION


def test_the_code_names_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


def test_what_the_first_form_held_is_told_in_the_second(databases: Databases, database: str) -> None:
    with databases.empty(database) as url:
        upgrade(url, "0001")
        clinic = Database(url)
        with clinic.transaction() as session:
            for statement in FIRST_CLINIC:
                session.execute(text(statement))
        upgrade(url)
        with clinic.transaction() as session:
            paid, back = session.scalars(select(Payment).order_by(Payment.id))
            assert (paid.nature, paid.channel, back.nature, back.channel) == ("payment", "portal", "refund", "desk")
            assert session.get_one(Invoice, 1).balance_cents == 50_00
            assert session.get_one(Patient, 1).search_key == "gagnon etienne"
            assert [(s.is_product, s.duration_minutes) for s in session.scalars(select(Service))] == [
                (False, 30),
                (True, 0),
            ]
        with pytest.raises(DBAPIError), clinic.transaction() as session:
            session.execute(text("UPDATE payments SET amount_cents = 1"))
        with pytest.raises(DBAPIError), clinic.transaction() as session:
            session.execute(text("DELETE FROM payments WHERE id = 2"))
        with pytest.raises(IntegrityError), clinic.transaction() as session:
            session.execute(text("INSERT INTO cases (kind, invoice_id, payment_id, amount_cents, reason, opened_at) "
                                 f"VALUES ('lost', 1, 1, 1, '', {MOMENT})"))  # fmt: skip
        assert broken_invariants(clinic) == []
        clinic.close()


MOMENT = "'2026-11-02 17:00:00'"
FIRST_CLINIC = (
    "INSERT INTO locations (id, name, address, phone, timezone, currency, tax_numbers, invoice_prefix,"
    " next_invoice_number, payment_terms_days)"
    " VALUES (1, 'Alder Lane', '', '', 'America/Vancouver', 'CAD', '', '', 2, 14)",
    "INSERT INTO patients (id, given_name, family_name, email, phone, created_at)"
    f" VALUES (1, 'Étienne', 'Gagnon', '', '', {MOMENT})",
    "INSERT INTO services (name, price_cents, is_product, active)"
    " VALUES ('Massage', 10000, false, true), ('Cushion', 4800, true, true)",
    "INSERT INTO gateways (id, public_id, kind, name, mode, status, is_default, created_at)"
    f" VALUES (1, 'g1', 'stripe', 'Card', 'test', 'active', true, {MOMENT})",
    "INSERT INTO invoices (id, number, location_id, patient_id, service_on, issued_at, due_on, currency, note)"
    f" VALUES (1, '1', 1, 1, '2026-11-02', {MOMENT}, '2026-11-16', 'CAD', '')",
    "INSERT INTO invoice_lines (invoice_id, position, description, quantity, unit_cents, net_cents)"
    " VALUES (1, 1, 'Massage', 1, 10000, 10000)",
    "INSERT INTO payment_attempts (id, invoice_id, gateway_id, mode, amount_cents, currency, invoice_version, state,"
    " confirmations, save_card, started_at, next_look_at, deadline_at)"
    " VALUES ('00000000000040008000000000000001', 1, 1, 'test', 10000, 'CAD', 2, 'succeeded', 1, false,"
    f" {MOMENT}, {MOMENT}, {MOMENT})",
    "INSERT INTO payments (id, receipt_number, invoice_id, attempt_id, gateway_id, kind, amount_cents, currency,"
    " charge_id, received_at)"
    f" VALUES (1, 'R-1', 1, '00000000000040008000000000000001', 1, 'card', 10000, 'CAD', 'ch_1', {MOMENT})",
    "INSERT INTO payments (id, receipt_number, invoice_id, kind, amount_cents, currency, reverses_id, received_at)"
    f" VALUES (2, 'R-2', 1, 'cash', -5000, 'CAD', 1, {MOMENT})",
)
"""A clinic as it stood before the office came: one invoice, paid by card, half of it given back."""
