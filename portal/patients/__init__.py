"""Patients' files: finding people, what a file says, who pays for whom, and how a person's account stands."""
