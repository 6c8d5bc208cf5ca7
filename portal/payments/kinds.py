"""What somebody pays with, in words: the one name of each kind, on every page."""

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString

from portal.payments.tables import KINDS

KIND_NAMES: dict[str, LazyString] = {
    "card": _l("Card"),
    "cash": _l("Cash"),
    "cheque": _l("Cheque"),
    "debit": _l("Debit (terminal)"),
    "e-transfer": _l("E-transfer"),
    "insurance": _l("Insurance"),
    "other": _l("Other"),
}
"""By the kind that stands in the books."""

assert tuple(KIND_NAMES) == KINDS, "each kind has a name"
