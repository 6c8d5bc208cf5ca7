"""Everything a clinic needs to start (O17): its locations, practitioners, services, products and taxes.

One module for each; `entry.py` reads what was typed. A name is taken once whatever its case. What is switched off
stays on old invoices and vanishes from choices. Every change stands in the audit log, field by field.
"""
