"""What Stripe.js may do by its documentation, and the sandbox's seldom does: the page copes with each of it."""

import re

import pytest
from playwright.sync_api import Route, expect

from tests.e2e.conftest import ASKS_FOR_3D_SECURE, VISA, Person, Story
from tests.support.browser import Pages

# What the page's script does with Stripe's does not depend on where the data is.
pytestmark = [pytest.mark.browser, pytest.mark.of_database("sqlite")]

STRIPE_JS = "**/stripe.js"


def changed(person: Person, script: str) -> None:
    """From the next page on Stripe.js is as `script` makes it: what it hands to `change` gets each new `stripe`."""
    helper = """
    ;(() => {
      const Original = window.Stripe;
      const changes = [];
      const change = (work) => changes.push(work);
      window.Stripe = (...given) => {
        const stripe = Original(...given);
        changes.forEach((work) => work(stripe));
        return stripe;
      };
      %s
    })();
    """

    def fulfil(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text() + helper % script)

    person.page.route(STRIPE_JS, fulfil)


def unchanged(person: Person) -> None:
    person.page.unroute(STRIPE_JS)


def keeps_a_card(story: Story, person: Person, card: str = VISA) -> None:
    person.opens_pay_page(story.invoice())
    person.types_card(card)
    person.page.get_by_label("Keep this card for next time").check()
    person.presses_pay()
    if card == ASKS_FOR_3D_SECURE:
        person.satisfies_the_bank()
    person.page.wait_for_url(re.compile("/receipts/"))


# --- the bank's question --------------------------------------------------------------------------------------------


@pytest.mark.promise("P3", "P5")
@pytest.mark.parametrize(
    "bank", ["async () => ({ error: { type: 'api_connection_error' } })", "async () => { throw new Error('no'); }"]
)
def test_a_question_that_could_not_be_shown_is_asked_again_only_when_the_payer_says_so(
    story: Story, maya: Person, bank: str
) -> None:
    number = story.invoice()
    changed(maya, f"change((stripe) => {{ stripe.handleNextAction = {bank}; }});")
    asked: list[str] = []
    maya.page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    maya.pays(number, ASKS_FOR_3D_SECURE)
    expect(maya.page.get_by_role("heading", name="Your bank was asking you to confirm a payment")).to_be_visible()
    assert len([url for url in asked if url.endswith("/settle")]) == 1
    maya.ready()
    unchanged(maya)
    maya.opens_pay_page(number)
    maya.page.get_by_role("button", name="Continue with your bank").click()
    maya.satisfies_the_bank()
    maya.sees_receipt()
    assert len(story.attempts(number)) == 1
    story.check_the_books()


@pytest.mark.promise("P3", "P5")
def test_a_question_that_was_answered_elsewhere_meanwhile_ends_at_the_receipt(story: Story, maya: Person) -> None:
    """By its documentation handleNextAction throws where the intent waits for nothing."""
    number = story.invoice()
    changed(
        maya,
        """change((stripe) => {
          const ask = stripe.handleNextAction;
          stripe.handleNextAction = async (options) => { await ask(options); throw new Error("it is over"); };
        });""",
    )
    maya.pays(number, ASKS_FOR_3D_SECURE)
    maya.satisfies_the_bank()
    maya.sees_receipt()
    story.check_the_books()


@pytest.mark.promise("P8")
def test_without_stripes_script_a_kept_card_still_pays_by_way_of_the_banks_own_page(
    story: Story, maya: Person, new_page: Pages
) -> None:
    keeps_a_card(story, maya, ASKS_FOR_3D_SECURE)
    number = story.invoice()
    new_page.expect_console("ERR_FAILED")
    maya.page.route(STRIPE_JS, lambda route: route.abort())
    maya.go(f"/invoices/{number}/pay")
    maya.is_told("The card fields could not load. You have not been charged.")
    maya.presses_pay()
    maya.page.get_by_role("button", name="Complete authentication").click()
    maya.sees_receipt()
    story.check_the_books()


# --- the card fields ------------------------------------------------------------------------------------------------


@pytest.mark.promise("P3")
def test_fields_that_give_up_are_named_and_nothing_is_sent(story: Story, maya: Person) -> None:
    number = story.invoice()
    changed(
        maya,
        """change((stripe) => {
          stripe.createConfirmationToken = async () => { throw new Error("not mounted"); };
        });""",
    )
    maya.pays(number)
    maya.is_told("The card fields could not load. You have not been charged.")
    expect(maya.page.get_by_role("button", name="Pay CA$")).to_be_enabled()
    assert story.attempts(number) == []


@pytest.mark.promise("P8")
def test_a_box_that_is_unticked_again_keeps_no_card_even_where_the_fields_cannot_unlearn_it(
    story: Story, maya: Person
) -> None:
    number = story.invoice()
    changed(
        maya,
        """change((stripe) => {
          const make = stripe.elements;
          stripe.elements = (options) => {
            const elements = make(options), update = elements.update.bind(elements);
            elements.update = (options) => {
              if (options.setupFutureUsage === null) throw new Error("setupFutureUsage should be a string");
              return update(options);
            };
            return elements;
          };
        });""",
    )
    maya.opens_pay_page(number)
    maya.page.get_by_label("Keep this card for next time").check()
    maya.page.get_by_label("Keep this card for next time").uncheck()
    maya.pays_here(VISA)
    maya.sees_receipt()
    maya.go("/cards")
    expect(maya.page.locator("main")).to_contain_text("You keep no card with the clinic")
    story.check_the_books()


@pytest.mark.promise("P8")
def test_a_box_that_the_browser_ticked_again_counts(story: Story, maya: Person) -> None:
    """Browsers fill a form in again after a reload, and tell no script of it."""
    number = story.invoice()
    maya.page.add_init_script(
        """document.addEventListener("readystatechange", () => {
          const box = document.getElementById("save");
          if (box && document.readyState === "interactive") box.checked = true;
        });"""
    )
    maya.opens_pay_page(number)
    expect(maya.page.get_by_label("Keep this card for next time")).to_be_checked()
    maya.pays_here(VISA)
    maya.sees_receipt()
    maya.go("/cards")
    expect(maya.page.get_by_role("heading", name="Visa ending 4242")).to_be_visible()
    story.check_the_books()


@pytest.mark.promise("P3")
def test_a_page_that_the_browser_kept_is_loaded_anew(story: Story, maya: Person) -> None:
    number = story.invoice()
    maya.opens_pay_page(number)
    with maya.page.expect_navigation():
        maya.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    maya.ready()


@pytest.mark.promise("P3")
def test_a_payment_that_goes_wrong_leaves_the_rehearsal_notice_and_what_the_bank_waits_for(
    story: Story, maya: Person
) -> None:
    number = story.invoice()
    maya.pays(number, ASKS_FOR_3D_SECURE)
    maya.sees_the_banks_question()
    maya.opens_pay_page(number)
    maya.page.get_by_label("Name on the card").fill("")
    maya.presses_pay()
    maya.is_told("Some things to correct. Nothing was charged.")
    maya.is_told("Test mode: this is a rehearsal.")
    maya.page.get_by_role("button", name="Continue with your bank").click()
    maya.fails_the_bank()
    maya.is_told("Your bank could not confirm that it is you. You have not been charged.")
    expect(maya.page.get_by_role("button", name="Continue with your bank")).to_have_count(0)
