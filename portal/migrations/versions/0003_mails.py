"""Mails about invoices: pay links, what a mail was about, who wants which mail, and which link paid."""

import sqlalchemy as sa
from alembic import op

import portal.db

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = ("DATETIME", "TIMESTAMP WITH TIME ZONE")
# table: name, type (or one for SQLite and one for PostgreSQL), and the key it refers to or its default
NEW_COLUMNS: dict[str, list[tuple[str, str | tuple[str, str], str]]] = {
    "outbox": [
        ("invoice_id", "INTEGER", "invoices.id"),
        ("patient_id", "INTEGER", "patients.id"),
        ("queued_by", "INTEGER", "users.id"),
        ("unanswered", "INTEGER", "NOT NULL DEFAULT 0"),
    ],
    "payment_attempts": [
        ("pay_link_id", "INTEGER", "pay_links.id"),
        ("receipt_email", "VARCHAR(254)", ""),
    ],
    "patients": [
        ("reminders_off_at", MOMENT, ""),
        ("receipt_pdf_allowed_at", MOMENT, ""),
    ],
}


def upgrade() -> None:
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    create_pay_links()
    for table, columns in NEW_COLUMNS.items():
        for name, kinds, more in columns:
            kind = kinds if isinstance(kinds, str) else kinds[0 if on_sqlite else 1]
            other, is_key, key = more.partition(".")
            rest = f"CONSTRAINT fk_{table}_{name} REFERENCES {other} ({key})" if is_key else more
            op.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind} {rest}")
    for column in ("invoice_id", "patient_id"):
        where = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_outbox_{column.removesuffix('_id')}", "outbox", [column], sqlite_where=where, postgresql_where=where
        )
    open_ones = sa.text("standing IN ('receivable', 'partly paid')")
    op.create_index(
        "ix_invoices_due", "invoices", ["due_on", "id"], sqlite_where=open_ones, postgresql_where=open_ones
    )


def create_pay_links() -> None:
    def moment(name: str, *, nullable: bool = True) -> sa.Column[sa.DateTime]:
        return sa.Column(name, portal.db.Utc(timezone=True), nullable=nullable)

    op.create_table(
        "pay_links",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(32), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("token_sealed", sa.Text(), nullable=True),
        sa.Column("invoice_id", sa.Integer(), nullable=False),
        sa.Column("medium", sa.String(10), nullable=False),
        sa.Column("made_by", sa.Integer(), nullable=True),
        moment("made_at", nullable=False),
        moment("expires_at", nullable=False),
        moment("revoked_at"),
        moment("replaced_at"),
        sa.CheckConstraint("medium IN ('mail', 'paper')", name=op.f("ck_pay_links_medium_is_known")),
        sa.CheckConstraint(
            "token_sealed IS NULL OR medium = 'paper'", name=op.f("ck_pay_links_mail_keeps_a_hash_alone")
        ),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_pay_links_invoice_id")),
        sa.ForeignKeyConstraint(["made_by"], ["users.id"], name=op.f("fk_pay_links_made_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pay_links")),
    )
    op.create_index("uq_pay_links_public", "pay_links", ["public_id"], unique=True)
    op.create_index("uq_pay_links_token", "pay_links", ["token_hash"], unique=True)
    standing = sa.text("revoked_at IS NULL AND replaced_at IS NULL")
    op.create_index(
        "uq_pay_links_standing", "pay_links", ["invoice_id", "medium"], unique=True,
        sqlite_where=standing, postgresql_where=standing,
    )  # fmt: skip
    op.create_index("ix_pay_links_invoice", "pay_links", ["invoice_id"])
