"""Programs: groups that people register and pay for, with places that the database counts.

Triggers keep how many places a program has given away and how often a promo code is used; CHECKs hold both to what
there is. An invoice without a number of its own yet stands as "unconfirmed", and no list or sum has it.
"""

import sqlalchemy as sa
from alembic import op

import portal.db

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TAKES_PLACE = "('confirmed', 'held', 'offered')"
STANDING = (
    "CASE WHEN {row}number LIKE '~%' THEN 'unconfirmed' WHEN {row}voided_at IS NOT NULL THEN 'void' "
    "WHEN {row}owed_cents <= {row}paid_cents THEN 'paid' "
    "WHEN {row}paid_cents > 0 THEN 'partly paid' ELSE 'receivable' END"
)
COUNTED = "service_on, location_id, practitioner_id, standing, currency, invoices, owed_cents, paid_cents"
WATCHED = "number, service_on, location_id, practitioner_id, currency, owed_cents, paid_cents, voided_at"


def upgrade() -> None:
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    create_tables()
    for table, name, key in (("invoices", "program_id", "programs"), ("outbox", "registration_id", "registrations")):
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN {name} INTEGER CONSTRAINT fk_{table}_{name} REFERENCES {key} (id)"
        )
    if on_sqlite:
        count_places_on_sqlite()
        stand_on_sqlite()
    else:
        count_places_on_postgresql()
        stand_on_postgresql()


# --- places and uses are counted by the database --------------------------------------------------------------------

# What a row of `registrations` counts for: which counter, of which row, and when.
COUNTERS = (
    ("programs", "taken", "program_id", f"{{row}}.state IN {TAKES_PLACE}"),
    ("programs", "waiting", "program_id", "{row}.state = 'waiting'"),
    ("promo_codes", "used", "promo_code_id", f"{{row}}.state IN {TAKES_PLACE}"),
)


def counting(row: str, sign: str, other: str = "") -> str:
    """Statements that count a row in or out. (One that belongs to no promo code changes none.)

    `other`: what the row was, or becomes. Where it counts there just as well, nothing is touched, and so nothing is
    locked: a place that is confirmed makes nobody wait who uses the same promo code.
    """
    return " ".join(
        f"UPDATE {table} SET {column} = {column} {sign} 1 WHERE id = {row}.{key} AND {counts.format(row=row)}"
        + (f" AND NOT (coalesce({other}.{key}, 0) = id AND {counts.format(row=other)});" if other else ";")
        for table, column, key, counts in COUNTERS
    )


def count_places_on_sqlite() -> None:
    out, in_ = counting("OLD", "-"), counting("NEW", "+")
    moved = f"{counting('OLD', '-', 'NEW')} {counting('NEW', '+', 'OLD')}"
    for name, event, work in (
        ("in", "INSERT", in_),
        ("moved", "UPDATE OF state, program_id, promo_code_id", moved),
        ("out", "DELETE", out),
    ):
        op.execute(f"CREATE TRIGGER registrations_are_counted_{name} AFTER {event} ON registrations BEGIN {work} END")


def count_places_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION registrations_are_counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'INSERT' THEN {counting('NEW', '+')} "
        f"ELSIF TG_OP = 'DELETE' THEN {counting('OLD', '-')} "
        f"ELSE {counting('OLD', '-', 'NEW')} {counting('NEW', '+', 'OLD')} END IF; "
        "RETURN NULL; END $$"
    )
    for name, event in (("in", "INSERT"), ("moved", "UPDATE OF state, program_id, promo_code_id"), ("out", "DELETE")):
        op.execute(
            f"CREATE TRIGGER registrations_are_counted_{name} AFTER {event} ON registrations "
            "FOR EACH ROW EXECUTE FUNCTION registrations_are_counted()"
        )


# --- an invoice without its number is on no list --------------------------------------------------------------------


