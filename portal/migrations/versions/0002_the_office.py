"""The clinic office: the schedule, corrections of the books, second factors and invitations, the audit log.

What stands in the tables stays as it is; new columns hold for old rows what was true of them.
"""

import re
from datetime import datetime

import sqlalchemy as sa
from alembic import op

import portal.db

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KINDS = "('card', 'cash', 'cheque', 'debit', 'e-transfer', 'insurance', 'other')"
NATURES = "('payment', 'refund', 'refund failed', 'reversal', 'dispute', 'reinstatement')"
CASES = "('overpaid', 'refund_due', 'refund_pending', 'refund_expected', 'dispute')"
STAGES = "('', 'inquiry', 'open', 'won', 'lost')"
ROLES = "('patient', 'front_desk', 'billing', 'practitioner', 'administrator')"
APPEND_ONLY = ("audit_entries", "audit_chain", "access_log")

# name, type; a type of two is (SQLite, PostgreSQL)
MOMENT = ("DATETIME", "TIMESTAMP WITH TIME ZONE")
UUID = ("CHAR(32)", "UUID")
STANDING = (
    "CASE WHEN {row}voided_at IS NOT NULL THEN 'void' WHEN {row}owed_cents <= {row}paid_cents THEN 'paid' "
    "WHEN {row}paid_cents > 0 THEN 'partly paid' ELSE 'receivable' END"
)
NEW_COLUMNS: dict[str, list[tuple[str, str | tuple[str, str], str]]] = {
    "locations": [
        ("opens_minute", "INTEGER", "NOT NULL DEFAULT 480"),
        ("closes_minute", "INTEGER", "NOT NULL DEFAULT 1080"),
        ("active", "BOOLEAN", "NOT NULL DEFAULT true"),
    ],
    "taxes": [("active", "BOOLEAN", "NOT NULL DEFAULT true")],
    "services": [("duration_minutes", "INTEGER", "NOT NULL DEFAULT 30")],
    "patients": [
        ("address", "TEXT", "NOT NULL DEFAULT ''"),
        ("reference", "VARCHAR(40)", ""),
        ("search_key", "VARCHAR(170)", "NOT NULL DEFAULT ''"),
        ("request_id", UUID, ""),
    ],
    "payer_links": [
        ("relation", "VARCHAR(40)", "NOT NULL DEFAULT ''"),
        ("allowed_by_staff", "BOOLEAN", "NOT NULL DEFAULT false"),
    ],
    "users": [
        ("totp_sealed", "TEXT", ""),
        ("totp_set_up_at", MOMENT, ""),
        ("totp_last_step", "BIGINT", ""),
    ],
    "sign_ins": [
        ("factor_at", MOMENT, ""),
        ("confirmed_at", MOMENT, ""),
        ("challenge", "VARCHAR(64)", ""),
        ("challenge_at", MOMENT, ""),
    ],
    "gateway_credentials": [("tested_at", MOMENT, ""), ("webhook_endpoint", "VARCHAR(255)", "")],
    "invoices": [
        ("voided_by", "INTEGER", "users.id"),
        ("appointment_id", "INTEGER", "appointments.id"),
        ("request_id", UUID, ""),
        ("created_by", "INTEGER", "users.id"),
        ("email_wanted", "BOOLEAN", "NOT NULL DEFAULT false"),
        ("standing", "VARCHAR(11)", "NOT NULL DEFAULT 'paid'"),
    ],
    "adjustments": [("request_id", UUID, "")],
    "payment_attempts": [("channel", "VARCHAR(10)", "NOT NULL DEFAULT 'portal'")],
    "payments": [
        ("nature", "VARCHAR(16)", "NOT NULL DEFAULT 'payment'"),
        ("channel", "VARCHAR(10)", "NOT NULL DEFAULT 'desk'"),
        ("request_id", UUID, ""),
    ],
    "cases": [("matched_cents", "INTEGER", "NOT NULL DEFAULT 0"), ("stage", "VARCHAR(10)", "NOT NULL DEFAULT ''")],
}


