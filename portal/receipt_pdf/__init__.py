"""The receipt as a PDF that an insurer takes (P4): tagged for screen readers, PDF/UA-1 (ISO 14289-1).

`words.py` says what stands on it, `receipt.typ` how it looks. It is set by Typst in a process of its own, so that
neither web workers nor the worker carry its memory, and one that hangs or dies takes nobody with it.
"""

from portal.receipt_pdf.printer import CannotPrint, printed
from portal.receipt_pdf.words import words_of

__all__ = ["CannotPrint", "printed", "words_of"]
