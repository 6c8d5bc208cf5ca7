"""The pictures of the README, taken in a real browser from a demo that runs: `python -m tools.screenshots URL`."""

import re
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from portal.demo import PASSWORD
from tests.support.browser import FLAGS
from tools.get_chromium import find

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "img"


def take(page: Page, url: str) -> None:
    """Sign in as Maya, open the list, pay the first invoice, and keep a picture of each step."""
    page.goto(f"{url}/login")
    page.get_by_label("Email").fill("maya@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.screenshot(path=FOLDER / "invoices.png")
    page.locator(".act a.btn").nth(1).click()
    page.wait_for_selector("#card-fields:not([aria-busy])", state="attached")
    fields = page.frame_locator("iframe[title='Secure card payment input frame']")
    fields.get_by_label("Card number").press_sequentially("4242424242424242")
    fields.get_by_label("Expiration date").fill("12 / 34")
    fields.get_by_label("Security code").fill("123")
    page.locator("h1").scroll_into_view_if_needed()
    page.screenshot(path=FOLDER / "pay.png", full_page=True)
    page.get_by_role("button", name="Pay CA$").click()
    page.wait_for_url("**/receipts/**")
    page.screenshot(path=FOLDER / "receipt.png", full_page=True)


def take_office(page: Page, url: str) -> None:
    """Sign in as Dana at the front desk: the week, and an invoice that is to be paid."""
    page.goto(f"{url}/login")
    page.get_by_label("Email").fill("dana@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    code = re.search(r"just now is (\d{3})\s?(\d{3})", page.inner_text("main"))
    assert code, "the page shows no code for the demo's account"
    page.locator("input[autocomplete=one-time-code]").fill(code[1] + code[2])
    page.keyboard.press("Enter")
    page.wait_for_url(lambda address: "/second-factor" not in address)
    page.goto(f"{url}/office/schedule")
    page.screenshot(path=FOLDER / "schedule.png")
    page.goto(f"{url}/office/invoices?status=receivable&from=2000-01-01")
    page.locator(".grid tbody th a").first.click()
    page.get_by_role("link", name="Receive Payment").first.click()
    page.wait_for_selector("h1:has-text('Receive Payment')")
    page.screenshot(path=FOLDER / "receive.png")


def main() -> None:
    """Take them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    url = sys.argv[1].rstrip("/")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=FLAGS)
        phone = browser.new_page(viewport={"width": 420, "height": 860}, reduced_motion="reduce")
        take(phone, url)
        desk = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce").new_page()
        take_office(desk, url)
        browser.close()


if __name__ == "__main__":
    main()
