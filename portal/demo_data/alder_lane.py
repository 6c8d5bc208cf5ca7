"""Alder Lane Clinic as it is written down: its prices, its people, and who signs in. All of it is invented."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from portal.invoices.books import TaxRate

ZONE = ZoneInfo("America/Vancouver")
SETTINGS = {
    "portal_enabled": "yes",
    "portal_allow_sign_up": "no",
    "module_payment_gateways": "yes",
    "module_programs": "yes",
    "accept_payments_in_portal": "yes",
    "email_pay_online_request": "yes",
    "accept_prepaid_cards": "yes",
    "clinic_name": "Alder Lane Clinic",
    "clinic_address": "118 Alder Lane, Kelowna BC V1Y 0A1",
    "clinic_phone": "250-555-0142",
    "clinic_email": "frontdesk@example.com",
}
TAX_NUMBERS = "GST 71234 5678 RT0001, PST-1234-5678"
GST = TaxRate("GST", 5_000)
PST = TaxRate("PST", 7_000)

# Name, credentials, registration.
PRACTITIONERS = (
    ("Liam Tremblay", "RMT", "CMTBC 08842"),
    ("Priya Raman", "PT", "CPTBC 11307"),
    ("Dr. Naomi Okafor", "DC", "CCBC 04415"),
    ("Grace Whitfield", "R.Ac", "CTCMA 06218"),
)
MASSAGE = "Massage therapy, 60 minutes"
CUSHION = "Lumbar support cushion"
PHYSIO = "Physiotherapy, follow-up"
PHONE_CALL = "Follow-up by phone, no charge"
# Name, price, taxes, and whose treatment it is; nobody's is a product or a fee. Physiotherapy, chiropractic and
# acupuncture bear no GST, massage does; goods bear both taxes.
SERVICES: tuple[tuple[str, int, tuple[TaxRate, ...], str | None], ...] = (
    ("Massage therapy, 45 minutes", 98_00, (GST,), "Liam Tremblay"),
    (MASSAGE, 120_00, (GST,), "Liam Tremblay"),
    ("Massage therapy, 90 minutes", 160_00, (GST,), "Liam Tremblay"),
    ("Physiotherapy, first visit", 125_00, (), "Priya Raman"),
    (PHYSIO, 95_00, (), "Priya Raman"),
    ("Chiropractic, first visit", 112_50, (), "Dr. Naomi Okafor"),
    ("Chiropractic, adjustment", 68_00, (), "Dr. Naomi Okafor"),
    ("Acupuncture, 60 minutes", 105_00, (), "Grace Whitfield"),
    (PHONE_CALL, 0, (), "Priya Raman"),
    (CUSHION, 48_00, (GST, PST), None),
    ("Foam roller", 34_00, (GST, PST), None),
    ("Hot and cold pack", 22_00, (GST, PST), None),
    ("Resistance band", 16_50, (GST, PST), None),
    ("Late change fee", 35_00, (GST,), None),
)
# Maya pays for Theo, a minor; Jonas for his mother Ingrid, whose lines he doesn't see.
PEOPLE = (
    "Maya Lindqvist", "Theo Lindqvist", "Jonas Weber", "Ingrid Weber", "Aisha Rahman", "Oliver Marsh",
    "Étienne Gagnon", "Rosa Delgado", "Petra Novak", "Inès Bouchard", "Harpreet Gill", "Samuel Beckett-Osei",
    "Wei-Ling Chow", "Tomasz Kowalski", "Fatima Haddad", "Lucas Moreau", "Noor van Dijk", "Callum Fraser",
    "Yuki Tanabe", "Amara Nwosu", "Hugo Lévesque", "Sofia Marchetti", "Dmitri Volkov", "Leilani Kahale",
    "Ruth Friesen", "Arjun Mehta", "Claire Desjardins", "Mateo Fuentes", "Siobhan Kelly", "Anders Holm",
)  # fmt: skip
STAFF = (
    ("Dana Whitlock", "dana@example.com", "front_desk"),
    ("Ines Caron", "ines@example.com", "billing"),
    ("Liam Tremblay", "liam@example.com", "practitioner"),
    ("Marc Oduya", "marc@example.com", "administrator"),
)
SIGNING_IN = {"Maya Lindqvist": "maya@example.com", "Jonas Weber": "jonas@example.com"}


def moment(day: date, hour: int, minute: int = 0) -> datetime:
    """A time of the clinic's own clock, in UTC."""
    return datetime.combine(day, time(hour, minute), ZONE).astimezone(UTC)
