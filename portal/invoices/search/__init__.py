"""Invoice Search: what staff narrow it to, one page of what is found, and what all of it comes to."""

from portal.invoices.search.narrowing import STATUSES, Choices, Narrowing, choices, narrowed
from portal.invoices.search.one import Story, story_of
from portal.invoices.search.rows import Page, Row, page_of
from portal.invoices.search.totals import Found, Total, found_by
from portal.invoices.search.words import caption, days_of_a_file

__all__ = [
    "STATUSES", "Choices", "Found", "Narrowing", "Page", "Row", "Story", "Total", "caption", "choices",
    "days_of_a_file", "found_by", "narrowed", "page_of", "story_of",
]  # fmt: skip