def upgrade() -> None:
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    create_tables()
    add_columns(on_sqlite)
    fill_in(on_sqlite)
    if on_sqlite:
        change_checks_of_sqlite()
    else:
        change_checks_of_postgresql()
    create_indexes()
    only_grow(on_sqlite)
    keep_standing(on_sqlite)
    note_what_was_counted(on_sqlite)
    guard_gateways(on_sqlite)


# --- columns --------------------------------------------------------------------------------------------------------


def add_columns(on_sqlite: bool) -> None:
    for table, columns in NEW_COLUMNS.items():
        for name, kinds, more in columns:
            kind = kinds if isinstance(kinds, str) else kinds[0 if on_sqlite else 1]
            other, is_key, key = more.partition(".")
            rest = f"CONSTRAINT fk_{table}_{name} REFERENCES {other} ({key})" if is_key else more
            op.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind} {rest}")


def fill_in(on_sqlite: bool) -> None:
    """Say of the old rows what the new columns would have said."""
    bind = op.get_bind()
    from portal.people import folded, words_of

    for patient, given, family, email, phone in bind.execute(
        sa.text("SELECT id, given_name, family_name, email, phone FROM patients")
    ).all():
        bind.execute(
            sa.text("UPDATE patients SET search_key = :key WHERE id = :id"),
            {"key": folded(f"{family} {given}")[:170], "id": patient},
        )
        for word in words_of(given, family, email, phone, None):
            bind.execute(
                sa.text("INSERT INTO patient_words (word, patient_id) VALUES (:word, :id)"),
                {"word": word, "id": patient},
            )
    op.execute("UPDATE services SET duration_minutes = 0 WHERE is_product")
    op.execute(
        "INSERT INTO charge_looks (payment_id, next_look_at) "
        "SELECT id, received_at FROM payments WHERE attempt_id IS NOT NULL AND charge_id IS NOT NULL"
    )
    # Posted money never changes; this migration alone may say what the rows have been all along.
    going_back = "UPDATE payments SET nature = 'refund' WHERE amount_cents < 0"
    portal_paid = "UPDATE payments SET channel = 'portal' WHERE attempt_id IS NOT NULL"
    if on_sqlite:
        kept = bind.execute(
            sa.text("SELECT sql FROM sqlite_master WHERE name = 'payments_only_grow_update'")
        ).scalar_one()
        op.execute("DROP TRIGGER payments_only_grow_update")
        op.execute(going_back)
        op.execute(portal_paid)
        op.execute(kept)
    else:
        op.execute("ALTER TABLE payments DISABLE TRIGGER payments_only_grow")
        op.execute(going_back)
        op.execute(portal_paid)
        op.execute("ALTER TABLE payments ENABLE TRIGGER payments_only_grow")


# --- checks ---------------------------------------------------------------------------------------------------------

NEW_CHECKS = {
    "payments": {
        "ck_payments_kind_is_known": f"kind IN {KINDS}",
        "ck_payments_nature_is_known": f"nature IN {NATURES}",
        "ck_payments_nature_fits_the_sign": (
            "(nature IN ('payment', 'refund failed', 'reinstatement')) = (amount_cents > 0)"
        ),
    },
    "cases": {
        "ck_cases_kind_is_known": f"kind IN {CASES}",
        "ck_cases_matched_is_part_of_it": "matched_cents BETWEEN 0 AND amount_cents",
        "ck_cases_stage_is_known": f"stage IN {STAGES}",
    },
}


def change_checks_of_postgresql() -> None:
    for table, checks in NEW_CHECKS.items():
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_kind_is_known")
        for name, rule in checks.items():
            op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({rule})")


