"""The keys: which one signs, which are believed, and a rotation that cuts nobody off."""

import time

import pytest

from actors.settings import Settings, SettingsError
from engine import limits
from engine.errors import Unauthorized
from engine.ids import ParticipantId, SessionId
from serve_app import keys as module
from serve_app.auth import Role, Tokens
from serve_app.keys import Key, Keyring, encode_keys, read_keys, rotated

SESSION = SessionId("00000000-0000-4000-8000-000000000001")
FIRST, SECOND = "first-secret-of-at-least-32-characters", "second-secret-of-at-least-32-characters"
SETTINGS = {
    "database_url": "postgresql://unused",
    "redis_url": "redis://unused",
    "secret": FIRST,
    "public_url": "http://test",
}


@pytest.fixture
def clock(monkeypatch):
    """Time that the test moves."""

    class Clock:
        now_s = time.time()

        def time(self):
            return self.now_s

    clock = Clock()
    monkeypatch.setattr(module.time, "time", clock.time)
    return clock


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(encode_keys([Key(FIRST)]))
    return path


def test_processes_that_read_the_file_at_different_times_believe_each_other(path, clock):
    early, late = (Tokens(Keyring(read_keys(path), path)) for _ in range(2))
    before = late.participant(SESSION, ParticipantId(1))
    path.write_text(encode_keys(rotated(read_keys(path))))
    assert early.reload_keys()
    # One has read the file, the other not yet: what either signs, both believe.
    for made in (early, late):
        token = made.participant(SESSION, ParticipantId(2))
        assert all(tokens.check(token, Role.PARTICIPANT) for tokens in (early, late))
    assert late.reload_keys()
    assert not late.reload_keys(), "nothing has changed since"
    clock.now_s += limits.KEY_SETTLE_S
    after = early.participant(SESSION, ParticipantId(3))
    for tokens in (early, late):
        assert tokens.check(before, Role.PARTICIPANT).participant_id == 1
        assert tokens.check(after, Role.PARTICIPANT).participant_id == 3
    with pytest.raises(Unauthorized):
        Tokens(FIRST).check(after, Role.PARTICIPANT)


def test_the_former_key_is_believed_as_long_as_its_last_token_lives(clock):
    keys = rotated([Key(FIRST)])
    clock.now_s += limits.KEY_SETTLE_S - 1
    last = Tokens(FIRST).operator()
    tokens = Tokens(Keyring(keys))
    clock.now_s += limits.TOKEN_LIFE_S - 1
    assert tokens.check(last, Role.OPERATOR)
    clock.now_s += 120
    with pytest.raises(Unauthorized):
        tokens.check(last, Role.OPERATOR)  # remembered, and over
    with pytest.raises(Unauthorized):
        Tokens(Keyring(keys)).check(last, Role.OPERATOR)
    assert [key.secret for key in rotated(keys)[:-1]] == [keys[1].secret], "and is dropped"


def test_a_leaked_key_is_not_believed_once_the_new_one_signs(clock):
    tokens = Tokens(Keyring(rotated([Key(FIRST)], leaked=True)))
    token = Tokens(FIRST).operator()
    assert tokens.check(token, Role.OPERATOR)
    clock.now_s += limits.KEY_SETTLE_S + 1
    with pytest.raises(Unauthorized):
        tokens.check(token, Role.OPERATOR)
    assert tokens.check(tokens.operator(), Role.OPERATOR)


def test_keys_are_few(clock):
    keys = (Key(FIRST),)
    for _ in range(limits.KEYS_MAX - 1):
        keys = rotated(keys)
    with pytest.raises(SettingsError, match=r"as many as may be; the first ends in 12\.0 hours"):
        rotated(keys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("{}", "cannot be read"),
        ('{"keys": []}', "none signs yet"),
        ('{"keys": [{"secret": "short"}]}', "one is too short"),
        (encode_keys([Key(FIRST, signs_from=2**40)]), "none signs yet"),
        (encode_keys([Key(FIRST)] * (limits.KEYS_MAX + 1)), "at most"),
        ('{"keys": [{"secret": "' + FIRST + '", "more": 1}]}', "cannot be read"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_changes_nothing_and_shows_nothing(path, text, message):
    ring = Keyring(read_keys(path), path)
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        ring.reload()
    assert FIRST not in str(caught.value)
    assert ring.signing() == Key(FIRST)
    path.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        ring.reload()


def test_a_key_shows_nothing_of_its_secret():
    assert FIRST not in repr(Key(FIRST))
    assert Key(FIRST).key_id not in FIRST


def test_keys_from_the_environment_the_next_and_the_former_one():
    """Without a file: believe the next key everywhere, then sign with it, then forget the former."""
    old = Tokens.of(Settings(**SETTINGS))
    both = Tokens.of(Settings(**SETTINGS, other_secrets=SECOND))
    turned = Tokens.of(Settings(**{**SETTINGS, "secret": SECOND}, other_secrets=FIRST))
    for signs, believe in ((old, (both, turned)), (both, (old, turned)), (turned, (both,))):
        token = signs.operator()
        assert all(tokens.check(token, Role.OPERATOR) for tokens in believe)
    with pytest.raises(Unauthorized):
        old.check(turned.operator(), Role.OPERATOR)


@pytest.mark.parametrize("others", ["short", f"{FIRST},short", ",".join([FIRST] * limits.KEYS_MAX)])
def test_other_keys_are_few_and_long(others):
    with pytest.raises(ValueError, match="other_secrets"):
        Settings(**SETTINGS, other_secrets=others)


def test_the_file_goes_before_the_environment(path):
    path.write_text(encode_keys([Key(SECOND)]))
    tokens = Tokens.of(Settings(**SETTINGS, keys_file=str(path)))
    assert Tokens(SECOND).check(tokens.operator(), Role.OPERATOR)
