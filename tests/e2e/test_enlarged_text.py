"""Every page on a small phone, with text as it is and twice as large: nothing needs scrolling sideways (WCAG 1.4.4).

Each walk follows the links of the pages, as a person does, until it has seen two pages of every kind. A kind of page
that neither walk finds is named in ELSEWHERE, so that a new page is walked from its first day on.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from playwright.sync_api import Page
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from werkzeug.exceptions import HTTPException

from portal.clock import now
from portal.invoices.tables import Invoice
from portal.payments.tables import DESK
from portal.people import Patient
from portal.programs.registering import Details, Holder, confirm_unpaid, hold, register
from portal.programs.tables import Program, PromoCode
from portal.programs.waiting import join
from portal.schedule.booking import Slot, Wish, book
from tests.e2e.conftest import Person, Story
from tests.makers import GST, PST, make_patient, make_payer_link, make_payment, make_program, make_service
from tests.support.browser import Pages

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]
TOMORROW = now().date() + timedelta(1)

NO_PAGES = {"health.alive", "health.ready", "static", "theme"}
FILES = (".csv", ".xlsx", ".pdf", ".ics")
OF_MAILS = ("invitations.", "no_reminders.", "pay_links.", "demo_mails.")
ONLY_LEAD_ON = {
    "start.door", "office.start", "sign_up.open_link", "pay.come_back", "receive.come_back",
    "place_pay.come_back",
}  # fmt: skip
ELSEWHERE = {
    "pay.status", "receive.status",  # a payment under way
    "security.reset_password", "sign_up.proving",  # behind links of mails, as those of OF_MAILS
    "second_factor.ask", "second_factor.codes", "second_factor.recovery", "own_account.new_factor",
    "practice.form",  # asks Stripe first
    "emails.preview",  # a mail, in the frame of Settings › Emails
    "sign_ups.one",
    "place_pay.status",  # a payment under way
}  # fmt: skip

_OVERFLOW = """() => ["100%", "200%"].map(size => {
    document.documentElement.style.fontSize = size;
    return document.scrollingElement.scrollWidth - innerWidth;
})"""
_LINKS = "found => found.map(each => each.href)"
_EMPTIED = """form => {
    for (const field of form.querySelectorAll("input:not([type]), input:is([type=text], [type=email], [type=number], "
        + "[type=tel], [type=date], [type=password]), textarea")) field.value = "";
    form.noValidate = true;
}"""


def overflow(page: Page) -> str:
    """How far a page sticks out of the window, in pixels; "" where it does not."""
    plain, large = page.evaluate(_OVERFLOW)
    return f"{urlsplit(page.url).path}: {plain} px, enlarged {large} px" if max(plain, large) > 0 else ""


class Walk:
    """Two pages of each kind that links lead to from the first ones."""

    def __init__(self, person: Person, *first: str) -> None:
        self.person = person
        self.seen: Counter[str] = Counter()
        self.too_wide: list[str] = []
        ahead = list(first)
        for path in ahead:
            for further in self._steps_on(path):
                if further not in ahead:
                    ahead.append(further)

    def _steps_on(self, path: str) -> Iterator[str]:
        kind = self._kind(path)
        if not kind or kind in NO_PAGES or self.seen[kind] >= 2 or urlsplit(path).path.endswith(FILES):
            return
        self.seen[kind] += 1
        page = self.person.page
        self.person.go(path)
        self.look()
        for address in page.eval_on_selector_all("main a[href], nav a[href]", _LINKS):
            if address.startswith(self.person.story.url):
                yield address.removeprefix(self.person.story.url).partition("#")[0]

    def look(self) -> None:
        wide = overflow(self.person.page)
        if wide:
            self.too_wide.append(wide)

    def sends_empty(self, path: str) -> None:
        """Press the last button of the page's form with nothing in it: the page comes back with its sentences."""
        self.person.go(path)
        form = self.person.page.locator("main form[method=post]").last
        form.evaluate(_EMPTIED)
        form.locator("button:not([type=button])").last.click()
        self.person.page.locator(".note.bad, .note[role=alert]").first.wait_for()
        self.look()

    def _kind(self, path: str) -> str:
        try:
            return str(self.person.story.addresses.bind("").match(urlsplit(path).path)[0])
        except HTTPException:
            return ""


def full_of_long_words(story: Story) -> str:
    """A clinic in which everything is there once, and names are long. Gives the number of an open invoice."""
    number = story.invoice(
        ("Craniosacral physiotherapy, 90 minutes", 1, 11_120_00, (GST,)), ("Cushion", 2, 48_00, (GST, PST))
    )
    paid, far_too_much = story.invoice(), story.invoice(patient="theo")
    maya = story.cast.maya.id

    def live(session: Session) -> int:
        for of, cents in ((number, 1_000_00), (paid, 100_00), (far_too_much, 1_250_00)):
            invoice = session.scalars(select(Invoice).where(Invoice.number == of)).one()
            make_payment(session, invoice, cents, kind="insurance", recorded_by=story.cast.clerk.id)
        name = "Featherstonehaugh-Cholmondeley"
        payer = make_patient(session, "Maximiliana", name, email="maximiliana@physiotherapy.example.com")
        make_payer_link(session, payer, story.cast.maya)
        long = {
            "email": "maya.lindqvist.younger@physiotherapy.example.com",
            "phone": "+1 (250) 555-0118 ext. 4711",
        }
        session.execute(update(Patient).where(Patient.id == maya).values(**long))
        return make_service(session, taxes=(GST, PST)).id

    with story.parts.database.transaction() as session:
        service = live(session)
    slot = Slot(story.cast.location.id, story.cast.practitioner.id, TOMORROW, 600)
    book(story.parts.database, Wish(uuid4().hex, maya, service, slot), story.cast.clerk.id)
    return number


def with_places_of_every_kind(story: Story) -> tuple[str, ...]:
    """Maya has a place, one that she is about to pay for, and is in line. Gives addresses that no link leads to."""
    parts, cast = story.parts, story.cast
    with parts.database.transaction() as session:
        theirs, held, full, another = (
            make_program(session, f"Craniosacral physiotherapy for whole families {number}", price_cents=11_120_00,
                         practitioner=session.merge(cast.practitioner), capacity=1 + number % 2,
                         waitlist_size=3).public_id
            for number in range(4)
        )  # fmt: skip
        session.add(PromoCode(code="NEIGHBOURHOOD-PHYSIOTHERAPY-2030", percent=10, uses=20, created_at=now()))
    hers = Holder(cast.maya_user.id, cast.maya.id)
    confirmed = hold(parts, theirs, uuid4(), hers)
    register(parts, confirmed, Details(cast.maya.id, {}), cast.maya_user.id)
    confirm_unpaid(parts, confirmed, cast.clerk.id)
    for_pay = hold(parts, held, uuid4(), hers)
    register(parts, for_pay, Details(cast.maya.id, {}), cast.maya_user.id)
    for program in (full, another):
        _fill(story, program)
    join(parts, another, uuid4(), hers)
    return f"/registrations/{confirmed}", f"/registrations/{for_pay}/pay", f"/programs/{full}/wait"


def _fill(story: Story, public_id: str) -> None:
    """Others take every place."""
    with story.parts.database.transaction() as session:
        program = session.scalars(select(Program).where(Program.public_id == public_id)).one()
        others = [make_patient(session, "Maximiliana", f"Number {each}").id for each in range(program.capacity)]
    for patient_id in others:
        held = hold(story.parts, public_id, uuid4(), Holder(patient_id=patient_id, channel=DESK))
        register(story.parts, held, Details(patient_id, {}), story.cast.clerk.id)
        confirm_unpaid(story.parts, held, story.cast.clerk.id)


@pytest.fixture
def number(story: Story) -> str:
    story.setting("portal_allow_sign_up", "yes")
    story.setting("module_programs", "yes")
    return full_of_long_words(story)


@pytest.mark.of_database("sqlite")  # how pages look does not depend on where their data is
def test_nothing_of_the_portal_needs_scrolling_sideways(
    story: Story, number: str, someone: Someone, new_page: Pages
) -> None:
    new_page.expect_console("status of 4")
    stranger = Walk(someone(None, width=320), "/login", "/reset", "/sign-up", "/sign-up/sent", "/sign-up/waiting",
                    "/nowhere")  # fmt: skip
    for path in ("/login", "/sign-up"):
        stranger.sends_empty(path)
    stranger.person.go("/nowhere")
    stranger.look()
    places = with_places_of_every_kind(story)
    maya = Walk(someone(width=320), "/invoices", "/invoices/paid", "/cards", "/programs", *places,
                "/my-programs", "/me/payers")  # fmt: skip
    assert not stranger.too_wide + maya.too_wide, "\n".join(stranger.too_wide + maya.too_wide)
    assert kinds_of_pages(story, office=False) <= {*stranger.seen, *maya.seen}


@pytest.mark.of_database("sqlite")  # how pages look does not depend on where their data is
def test_nothing_of_the_office_needs_scrolling_sideways(
    story: Story, number: str, someone: Someone, new_page: Pages
) -> None:
    new_page.expect_console("status of 4")
    maya = story.cast.maya.id
    with_places_of_every_kind(story)
    book_there = f"/office/schedule/book?day={TOMORROW}&location=1&practitioner=1&minute=900"
    office = Walk(someone("marc@example.com", width=320), "/office/schedule", "/office/invoices", "/office/day-sheet",
                  "/office/patients", "/office/patients?q=lind", "/office/settings", "/office/account",
                  "/office/account/passkeys/new", "/office/sign-ups", f"/office/invoices/{number}/adjust",
                  f"/office/invoices/{number}/payments",
                  f"/office/patients/{maya}/payers/new?patient={story.cast.stranger.id}",
                  f"/office/schedule?day={TOMORROW}", book_there)  # fmt: skip
    for path in (
        "/office/settings", "/office/settings/locations/new", "/office/settings/practitioners/new",
        "/office/settings/services/new", "/office/settings/taxes/new", "/office/settings/staff/new",
        "/office/settings/gateways/new", "/office/patients/new", f"/office/invoices/{number}/adjust",
        f"/office/invoices/{number}/void", f"/office/invoices/{number}/payments",
        f"/office/patients/{maya}/edit", f"/office/checkout/new?patient={maya}", book_there,
    ):  # fmt: skip
        office.sends_empty(path)
    assert not office.too_wide, "\n".join(office.too_wide)
    assert kinds_of_pages(story, office=True) <= set(office.seen)


def kinds_of_pages(story: Story, office: bool) -> set[str]:
    """The kinds of pages that a walk must find, in the office or outside."""
    readable = {
        rule.endpoint
        for rule in story.addresses.iter_rules()
        if "GET" in (rule.methods or ()) and rule.rule.startswith("/office/") == office
        if not rule.rule.endswith(FILES) and not rule.endpoint.startswith(OF_MAILS)
    }
    return readable - NO_PAGES - ONLY_LEAD_ON - ELSEWHERE
