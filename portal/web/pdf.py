"""A receipt as a PDF, in an answer."""

from flask import Response

from portal.invoices.reading import Receipt
from portal.receipt_pdf import printed, words_of
from portal.settings import Settings


def pdf_answer(receipt: Receipt, clinic: Settings) -> Response:
    """The PDF of a receipt that was loaded for its reader. Raises CannotPrint."""
    answer = Response(printed(words_of(receipt, clinic)), mimetype="application/pdf")
    answer.headers.set("Content-Disposition", "attachment", filename=f"receipt-{receipt.number}.pdf")
    return answer
