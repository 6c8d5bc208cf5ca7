"""Programs: group classes that people register and pay for. A place is held before a card is charged (P6, P7)."""
