"""Every kind of mail as a phone shows it: nothing runs out of the side, anybody can read it, by day and by night."""

import pytest

from portal import ROOT
from tests.letters.made_up import KINDS, made_up
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = [pytest.mark.browser, pytest.mark.promise("E3")]

WIDTH = 320
LONG = "Rehabilitationssportgemeinschaft" * 3


def test_no_kind_of_mail_is_left_out() -> None:
    kinds = {folder.name for folder in (ROOT / "templates" / "email").iterdir() if folder.is_dir()}
    assert kinds == set(KINDS)


@pytest.mark.parametrize("dark", [False, True], ids=["day", "night"])
def test_every_kind_of_mail_fits_a_phone_and_can_be_read_by_anybody(new_page: Pages, dark: bool) -> None:
    page = new_page(width=WIDTH, dark=dark)
    for kind in KINDS:
        note = {f"email_note_{kind}": f"Come early. {LONG}"}
        for values in ({}, {**note, "clinic_name": LONG, "clinic_address": LONG}):
            page.set_content(made_up(kind, **values).html)
            assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH, kind
            assert_accessible(page)
