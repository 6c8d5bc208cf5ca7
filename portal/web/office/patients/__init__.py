"""Patients' files: finding people, adding and editing them, and the tabs of a file."""

from portal.web.office.patients import accounting, file, finding, mails, payers, programs
from portal.web.office.patients.room import bp

__all__ = ["accounting", "bp", "file", "finding", "mails", "payers", "programs"]
