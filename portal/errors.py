"""Refusals: a rule said no, and a person is told why in one sentence. Everything else that is raised is a bug."""

from typing import Any

from flask_babel.speaklater import LazyString


class Refusal(Exception):
    """A rule of the clinic says no. `status` is the HTTP answer, `title` and `text` are for the person."""

    status = 409
    title: LazyString | str = ""
    message: LazyString | str = ""

    def __init__(self, **words: Any) -> None:
        super().__init__(type(self).__name__)
        self.words = words

    @property
    def text(self) -> str:
        """The sentence, with its words filled in, in the reader's language."""
        return str(self.message).format(**self.words) if self.words else str(self.message)

    @property
    def heading(self) -> str:
        """The few words that say first whether money moved."""
        return str(self.title).format(**self.words) if self.words else str(self.title)
