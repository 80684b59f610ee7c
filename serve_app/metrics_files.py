"""The files in which the processes of a node keep their metrics: read together, and kept few.

prometheus_client gives each process a file for each kind of metric. A process that has ended leaves
its files behind: here its counters are added to one archive for each kind, so that no sum runs
backwards, and its gauges are dropped, because they describe nothing any more. A file that was torn
by the end of its process counts as far as it can be read, and is set aside.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import struct
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from engine import limits
from engine.errors import Unavailable

log = logging.getLogger(__name__)

#: ``counter_4711.db``, ``gauge_livesum_4711.db``: what prometheus_client calls its files.
_FILE = re.compile(r"^(counter|histogram|summary|gauge_[a-z]+)_(\d+)\.db$")
#: What its reader raises at a file that is cut off, or holds what it has not written.
_TORN = (struct.error, ValueError, RuntimeError, IndexError)
_LOCK_POLL_S = 0.02
#: A process that is that much younger than its file's last change may be another under the same id.
_REUSE_SLACK_S = 2.0


class MetricsFiles:
    """The metrics of all processes that write to one folder. Any process may read; one does at a time.

    Args:
        folder: ``PROMETHEUS_MULTIPROC_DIR`` of those processes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._journal = folder / "merged.json"

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format. Blocks: it reads some hundred files.

        Raises:
            Unavailable: other processes have been reading for ``SCRAPE_WAIT_MS_MAX``.
        """
        with self._locked():
            self._finish_merge()
            self._merge_dead()
            registry = CollectorRegistry()
            registry.register(_Metrics(self._files()))
            return generate_latest(registry)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else reads or merges meanwhile; the lock of a process that is killed is free."""
        give_up_at = time.monotonic() + limits.SCRAPE_WAIT_MS_MAX / 1000
        with (self._folder / "lock").open("ab") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= give_up_at:
                        raise Unavailable("the metrics are being read by others") from None
                    time.sleep(_LOCK_POLL_S)
                else:
                    break
            yield

    def _files(self) -> list[Path]:
        own = [path for path in self._folder.glob("*.db") if _FILE.match(path.name)]
        return [*own, *self._folder.glob("*_dead.db")]

    # --- the dead -----------------------------------------------------------------------------------

    def _merge_dead(self) -> None:
        """Add what processes counted that have ended to the archives, and let their files go.

        First all new archives are written beside the old ones, then a journal says which files are
        in them, then they take the place of the old ones and the files go: a reader that is killed
        anywhere in between counts nothing twice and loses nothing.
        """
        gone: dict[str, str | None] = {}
        found: dict[str, dict[str, float]] = {}
        owners = _Owners()
        for path in self._files():
            match = _FILE.match(path.name)
            if match is None or not owners.are_dead(int(match[2]), path):
                continue
            kind = match[1]
            gone[path.name] = None
            if kind.startswith("gauge"):
                continue
            values, problem = _values_of(path)
            if problem is not None and path.stat().st_size:
                log.warning("action=metrics_file_torn file=%s reason=%r", path.name, problem)
                gone[path.name] = f"{path.name}.torn"
            totals = found.setdefault(kind, self._archived(kind))
            for key, value in values:
                totals[key] += value
        if not gone:
            return
        for kind, totals in found.items():
            _write(self._folder / f"{kind}_dead.db.new", totals)
        written = self._journal.with_suffix(".new")
        written.write_text(json.dumps(gone))
        written.rename(self._journal)
        self._finish_merge()
        torn = sorted(self._folder.glob("*.torn"), key=lambda path: path.stat().st_mtime)
        for path in torn[: -limits.TORN_FILES_MAX]:
            path.unlink()

    def _archived(self, kind: str) -> dict[str, float]:
        totals: dict[str, float] = defaultdict(float)
        path = self._folder / f"{kind}_dead.db"
        if path.exists():
            values, problem = _values_of(path)
            if problem is not None:
                log.error("action=metrics_archive_torn file=%s reason=%r", path.name, problem)
            totals.update(values)
        return totals

    def _finish_merge(self) -> None:
        """Do what a journal says that is still to be done."""
        unfinished = list(self._folder.glob("*_dead.db.new"))
        if not self._journal.exists():
            for path in unfinished:
                path.unlink()
            return
        for path in unfinished:
            path.rename(path.with_suffix(""))
        for name, aside in json.loads(self._journal.read_text()).items():
            with suppress(FileNotFoundError):
                if aside is None:
                    (self._folder / name).unlink()
                else:
                    (self._folder / name).rename(self._folder / aside)
        self._journal.unlink()


class _Metrics:
    """Files as metrics; one that cannot be read just now is left out."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files

    def collect(self) -> Iterable[Any]:
        """What prometheus_client asks of a collector."""
        try:
            return _merged(self._files)
        except _TORN:
            # A process has only begun its file.
            return _merged([path for path in self._files if _values_of(path)[1] is None])


def _merged(files: list[Path]) -> Iterable[Any]:
    found: Iterable[Any] = MultiProcessCollector.merge(list(map(str, files)))  # type: ignore[no-untyped-call]
    return found


class _Owners:
    """Which processes are alive, each looked at once."""

    def __init__(self) -> None:
        #: When the processes began, in seconds since 1970; None: they are dead.
        self._began: dict[int, float | None] = {}

    def are_dead(self, pid: int, path: Path) -> bool:
        """Whether the process that wrote a file has ended, even if another has its number by now."""
        if pid not in self._began:
            self._began[pid] = _began(pid)
        began = self._began[pid]
        if began is None:
            return True
        if began <= path.stat().st_mtime + _REUSE_SLACK_S:
            return False
        try:
            held = {each.path for each in psutil.Process(pid).open_files()}
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False
        return os.path.realpath(path) not in held


def _began(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        # One that nobody has waited for yet is there in name only.
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def _values_of(path: Path) -> tuple[list[tuple[str, float]], Exception | None]:
    """The keys and values of a file up to where it can be read, and what stands there, if anything."""
    values: list[tuple[str, float]] = []
    try:
        read: Iterable[Any] = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
        for key, value, _timestamp, _position in read:
            _name, _sample, labels, _help = json.loads(key)
            dict(labels)
            values.append((key, value))
    except _TORN as error:
        return values, error
    return values, None


def _write(path: Path, totals: dict[str, float]) -> None:
    path.unlink(missing_ok=True)
    archive: Any = MmapedDict(str(path))  # type: ignore[no-untyped-call]
    try:
        for key, value in totals.items():
            archive.write_value(key, value, 0.0)
    finally:
        archive.close()
