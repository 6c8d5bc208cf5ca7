"""Each law for pages, broken once."""

import pytest

from tests.support.page_laws import check_page, violations

GOOD = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Pay invoice A-1001</title>
<script src="/static/js/pay.js" defer></script></head>
<body>
<a href="#main">Skip to content</a>
<main id="main">
<h1>Pay invoice A-1001</h1>
<h2>Your card</h2>
<script type="application/json" id="choices">{"currency": "CAD"}</script>
<form method="post" action="/pay">
<input type="hidden" name="csrf_token" value="abc">
<label for="note">Note</label> <input id="note" name="note" aria-describedby="note-hint">
<p id="note-hint">Optional</p>
<label>Keep this card <input type="checkbox" name="keep"></label>
<select aria-label="Card" name="card"><option>Visa</option></select>
<textarea aria-labelledby="note-hint" name="more"></textarea>
<img src="/static/img/lock.svg" alt="">
<button>Pay</button>
</form>
<h3>Questions</h3>
<h2>Help</h2>
</main>
</body>
</html>
"""


def test_a_good_page_breaks_no_law() -> None:
    check_page(GOOD, "/invoices/A-1001/pay")


@pytest.mark.parametrize(
    ("good", "bad", "sentence"),
    [
        ("<!doctype html>\n", "", "not valid HTML"),
        ("</form>", "</form></form>", "not valid HTML"),
        ("<button>", '<button class="a" class="b">', "not valid HTML"),
        ("<p id=", "<table><p>a</p></table><p id=", "not valid HTML"),
        ('<html lang="en">', "<html>", "doesn't say its language"),
        ("<title>Pay invoice A-1001</title>", "<title> </title>", "0 titles"),
        ("<h1>Pay invoice A-1001</h1>", "", "0 <h1>"),
        ("<h2>Help</h2>", "<h1>Help</h1>", "2 <h1>"),
        ("<h2>Your card</h2>", "", "skips a level"),
        ("<h2>Help</h2>", "<h2> </h2>", "<h2> is empty"),
        ('<main id="main">', '<main id="main"><p id="note">Twice</p>', "“note” is given 2 times"),
        ('id="main"', 'id="the main"', "has a space in it"),
        ('href="#main"', 'href="#content"', "links to #content"),
        ('for="note"', 'for="notes"', "for points to “notes”"),
        ('for="note"', 'for="notes"', 'id="note" name="note"> has no label'),
        ('aria-describedby="note-hint"', 'aria-describedby="hint"', "aria-describedby points to “hint”"),
        ('aria-labelledby="note-hint"', 'aria-labelledby="hint"', "aria-labelledby points to “hint”"),
        (">Note</label>", "></label>", "has no label"),
        ("Keep this card <input", "<input", 'name="keep" type="checkbox"> has no label'),
        (' aria-label="Card"', "", '<select name="card"> has no label'),
        (' aria-labelledby="note-hint"', "", '<textarea name="more"> has no label'),
        (' type="application/json"', "", "inline <script>"),
        ("<title>", "<style>p { color: red }</style><title>", "<style> element"),
        ("<main", '<main style="color: red"', "inline style"),
        ("<button>", '<button onclick="pay()">', "inline onclick"),
        ('href="#main"', 'href=" java\nscript:pay()"', "javascript: URL"),
        ('name="csrf_token"', 'name="token"', "without a csrf_token"),
        ('value="abc"', 'value=""', "without a csrf_token"),
        (' alt=""', "", "has no alt"),
        ("<button>", '<button tabindex="1">', "tabindex above 0"),
    ],
)
def test_a_broken_law_is_named(good: str, bad: str, sentence: str) -> None:
    assert good in GOOD
    broken = violations(GOOD.replace(good, bad, 1))
    assert any(sentence in law for law in broken), broken


def test_the_failure_names_the_page_and_every_broken_law() -> None:
    page = GOOD.replace(' alt=""', "").replace('lang="en"', "")
    with pytest.raises(AssertionError, match=r"(?s)/pay breaks 2 of the laws.*language.*alt"):
        check_page(page, "/pay")


def test_a_token_may_belong_to_its_form_from_outside() -> None:
    token = '<input type="hidden" name="csrf_token" value="abc">'
    outside = token.replace("<input", '<input form="pay"')
    page = (
        GOOD.replace(token, "")
        .replace("<form method", '<form id="pay" method')
        .replace("</main>", f"{outside}</main>")
    )
    assert violations(page) == []
