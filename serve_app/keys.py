"""The keys that sign tokens: one signs, several are believed, and a file may change them while it runs.

A key in a file says from when it signs and until when it is believed. So a rotation needs no restart:
every process reads the file again every ``TOKENS_CHECK_INTERVAL_MS``, believes the new key at once, and
signs with it only ``KEY_SETTLE_S`` later, when every other process believes it as well.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from actors.settings import Settings, SettingsError
from engine import limits

#: Tokens are believed so much longer than the last one of a key lives, seconds: clocks differ.
_MARGIN_S = 60
_FOR_EVER: Final = float("inf")


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One secret. Times are seconds since 1970; ``believed_until`` is null while nothing follows it."""

    secret: str
    signs_from: float = 0
    believed_until: float | None = None

    def __repr__(self) -> str:
        return f"Key({self.key_id})"

    @property
    def key_id(self) -> str:
        """What a token's header calls it (``kid``); tells nothing about the secret."""
        return hashlib.sha256(b"rayquiz key id\0" + self.secret.encode()).hexdigest()[:12]

    def ends_s(self) -> float:
        """Until when tokens that it has signed are believed."""
        return _FOR_EVER if self.believed_until is None else self.believed_until


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[Key, ...]


class Keyring:
    """All keys of a process, the newest last.

    Args:
        keys: at least one of them signs.
        path: the file that they came from, if it may change.
    """

    def __init__(self, keys: Sequence[Key], path: Path | None = None) -> None:
        self._keys = tuple(keys)
        self._path = path
        self._by_id = {key.key_id: key for key in keys}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The keys of ``RAYQUIZ_KEYS_FILE``, else of ``RAYQUIZ_SECRET`` and ``RAYQUIZ_OTHER_SECRETS``.

        Raises:
            SettingsError: the file is missing or not as it should be.
        """
        if settings.keys_file:
            path = Path(settings.keys_file)
            return cls(read_keys(path), path)
        others = [Key(secret, _FOR_EVER) for secret in settings.other_secrets_list]
        return cls([*others, Key(settings.secret)])

    def signing(self) -> Key:
        """The key that signs now: the newest whose time has come."""
        now = time.time()
        return next(key for key in reversed(self._keys) if key.signs_from <= now)

    def believed(self, key_id: str | None) -> list[Key]:
        """The keys that a token may be signed with: the one that it names, or any when it names none."""
        now = time.time()
        if key_id is None:  # of the version before
            return [key for key in self._keys if now < key.ends_s()]
        key = self._by_id.get(key_id)
        return [key] if key is not None and now < key.ends_s() else []

    def reload(self) -> bool:
        """Read the file again; whether the keys have changed.

        Raises:
            SettingsError: the file is missing or not as it should be; the keys stay as they were.
        """
        if self._path is None:
            return False
        keys = tuple(read_keys(self._path))
        if keys == self._keys:
            return False
        self._keys = keys
        self._by_id = {key.key_id: key for key in keys}
        return True


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file.

    Raises:
        SettingsError: it is missing, or not as it should be.
    """
    try:
        keys = msgspec.json.decode(path.read_bytes(), type=_File).keys
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        # Not what the file holds: messages land in logs.
        raise SettingsError(f"the keys in {path} cannot be read: {error}") from None
    if not any(key.signs_from <= time.time() for key in keys):
        raise SettingsError(f"the keys in {path}: none signs yet")
    if len(keys) > limits.KEYS_MAX:
        raise SettingsError(f"the keys in {path}: {len(keys)}; at most {limits.KEYS_MAX} may be")
    if any(len(key.secret) < limits.SECRET_CHARS_MIN for key in keys):
        raise SettingsError(f"the keys in {path}: one is too short for a secret")
    return keys


def encode_keys(keys: Sequence[Key]) -> str:
    """The text of a file of keys."""
    return msgspec.json.format(msgspec.json.encode(_File(tuple(keys)))).decode() + "\n"


def new_secret() -> str:
    """A secret that nobody can guess."""
    return secrets.token_urlsafe(48)


def rotated(keys: Sequence[Key], *, leaked: bool = False) -> tuple[Key, ...]:
    """The keys with a new one, which signs ``KEY_SETTLE_S`` from now.

    Those that were there are believed for as long as what they have signed by then lives; keys that
    have leaked only until the new one signs, so that every token made so far ends.

    Raises:
        SettingsError: as many keys are believed as may be.
    """
    now = time.time()
    signs_from = now + limits.KEY_SETTLE_S
    until = signs_from + (0 if leaked else limits.TOKEN_LIFE_S + _MARGIN_S)
    former = [
        Key(key.secret, key.signs_from, min(key.ends_s(), until))
        for key in keys
        if now < key.ends_s()
    ]
    if len(former) >= limits.KEYS_MAX:
        wait_s = min(key.ends_s() for key in former) - now
        raise SettingsError(
            f"{len(former)} keys are believed, as many as may be; the first ends in "
            f"{wait_s / 3600:.1f} hours"
        )
    return (*former, Key(new_secret(), signs_from))
