"""Makes the demo clinic: one believable practice with thirty patients, two hundred invoices and five programs."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.db import Database
from portal.demo_data.alder_lane import PEOPLE, PRACTITIONERS, SERVICES, SETTINGS, SIGNING_IN, STAFF
from portal.demo_data.clinic import Clinic, DemoSignIn
from portal.demo_data.invoices import INVOICES, Invoices
from portal.demo_data.programs import make_programs
from portal.demo_data.visits import make_visits
from portal.errors import Refusal
from portal.gateway.configured import add_gateway
from portal.people import Patient
from portal.settings import change_setting
from portal.vault import Vault


class ClinicHasPatients(Refusal):
    """Made-up people never go among real ones, and the demo clinic is not made twice."""

    message = _l("This database has patients already. Demo data goes into a new, empty database only.")


@dataclass(frozen=True)
class DemoClinic:
    """What was made, for whoever started it to print. All accounts share the password that the caller gave."""

    sign_ins: tuple[DemoSignIn, ...]
    patients: int
    invoices: int
    gateway_id: int | None


def make_demo_clinic(
    database: Database,
    vault: Vault,
    *,
    password: str,
    hash_password: Callable[[str], str],
    sandbox_gateway: Mapping[str, str] | None,
    seed: int = 1,
) -> DemoClinic:
    """Make one clinic with thirty patients, two hundred invoices and five programs, all in one transaction.

    `sandbox_gateway` holds `token`, `secret` and `webhook_secret`; without it there is no online payment. Raises
    ClinicHasPatients.
    """
    accounts = [*SIGNING_IN.values(), *(email for _, email, _ in STAFF)]
    hashes = {email: hash_password(password) for email in accounts}  # slow on purpose: not inside the transaction
    with database.transaction() as session:
        if session.scalar(select(Patient.id).limit(1)) is not None:
            raise ClinicHasPatients
        for key, value in SETTINGS.items():
            change_setting(session, key, value)
        gateway_id = _gateway(session, vault, sandbox_gateway)
        clinic = Clinic(session, random.Random(seed))  # noqa: S311  made-up data, the same again for the same seed
        sign_ins = clinic.open(hashes)
        clinic.give_second_factors(vault)
        invoices = Invoices(clinic)
        for visit in invoices.visits():
            invoices.write(visit)
        treats = {healer: [name for name, _, _, whose in SERVICES if whose == healer] for healer, *_ in PRACTITIONERS}
        make_visits(session, clinic.today, treats, clinic.staff["Dana Whitlock"].id, seed)
        of_programs = make_programs(clinic, invoices)
    return DemoClinic(tuple(sign_ins), len(PEOPLE), INVOICES + of_programs, gateway_id)


def _gateway(session: Session, vault: Vault, keys: Mapping[str, str] | None) -> int | None:
    if not keys:
        return None
    return add_gateway(
        session,
        vault,
        location_id=None,
        name=SETTINGS["clinic_name"],
        mode="test",
        token=keys["token"],
        secret=keys["secret"],
        webhook_secret=keys["webhook_secret"],
        active=True,
        default=True,
    ).id
