"""PostgreSQL, Valkey, the schema, Ray and Serve: everything, started in order and stopped again."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from actors.settings import Settings
from migrations import MigrationError, Migrator
from serve_app.embedded.errors import StartError
from serve_app.embedded.ports import lan_address, require_free
from serve_app.embedded.postgres import Postgres
from serve_app.embedded.ray_runtime import RayRuntime, environment
from serve_app.embedded.valkey import Valkey

#: Less than this free, and PostgreSQL's first start would fail half-way.
_DISK_BYTES_MIN = 512 * 1024**2
_ANY = "0.0.0.0"  # noqa: S104 - only with LAN=1
_LOOPBACK = "127.0.0.1"


class EmbeddedStack:
    """The embedded profile on one data folder. Use as a context manager, from the main thread.

    Args:
        data: what must survive (database, signing secret); made at need.
        port: where people connect.
        lan: listen on every interface, so that phones in the same network can join.
        progress: told what is being started, in words.
        settings: more ``RAYQUIZ_…`` settings by field name, for tests and benchmarks.
        ray_log_level: how much Ray says on this terminal.
    """

    def __init__(
        self,
        data: Path,
        port: int,
        *,
        lan: bool = False,
        progress: Callable[[str], None] = lambda _text: None,
        settings: dict[str, object] | None = None,
        ray_log_level: str = "ERROR",
    ) -> None:
        self._data = data.absolute()
        self._port = port
        self._host = _ANY if lan else _LOOPBACK
        address = lan_address() if lan else "localhost"
        self._public_url = f"http://{address}:{port}"
        self._progress = progress
        self._more = settings or {}
        self._ray_log_level = ray_log_level
        self._exits = ExitStack()
        self.settings: Settings
        self.postgres: Postgres
        self.valkey: Valkey
        self.dashboard_url = ""

    def __enter__(self) -> EmbeddedStack:
        """Start everything; when a part fails, stop what was started.

        Raises:
            StartError: something that the operator can mend; the message says how.
        """
        try:
            self._start()
        except BaseException as error:
            self._exits.close()
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise StartError(f"the disk of {self._data} is full; make room and start again") from error
            if isinstance(error, MigrationError):
                raise StartError(str(error)) from error
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything, newest first."""
        self._exits.close()

    def _start(self) -> None:
        require_free(self._host, self._port)
        self._claim_data()
        run = Path(tempfile.mkdtemp(prefix="rq-"))
        self._exits.callback(shutil.rmtree, run, ignore_errors=True)
        # PostgreSQL runs as another user when we are root, and must reach its socket's folder.
        run.chmod(0o711)
        sockets = {name: run / name for name in ("pg", "kv")}
        for folder in sockets.values():
            folder.mkdir()
        self._progress("PostgreSQL")
        self.postgres = Postgres(self._data / "postgres", sockets["pg"])
        self._exits.callback(lambda: self.postgres.stop())
        self.postgres.start()
        self._progress("Valkey")
        self.valkey = Valkey(self._data, sockets["kv"])
        self._exits.callback(lambda: self.valkey.stop())
        self.valkey.start()
        self._progress("the database's schema")
        asyncio.run(Migrator(self.postgres.url).up())
        self.settings = Settings(
            **{
                "database_url": self.postgres.url,
                "redis_url": self.valkey.url,
                "secret": self._secret(),
                "public_url": self._public_url,
                **self._more,
            }
        )
        metrics = run / "metrics"
        metrics.mkdir()
        self._set_environment(
            {
                **self.settings.to_env(),
                **environment(run),
                "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            }
        )
        self._progress("Ray, Serve and HAProxy")
        runtime = RayRuntime(run, self._host, self._port, self.settings.ray_namespace)
        self._exits.callback(runtime.stop)
        runtime.start(log_level=self._ray_log_level)
        self.dashboard_url = runtime.dashboard_url

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

    def _claim_data(self) -> None:
        try:
            self._data.mkdir(parents=True, exist_ok=True)
            lock = (self._data / "lock").open("w")
        except OSError as error:
            raise StartError(
                f"the data folder {self._data} cannot be written ({error.strerror}); "
                "choose another with --data"
            ) from error
        self._exits.callback(lock.close)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartError(
                f"another Rayquiz is running on the data folder {self._data}; "
                "stop it, or choose another folder with --data"
            ) from None
        free = shutil.disk_usage(self._data).free
        if free < _DISK_BYTES_MIN:
            raise StartError(
                f"the disk of {self._data} has {free // 1024**2} MiB free; "
                f"{_DISK_BYTES_MIN // 1024**2} MiB are needed: make room, or choose another with --data"
            )

    def _secret(self) -> str:
        path = self._data / "secret"
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(48))
        return path.read_text()
