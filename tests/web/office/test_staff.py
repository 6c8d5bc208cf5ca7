"""Staff: invited, promoted, switched off, helped when a phone is lost; the clinic keeps an administrator."""

import re
from functools import partial

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.audit import AuditEntry
from portal.clock import now
from portal.outbox import OutboxMessage
from portal.people import Invitation, Passkey, RecoveryCode, User
from portal.staff import LastAdministrator, change_role, switch_off
from tests.makers import count_of, make_user
from tests.support.at_once import at_once, names
from tests.web.conftest import Site, Visitor, words

STAFF = "/office/settings/staff"


def audit_of(site: Site, start: str) -> list[tuple[str, str, str, str]]:
    found = site.change(lambda s: s.scalars(select(AuditEntry).order_by(AuditEntry.id)).all())
    return [(e.action, e.subject, e.before, e.after) for e in found if e.action.startswith(start)]


def user(site: Site, email: str) -> User:
    found: User = site.change(lambda s: s.scalars(select(User).where(User.email == email)).one())
    return found


@pytest.mark.promise("O17")
def test_the_list_shows_everybody_and_what_each_role_may_do(site: Site, marc: Visitor) -> None:
    page = words(marc.get(STAFF))
    for name in ("Dana Whitlock", "Inès Bouchard", "Liam Tremblay", "Marc Oduya (you)"):
        assert name in page
    assert "maya@example.com" not in page, "patients are no staff"
    assert "Refund payments No Yes No Yes" in page


@pytest.mark.promise("O17", "O5")
def test_a_role_is_changed_and_counts_at_the_next_page(site: Site, marc: Visitor) -> None:
    dana = site.visitor("dana@example.com")
    assert dana.get("/office/settings").status_code == 403
    number = site.cast.clerk.id
    assert marc.send(f"{STAFF}/{number}/role", {"role": "administrator"}, page=f"{STAFF}/{number}").status_code == 303
    assert dana.get("/office/settings").status_code == 200
    assert audit_of(site, "staff") == [
        ("staff.role_changed", "Dana Whitlock (dana@example.com)", "front_desk", "administrator")
    ]


@pytest.mark.promise("O17")
def test_who_is_switched_off_is_out_at_once(site: Site, marc: Visitor) -> None:
    dana, number = site.visitor("dana@example.com"), site.cast.clerk.id
    assert marc.send(f"{STAFF}/{number}/off", page=f"{STAFF}/{number}").status_code == 303
    assert dana.get("/office/account").status_code == 303
    assert site.visitor().sign_in("dana@example.com").status_code != 303
    assert "Inactive" in words(marc.get(STAFF))
    assert marc.send(f"{STAFF}/{number}/on", page=f"{STAFF}/{number}").status_code == 303
    assert dana.get("/office/account").status_code == 303, "the old sign-in stays ended"
    assert site.visitor().sign_in("dana@example.com").status_code == 303
    assert [each[0] for each in audit_of(site, "staff")] == ["staff.switched_off", "staff.switched_on"]


@pytest.mark.promise("O17")
def test_a_lost_second_factor_is_reset(site: Site, marc: Visitor) -> None:
    dana, number = site.visitor("dana@example.com"), site.cast.clerk.id

    def has_one(session: Session) -> None:
        account = session.get_one(User, number)
        account.totp_sealed, account.totp_set_up_at = "sealed", now()
        session.add(RecoveryCode(user_id=number, code_hash="x", made_at=now()))
        session.add(Passkey(user_id=number, name="Key", credential_id=b"1", public_key=b"2", made_at=now()))

    site.change(has_one)
    assert "Set up" in words(marc.get(STAFF))
    assert marc.send(f"{STAFF}/{number}/second-factor", page=f"{STAFF}/{number}").status_code == 303
    account = user(site, "dana@example.com")
    assert (account.totp_sealed, account.totp_set_up_at) == (None, None)
    for table in (RecoveryCode, Passkey):
        assert site.change(partial(count_of, table=table)) == 0
    assert dana.get("/office/account").status_code == 303
    assert audit_of(site, "second_factor")


def test_nobody_changes_their_own_role_or_account(site: Site, marc: Visitor) -> None:
    number = site.cast.administrator.id
    page = words(marc.get(f"{STAFF}/{number}"))
    assert "This is you" in page
    for path, fields in (("role", {"role": "billing"}), ("off", {}), ("second-factor", {})):
        answer = marc.send(f"{STAFF}/{number}/{path}", fields, page=f"{STAFF}/new")
        assert answer.status_code == 422
        assert "Your own role and account are changed by another administrator." in words(answer)
    assert (user(site, "marc@example.com").role, user(site, "marc@example.com").active) == ("administrator", True)


