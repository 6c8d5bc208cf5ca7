"""Setting programs up in the office: what the clinic says about them, their sessions, and promo codes."""