def change_checks_of_sqlite() -> None:
    """Make each table anew with its checks, as sqlite.org/lang_altertable.html#otheralter describes."""
    bind = op.get_bind()
    for table, checks in NEW_CHECKS.items():
        made = bind.execute(sa.text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": table}).scalar_one()
        others = bind.execute(
            sa.text("SELECT sql FROM sqlite_master WHERE tbl_name = :name AND name <> :name AND sql IS NOT NULL"),
            {"name": table},
        ).all()
        without = re.sub(rf",?\s*CONSTRAINT ck_{table}_kind_is_known CHECK \(kind IN \([^)]*\)\)", "", made, count=1)
        assert without != made, f"the check of {table} is not where it was"
        body = without.rstrip().removesuffix(")").rstrip()
        added = ", ".join(f"CONSTRAINT {name} CHECK ({rule})" for name, rule in checks.items())
        op.execute(
            re.sub(rf"CREATE TABLE \"?{table}\"?", f"CREATE TABLE {table}_anew", body, count=1) + f", {added})"
        )
        op.execute(f"INSERT INTO {table}_anew SELECT * FROM {table}")
        op.execute(f"DROP TABLE {table}")
        op.execute(f"ALTER TABLE {table}_anew RENAME TO {table}")
        for (again,) in others:
            op.execute(again)


# --- indexes and rules ----------------------------------------------------------------------------------------------


def create_indexes() -> None:
    op.create_index("uq_patients_reference", "patients", ["reference"], unique=True)
    op.create_index("ix_patients_search_key", "patients", ["search_key"])
    op.create_index("uq_patients_request", "patients", ["request_id"], unique=True)
    unvoided = sa.text("voided_at IS NULL")
    op.create_index(
        "uq_invoices_appointment", "invoices", ["appointment_id"], unique=True,
        sqlite_where=unvoided, postgresql_where=unvoided,
    )  # fmt: skip
    op.create_index("uq_invoices_request", "invoices", ["request_id"], unique=True)
    op.create_index("ix_invoices_standing", "invoices", ["standing", "service_on", "id"])
    op.create_index("ix_invoices_standing_place", "invoices", ["standing", "location_id", "service_on", "id"])
    op.create_index(
        "ix_invoices_standing_practitioner", "invoices", ["standing", "practitioner_id", "service_on", "id"]
    )
    op.create_index(
        "ix_invoices_standing_both", "invoices", ["standing", "location_id", "practitioner_id", "service_on", "id"]
    )
    op.create_index("uq_adjustments_request", "adjustments", ["request_id"], unique=True)
    op.create_index("uq_payments_request", "payments", ["request_id"], unique=True)
    op.create_index("ix_payments_received", "payments", ["received_at", "id"])
    op.create_index("ix_webhook_events_received", "webhook_events", ["gateway_id", "mode", "received_at"])
    op.create_index("ix_payments_reverses", "payments", ["reverses_id"])
    op.drop_index("uq_payments_charge", "payments")
    op.drop_index("uq_payments_refund", "payments")
    received = sa.text("nature = 'payment'")
    op.create_index(
        "uq_payments_charge", "payments", ["gateway_id", "charge_id"], unique=True,
        sqlite_where=received, postgresql_where=received,
    )  # fmt: skip
    op.create_index("uq_payments_refund", "payments", ["gateway_id", "refund_id", "nature"], unique=True)


def only_grow(on_sqlite: bool) -> None:
    for table in APPEND_ONLY:
        if not on_sqlite:
            op.execute(
                f"CREATE TRIGGER {table}_only_grow BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION only_grows()"
            )
            op.execute(
                f"CREATE TRIGGER {table}_only_grow_whole BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION only_grows()"
            )
            continue
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_only_grow_{verb.lower()} BEFORE {verb} ON {table} BEGIN "
                f"SELECT RAISE(ABORT, '{table} only grow'); END"
            )


# --- Invoice Search: how an invoice stands, and what invoices come to -----------------------------------------------


