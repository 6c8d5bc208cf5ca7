"""The audit log's chain: every entry is in it once, and nobody alters or takes one out unseen."""

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from portal.audit import AuditEntry, AuditLink, chain_end, chain_entries, check_chain, record
from portal.db import Database
from portal.invariants import broken_invariants
from tests.support.at_once import at_once

pytestmark = pytest.mark.promise("O5")


def write(clinic: Database, count: int) -> None:
    with clinic.transaction() as session:
        for turn in range(count):
            record(session, "setting.changed", f"thing {turn}", by=None, before=turn, after=turn + 1)


def let_change(clinic: Database, table: str) -> set[str]:
    """Take the append-only rule from a table; gives the names of what is missing then."""
    on_sqlite = clinic.is_sqlite
    names = {f"{table}_only_grow_{verb}" for verb in ("update", "delete")} if on_sqlite else {f"{table}_only_grow"}
    with clinic.transaction() as session:
        for name in names:
            session.execute(text(f"DROP TRIGGER {name}" + ("" if on_sqlite else f" ON {table}")))
    return names


def behind_its_back(clinic: Database, statement: str, *tables: str) -> list[tuple[str, tuple[str, ...]]]:
    """Alter the log as nobody may; gives what the check finds beyond the missing triggers."""
    for table in tables:
        let_change(clinic, table)
    with clinic.transaction() as session:
        session.execute(text(statement))
    found = broken_invariants(clinic)
    assert any("only grow" in each.what for each in found), "that the rule is gone is seen too"
    return [(each.what, each.ids) for each in found if "only grow" not in each.what]


BROKEN = "the audit log's chain is broken at this position"


@pytest.mark.parametrize(
    ("statement", "tables", "position"),
    [
        ("UPDATE audit_entries SET after = 'forged' WHERE id = 3", ["audit_entries"], "3"),
        ("UPDATE audit_entries SET user_id = NULL, subject = 'x' WHERE id = 1", ["audit_entries"], "1"),
        ("UPDATE audit_chain SET hash = '0' WHERE position = 5", ["audit_chain"], "5"),
        ("DELETE FROM audit_chain WHERE position = 2", ["audit_chain"], "2"),
    ],
)
def test_an_altered_log_is_told_with_its_position(
    clinic: Database, statement: str, tables: list[str], position: str
) -> None:
    write(clinic, 8)
    chain_entries(clinic)
    assert broken_invariants(clinic) == []
    assert behind_its_back(clinic, statement, *tables) == [(BROKEN, (position,))]


def test_an_entry_taken_out_with_its_link_leaves_a_gap(clinic: Database) -> None:
    write(clinic, 8)
    chain_entries(clinic)
    let_change(clinic, "audit_entries")
    let_change(clinic, "audit_chain")
    with clinic.transaction() as session:
        session.execute(text("DELETE FROM audit_chain WHERE entry_id = 4"))
        session.execute(text("DELETE FROM audit_entries WHERE id = 4"))
        assert check_chain(session).broken_at == 4


@pytest.mark.parametrize("table", ["audit_entries", "audit_chain", "access_log"])
def test_a_log_that_could_be_changed_is_told(clinic: Database, table: str) -> None:
    missing = let_change(clinic, table)
    (found,) = broken_invariants(clinic)
    assert (found.rule, set(found.ids)) == ("I7", missing)


@pytest.mark.parametrize("statement", ["UPDATE audit_entries SET after = ''", "DELETE FROM audit_entries"])
def test_the_database_itself_refuses_changes(clinic: Database, statement: str) -> None:
    write(clinic, 1)
    with pytest.raises(Exception, match="only grow"), clinic.transaction() as session:
        session.execute(text(statement))


def test_two_workers_at_once_make_one_chain(clinic: Database) -> None:
    write(clinic, 2_000)

    def work() -> None:
        for _round in range(12):
            chain_entries(clinic, most=250)

    at_once([work] * 2)
    with clinic.transaction() as session:
        state = check_chain(session)
        assert (state.broken_at, state.length, state.waiting) == (None, 2_000, 0)
        assert session.scalar(select(func.count()).select_from(AuditLink)) == 2_000
    assert broken_invariants(clinic) == []


def test_what_waits_is_counted_and_then_chained(clinic: Database) -> None:
    with clinic.read() as connection:
        assert (chain_end(connection).length, chain_end(connection).waiting) == (0, 0)
    write(clinic, 5)
    assert chain_entries(clinic, most=3) == 3
    with clinic.read() as connection:
        end = chain_end(connection)
    assert (end.length, end.waiting) == (3, 2)
    with Session(clinic.reading) as session:
        newest = session.scalar(select(func.max(AuditEntry.id)))
    assert chain_entries(clinic) == 2
    with clinic.read() as connection:
        assert chain_end(connection).newest_entry == newest
