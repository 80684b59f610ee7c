"""What an operator can set, from environment variables named ``RAYQUIZ_…``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine import limits

_Replicas = Annotated[int, Field(ge=1, le=100)]


class SettingsError(Exception):
    """A setting is missing or out of its bounds; one sentence for each."""


class Settings(BaseSettings):
    """All settings of the services. Frozen; every process reads the same environment."""

    model_config = SettingsConfigDict(env_prefix="RAYQUIZ_", frozen=True, extra="ignore")

    database_url: str = Field(description="the PostgreSQL primary")
    replica_urls: str = Field(
        default="",
        description="streaming replicas of it to read from, with commas between; without them, the"
        " primary answers every read",
    )
    redis_url: str = Field(description="Redis or Valkey: frames travel here")
    rabbitmq_url: str = Field(
        default="", description="the broker in front of the writers; without it, there is none"
    )
    writers: Annotated[int, Field(ge=1, le=limits.PARTITIONS)] = 1
    secret: str = Field(min_length=32, repr=False, description="signs the tokens")
    public_url: str = Field(
        description="what participants type or scan, without a slash at the end"
    )
    ray_namespace: str = "rayquiz"
    warm_pool_size: Annotated[int, Field(ge=0, le=100)] = 1
    linger_ms: Annotated[int, Field(ge=0, le=limits.IDLE_MS_MAX)] = limits.LINGER_MS
    api_replicas: _Replicas = 1
    notificator_replicas: _Replicas = 1
    pages_replicas: _Replicas = 1

    @property
    def replicas(self) -> tuple[str, ...]:
        """The addresses of ``replica_urls``."""
        return tuple(url.strip() for url in self.replica_urls.split(",") if url.strip())

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