def keep_standing(on_sqlite: bool) -> None:
    """`standing` follows from the books, whoever writes them. (SQLite adds no stored generated column to a table.)"""
    op.execute(f"UPDATE invoices SET standing = {STANDING.format(row='')}")
    stands = STANDING.format(row="NEW.")
    if on_sqlite:
        for event in ("INSERT", "UPDATE OF owed_cents, paid_cents, voided_at, standing"):
            op.execute(
                f"CREATE TRIGGER invoices_stand_{event[:6].lower()} AFTER {event} ON invoices "
                f"WHEN NEW.standing IS NOT {stands} BEGIN "
                f"UPDATE invoices SET standing = {stands} WHERE id = NEW.id; END"
            )
        return
    op.execute(
        "CREATE FUNCTION invoices_stand() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"NEW.standing := {stands}; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER invoices_stand BEFORE INSERT OR UPDATE ON invoices "
        f"FOR EACH ROW WHEN (NEW.standing IS DISTINCT FROM {stands}) EXECUTE FUNCTION invoices_stand()"
    )


COUNTED = "service_on, location_id, practitioner_id, standing, currency, invoices, owed_cents, paid_cents"
WATCHED = "service_on, location_id, practitioner_id, currency, owed_cents, paid_cents, voided_at"


def note_what_was_counted(on_sqlite: bool) -> None:
    """The first change of an invoice since the sums were made notes how it was counted (`portal/invoices/sums.py`)."""
    nothing = "NEW.service_on, NEW.location_id, NULL, '', NEW.currency, 0, 0, 0"
    before = (
        "OLD.service_on, OLD.location_id, OLD.practitioner_id, OLD.standing, OLD.currency, 1, "
        "CASE WHEN OLD.voided_at IS NULL THEN OLD.owed_cents ELSE 0 END, "
        "CASE WHEN OLD.voided_at IS NULL THEN OLD.paid_cents ELSE 0 END"
    )
    unnoted = "WHEN NOT EXISTS (SELECT 1 FROM invoice_changes WHERE invoice_id = NEW.id)"
    for name, event, was in (("new", "INSERT", nothing), ("changed", f"UPDATE OF {WATCHED}", before)):
        note = f"INSERT INTO invoice_changes (invoice_id, {COUNTED}) VALUES (NEW.id, {was})"
        trigger = f"CREATE TRIGGER invoices_are_noted_{name} AFTER {event} ON invoices FOR EACH ROW"
        if on_sqlite:
            op.execute(f"{trigger} {unnoted} BEGIN {note}; END")
            continue
        op.execute(
            f"CREATE FUNCTION invoices_are_noted_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"{note} ON CONFLICT DO NOTHING; RETURN NULL; END $$"
        )
        op.execute(f"{trigger} EXECUTE FUNCTION invoices_are_noted_{name}()")
    op.execute(
        f"INSERT INTO invoice_changes (invoice_id, {COUNTED}) "
        "SELECT id, service_on, location_id, NULL, '', currency, 0, 0, 0 FROM invoices"
    )


WITHOUT_KEYS = (
    "NEW.status = 'active' AND NOT EXISTS (SELECT 1 FROM gateway_credentials c WHERE c.gateway_id = NEW.id "
    "AND c.mode = NEW.mode AND c.token <> '' AND c.secret_sealed <> '')"
)


