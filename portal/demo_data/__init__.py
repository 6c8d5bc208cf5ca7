"""Made-up people and their invoices, for `portal demo`, for `portal demo-data`, and for measurements.

Every name is invented and every address ends in example.com. Dates are relative to today, so that there is always
something open and something overdue.
"""

from portal.demo_data.clinic import DemoSignIn
from portal.demo_data.making import ClinicHasPatients, DemoClinic, make_demo_clinic
from portal.demo_data.many import NoClinicYet, make_many_invoices

__all__ = ["ClinicHasPatients", "DemoClinic", "DemoSignIn", "NoClinicYet", "make_demo_clinic", "make_many_invoices"]
