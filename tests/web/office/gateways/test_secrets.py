"""Who sees gateways, and what nobody ever sees again."""

import logging

import pytest
from sqlalchemy import select, text
from werkzeug.test import TestResponse

from portal.db import Base
from portal.sandbox import Sandbox
from portal.sandbox.accounts import Account
from tests.web.conftest import Site, Visitor, words
from tests.web.office.gateways.conftest import LIST, NEW, add, added, as_it_is, edit, filled, stored, webhook_press


@pytest.mark.promise("O5")
@pytest.mark.parametrize("email", ["dana@example.com", "ines@example.com", "liam@example.com"])
def test_only_administrators_see_gateways(site: Site, marc: Visitor, keys: Account, email: str) -> None:
    path = added(site, marc, keys)
    someone = site.visitor(email)
    token = someone.token("/office/account")
    for place in (LIST, NEW, path):
        assert someone.get(place).status_code == 403
    for place in (NEW, path, f"{path}/webhook"):
        assert someone.post(place, data={"csrf_token": token, **filled(keys)}).status_code == 403
    assert len(stored(site)) == 1


@pytest.mark.promise("O5")
def test_no_secret_is_in_any_page_log_audit_entry_or_table(
    site: Site, marc: Visitor, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    account = sandbox.add_account()
    revoked = sandbox.add_key("secret", account=account.id)
    sandbox.revoke_key(revoked)
    signing = "whsec_" + "planted" * 5
    planted = [account.test_secret_key, account.live_secret_key, account.test_restricted_key, revoked, signing]
    pages: list[str] = []

    def keep(answer: TestResponse) -> TestResponse:
        pages.append(answer.text + str(answer.headers))
        if answer.status_code == 303:
            pages.append(marc.get(answer.location).text)
        return answer

    for wrong in (
        {"secret": revoked}, {"token": account.test_secret_key}, {"name": account.test_secret_key},
        {"token": "pk_test_nobody"}, {"webhook_secret": account.test_secret_key}, {"mode": "production"},
        {"secret": account.live_secret_key}, {"token": signing}, {"location": account.test_secret_key},
    ):  # fmt: skip
        assert keep(add(marc, filled(account, **{"webhook_secret": signing, **wrong}))).status_code == 422
    for operation in ("account.retrieve", "setup_intents.retrieve"):
        sandbox.fault(operation, "lost_after")
        assert keep(add(marc, filled(account, webhook_secret=signing))).status_code == 503
    path = keep(add(marc, filled(account, webhook_secret=signing))).location
    live = as_it_is(mode="production", token=account.live_publishable_key, secret=account.live_secret_key)
    assert keep(edit(marc, path, live)).status_code == 303
    assert keep(edit(marc, path, as_it_is(secret=account.test_restricted_key))).status_code == 303
    assert keep(marc.post(f"{path}/webhook", data=webhook_press(marc.get(path).text))).status_code == 303
    made = sandbox.world.store.find(sandbox.objects("webhook_endpoint", account=account.id)[0]["id"])
    assert made is not None
    planted.append(made["_secrets"][0])
    with site.parts.database.transaction() as session:
        session.execute(text("UPDATE sign_ins SET confirmed_at = '2020-01-01 00:00:00'"))
        session.execute(text("UPDATE sign_ins SET started_at = '2020-01-01 00:00:00'"))
    asked = marc.post(path, data={"csrf_token": webhook_press(pages[-1])["csrf_token"], **live})
    assert "Your password again" in words(keep(asked)), "the form that is kept while the password is asked for"
    pages += [marc.get(each).text for each in (LIST, NEW, path, "/office/settings", "/office/settings/audit")]
    with site.parts.database.read() as connection:
        rows = [row for table in Base.metadata.sorted_tables for row in connection.execute(select(table))]
    tables = "\n".join(repr(tuple(row)) for row in rows)
    told = {"pages": "\n".join(pages), "the log": caplog.text, "the database": tables}
    found = [(secret[:12], place) for secret in planted for place, words in told.items() if secret in words]
    assert found == []
