"""The first form of the clinic database: its tables, and the rules that the database itself keeps.

Triggers keep each invoice's `owed_cents`, `paid_cents` and `version` in step with what is appended to its books, refuse
every change to what was appended, and hold an attempt to the invoice, amount, gateway and mode that it began with.
"""

import sqlalchemy as sa
from alembic import op

import portal.db

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ADDS_TO_OWED = {"invoice_lines": "net_cents", "line_taxes": "amount_cents", "adjustments": "amount_cents"}
APPEND_ONLY = (*ADDS_TO_OWED, "payments")
# The day an invoice was last paid: refunds, reversals and payments of the past don't move it.
LAST_PAID = (
    "CASE WHEN NEW.amount_cents > 0 AND (last_paid_at IS NULL OR NEW.received_at > last_paid_at) "
    "THEN NEW.received_at ELSE last_paid_at END"
)
FROZEN = ("invoice_id", "payer_id", "gateway_id", "mode", "amount_cents", "currency", "invoice_version")


def upgrade() -> None:
    create_tables()
    if op.get_bind().dialect.name == "sqlite":
        sqlite_rules()
    else:
        postgresql_rules()


def sqlite_rules() -> None:
    for table, column in ADDS_TO_OWED.items():
        op.execute(
            f"CREATE TRIGGER {table}_are_owed AFTER INSERT ON {table} BEGIN "
            f"UPDATE invoices SET owed_cents = owed_cents + NEW.{column}, version = version + 1 "
            "WHERE id = NEW.invoice_id; END"
        )
    op.execute(
        "CREATE TRIGGER payments_are_paid AFTER INSERT ON payments BEGIN "
        f"UPDATE invoices SET paid_cents = paid_cents + NEW.amount_cents, last_paid_at = {LAST_PAID} "
        "WHERE id = NEW.invoice_id; END"
    )
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_only_grow_{verb.lower()} BEFORE {verb} ON {table} BEGIN "
                f"SELECT RAISE(ABORT, '{table} only grow'); END"
            )
    changed = " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in FROZEN)
    op.execute(
        "CREATE TRIGGER payment_attempts_stay_what_they_are BEFORE UPDATE ON payment_attempts "
        f"WHEN {changed} OR (OLD.account IS NOT NULL AND NEW.account IS NOT OLD.account) BEGIN "
        "SELECT RAISE(ABORT, 'an attempt keeps what it began with'); END"
    )


def postgresql_rules() -> None:
    for table, column in ADDS_TO_OWED.items():
        op.execute(
            f"CREATE FUNCTION {table}_are_owed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"UPDATE invoices SET owed_cents = owed_cents + NEW.{column}, version = version + 1 "
            "WHERE id = NEW.invoice_id; RETURN NULL; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_are_owed AFTER INSERT ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {table}_are_owed()"
        )
    op.execute(
        "CREATE FUNCTION payments_are_paid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"UPDATE invoices SET paid_cents = paid_cents + NEW.amount_cents, last_paid_at = {LAST_PAID} "
        "WHERE id = NEW.invoice_id; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER payments_are_paid AFTER INSERT ON payments FOR EACH ROW EXECUTE FUNCTION payments_are_paid()"
    )
    op.execute(
        "CREATE FUNCTION only_grows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION '% only grow', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_only_grow BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION only_grows()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_only_grow_whole BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION only_grows()"
        )
    changed = " OR ".join(f"NEW.{column} IS DISTINCT FROM OLD.{column}" for column in FROZEN)
    op.execute(
        "CREATE FUNCTION attempt_stays() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'an attempt keeps what it began with' "
        "USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER payment_attempts_stay_what_they_are BEFORE UPDATE ON payment_attempts FOR EACH ROW "
        f"WHEN ({changed} OR (OLD.account IS NOT NULL AND NEW.account IS DISTINCT FROM OLD.account)) "
        "EXECUTE FUNCTION attempt_stays()"
    )