@pytest.mark.promise("O17")
def test_the_last_administrator_stays(site: Site) -> None:
    """Whoever asks: here an administrator whose own account was switched off a moment ago."""
    other = site.change(lambda s: make_user(s, "nora@example.com", "administrator", None, None, "Nora").id)
    marc = site.cast.administrator.id
    site.change(lambda s: switch_off(s, other, by=marc))
    for verb in (lambda s: switch_off(s, marc, by=other), lambda s: change_role(s, marc, "billing", by=other)):
        with pytest.raises(LastAdministrator):
            site.change(verb)


@pytest.mark.promise("O17")
@pytest.mark.parametrize("way", ["off", "role"])
def test_two_administrators_who_send_each_other_away_at_once_leave_one(site: Site, way: str) -> None:
    marc = site.cast.administrator.id
    for turn in range(4):
        nora = _another_administrator(site, f"nora{turn}@example.com")
        answers = at_once([partial(_send_away, site, way, *each) for each in ((marc, nora), (nora, marc))])
        assert names(answers) == {"NoneType": 1, "LastAdministrator": 1}
        site.change(partial(_set, number=marc, role="administrator"))
        site.change(partial(_set, number=nora, role="billing"))


def _another_administrator(site: Site, email: str) -> int:
    made: int = site.change(lambda s: make_user(s, email, "administrator", None, None, "Nora").id)
    return made


def _send_away(site: Site, way: str, whom: int, by: int) -> None:
    with site.parts.database.transaction() as session:
        if way == "off":
            switch_off(session, whom, by=by)
        else:
            change_role(session, whom, "billing", by=by)


def _set(session: Session, number: int, role: str) -> None:
    account = session.get_one(User, number)
    account.role, account.active = role, True


@pytest.mark.promise("O17")
def test_somebody_is_invited_sent_a_new_link_and_taken_back(site: Site, marc: Visitor) -> None:
    sent = {"name": "Nora Quill", "email": "Nora@Example.com", "role": "billing"}
    assert marc.send(f"{STAFF}/new", sent).status_code == 303
    page = words(marc.get(STAFF))
    assert "Nora Quill nora@example.com Billing" in page and "Open until" in page

    def newest() -> int:
        return int(site.change(lambda s: s.scalar(select(Invitation.id).order_by(Invitation.id.desc()).limit(1))))

    first = newest()
    assert marc.send(f"{STAFF}/invitations/{first}/again", page=STAFF).status_code == 303
    second = newest()
    assert second != first
    assert marc.send(f"{STAFF}/invitations/{first}/again", page=STAFF).status_code == 404
    assert marc.send(f"{STAFF}/invitations/{second}/revoke", page=STAFF).status_code == 303
    assert marc.send(f"{STAFF}/invitations/{second}/revoke", page=STAFF).status_code == 404
    marc.get(STAFF)
    assert "Nora Quill" not in words(marc.get(STAFF))
    assert [each[0] for each in audit_of(site, "invitation")] == [
        "invitation.sent", "invitation.sent", "invitation.revoked",
    ]  # fmt: skip
    assert site.change(lambda s: s.query(OutboxMessage).count()) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "", "email": "x@example.com", "role": "billing"},
        {"name": "X", "email": "x", "role": "billing"},
        {"name": "X\0", "email": "x\0@example.com", "role": "billing"},
        {"name": "X" * 500, "email": "x@example.com", "role": "billing"},
        {"name": "X", "email": "x@example.com", "role": "patient"},
        {"name": "X", "email": "x@example.com", "role": "owner"},
        {"name": "X", "email": "dana@example.com", "role": "billing"},
    ],
)
def test_an_invitation_that_cannot_be_sent_says_why_and_keeps_what_was_typed(
    site: Site, marc: Visitor, fields: dict[str, str]
) -> None:
    answer = marc.send(f"{STAFF}/new", fields)
    assert answer.status_code == 422 and "Not sent yet" in words(answer)
    if fields.get("email") == "dana@example.com":
        assert re.search(r'name="email"[^>]*value="dana@example.com"', answer.text)
    assert site.change(lambda s: s.query(Invitation).count()) == 0


def test_patients_and_unknown_numbers_are_not_found_here(site: Site, marc: Visitor) -> None:
    for number in (site.cast.maya_user.id, 99_999, 2**31):
        assert marc.get(f"{STAFF}/{number}").status_code == 404
        for path in ("role", "off", "on", "second-factor"):
            assert marc.send(f"{STAFF}/{number}/{path}", {"role": "billing"}, page=f"{STAFF}/new").status_code == 404
    answer = marc.send(f"{STAFF}/{site.cast.clerk.id}/role", {"role": "patient\0"}, page=f"{STAFF}/new")
    assert answer.status_code == 422 and "Please choose a role from the list." in words(answer)


def test_only_who_may_manage_staff_opens_it(site: Site) -> None:
    for email in ("dana@example.com", "ines@example.com", "liam@example.com"):
        assert site.visitor(email).get(STAFF).status_code == 403