def stand_on_sqlite() -> None:
    stands = STANDING.format(row="NEW.")
    for event in ("INSERT", "UPDATE OF number, owed_cents, paid_cents, voided_at, standing"):
        name = f"invoices_stand_{event[:6].lower()}"
        op.execute(f"DROP TRIGGER {name}")
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON invoices WHEN NEW.standing IS NOT {stands} BEGIN "
            f"UPDATE invoices SET standing = {stands} WHERE id = NEW.id; END"
        )
    op.execute("DROP TRIGGER invoices_are_noted_changed")
    was = (
        "OLD.service_on, OLD.location_id, OLD.practitioner_id, OLD.standing, OLD.currency, 1, "
        "CASE WHEN OLD.voided_at IS NULL THEN OLD.owed_cents ELSE 0 END, "
        "CASE WHEN OLD.voided_at IS NULL THEN OLD.paid_cents ELSE 0 END"
    )
    op.execute(
        f"CREATE TRIGGER invoices_are_noted_changed AFTER UPDATE OF {WATCHED} ON invoices FOR EACH ROW "
        "WHEN NOT EXISTS (SELECT 1 FROM invoice_changes WHERE invoice_id = NEW.id) "
        f"BEGIN INSERT INTO invoice_changes (invoice_id, {COUNTED}) VALUES (NEW.id, {was}); END"
    )


def stand_on_postgresql() -> None:
    stands = STANDING.format(row="NEW.")
    op.execute(
        "CREATE OR REPLACE FUNCTION invoices_stand() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"NEW.standing := {stands}; RETURN NEW; END $$"
    )
    op.execute("DROP TRIGGER invoices_stand ON invoices")
    op.execute(
        "CREATE TRIGGER invoices_stand BEFORE INSERT OR UPDATE ON invoices "
        f"FOR EACH ROW WHEN (NEW.standing IS DISTINCT FROM {stands}) EXECUTE FUNCTION invoices_stand()"
    )
    op.execute("DROP TRIGGER invoices_are_noted_changed ON invoices")
    op.execute(
        f"CREATE TRIGGER invoices_are_noted_changed AFTER UPDATE OF {WATCHED} ON invoices FOR EACH ROW "
        "EXECUTE FUNCTION invoices_are_noted_changed()"
    )


# --- the tables -----------------------------------------------------------------------------------------------------


