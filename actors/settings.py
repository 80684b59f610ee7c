"""What an operator can set, from environment variables named ``RAYQUIZ_…``."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine import limits
from engine.pins import PinStyle

_Replicas = Annotated[int, Field(ge=1, le=100)]


def primaries_of(database_url: str, shard_urls: str) -> tuple[str, ...]:
    """The addresses of all primaries: the catalogue, and those of ``shard_urls``."""
    return (database_url, *_addresses(shard_urls))


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(url.strip() for url in text.split(",") if url.strip())


class SettingsError(Exception):
    """A setting is missing or out of its bounds; one sentence for each."""


class Settings(BaseSettings):
    """All settings of the services. Frozen; every process reads the same environment."""

    model_config = SettingsConfigDict(env_prefix="RAYQUIZ_", frozen=True, extra="ignore")

    database_url: str = Field(description="the PostgreSQL primary; of several, the first")
    shard_urls: str = Field(
        default="",
        description="further primaries, with commas between; their order says which sessions they"
        " have: append, never remove or reorder",
    )
    replica_urls: str = Field(
        default="",
        description="streaming replicas of the (first) primary to read from, with commas between;"
        " without them, the primary answers every read",
    )
    redis_url: str = Field(description="Redis or Valkey: frames travel here")
    rabbitmq_url: str = Field(
        default="", description="the broker in front of the writers; without it, there is none"
    )
    writers: Annotated[int, Field(ge=1, le=limits.PARTITIONS)] = 1
    secret: str = Field(
        min_length=limits.SECRET_CHARS_MIN, repr=False, description="the key that signs the tokens"
    )
    other_secrets: str = Field(
        default="",
        repr=False,
        description="keys that are believed as well, with commas between: the former one, or the next",
    )
    keys_file: str = Field(
        default="",
        description="a file of keys in the place of both, read again while it runs; see"
        " `rayquiz keys rotate`",
    )
    audience: str = Field(
        default="",
        max_length=100,
        description="names this deployment in tokens, and refuses those of another one; to be set"
        " once no replica runs that is older than this setting",
    )
    public_url: str = Field(
        description="what participants type or scan, without a slash at the end"
    )
    trusted_proxies: str = Field(
        default="",
        description="addresses and networks (CIDR) of proxies in front of HAProxy, and of HAProxy on"
        " other nodes, with commas between; their X-Forwarded-For tells where people come from",
    )
    pin_style: PinStyle = Field(
        default=PinStyle.DIGITS6,
        description="PINs of new sessions: digits6, digits8, or letters; longer ones are harder to guess",
    )
    messages_per_s: Annotated[int, Field(ge=1, le=limits.MESSAGES_PER_S_LOAD_MAX)] = Field(
        default=limits.MESSAGES_PER_S_MAX,
        description="messages that one websocket may send within a second; only load generators, which"
        " are many people in one, need more than people do",
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        description="address at which Prometheus finds the metrics of a machine: of an operators'"
        " network, never of the one with the people",
    )
    metrics_port: int = Field(default=0, ge=0, le=65_535, description="its port; 0: any free one")
    ray_namespace: str = "rayquiz"
    warm_pool_size: Annotated[int, Field(ge=0, le=100)] = 1
    linger_ms: Annotated[int, Field(ge=0, le=limits.IDLE_MS_MAX)] = limits.LINGER_MS
    api_replicas: _Replicas = 1
    notificator_replicas: _Replicas = 1
    pages_replicas: _Replicas = 1

    @field_validator("shard_urls")
    @classmethod
    def _not_too_many(cls, value: str) -> str:
        if len(_addresses(value)) >= limits.SHARDS_MAX:
            raise ValueError(f"at most {limits.SHARDS_MAX - 1} addresses may be given")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for entry in _addresses(value):
            ip_network(entry)  # its error says what is wrong with the entry
        return value

    @field_validator("other_secrets")
    @classmethod
    def _long_enough(cls, value: str) -> str:
        others = _addresses(value)
        if any(len(secret) < limits.SECRET_CHARS_MIN for secret in others):
            raise ValueError(f"each should have at least {limits.SECRET_CHARS_MIN} characters")
        if len(others) >= limits.KEYS_MAX:
            raise ValueError(f"at most {limits.KEYS_MAX - 1} may be given")
        return value

    @property
    def other_secrets_list(self) -> tuple[str, ...]:
        """The keys of ``other_secrets``."""
        return _addresses(self.other_secrets)

    @property
    def primaries(self) -> tuple[str, ...]:
        """See :func:`primaries_of`."""
        return primaries_of(self.database_url, self.shard_urls)

    @property
    def replicas(self) -> tuple[str, ...]:
        """The addresses of ``replica_urls``."""
        return _addresses(self.replica_urls)

    @property
    def proxies(self) -> tuple[str, ...]:
        """The entries of ``trusted_proxies``."""
        return _addresses(self.trusted_proxies)

    @classmethod
    def from_env(cls) -> Settings:
        """Read the environment.

        Raises:
            SettingsError: a variable is missing or out of bounds; the message names each.
        """
        try:
            return cls()
        except ValidationError as error:
            lines = [
                f"RAYQUIZ_{str(e['loc'][0]).upper()}: {e['msg'].lower()}" for e in error.errors()
            ]
            raise SettingsError("; ".join(lines)) from None

    def to_env(self) -> dict[str, str]:
        """The same settings as environment variables, for child processes."""
        return {f"RAYQUIZ_{name.upper()}": str(value) for name, value in self.model_dump().items()}
