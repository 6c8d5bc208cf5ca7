"""What somebody typed into a form of the settings, read field by field. All that is wrong is said at once."""

from collections.abc import Collection, Mapping
from typing import Any

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString

from portal.errors import Refusal

Typed = Mapping[str, Any]
"""A form's fields as they were sent: each a text, or a list of texts."""

Words = Mapping[str, LazyString]
"""What each field is called on the page."""


class BadEntry(Refusal):
    """What was typed can't be kept. `wrong` has a sentence for each field that is to be mended."""

    status = 422
    title = _l("Not saved")

    def __init__(self, wrong: Mapping[str, LazyString | str]) -> None:
        super().__init__()
        self.wrong = {name: str(sentence) for name, sentence in wrong.items()}

    @property
    def text(self) -> str:
        return " ".join(self.wrong.values())


class Entry:
    """Reads one form. Each reader gives a value that fits, and notes the sentence where what was typed does not."""

    def __init__(self, typed: Typed, words: Words) -> None:
        self._typed = typed
        self._words = words
        self.wrong: dict[str, LazyString | str] = {}

    def refuse(self, name: str, sentence: LazyString | str) -> None:
        """Note what is wrong with a field; the first sentence counts."""
        self.wrong.setdefault(name, sentence)

    def check(self) -> None:
        """Raise BadEntry when anything was wrong."""
        if self.wrong:
            raise BadEntry(self.wrong)

    def raw(self, name: str) -> str:
        """The text as it was typed, without the blanks around it."""
        found = self._typed.get(name, "")
        return found.strip() if isinstance(found, str) else ""

    def several(self, name: str) -> list[str]:
        """The boxes that were ticked."""
        found = self._typed.get(name, [])
        return [str(each) for each in found] if isinstance(found, list | tuple) else []

    def line(self, name: str, most: int, *, required: bool = False) -> str:
        """One line of text."""
        text = " ".join(self.raw(name).split())
        if required and not text:
            self.refuse(name, _l("%(what)s: please fill this in.", what=self._words[name]))
        elif len(text) > most:
            self.refuse(name, _l("%(what)s: at most %(most)s characters.", what=self._words[name], most=most))
        elif not text.isprintable():
            self.refuse(
                name, _l("%(what)s: there is a character in it that can't be printed.", what=self._words[name])
            )
        return text

    def lines(self, name: str, most: int = 500) -> str:
        """A text of several lines."""
        text = "\n".join(line.rstrip() for line in self.raw(name).splitlines()).strip()
        if len(text) > most:
            self.refuse(name, _l("%(what)s: at most %(most)s characters.", what=self._words[name], most=most))
        elif not text.replace("\n", "").isprintable():
            self.refuse(
                name, _l("%(what)s: there is a character in it that can't be printed.", what=self._words[name])
            )
        return text

    def whole(self, name: str, least: int, most: int, *, step: int = 1) -> int:
        """A whole number."""
        text = self.raw(name)
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else -1
        if not least <= number <= most or number % step:
            sentence = _l("%(what)s: a whole number from %(least)s to %(most)s.",
                          what=self._words[name], least=least, most=most)  # fmt: skip
            self.refuse(name, sentence)
            return least
        return number

    def choice(self, name: str, allowed: Collection[str]) -> str:
        """One of a list."""
        text = self.raw(name)
        if text not in allowed:
            self.refuse(name, _l("%(what)s: please choose one from the list.", what=self._words[name]))
        return text

    def yes(self, name: str) -> bool:
        """Whether a box was ticked."""
        return self.raw(name) in ("yes", "on", "1", "true")
