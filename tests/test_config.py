"""The environment: everything that is wrong is named at once, and production starts with nothing unsafe."""

import pytest

from portal.config import BadConfiguration, from_environment
from portal.vault import new_key

SAFE = {
    "PORTAL_ENV": "production",
    "PORTAL_DATABASE_URL": "postgresql://portal@db/portal",
    "PORTAL_SECRET_KEY": "Xk2-pQ9v_Lr7ZtN4wBy8HsDf3MgCj6Ea",
    "PORTAL_ENCRYPTION_KEYS": new_key(),
    "PORTAL_BASE_URL": "https://pay.example.com",
    "PORTAL_MAIL_URL": "smtp://clinic:hidden@mail.example.com:587",
}


def problems(**changes: str) -> list[str]:
    """What the start says about the safe environment with these changes."""
    with pytest.raises(BadConfiguration) as caught:
        from_environment({**SAFE, **changes})
    return caught.value.problems


def test_a_safe_production_environment_is_taken() -> None:
    config = from_environment(SAFE)
    assert config.production
    assert config.over_https
    assert config.stripe_api_base == "https://api.stripe.com"


def test_an_empty_environment_is_production_and_names_all_that_is_missing() -> None:
    with pytest.raises(BadConfiguration) as caught:
        from_environment({})
    named = {problem.split()[0] for problem in caught.value.problems}
    assert named == set(SAFE) - {"PORTAL_ENV"}


def test_development_needs_nothing_and_invents_its_secrets() -> None:
    one, other = from_environment({"PORTAL_ENV": "development"}), from_environment({"PORTAL_ENV": "development"})
    assert one.secret_key != other.secret_key
    assert one.encryption_keys != other.encryption_keys


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORTAL_ENV", "prod"),
        ("PORTAL_DATABASE_URL", "mysql://db/portal"),
        ("PORTAL_DATABASE_URL", "sqlite://"),
        ("PORTAL_DATABASE_URL", "sqlite:///:memory:"),
        ("PORTAL_DATABASE_URL", "sqlite+pysqlite://"),
        ("PORTAL_DATABASE_URL", "sqlite+pysqlite:///:memory:"),
        ("PORTAL_DATABASE_URL", "sqlite:///file:x?mode=memory&uri=true"),
        ("PORTAL_DATABASE_URL", "postgresql://portal@db:port/portal"),
        ("PORTAL_SECRET_KEY", "secret"),
        ("PORTAL_SECRET_KEY", "a" * 64),
        ("PORTAL_ENCRYPTION_KEYS", "k1"),
        ("PORTAL_ENCRYPTION_KEYS", "k1:notbase64!"),
        ("PORTAL_ENCRYPTION_KEYS", "k1:AAAA"),
        ("PORTAL_ENCRYPTION_KEYS", "k1:" + "A" * 43 + "="),
        ("PORTAL_BASE_URL", "http://pay.example.com"),
        ("PORTAL_BASE_URL", "pay.example.com"),
        ("PORTAL_BASE_URL", "https://pay.example.com/portal"),
        ("PORTAL_BASE_URL", "https://[half"),
        ("PORTAL_MAIL_URL", "file:/tmp/mail"),
        ("PORTAL_MAIL_URL", "smtp://"),
        ("PORTAL_REDIS_URL", "memcached://host"),
        ("PORTAL_TRUSTED_PROXIES", "everyone"),
        ("PORTAL_TRUSTED_PROXIES", "0.0.0.0/0"),
        ("PORTAL_TRUSTED_PROXIES", "12"),
        ("STRIPE_API_BASE", "http://127.0.0.1:12111"),
        ("STRIPE_API_BASE", "https://api.stripe.com.example.com"),
        ("STRIPE_JS_URL", "https://cdn.example.com/stripe.js"),
        ("STRIPE_LOG", "debug"),
    ],
)
def test_each_unsafe_value_stops_production_and_is_named(name: str, value: str) -> None:
    found = problems(**{name: value})
    assert [problem.split()[0] for problem in found] == [name]


def test_two_keys_of_one_name_are_refused() -> None:
    key = new_key()
    assert "twice" in problems(PORTAL_ENCRYPTION_KEYS=f"{key},{key}")[0]


def test_no_problem_and_no_repr_shows_a_secret() -> None:
    shown = " ".join(problems(PORTAL_ENCRYPTION_KEYS="k1:c2hvcnQ=", PORTAL_SECRET_KEY="hunter2"))
    assert "hunter2" not in shown
    assert "c2hvcnQ" not in shown
    config = repr(from_environment(SAFE))
    assert SAFE["PORTAL_SECRET_KEY"] not in config
    assert "hidden" not in config


def test_development_may_name_another_stripe() -> None:
    config = from_environment({"PORTAL_ENV": "development", "STRIPE_API_BASE": "http://127.0.0.1:12111/"})
    assert config.stripe_api_base == "http://127.0.0.1:12111"


def test_proxies_are_networks_or_a_count() -> None:
    assert from_environment({**SAFE, "PORTAL_TRUSTED_PROXIES": "2"}).proxy_hops == 2
    found = from_environment({**SAFE, "PORTAL_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.7"}).trusted_proxies
    assert [str(network) for network in found] == ["10.0.0.0/8", "192.0.2.7/32"]