def create_tables() -> None:
    op.create_table(
        "programs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("location_id", sa.Integer(), nullable=False),
        sa.Column("practitioner_id", sa.Integer(), nullable=True),
        sa.Column("price_cents", sa.Integer(), nullable=False),
        sa.Column("early_price_cents", sa.Integer(), nullable=True),
        sa.Column("early_until", sa.Date(), nullable=True),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("waitlist_size", sa.Integer(), server_default="0", nullable=False),
        sa.Column("opens_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("closes_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("visible", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("refund_days", sa.Integer(), server_default="7", nullable=False),
        sa.Column("late_share_percent", sa.Integer(), server_default="0", nullable=False),
        sa.Column("taken", sa.Integer(), server_default="0", nullable=False),
        sa.Column("waiting", sa.Integer(), server_default="0", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "(early_price_cents IS NULL) = (early_until IS NULL)", name=op.f("ck_programs_early_price_has_its_day")
        ),
        sa.CheckConstraint("capacity BETWEEN 1 AND 10000", name=op.f("ck_programs_capacity_is_a_group")),
        sa.CheckConstraint("late_share_percent BETWEEN 0 AND 100", name=op.f("ck_programs_late_share_is_a_share")),
        sa.CheckConstraint(
            "price_cents >= 0 AND (early_price_cents IS NULL OR early_price_cents >= 0)",
            name=op.f("ck_programs_price_is_not_negative"),
        ),
        sa.CheckConstraint("refund_days BETWEEN 0 AND 365", name=op.f("ck_programs_refund_days_are_days")),
        sa.CheckConstraint("taken BETWEEN 0 AND capacity", name=op.f("ck_programs_places_are_enough")),
        sa.CheckConstraint("waiting >= 0", name=op.f("ck_programs_waiting_is_a_number")),
        sa.CheckConstraint("waitlist_size BETWEEN 0 AND 1000", name=op.f("ck_programs_waitlist_is_a_list")),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_programs_created_by")),
        sa.ForeignKeyConstraint(["location_id"], ["locations.id"], name=op.f("fk_programs_location_id")),
        sa.ForeignKeyConstraint(["practitioner_id"], ["practitioners.id"], name=op.f("fk_programs_practitioner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_programs")),
        sa.UniqueConstraint("public_id", name=op.f("uq_programs_public_id")),
        sa.UniqueConstraint("request_id", name=op.f("uq_programs_request_id")),
    )
    op.create_table(
        "program_questions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("text", sa.String(length=500), nullable=False),
        sa.Column("choices", sa.Text(), server_default="", nullable=False),
        sa.Column("required", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.CheckConstraint("kind IN ('choice', 'consent', 'text')", name=op.f("ck_program_questions_kind_is_known")),
        sa.ForeignKeyConstraint(["program_id"], ["programs.id"], name=op.f("fk_program_questions_program_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_program_questions")),
    )
    op.create_index("ix_program_questions_program", "program_questions", ["program_id", "position"], unique=False)
    op.create_table(
        "program_sessions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("starts_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("ends_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("room", sa.String(length=80), server_default="", nullable=False),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_program_sessions_ends_after_it_starts")),
        sa.ForeignKeyConstraint(["program_id"], ["programs.id"], name=op.f("fk_program_sessions_program_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_program_sessions")),
    )
    op.create_index("ix_program_sessions_program", "program_sessions", ["program_id", "starts_at"], unique=False)
    op.create_index("ix_program_sessions_starts", "program_sessions", ["starts_at"], unique=False)
    op.create_table(
        "program_taxes",
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("tax_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["program_id"], ["programs.id"], name=op.f("fk_program_taxes_program_id")),
        sa.ForeignKeyConstraint(["tax_id"], ["taxes.id"], name=op.f("fk_program_taxes_tax_id")),
        sa.PrimaryKeyConstraint("program_id", "tax_id", name=op.f("pk_program_taxes")),
    )
    op.create_table(
        "promo_codes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=True),
        sa.Column("amount_cents", sa.Integer(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("program_id", sa.Integer(), nullable=True),
        sa.Column("starts_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("ends_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("uses", sa.Integer(), nullable=True),
        sa.Column("used", sa.Integer(), server_default="0", nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("created_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "(percent IS NULL) <> (amount_cents IS NULL)", name=op.f("ck_promo_codes_takes_off_an_amount_or_a_share")
        ),
        sa.CheckConstraint("amount_cents > 0", name=op.f("ck_promo_codes_amount_is_positive")),
        sa.CheckConstraint("code = upper(code)", name=op.f("ck_promo_codes_code_is_upper_case")),
        sa.CheckConstraint("percent BETWEEN 1 AND 100", name=op.f("ck_promo_codes_percent_is_a_share")),
        sa.CheckConstraint(
            "used >= 0 AND (uses IS NULL OR used <= uses)", name=op.f("ck_promo_codes_uses_are_enough")
        ),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_promo_codes_created_by")),
        sa.ForeignKeyConstraint(["program_id"], ["programs.id"], name=op.f("fk_promo_codes_program_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promo_codes")),
        sa.UniqueConstraint("code", name=op.f("uq_promo_codes_code")),
    )
    op.create_index(op.f("ix_promo_codes_program_id"), "promo_codes", ["program_id"], unique=False)
    op.create_table(
        "registrations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(length=24), nullable=False),
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("patient_id", sa.Integer(), nullable=True),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("holder_hash", sa.String(length=64), nullable=True),
        sa.Column("channel", sa.String(length=10), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("held_until", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("first_until", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("waiting_since", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("offers", sa.Integer(), server_default="0", nullable=False),
        sa.Column("price_cents", sa.Integer(), nullable=False),
        sa.Column("discount_cents", sa.Integer(), server_default="0", nullable=False),
        sa.Column("promo_code_id", sa.Integer(), nullable=True),
        sa.Column("invoice_id", sa.Integer(), nullable=True),
        sa.Column("kept_cents", sa.Integer(), server_default="0", nullable=False),
        sa.Column("give_back_cents", sa.Integer(), server_default="0", nullable=False),
        sa.Column("give_back_asked_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("created_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("confirmed_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("ended_at", portal.db.Utc(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Integer(), nullable=True),
        sa.Column("why", sa.String(length=40), server_default="", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint(
            "(state IN ('held', 'offered')) = (held_until IS NOT NULL)",
            name=op.f("ck_registrations_who_holds_has_a_clock"),
        ),
        sa.CheckConstraint(
            "state <> 'confirmed' OR patient_id IS NOT NULL", name=op.f("ck_registrations_who_is_confirmed_is_known")
        ),
        sa.CheckConstraint(
            "state IN ('cancelled', 'confirmed', 'held', 'lapsed', 'offered', 'released', 'waiting')",
            name=op.f("ck_registrations_state_is_known"),
        ),
        sa.CheckConstraint(
            "discount_cents BETWEEN 0 AND price_cents", name=op.f("ck_registrations_discount_is_part_of_the_price")
        ),
        sa.CheckConstraint(
            "give_back_cents >= 0 AND kept_cents >= 0", name=op.f("ck_registrations_amounts_are_not_negative")
        ),
        sa.ForeignKeyConstraint(["ended_by"], ["users.id"], name=op.f("fk_registrations_ended_by")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_registrations_invoice_id")),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name=op.f("fk_registrations_patient_id")),
        sa.ForeignKeyConstraint(["program_id"], ["programs.id"], name=op.f("fk_registrations_program_id")),
        sa.ForeignKeyConstraint(["promo_code_id"], ["promo_codes.id"], name=op.f("fk_registrations_promo_code_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_registrations_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registrations")),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_registrations_invoice_id")),
        sa.UniqueConstraint("public_id", name=op.f("uq_registrations_public_id")),
        sa.UniqueConstraint("request_id", name=op.f("uq_registrations_request_id")),
    )
    op.create_index(
        "ix_registrations_clock",
        "registrations",
        ["held_until"],
        unique=False,
        sqlite_where=sa.text("held_until IS NOT NULL"),
        postgresql_where=sa.text("held_until IS NOT NULL"),
    )
    op.create_index(op.f("ix_registrations_holder_hash"), "registrations", ["holder_hash"], unique=False)
    op.create_index("ix_registrations_patient", "registrations", ["patient_id"], unique=False)
    op.create_index("ix_registrations_program", "registrations", ["program_id", "state"], unique=False)
    op.create_index(op.f("ix_registrations_promo_code_id"), "registrations", ["promo_code_id"], unique=False)
    op.create_index(op.f("ix_registrations_user_id"), "registrations", ["user_id"], unique=False)
    op.create_index(
        "ix_registrations_waiting",
        "registrations",
        ["program_id", "waiting_since", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "uq_registrations_person",
        "registrations",
        ["program_id", "patient_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('confirmed', 'held', 'offered', 'waiting')"),
        postgresql_where=sa.text("state IN ('confirmed', 'held', 'offered', 'waiting')"),
    )
    op.create_table(
        "attendance",
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("registration_id", sa.Integer(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("noted_at", portal.db.Utc(timezone=True), nullable=False),
        sa.Column("noted_by", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["noted_by"], ["users.id"], name=op.f("fk_attendance_noted_by")),
        sa.ForeignKeyConstraint(
            ["registration_id"], ["registrations.id"], name=op.f("fk_attendance_registration_id")
        ),
        sa.ForeignKeyConstraint(["session_id"], ["program_sessions.id"], name=op.f("fk_attendance_session_id")),
        sa.PrimaryKeyConstraint("session_id", "registration_id", name=op.f("pk_attendance")),
    )
    op.create_table(
        "registration_answers",
        sa.Column("registration_id", sa.Integer(), nullable=False),
        sa.Column("question_id", sa.Integer(), nullable=False),
        sa.Column("question", sa.String(length=500), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("answered_at", portal.db.Utc(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["question_id"], ["program_questions.id"], name=op.f("fk_registration_answers_question_id")
        ),
        sa.ForeignKeyConstraint(
            ["registration_id"], ["registrations.id"], name=op.f("fk_registration_answers_registration_id")
        ),
        sa.PrimaryKeyConstraint("registration_id", "question_id", name=op.f("pk_registration_answers")),
    )
