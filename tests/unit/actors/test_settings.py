"""Settings go through the environment unchanged, and a wrong one is named."""

import pytest

from actors.settings import Settings, SettingsError
from engine import limits
from engine.pins import PinStyle

SETTINGS = Settings(
    database_url="postgresql://postgres@/rayquiz?host=/tmp/x",
    redis_url="unix:///tmp/x",
    secret="a-secret-of-at-least-32-characters",
    public_url="http://localhost:8000",
    warm_pool_size=3,
)


@pytest.fixture
def environment(monkeypatch):
    for name, value in SETTINGS.to_env().items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_child_processes_read_the_same_settings(environment):
    assert Settings.from_env() == SETTINGS


def test_what_is_missing_or_out_of_bounds_is_named(environment):
    environment.delenv("RAYQUIZ_DATABASE_URL")
    environment.setenv("RAYQUIZ_SECRET", "short")
    environment.setenv("RAYQUIZ_WARM_POOL_SIZE", "1000")
    with pytest.raises(SettingsError) as caught:
        Settings.from_env()
    said = str(caught.value)
    assert "RAYQUIZ_DATABASE_URL: field required" in said
    assert "RAYQUIZ_SECRET: string should have at least 32 characters" in said
    assert "RAYQUIZ_WARM_POOL_SIZE: input should be less than or equal to 100" in said


def test_the_secret_is_not_shown():
    assert SETTINGS.secret not in repr(SETTINGS)


def test_nothing_is_changed_while_it_runs():
    with pytest.raises(ValueError, match="frozen"):
        SETTINGS.secret = "another-secret-of-at-least-32-characters"


@pytest.mark.parametrize(
    ("urls", "replicas"),
    [
        ("", ()),
        (" ", ()),
        ("postgresql://a/q", ("postgresql://a/q",)),
        ("postgresql://a/q, postgresql://b/q,", ("postgresql://a/q", "postgresql://b/q")),
    ],
)
def test_replicas_are_addresses_with_commas_between(environment, urls, replicas):
    environment.setenv("RAYQUIZ_REPLICA_URLS", urls)
    assert Settings.from_env().replicas == replicas


def test_the_first_primary_is_the_catalogue_and_there_are_so_many_at_most(environment):
    assert Settings.from_env().primaries == (SETTINGS.database_url,)
    others = [f"postgresql://{n}/q" for n in range(1, limits.SHARDS_MAX)]
    environment.setenv("RAYQUIZ_SHARD_URLS", ",".join(others))
    assert Settings.from_env().primaries == (SETTINGS.database_url, *others)
    environment.setenv("RAYQUIZ_SHARD_URLS", ",".join([*others, "postgresql://more/q"]))
    with pytest.raises(SettingsError, match=f"RAYQUIZ_SHARD_URLS: .*at most {len(others)}"):
        Settings.from_env()


def test_a_trusted_proxy_is_an_address_or_a_network(environment):
    environment.setenv("RAYQUIZ_TRUSTED_PROXIES", "10.0.0.0/8, 2001:db8::1")
    assert Settings.from_env().proxies == ("10.0.0.0/8", "2001:db8::1")
    environment.setenv("RAYQUIZ_TRUSTED_PROXIES", "10.0.0.1/8")
    with pytest.raises(
        SettingsError, match=r"RAYQUIZ_TRUSTED_PROXIES: .*10\.0\.0\.1/8 has host bits"
    ):
        Settings.from_env()


def test_a_style_of_pins_is_one_of_three(environment):
    environment.setenv("RAYQUIZ_PIN_STYLE", "letters")
    assert Settings.from_env().pin_style is PinStyle.LETTERS
    assert Settings.from_env().to_env()["RAYQUIZ_PIN_STYLE"] == "letters"
    environment.setenv("RAYQUIZ_PIN_STYLE", "words")
    with pytest.raises(SettingsError, match=r"RAYQUIZ_PIN_STYLE: .*'letters'"):
        Settings.from_env()


def test_sockets_send_as_much_as_people_do_unless_they_are_load_generators(environment):
    assert Settings.from_env().messages_per_s == limits.MESSAGES_PER_S_MAX == 20
    environment.setenv("RAYQUIZ_MESSAGES_PER_S", str(limits.MESSAGES_PER_S_LOAD_MAX))
    assert Settings.from_env().messages_per_s == limits.MESSAGES_PER_S_LOAD_MAX
    environment.setenv("RAYQUIZ_MESSAGES_PER_S", "0")
    with pytest.raises(SettingsError, match="RAYQUIZ_MESSAGES_PER_S"):
        Settings.from_env()