def create_tables() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("next_value", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "locations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("phone", sa.String(length=40), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("tax_numbers", sa.Text(), nullable=False),
        sa.Column("invoice_prefix", sa.String(length=12), nullable=False),
        sa.Column("next_invoice_number", sa.Integer(), nullable=False),
        sa.Column("payment_terms_days", sa.Integer(), nullable=False),
        sa.CheckConstraint("length(currency) = 3", name=op.f("ck_locations_currency_is_iso")),
        sa.CheckConstraint("next_invoice_number > 0", name=op.f("ck_locations_numbers_are_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_locations")),
        sa.UniqueConstraint("name", name=op.f("uq_locations_name")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_key", sa.String(length=120), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("recipient", sa.String(length=254), nullable=False),
        sa.Column("words_sealed", sa.Text(), nullable=True),
        sa.Column("message_id", sa.String(length=120), nullable=False),
        sa.Column("queued_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("next_try_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("sent_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("failed_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("event_key", name=op.f("uq_outbox_event_key")),
    )
    op.create_index(
        "ix_outbox_waiting",
        "outbox",
        ["next_try_at"],
        unique=False,
        sqlite_where=sa.text("sent_at IS NULL AND failed_at IS NULL"),
        postgresql_where=sa.text("sent_at IS NULL AND failed_at IS NULL"),
    )
    op.create_table(
        "patients",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("given_name", sa.String(length=80), nullable=False),
        sa.Column("family_name", sa.String(length=80), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("phone", sa.String(length=40), nullable=False),
        sa.Column("birth_date", sa.Date(), nullable=True),
        sa.Column("created_at", portal.db.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patients")),
    )
    op.create_index(op.f("ix_patients_email"), "patients", ["email"], unique=False)
    op.create_table(
        "practitioners",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("credentials", sa.String(length=40), nullable=False),
        sa.Column("registration", sa.String(length=60), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_practitioners")),
    )
    op.create_table(
        "services",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=160), nullable=False),
        sa.Column("price_cents", sa.Integer(), nullable=False),
        sa.Column("is_product", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.CheckConstraint("price_cents >= 0", name=op.f("ck_services_price_is_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_services")),
        sa.UniqueConstraint("name", name=op.f("uq_services_name")),
    )
    op.create_table(
        "settings",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column(
            "updated_at",
            portal.db.Utc(timezone=True),
            server_default=sa.text("CURRENT_TIMESTAMP"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_settings")),
    )
    op.create_table(
        "taxes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("rate_per_100k", sa.Integer(), nullable=False),
        sa.Column("compound", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.CheckConstraint("rate_per_100k BETWEEN 0 AND 100000", name=op.f("ck_taxes_rate_is_a_share")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_taxes")),
        sa.UniqueConstraint("name", name=op.f("uq_taxes_name")),
    )
    op.create_table(
        "try_counts",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("expires_at", portal.db.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_try_counts")),
    )
    op.create_index(op.f("ix_try_counts_expires_at"), "try_counts", ["expires_at"], unique=False)
    op.create_table(
        "gateways",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), server_default="stripe", nullable=False),
        sa.Column("location_id", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("mode", sa.String(length=10), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", portal.db.Utc(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('stripe')", name=op.f("ck_gateways_kind_is_known")),
        sa.CheckConstraint("mode IN ('test', 'production')", name=op.f("ck_gateways_mode_is_known")),
        sa.CheckConstraint("status IN ('active', 'inactive')", name=op.f("ck_gateways_status_is_known")),
        sa.ForeignKeyConstraint(["location_id"], ["locations.id"], name=op.f("fk_gateways_location_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateways")),
        sa.UniqueConstraint("public_id", name=op.f("uq_gateways_public_id")),
    )
    op.create_index(
        "uq_gateways_default_of_clinic",
        "gateways",
        ["is_default"],
        unique=True,
        sqlite_where=sa.text("location_id IS NULL AND is_default"),
        postgresql_where=sa.text("location_id IS NULL AND is_default"),
    )
    op.create_index(
        "uq_gateways_default_of_location",
        "gateways",
        ["location_id"],
        unique=True,
        sqlite_where=sa.text("location_id IS NOT NULL AND is_default"),
        postgresql_where=sa.text("location_id IS NOT NULL AND is_default"),
    )
    op.create_table(
        "invoices",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(length=24), nullable=False),
        sa.Column("location_id", sa.Integer(), nullable=False),
        sa.Column("patient_id", sa.Integer(), nullable=False),
        sa.Column("practitioner_id", sa.Integer(), nullable=True),
        sa.Column("service_on", sa.Date(), nullable=False),
        sa.Column("issued_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("owed_cents", sa.Integer(), server_default="0", nullable=False),
        sa.Column("paid_cents", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_paid_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("voided_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("void_reason", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "balance_cents",
            sa.Integer(),
            sa.Computed("(CASE WHEN voided_at IS NULL THEN owed_cents ELSE 0 END) - paid_cents", persisted=True),
            nullable=False,
        ),
        sa.CheckConstraint("length(currency) = 3", name=op.f("ck_invoices_currency_is_iso")),
        sa.ForeignKeyConstraint(["location_id"], ["locations.id"], name=op.f("fk_invoices_location_id")),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name=op.f("fk_invoices_patient_id")),
        sa.ForeignKeyConstraint(["practitioner_id"], ["practitioners.id"], name=op.f("fk_invoices_practitioner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoices")),
        sa.UniqueConstraint("number", name=op.f("uq_invoices_number")),
    )
    op.create_index(
        "ix_invoices_closed",
        "invoices",
        ["patient_id", "service_on", "id"],
        unique=False,
        postgresql_where=sa.text("balance_cents <= 0"),
        sqlite_where=sa.text("balance_cents <= 0"),
    )
    op.create_index(
        "ix_invoices_open",
        "invoices",
        ["patient_id", "due_on", "id"],
        unique=False,
        postgresql_where=sa.text("balance_cents > 0"),
        sqlite_where=sa.text("balance_cents > 0"),
    )
    op.create_table(
        "payer_links",
        sa.Column("payer_id", sa.Integer(), nullable=False),
        sa.Column("patient_id", sa.Integer(), nullable=False),
        sa.Column("sees_lines", sa.Boolean(), nullable=False),
        sa.Column("created_at", portal.db.Utc(timezone=True), nullable=False),
        sa.CheckConstraint("payer_id <> patient_id", name=op.f("ck_payer_links_not_oneself")),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name=op.f("fk_payer_links_patient_id")),
        sa.ForeignKeyConstraint(["payer_id"], ["patients.id"], name=op.f("fk_payer_links_payer_id")),
        sa.PrimaryKeyConstraint("payer_id", "patient_id", name=op.f("pk_payer_links")),
    )
    op.create_index(op.f("ix_payer_links_patient_id"), "payer_links", ["patient_id"], unique=False)
    op.create_table(
        "service_taxes",
        sa.Column("service_id", sa.Integer(), nullable=False),
        sa.Column("tax_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_service_taxes_service_id")),
        sa.ForeignKeyConstraint(["tax_id"], ["taxes.id"], name=op.f("fk_service_taxes_tax_id")),
        sa.PrimaryKeyConstraint("service_id", "tax_id", name=op.f("pk_service_taxes")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("password", sa.String(length=255), nullable=True),
        sa.Column("name", sa.String(length=160), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("fs_uniquifier", sa.String(length=64), nullable=False),
        sa.Column("patient_id", sa.Integer(), nullable=True),
        sa.Column("created_at", portal.db.Utc(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(role = 'patient') = (patient_id IS NOT NULL)",
            name=op.f("ck_users_patients_alone_have_a_patient"),
        ),
        sa.CheckConstraint(
            "role IN ('patient', 'front_desk', 'billing', 'practitioner', 'administrator')",
            name=op.f("ck_users_role_is_known"),
        ),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_users_email_is_lower_case")),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name=op.f("fk_users_patient_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.UniqueConstraint("fs_uniquifier", name=op.f("uq_users_fs_uniquifier")),
        sa.UniqueConstraint("patient_id", name=op.f("uq_users_patient_id")),
    )
    op.create_table(
        "adjustments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("invoice_id", sa.Integer(), nullable=False),
        sa.Column("amount_cents", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("made_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("made_by", sa.Integer(), nullable=True),
        sa.CheckConstraint("amount_cents <> 0", name=op.f("ck_adjustments_amount_is_not_zero")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_adjustments_invoice_id")),
        sa.ForeignKeyConstraint(["made_by"], ["users.id"], name=op.f("fk_adjustments_made_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adjustments")),
    )
    op.create_index(op.f("ix_adjustments_invoice_id"), "adjustments", ["invoice_id"], unique=False)
    op.create_table(
        "gateway_credentials",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("gateway_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=10), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=True),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("secret_sealed", sa.Text(), nullable=False),
        sa.Column("webhook_secret_sealed", sa.Text(), nullable=True),
        sa.Column("previous_webhook_secret_sealed", sa.Text(), nullable=True),
        sa.Column("previous_webhook_secret_until", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("changed_at", portal.db.Utc(timezone=True), nullable=False),
        sa.CheckConstraint("mode IN ('test', 'production')", name=op.f("ck_gateway_credentials_mode_is_known")),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateways.id"], name=op.f("fk_gateway_credentials_gateway_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_credentials")),
    )
    op.create_index("uq_gateway_credentials_mode", "gateway_credentials", ["gateway_id", "mode"], unique=True)
    op.create_table(
        "gateway_customers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("payer_id", sa.Integer(), nullable=False),
        sa.Column("gateway_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=10), nullable=False),
        sa.Column("customer_sealed", sa.Text(), nullable=False),
        sa.Column("customer_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", portal.db.Utc(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateways.id"], name=op.f("fk_gateway_customers_gateway_id")),
        sa.ForeignKeyConstraint(["payer_id"], ["patients.id"], name=op.f("fk_gateway_customers_payer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_customers")),
    )
    op.create_index(op.f("ix_gateway_customers_customer_hash"), "gateway_customers", ["customer_hash"], unique=False)
    op.create_index(
        "uq_gateway_customers_payer", "gateway_customers", ["payer_id", "gateway_id", "mode"], unique=True
    )
    op.create_table(
        "invoice_lines",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("invoice_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("service_id", sa.Integer(), nullable=True),
        sa.Column("description", sa.String(length=200), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_cents", sa.Integer(), nullable=False),
        sa.Column("net_cents", sa.Integer(), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_invoice_lines_quantity_is_positive")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_invoice_lines_invoice_id")),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_invoice_lines_service_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_lines")),
    )
    op.create_index(op.f("ix_invoice_lines_invoice_id"), "invoice_lines", ["invoice_id"], unique=False)
    op.create_table(
        "payment_attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Integer(), nullable=False),
        sa.Column("payer_id", sa.Integer(), nullable=True),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("gateway_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=10), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=True),
        sa.Column("amount_cents", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("invoice_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("intent_id", sa.String(length=255), nullable=True),
        sa.Column("order", sa.JSON(), nullable=True),
        sa.Column("means", sa.JSON(), nullable=True),
        sa.Column("confirmations", sa.Integer(), nullable=False),
        sa.Column("save_card", sa.Boolean(), nullable=False),
        sa.Column("card_brand", sa.String(length=40), nullable=True),
        sa.Column("card_last4", sa.String(length=4), nullable=True),
        sa.Column("reason", sa.String(length=80), nullable=True),
        sa.Column("started_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("held_until", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("next_look_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("deadline_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("ended_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("needs_person", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('created', 'confirming', 'requires_action', 'processing', 'declined', 'succeeded', 'canceled', 'failed')",
            name=op.f("ck_payment_attempts_state_is_known"),
        ),
        sa.CheckConstraint("amount_cents > 0", name=op.f("ck_payment_attempts_amount_is_positive")),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateways.id"], name=op.f("fk_payment_attempts_gateway_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_payment_attempts_invoice_id")),
        sa.ForeignKeyConstraint(["payer_id"], ["patients.id"], name=op.f("fk_payment_attempts_payer_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_payment_attempts_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_attempts")),
    )
    op.create_index("ix_payment_attempts_invoice", "payment_attempts", ["invoice_id"], unique=False)
    op.create_index(
        "ix_payment_attempts_next_look",
        "payment_attempts",
        ["next_look_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('confirming', 'created', 'declined', 'processing', 'requires_action')"),
        postgresql_where=sa.text("state IN ('confirming', 'created', 'declined', 'processing', 'requires_action')"),
    )
    op.create_index("uq_payment_attempts_intent", "payment_attempts", ["gateway_id", "intent_id"], unique=True)
    op.create_index(
        "uq_payment_attempts_live",
        "payment_attempts",
        ["invoice_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('confirming', 'created', 'declined', 'processing', 'requires_action')"),
        postgresql_where=sa.text("state IN ('confirming', 'created', 'declined', 'processing', 'requires_action')"),
    )
    op.create_table(
        "saved_cards",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("payer_id", sa.Integer(), nullable=False),
        sa.Column("gateway_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=10), nullable=False),
        sa.Column("method_sealed", sa.Text(), nullable=False),
        sa.Column("method_hash", sa.String(length=64), nullable=False),
        sa.Column("brand", sa.String(length=40), nullable=False),
        sa.Column("funding", sa.String(length=20), nullable=False),
        sa.Column("last4", sa.String(length=4), nullable=False),
        sa.Column("exp_month", sa.Integer(), nullable=False),
        sa.Column("exp_year", sa.Integer(), nullable=False),
        sa.Column("is_usual", sa.Boolean(), nullable=False),
        sa.Column("consent_version", sa.String(length=20), nullable=False),
        sa.Column("consented_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("consented_by", sa.Integer(), nullable=True),
        sa.Column("removed_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("detached_at", portal.db.Utc(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["consented_by"], ["users.id"], name=op.f("fk_saved_cards_consented_by")),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateways.id"], name=op.f("fk_saved_cards_gateway_id")),
        sa.ForeignKeyConstraint(["payer_id"], ["patients.id"], name=op.f("fk_saved_cards_payer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_cards")),
        sa.UniqueConstraint("public_id", name=op.f("uq_saved_cards_public_id")),
    )
    op.create_index(
        "ix_saved_cards_payer",
        "saved_cards",
        ["payer_id"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index("uq_saved_cards_method", "saved_cards", ["gateway_id", "method_hash"], unique=True)
    op.create_index(
        "uq_saved_cards_usual",
        "saved_cards",
        ["payer_id", "gateway_id", "mode"],
        unique=True,
        sqlite_where=sa.text("is_usual AND removed_at IS NULL"),
        postgresql_where=sa.text("is_usual AND removed_at IS NULL"),
    )
    op.create_table(
        "sign_ins",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("started_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("expires_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("ended_at", portal.db.Utc(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sign_ins_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_ins")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_sign_ins_token_hash")),
    )
    op.create_index(op.f("ix_sign_ins_user_id"), "sign_ins", ["user_id"], unique=False)
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("gateway_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=10), nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=80), nullable=False),
        sa.Column("object_id", sa.String(length=255), nullable=False),
        sa.Column("intent_id", sa.String(length=255), nullable=True),
        sa.Column("happened_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("received_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("next_try_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("handled_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateways.id"], name=op.f("fk_webhook_events_gateway_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
    )
    op.create_index(
        "ix_webhook_events_waiting",
        "webhook_events",
        ["next_try_at"],
        unique=False,
        sqlite_where=sa.text("handled_at IS NULL"),
        postgresql_where=sa.text("handled_at IS NULL"),
    )
    op.create_index("uq_webhook_events_event", "webhook_events", ["gateway_id", "event_id"], unique=True)
    op.create_table(
        "line_taxes",
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("rate_per_100k", sa.Integer(), nullable=False),
        sa.Column("amount_cents", sa.Integer(), nullable=False),
        sa.Column("invoice_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_line_taxes_invoice_id")),
        sa.ForeignKeyConstraint(["line_id"], ["invoice_lines.id"], name=op.f("fk_line_taxes_line_id")),
        sa.PrimaryKeyConstraint("line_id", "position", name=op.f("pk_line_taxes")),
    )
    op.create_index(op.f("ix_line_taxes_invoice_id"), "line_taxes", ["invoice_id"], unique=False)
    op.create_table(
        "payments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("receipt_number", sa.String(length=24), nullable=True),
        sa.Column("invoice_id", sa.Integer(), nullable=False),
        sa.Column("payer_id", sa.Integer(), nullable=True),
        sa.Column("attempt_id", sa.Uuid(), nullable=True),
        sa.Column("gateway_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("amount_cents", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("charge_id", sa.String(length=255), nullable=True),
        sa.Column("refund_id", sa.String(length=255), nullable=True),
        sa.Column("reverses_id", sa.Integer(), nullable=True),
        sa.Column("brand", sa.String(length=40), nullable=True),
        sa.Column("funding", sa.String(length=20), nullable=True),
        sa.Column("last4", sa.String(length=4), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("received_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('card', 'cash', 'cheque', 'e-transfer', 'insurance', 'other')",
            name=op.f("ck_payments_kind_is_known"),
        ),
        sa.CheckConstraint("amount_cents <> 0", name=op.f("ck_payments_amount_is_not_zero")),
        sa.ForeignKeyConstraint(["attempt_id"], ["payment_attempts.id"], name=op.f("fk_payments_attempt_id")),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateways.id"], name=op.f("fk_payments_gateway_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_payments_invoice_id")),
        sa.ForeignKeyConstraint(["payer_id"], ["patients.id"], name=op.f("fk_payments_payer_id")),
        sa.ForeignKeyConstraint(["recorded_by"], ["users.id"], name=op.f("fk_payments_recorded_by")),
        sa.ForeignKeyConstraint(["reverses_id"], ["payments.id"], name=op.f("fk_payments_reverses_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint("receipt_number", name=op.f("uq_payments_receipt_number")),
    )
    op.create_index("ix_payments_invoice", "payments", ["invoice_id"], unique=False)
    op.create_index("uq_payments_attempt", "payments", ["attempt_id"], unique=True)
    op.create_index(
        "uq_payments_charge",
        "payments",
        ["gateway_id", "charge_id"],
        unique=True,
        sqlite_where=sa.text("amount_cents > 0"),
        postgresql_where=sa.text("amount_cents > 0"),
    )
    op.create_index("uq_payments_refund", "payments", ["gateway_id", "refund_id"], unique=True)
    op.create_table(
        "cases",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("invoice_id", sa.Integer(), nullable=False),
        sa.Column("payment_id", sa.Integer(), nullable=False),
        sa.Column("amount_cents", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("opened_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("closed_at", portal.db.Utc(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('overpaid', 'refund_due')", name=op.f("ck_cases_kind_is_known")),
        sa.CheckConstraint("amount_cents > 0", name=op.f("ck_cases_amount_is_positive")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_cases_invoice_id")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_cases_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cases")),
    )
    op.create_index(op.f("ix_cases_invoice_id"), "cases", ["invoice_id"], unique=False)
    op.create_index("uq_cases_payment", "cases", ["kind", "payment_id"], unique=True)
