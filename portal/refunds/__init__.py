"""Mistakes put right: reversals (the books alone), refunds (money goes back), voids, and what Stripe does by itself.

`reversing` corrects the books and never calls the gateway. `asking` gives money back through it, `by_hand` past it.
`following` is the only place that books what went back at the gateway, whoever made it. `voiding` cancels an invoice
and sees to its money. `reading` is View Payments: `entries` has what was posted in words, `notes` what is open.
"""