def guard_gateways(on_sqlite: bool) -> None:
    """A gateway's account never changes, and none becomes active without both keys of its mode (O3)."""
    stays, needs = "the account of a gateway never changes", "a gateway becomes active with both of its keys"
    if on_sqlite:
        op.execute(
            "CREATE TRIGGER gateway_credentials_keep_their_account BEFORE UPDATE ON gateway_credentials "
            "WHEN (OLD.account IS NOT NULL AND NEW.account IS NOT OLD.account) OR NEW.gateway_id IS NOT OLD.gateway_id "
            f"OR NEW.mode IS NOT OLD.mode BEGIN SELECT RAISE(ABORT, '{stays}'); END"
        )
        for name, event in (("insert", "INSERT"), ("update", "UPDATE OF status, mode")):
            op.execute(
                f"CREATE TRIGGER gateways_need_their_keys_{name} BEFORE {event} ON gateways "
                f"WHEN {WITHOUT_KEYS} BEGIN SELECT RAISE(ABORT, '{needs}'); END"
            )
        return
    for function, rule, says in (
        ("account_stays", "(OLD.account IS NOT NULL AND NEW.account IS DISTINCT FROM OLD.account) "
         "OR NEW.gateway_id <> OLD.gateway_id OR NEW.mode <> OLD.mode", stays),
        ("gateway_has_keys", WITHOUT_KEYS, needs),
    ):  # fmt: skip
        op.execute(
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {rule} THEN "
            f"RAISE EXCEPTION '{says}' USING ERRCODE = 'integrity_constraint_violation'; END IF; "
            "RETURN NEW; END $$"
        )
    op.execute(
        "CREATE TRIGGER gateway_credentials_keep_their_account BEFORE UPDATE ON gateway_credentials "
        "FOR EACH ROW EXECUTE FUNCTION account_stays()"
    )
    op.execute(
        "CREATE TRIGGER gateways_need_their_keys BEFORE INSERT OR UPDATE OF status, mode ON gateways "
        "FOR EACH ROW EXECUTE FUNCTION gateway_has_keys()"
    )


# --- tables ---------------------------------------------------------------------------------------------------------


def moment(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, portal.db.Utc(timezone=True), nullable=nullable)


