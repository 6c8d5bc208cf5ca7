"""What a program asks whoever registers, and what they have answered so far."""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, select

from portal.programs.tables import ProgramQuestion, RegistrationAnswer

LONGEST_ANSWER = 2_000


@dataclass(frozen=True)
class Question:
    """Something that is asked, and what was answered so far."""

    id: int
    kind: str
    text: str
    choices: tuple[str, ...]
    required: bool
    answer: str | None

    @property
    def options(self) -> list[tuple[str, str]]:
        """What a list offers to choose from: each value, and its words."""
        return [(each, each) for each in self.choices]


def questions_of(connection: Connection, program_id: int, registration_id: int | None = None) -> list[Question]:
    """The program's questions in their order, with the answers that this registration has, if there is one."""
    answered = and_(
        RegistrationAnswer.question_id == ProgramQuestion.id, RegistrationAnswer.registration_id == registration_id
    )
    rows = connection.execute(
        select(
            ProgramQuestion.id,
            ProgramQuestion.kind,
            ProgramQuestion.text,
            ProgramQuestion.choices,
            ProgramQuestion.required,
            RegistrationAnswer.answer,
        )
        .outerjoin(RegistrationAnswer, answered)
        .where(ProgramQuestion.program_id == program_id, ProgramQuestion.active)
        .order_by(ProgramQuestion.position, ProgramQuestion.id)
    )
    return [Question(row.id, row.kind, row.text, _lines(row.choices), bool(row.required), row.answer) for row in rows]


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())
