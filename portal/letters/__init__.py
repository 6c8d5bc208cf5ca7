"""Mails about invoices: who gets one, what it says, and when it is queued.

Each is queued in the transaction of what it tells, under a key of its event, so that one event has one mail. A mail
names the clinic, the amount and the invoice's number: never what the invoice is for.
"""