def create_tables() -> None:
    op.create_table(
        "patient_words",
        sa.Column("word", sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql"), nullable=False),
        sa.Column("patient_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name=op.f("fk_patient_words_patient_id")),
        sa.PrimaryKeyConstraint("word", "patient_id", name=op.f("pk_patient_words")),
    )
    op.create_index("ix_patient_words_person", "patient_words", ["patient_id", "word"])
    op.create_table(
        "appointments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(32), nullable=False),
        sa.Column("location_id", sa.Integer(), nullable=False),
        sa.Column("practitioner_id", sa.Integer(), nullable=False),
        sa.Column("patient_id", sa.Integer(), nullable=False),
        sa.Column("service_id", sa.Integer(), nullable=False),
        moment("starts_at"),
        moment("ends_at"),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("note", sa.String(200), server_default="", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("booked_by", sa.Integer(), nullable=True),
        moment("booked_at"),
        moment("completed_at", nullable=True),
        moment("cancelled_at", nullable=True),
        sa.CheckConstraint(
            "status IN ('booked', 'completed', 'cancelled')", name=op.f("ck_appointments_status_is_known")
        ),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_appointments_it_takes_time")),
        sa.ForeignKeyConstraint(["location_id"], ["locations.id"], name=op.f("fk_appointments_location_id")),
        sa.ForeignKeyConstraint(
            ["practitioner_id"], ["practitioners.id"], name=op.f("fk_appointments_practitioner_id")
        ),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name=op.f("fk_appointments_patient_id")),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_appointments_service_id")),
        sa.ForeignKeyConstraint(["booked_by"], ["users.id"], name=op.f("fk_appointments_booked_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appointments")),
    )
    op.create_index("uq_appointments_public", "appointments", ["public_id"], unique=True)
    op.create_index("ix_appointments_start", "appointments", ["starts_at"])
    op.create_index("ix_appointments_patient_start", "appointments", ["patient_id", "starts_at"])
    op.create_table(
        "booked_quarters",
        sa.Column("practitioner_id", sa.Integer(), nullable=False),
        sa.Column("quarter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("appointment_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["practitioner_id"], ["practitioners.id"], name=op.f("fk_booked_quarters_practitioner_id")
        ),
        sa.ForeignKeyConstraint(
            ["appointment_id"], ["appointments.id"], name=op.f("fk_booked_quarters_appointment_id")
        ),
        sa.PrimaryKeyConstraint("practitioner_id", "quarter", name=op.f("pk_booked_quarters")),
    )
    op.create_index(op.f("ix_booked_quarters_appointment_id"), "booked_quarters", ["appointment_id"])
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.Integer(), nullable=False),
        moment("at"),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("action", sa.String(60), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_audit_entries_user_id")),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name=op.f("fk_audit_entries_patient_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_at", "audit_entries", ["at", "id"])
    op.create_index("ix_audit_entries_action", "audit_entries", ["action", "id"])
    op.create_index("ix_audit_entries_user", "audit_entries", ["user_id", "id"])
    op.create_table(
        "audit_chain",
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["audit_entries.id"], name=op.f("fk_audit_chain_entry_id")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_chain")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_audit_chain_entry_id")),
    )
    op.create_table(
        "access_log",
        sa.Column("id", sa.Integer(), nullable=False),
        moment("at"),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("patient_id", sa.Integer(), nullable=False),
        sa.Column("page", sa.String(60), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_access_log_user_id")),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name=op.f("fk_access_log_patient_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_log")),
    )
    op.create_index("ix_access_log_patient", "access_log", ["patient_id", "id"])
    op.create_index("ix_access_log_user", "access_log", ["user_id", "id"])
    op.create_index("ix_access_log_at", "access_log", ["at", "id"])
    op.create_table(
        "recovery_codes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("code_hash", sa.String(64), nullable=False),
        moment("made_at"),
        moment("used_at", nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_recovery_codes_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_codes")),
    )
    op.create_index("uq_recovery_codes_code", "recovery_codes", ["user_id", "code_hash"], unique=True)
    op.create_table(
        "passkeys",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        moment("made_at"),
        moment("last_used_at", nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_passkeys_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkeys")),
        sa.UniqueConstraint("credential_id", name=op.f("uq_passkeys_credential_id")),
    )
    op.create_index(op.f("ix_passkeys_user_id"), "passkeys", ["user_id"])
    op.create_table(
        "invitations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("name", sa.String(160), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("patient_id", sa.Integer(), nullable=True),
        sa.Column("invited_by", sa.Integer(), nullable=True),
        moment("invited_at"),
        moment("expires_at"),
        moment("used_at", nullable=True),
        moment("revoked_at", nullable=True),
        sa.CheckConstraint(f"role IN {ROLES}", name=op.f("ck_invitations_role_is_known")),
        sa.CheckConstraint(
            "(role = 'patient') = (patient_id IS NOT NULL)", name=op.f("ck_invitations_patients_alone_have_a_patient")
        ),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name=op.f("fk_invitations_patient_id")),
        sa.ForeignKeyConstraint(["invited_by"], ["users.id"], name=op.f("fk_invitations_invited_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invitations_token_hash")),
    )
    op.create_index(op.f("ix_invitations_email"), "invitations", ["email"])
    still_open = sa.text("used_at IS NULL AND revoked_at IS NULL")
    op.create_index(
        "uq_invitations_open", "invitations", ["email"], unique=True,
        sqlite_where=still_open, postgresql_where=still_open,
    )  # fmt: skip
    op.create_index(op.f("ix_invitations_patient_id"), "invitations", ["patient_id"])
    op.create_table(
        "sign_ups",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("given_name", sa.String(80), nullable=False),
        sa.Column("family_name", sa.String(80), nullable=False),
        sa.Column("birth_date", sa.Date(), nullable=True),
        sa.Column("phone", sa.String(40), nullable=False),
        moment("asked_at"),
        moment("expires_at"),
        moment("proved_at", nullable=True),
        sa.Column("password", sa.String(255), nullable=True),
        moment("decided_at", nullable=True),
        sa.Column("decided_by", sa.Integer(), nullable=True),
        sa.Column("patient_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["decided_by"], ["users.id"], name=op.f("fk_sign_ups_decided_by")),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name=op.f("fk_sign_ups_patient_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_ups")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_sign_ups_token_hash")),
    )
    op.create_index(op.f("ix_sign_ups_email"), "sign_ups", ["email"])
    op.create_table(
        "refunds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("payment_id", sa.Integer(), nullable=False),
        sa.Column("invoice_id", sa.Integer(), nullable=False),
        sa.Column("gateway_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(10), nullable=False),
        sa.Column("refund_id", sa.String(255), nullable=True),
        sa.Column("amount_cents", sa.Integer(), nullable=False),
        sa.Column("matched_cents", sa.Integer(), server_default="0", nullable=False),
        sa.Column("credited_cents", sa.Integer(), server_default="0", nullable=False),
        sa.Column("still_owed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("asked_by", sa.Integer(), nullable=True),
        moment("asked_at"),
        moment("next_look_at"),
        moment("ended_at", nullable=True),
        sa.Column("needs_person", sa.Text(), nullable=True),
        sa.CheckConstraint("amount_cents > 0", name=op.f("ck_refunds_amount_is_positive")),
        sa.CheckConstraint("matched_cents BETWEEN 0 AND amount_cents", name=op.f("ck_refunds_matched_is_part_of_it")),
        sa.CheckConstraint(
            "state IN ('asked', 'pending', 'succeeded', 'failed', 'canceled')", name=op.f("ck_refunds_state_is_known")
        ),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_refunds_payment_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_refunds_invoice_id")),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateways.id"], name=op.f("fk_refunds_gateway_id")),
        sa.ForeignKeyConstraint(["asked_by"], ["users.id"], name=op.f("fk_refunds_asked_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
    )
    op.create_index("uq_refunds_refund", "refunds", ["gateway_id", "refund_id"], unique=True)
    op.create_index("uq_refunds_request", "refunds", ["request_id"], unique=True)
    op.create_index("ix_refunds_payment", "refunds", ["payment_id"])
    op.create_index(op.f("ix_refunds_invoice_id"), "refunds", ["invoice_id"])
    open_ones = sa.text("state IN ('asked', 'pending')")
    op.create_index(
        "ix_refunds_next_look", "refunds", ["next_look_at"], sqlite_where=open_ones, postgresql_where=open_ones
    )
    op.create_table(
        "invoice_sums",
        sa.Column("span", sa.String(5), nullable=False),
        sa.Column("location_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("practitioner_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("standing", sa.String(11), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("invoices", sa.Integer(), nullable=False),
        sa.Column("owed_cents", sa.BigInteger(), nullable=False),
        sa.Column("paid_cents", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "span", "location_id", "practitioner_id", "standing", "starts_on", "currency",
            name=op.f("pk_invoice_sums"),
        ),
    )  # fmt: skip
    op.create_table(
        "invoice_changes",
        sa.Column("invoice_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("service_on", sa.Date(), nullable=False),
        sa.Column("location_id", sa.Integer(), nullable=False),
        sa.Column("practitioner_id", sa.Integer(), nullable=True),
        sa.Column("standing", sa.String(11), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("invoices", sa.Integer(), nullable=False),
        sa.Column("owed_cents", sa.Integer(), nullable=False),
        sa.Column("paid_cents", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_invoice_changes_invoice_id")),
        sa.PrimaryKeyConstraint("invoice_id", name=op.f("pk_invoice_changes")),
    )
    op.create_table(
        "charge_looks",
        sa.Column("payment_id", sa.Integer(), autoincrement=False, nullable=False),
        moment("next_look_at"),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_charge_looks_payment_id")),
        sa.PrimaryKeyConstraint("payment_id", name=op.f("pk_charge_looks")),
    )
    op.create_index(op.f("ix_charge_looks_next_look_at"), "charge_looks", ["next_look_at"])
