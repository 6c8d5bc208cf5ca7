"""The sentences with which the schedule says no."""

from flask_babel import lazy_gettext as _l

from portal.errors import Refusal


class TimeTaken(Refusal):
    """Somebody is booked with this practitioner then. Two visits at once are impossible by the table's own key."""

    title = _l("That time is taken")
    message = _l("{practitioner} has {patient} on {day}, {span}. Please choose another time.")


class OutsideHours(Refusal):
    """The location is closed then."""

    status = 422
    message = _l("{location} is open from {opens} to {closes}. This visit would last from {span}.")


class NotAvailable(Refusal):
    """A location, practitioner or service that is not there, or that takes no visits any more."""

    status = 422
    message = _l("{name} takes no visits at the moment. Please choose another one.")


class PatientNotFound(Refusal):
    """Nobody on file has this number."""

    status = 422
    message = _l("Please find and choose a patient.")


class VisitNotFound(Refusal):
    """There is no such visit."""

    status = 404
    title = _l("We don't know this visit")
    message = _l("It may have been booked in another clinic's schedule. Go back to the schedule and choose it there.")


class FormUsed(Refusal):
    """A form books one visit. It was sent again with something else in it."""

    title = _l("This form has booked a visit already")
    message = _l("It booked {patient} for {day}, {span}. To book another visit, start with a new form.")


class VisitChanged(Refusal):
    """Somebody else moved or changed the visit after this form was shown."""

    title = _l("This visit was changed meanwhile")
    message = _l("It is now on {day}, {span}, with {practitioner}. Nothing was done; please look again.")


class VisitIsOver(Refusal):
    """What has happened, or was called off, stays as it is."""

    message = _l("This visit is {status} already, so it stays as it is.")


class VisitIsInvoiced(Refusal):
    """An invoice says when, where and with whom the visit was; it can't say something else afterwards."""

    title = _l("This visit has an invoice")
    message = _l(
        "Invoice {number} is for this visit. Void it first. (A new time on the same day needs no new invoice.)"
    )
