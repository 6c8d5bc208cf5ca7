"""Passwords: how they are kept, and which ones can be chosen."""

from functools import lru_cache
from typing import Any

from argon2 import PasswordHasher
from flask_babel import gettext as _
from flask_security.password_util import PasswordUtil

from portal.people import User

SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 128
# OWASP's second choice of parameters for argon2id: 19 MiB, so that several sign-ins at a time fit in memory.
PASSES, MEMORY_KIB, LANES = 2, 19_456, 1


def hashed(password: str) -> str:
    """A password as the table keeps it, for those who make accounts outside of a request."""
    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES).hash(password)


@lru_cache
def _common() -> frozenset[str]:
    """Passwords that everybody tries first, long enough to pass by length."""
    return frozenset(
        [
            "1234567890",
            "12345678910",
            "123456789a",
            "password12",
            "password123",
            "password1234",
            "passw0rd123",
            "qwertyuiop",
            "qwerty12345",
            "iloveyou123",
            "welcome123",
            "welcome1234",
            "letmein123",
            "administrator",
            "changeme123",
            "1q2w3e4r5t",
            "1qaz2wsx3edc",
            "abcdefghij",
            "abcdefghijkl",
            "0987654321",
            "9876543210",
            "q1w2e3r4t5",
            "football123",
            "baseball123",
            "princess123",
            "sunshine123",
        ]
    )


class Passwords(PasswordUtil):
    """What a new password must be: long, and not one that anybody would try first.

    NIST SP 800-63B-4, 3.1.1.2: no rules about kinds of characters, no change by the calendar, a list of common ones.
    """

    def validate(self, password: str, is_register: bool, **kwargs: Any) -> tuple[list[str] | None, str]:
        tidied = self.normalize(password)
        user: User | None = kwargs.get("user")
        problem = password_problem(tidied, user.email if user is not None else "")
        return ([problem] if problem else None), tidied


def password_problem(password: str, email: str) -> str | None:
    """Why this can't be the password of that address, in a sentence; None when it can."""
    lowered = password.lower()
    problem: str | None = None
    if len(password) < SHORTEST_PASSWORD:
        problem = _("Use at least %(least)s characters. Three or four words in a row are easy to keep in mind.",
                    least=SHORTEST_PASSWORD)  # fmt: skip
    elif len(password) > LONGEST_PASSWORD or "\0" in password:
        problem = _("Use at most %(most)s characters.", most=LONGEST_PASSWORD)
    elif lowered in _common() or len(set(lowered)) < 5:
        problem = _("This is one of the first passwords that anybody would try. Please choose another.")
    elif email and email in (lowered, lowered.strip("0123456789!")):
        problem = _("Your email address is easy to guess. Please choose something else.")
    return problem
