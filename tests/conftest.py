"""What every test can ask for. The harness' parts are plugins; each says what it gives."""

from hypothesis import settings

pytest_plugins = [
    "pytester",
    "tests.support.sockets",
    "tests.support.results",
    "tests.support.databases",
    "tests.support.once",
    "tests.support.browser",
]

# A deadline per example measures the machine, not the code; and a run leaves nothing behind in the checkout.
settings.register_profile("portal", deadline=None, database=None, print_blob=True)
settings.load_profile("portal")
