"""What a clinic has already: patients, invoices, practitioners and services from CSV files (docs/import.md).

A file is looked through as a whole first; every line that can't be taken is told with its number and the reason. It
is written all or not at all, in one transaction. What is there already stays as it is: a second run changes nothing.
"""
