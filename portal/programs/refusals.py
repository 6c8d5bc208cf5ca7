"""What a person is told about a place in a program. Where money is near, the sentence says first that none moved."""

from collections.abc import Mapping

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString

from portal.errors import Refusal


class ProgramNotFound(Refusal):
    """No such program, or not one that this person may see."""

    status = 404
    title = _l("We can't find that program")
    message = _l("It may have been taken off the list. All programs are on the Programs page.")


class ProgramsClosed(Refusal):
    """The clinic has the module Programs off."""

    status = 404
    title = _l("The clinic has no programs here at the moment")
    message = _l("Nothing was changed, and nothing was charged. To ask about a program, please call the clinic.")


class RegistrationNotFound(Refusal):
    """No such registration, or somebody else's."""

    status = 404
    title = _l("We can't find that registration")
    message = _l("Open your programs and start from there.")


class ProgramFull(Refusal):
    """Every place is held or taken, or others wait for the next one."""

    title = _l("{name} is full. You have not been charged.")
    message = _l("Somebody else has taken the last place.")
    with_list = _l(
        "Somebody else has taken the last place. You can join the waitlist: we write when a place comes free."
    )

    def __init__(self, *, name: str, has_list: bool = False) -> None:
        super().__init__(name=name)
        self.has_list = has_list
        if has_list:
            self.message = self.with_list


class WaitlistFull(Refusal):
    """The waitlist has an end, or there is none."""

    title = _l("{name} is full, and so is its waitlist")
    message = _l("Please call the clinic: they may know of another group.")


class PlacesLeft(Refusal):
    """Nobody waits where a place is free."""

    title = _l("A place in {name} is free right now")
    message = _l("There is no need to wait: register for it.")


class NotOpenYet(Refusal):
    """Registration opens later."""

    title = _l("Registration for {name} has not opened yet")
    message = _l("It opens on {opens}.")


class RegistrationClosed(Refusal):
    """Registration has closed, or the program has begun."""

    title = _l("Registration for {name} is closed. You have not been charged.")
    message = _l("Please call the clinic if you would still like to come.")


class RegisteredAlready(Refusal):
    """One live registration per person and program."""

    title = _l("{person} is registered for {name} already")
    message = _l("Nothing was changed, and nothing was charged.")


class RegisterAtTheDesk(Refusal):
    """What costs something can't be registered for online while no card can be charged (O4)."""

    title = _l("Online registration is closed for programs that cost something. You have not been charged.")
    message = _l(
        "The clinic isn't taking payments online at the moment. Register at the front desk, or call {phone}."
    )
    without_phone = _l(
        "The clinic isn't taking payments online at the moment. Please register at the front desk when you come in."
    )

    def __init__(self, *, phone: str) -> None:
        super().__init__(phone=phone)
        if not phone:
            self.message = self.without_phone


class TooLittleForACard(RegisterAtTheDesk):
    """Less than the gateway takes in one payment, such as what a promo code leaves to pay."""

    title = _l("So small an amount can't be paid by card. You have not been charged.")
    message = _l("Register at the front desk, or call {phone}.")
    without_phone = _l("Please register at the front desk when you come in.")


class PlaceGone(Refusal):
    """The time of a held place ran out, or it was let go: its invoice can't be paid any more (P7)."""

    title = _l("We no longer hold a place for you. You have not been charged.")
    message = _l("The time to pay has run out. If there is still a place, register again; it takes a minute.")


class TriedTooLong(PlaceGone):
    """Press after press on Pay does not keep a place for ever; its last minutes are running out."""

    title = _l("The time to pay for this place has run out. You have not been charged.")
    message = _l("The place goes back to the others in a few minutes. If one is free then, you can register again.")


class PlaceIsBeingPaid(Refusal):
    """A payment for the place is under way: it may succeed at any moment."""

    title = _l("This place is being paid right now")
    message = _l("Wait until that payment has ended. Nothing was changed.")


class NotConfirmed(Refusal):
    """Only a confirmed place can be cancelled or moved."""

    title = _l("This registration is not confirmed, or was cancelled already")
    message = _l("Nothing was changed.")


class NobodyNamed(Refusal):
    """A place that somebody holds, of whom nobody knows yet for whom."""

    title = _l("Nobody is named for this place yet")
    message = _l("Choose the person first. Nothing was changed.")


class FormSentBefore(Refusal):
    """The number of somebody else's form, or of one for another program."""

    title = _l("This form was sent before")
    message = _l("Nothing was changed, and nothing was charged. Open the program again and press once more.")


class BadCode(Refusal):
    """A promo code that is not one, is over, used up, or not for this program. They all look alike."""

    status = 422
    title = _l("That code can't be used here")
    message = _l("Check how it is spelled, or go on without it. It may have ended, or be for another program.")


class NotSaved(Refusal):
    """What the office typed can't be kept like that. `wrong` has a sentence for each field, by its name."""

    status = 422
    title = _l("Not saved yet")

    def __init__(self, wrong: Mapping[str, LazyString | str]) -> None:
        super().__init__()
        self.wrong = {name: str(sentence) for name, sentence in wrong.items()}

    @property
    def text(self) -> str:
        return " ".join(self.wrong.values())


class PriceChanged(Refusal):
    """What the form showed is not what the place costs. Nothing is charged that was not shown."""

    title = _l("The price has changed. You have not been charged.")
    message = _l("It is {now} now; this page showed {shown}. Please look it over and go on.")


class WaitsAlready(Refusal):
    """Whoever waits gets a place in their turn; registering them would pass those before them."""

    title = _l("{person} is on the waitlist of {name} already")
    message = _l("Nothing was changed. They get the next place that comes free in their turn.")


class CannotMove(Refusal):
    """Only between programs in the same currency: an invoice has one."""

    status = 422
    title = _l("{name} is priced in another currency")
    message = _l("Nothing was changed. Cancel this registration, and register them for the other one.")
