"""The form about a held place: for whom, the program's questions, a promo code. Read kindly, checked, kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.datastructures import MultiDict

from portal.invoices.reading import Payer
from portal.programs.my_places import MyPlace
from portal.programs.questions import LONGEST_ANSWER, Question
from portal.programs.tables import CHOICE, CONSENT
from portal.web.typed import number, words

YES, NO = _l("Yes"), _l("No")


@dataclass
class PlaceForm:
    """What stands in the form, and what is wrong with it: sentences by the id of their field."""

    patient_id: int
    answers: dict[int, str] = field(default_factory=dict)
    code: str = ""
    priced_code: str = ""
    shown_cents: int | None = None
    wrong: dict[str, str] = field(default_factory=dict)

    @property
    def code_is_new(self) -> bool:
        """Whether the price that was shown was not that of the code that is typed."""
        return self.code.upper() != self.priced_code.upper()


def people_of(payer: Payer, place: MyPlace | None = None) -> list[tuple[int, str]]:
    """For whom somebody can register: themselves, and the people they pay for. A place that was waited for is for
    whoever waited.
    """
    if place is not None and place.was_waited_for:
        assert place.patient_id is not None
        return [(place.patient_id, place.patient)]
    return [(payer.id, _("Myself, %(name)s", name=payer.name)), *((one.id, one.name) for one in payer.payees)]


def as_kept(place: MyPlace, questions: list[Question], payer: Payer) -> PlaceForm:
    """The form as the registration has it."""
    answers = {each.id: each.answer for each in questions if each.answer is not None}
    code = place.code or ""
    return PlaceForm(place.patient_id or payer.id, answers, code, code)


def as_typed(form: MultiDict[str, str], place: MyPlace, questions: list[Question], payer: Payer) -> PlaceForm:
    """The form as it was sent. Whom they don't pay for can't be chosen, and is not told from nobody."""
    choosing = len(people_of(payer, place)) > 1
    chosen = number(form.get("patient")) if choosing else None
    patient_id = chosen if chosen in payer.patients else place.patient_id or payer.id
    typed = PlaceForm(
        patient_id if patient_id in payer.patients else payer.id,
        {each.id: _answer(each, form) for each in questions},
        words(form.get("code"), 60),
        words(form.get("priced_code"), 60),
        number(form.get("shown"), 10**12),
    )
    if choosing and chosen not in payer.patients:
        typed.wrong["patient"] = _("Choose for whom the place is.")
    typed.wrong |= _unanswered(questions, typed.answers)
    return typed


def _answer(question: Question, form: Mapping[str, str]) -> str:
    typed = words(form.get(f"answer-{question.id}"), LONGEST_ANSWER)
    if question.kind == CONSENT:
        return str(YES if typed else NO)
    if question.kind == CHOICE:
        return typed if typed in question.choices else ""
    return typed


def _unanswered(questions: list[Question], answers: Mapping[int, str]) -> dict[str, str]:
    wrong = {}
    for each in questions:
        if not each.required or answers[each.id] not in ("", str(NO) if each.kind == CONSENT else ""):
            continue
        sentence = {
            CHOICE: _("Choose an answer to “%(question)s”", question=each.text),
            CONSENT: _("Please agree, or let the place go: “%(question)s”", question=each.text),
        }.get(each.kind, _("Answer “%(question)s”", question=each.text))
        wrong[f"answer-{each.id}"] = sentence
    return wrong


def to_keep(questions: list[Question], typed: PlaceForm) -> dict[int, tuple[str, str]]:
    """The answers with their questions as they were asked; one that was never given is not kept."""
    return {
        each.id: (each.text, typed.answers[each.id])
        for each in questions
        if typed.answers[each.id] or each.answer is not None
    }
