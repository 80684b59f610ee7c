"""PostgreSQL, Valkey, the schema, Ray and Serve: everything, started together and stopped again.

The servers may also be somebody else's; then Ray and Serve are all there is to start.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg

from actors.settings import Settings, SettingsError
from migrations import MigrationError, Migrator, check_schemas
from serve_app.embedded.data_folder import DataFolder
from serve_app.embedded.errors import StartError
from serve_app.embedded.ports import (
    EVERY_INTERFACE,
    LOOPBACK,
    PortBlock,
    lan_address,
    require_free,
)
from serve_app.embedded.postgres import Postgres, Standby
from serve_app.embedded.rabbitmq import RabbitMQ
from serve_app.embedded.ray_environment import ray_environment
from serve_app.embedded.ray_runtime import RayRuntime
from serve_app.embedded.valkey import Valkey

#: Of the deployment on one machine, which never runs two versions at once.
_AUDIENCE = "rayquiz"


class Profile(StrEnum):
    """Which servers there are: how answers become durable follows from them.

    EMBEDDED starts PostgreSQL and Valkey: an answer is durable by PostgreSQL's commit. CLUSTER starts
    RabbitMQ and a standby beside them: by RabbitMQ's confirm. EXTERNAL starts none; the
    ``RAYQUIZ_…`` variables say where they are.
    """

    EMBEDDED = "embedded"
    CLUSTER = "cluster"
    EXTERNAL = "external"


class EmbeddedStack:
    """The embedded profile on one data folder; applications are deployed on it afterwards.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`; from the main thread, and
    before anything in the process imports ``ray``.

    Args:
        data: what must survive (database, signing secret); made at need.
        port: where people connect; 0 takes any free one.
        lan: listen on every interface, so that phones in the same network can join. Nothing but
            this one port leaves loopback.
        progress: told what is being started, in words; from several threads.
        settings: more ``RAYQUIZ_…`` settings by field name, for tests and benchmarks.
        profile: CLUSTER puts a broker in front of the writers and reads from a standby, as a cluster
            does; EXTERNAL uses servers that run elsewhere, and does not touch their schema.
        ray_log_level: how much Ray says on this terminal.

    Attributes:
        settings: what the applications read; there after :meth:`start`.
        postgres, valkey, rabbitmq, standby: the servers; there after :meth:`start` (the broker and
            the standby in the cluster profile only, and none with external servers).
        local_url: where this machine reaches the front; there after :meth:`start`.
        metrics_url: where Prometheus finds the metrics of this machine; there after :meth:`start`.
        dashboard_url: Ray's dashboard; there after :meth:`start`.
    """

    settings: Settings
    postgres: Postgres
    valkey: Valkey
    rabbitmq: RabbitMQ | None
    standby: Standby | None
    local_url: str
    metrics_url: str
    dashboard_url: str

    def __init__(
        self,
        data: Path,
        port: int,
        *,
        lan: bool = False,
        progress: Callable[[str], None] = lambda _text: None,
        settings: dict[str, object] | None = None,
        profile: Profile = Profile.EMBEDDED,
        ray_log_level: str = "ERROR",
    ) -> None:
        self._folder = DataFolder(data)
        self._port = port
        self._lan = lan
        self._progress = progress
        self._more = settings or {}
        self._profile = profile
        self._ray_log_level = ray_log_level
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        """See :meth:`start`."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """See :meth:`stop`."""
        self.stop()

    def start(self) -> None:
        """Start everything; when a part fails, stop what was started.

        Raises:
            StartError: something that the operator can mend; the message says how.
        """
        try:
            self._start()
        except BaseException as error:
            self.stop()
            if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
                text = f"the disk of {self._folder.path} is full; make room and start again"
                raise StartError(text) from error
            if isinstance(error, MigrationError):
                raise StartError(str(error)) from error
            raise

    def stop(self) -> None:
        """Stop everything, newest first; nothing of it runs afterwards."""
        self._exits.close()

    def _start(self) -> None:
        host = EVERY_INTERFACE if self._lan else LOOPBACK
        if self._port:
            require_free(host, self._port)
        self._folder.claim()
        self._exits.callback(self._folder.release)
        ports = PortBlock.claim()
        self._exits.callback(ports.release)
        port = self._port or ports.take()
        self.local_url = f"http://{LOOPBACK}:{port}"
        run = self._folder.make_run_folder()
        # Everything is known before anything runs, so all can start at the same time; and the
        # environment stands before Ray, whose processes inherit it.
        if self._profile is Profile.EXTERNAL:
            self.settings = self._outside_settings(port)
            self._check_schemas()  # at once, not after Ray's half a minute
        else:
            fields = {
                **self._make_servers(run, ports),
                "secret": self._folder.make_keys(),
                "keys_file": str(self._folder.keys),
                "audience": _AUDIENCE,
                "public_url": self._public_url(port),
                **self._more,
            }
            self.settings = Settings.model_validate(fields)
        metrics = (self.settings.metrics_host, self.settings.metrics_port or ports.take())
        self.metrics_url = f"http://{metrics[0]}:{metrics[1]}/metrics"
        self._set_environment(
            {
                **self.settings.to_env(),
                **ray_environment(run, ports, port, host, self.settings.proxies, metrics),
                "PROMETHEUS_MULTIPROC_DIR": str(_folder(run, "metrics")),
            }
        )
        runtime = RayRuntime(
            run,
            self._folder.logs / "ray",
            port=port,
            dashboard_port=ports.take(),
            namespace=self.settings.ray_namespace,
        )
        self.dashboard_url = runtime.dashboard_url
        # The servers are told when the thread that made them ends: the pool stays until the end.
        pool = ThreadPoolExecutor(max_workers=3, thread_name_prefix="embedded")
        self._exits.callback(pool.shutdown)
        servers = [] if self._profile is Profile.EXTERNAL else self._start_servers(pool)
        # Wait for all before stopping them, also when Ray fails.
        self._exits.callback(lambda: [server.exception() for server in servers])
        self._exits.callback(runtime.stop)
        self._progress("Ray, Serve and HAProxy")
        runtime.start(log_level=self._ray_log_level)
        for server in servers:
            server.result()
        self._folder.announce(self.settings)

    def _public_url(self, port: int) -> str:
        return f"http://{lan_address() if self._lan else 'localhost'}:{port}"

    def _outside_settings(self, port: int) -> Settings:
        """The environment's settings; what this machine knows better stands in for what it lacks."""
        lacking = {}
        if "RAYQUIZ_SECRET" not in os.environ:
            lacking["RAYQUIZ_SECRET"] = self._folder.make_keys()
            lacking["RAYQUIZ_KEYS_FILE"] = str(self._folder.keys)
        if "RAYQUIZ_PUBLIC_URL" not in os.environ:
            lacking["RAYQUIZ_PUBLIC_URL"] = self._public_url(port)
        self._set_environment(lacking)
        try:
            return Settings.from_env()
        except SettingsError as error:
            raise StartError(str(error)) from error

    def _make_servers(self, run: Path, ports: PortBlock) -> dict[str, object]:
        """Make the profile's servers, which do not run yet; return the settings that name them."""
        self.postgres = Postgres(self._folder.postgres, _folder(run, "pg"))
        self.valkey = Valkey(self._folder.logs, _folder(run, "kv"))
        self.rabbitmq = self.standby = None
        if self._profile is Profile.CLUSTER:
            self.standby = Standby(self._folder.standby, _folder(run, "sb"), self.postgres)
            self.rabbitmq = RabbitMQ(self._folder.rabbitmq, ports.take(RabbitMQ.PORTS))
        return {
            "database_url": self.postgres.url,
            "replica_urls": self.standby.url if self.standby is not None else "",
            "redis_url": self.valkey.url,
            "rabbitmq_url": self.rabbitmq.url if self.rabbitmq is not None else "",
        }

    def _start_servers(self, pool: ThreadPoolExecutor) -> list[Future[None]]:
        self._exits.callback(self.valkey.stop)
        self._exits.callback(self.postgres.stop)
        if self.standby is not None:
            self._exits.callback(self.standby.stop)
        servers = [pool.submit(self._start_postgres), pool.submit(self._start_valkey)]
        if self.rabbitmq is not None:
            self._exits.callback(self.rabbitmq.stop)
            servers.append(pool.submit(self._start_rabbitmq, self.rabbitmq))
        return servers

    def _check_schemas(self) -> None:
        self._progress("the schema")
        try:
            asyncio.run(check_schemas(self.settings.primaries))
        except (OSError, asyncpg.PostgresError) as error:
            raise StartError(
                f"the database that RAYQUIZ_DATABASE_URL names cannot be asked: {error}"
            ) from error

    def _start_postgres(self) -> None:
        self._progress("PostgreSQL and its schema")
        self.postgres.start()
        asyncio.run(Migrator(self.postgres.url).up())
        if self.standby is not None:
            self._progress("a standby of PostgreSQL")
            self.standby.start()

    def _start_valkey(self) -> None:
        self._progress("Valkey")
        self.valkey.start()

    def _start_rabbitmq(self, server: RabbitMQ) -> None:
        self._progress("RabbitMQ")
        server.start()

    def _set_environment(self, values: dict[str, str]) -> None:
        before = {name: os.environ.get(name) for name in values}
        os.environ.update(values)

        def put_back() -> None:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

        self._exits.callback(put_back)


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder
