"""The metrics of processes that come and go, each a real process with files of its own."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine import limits
from engine.errors import Unavailable
from serve_app import metrics_files
from serve_app.metrics_files import MetricsFiles

#: Starts processes one after the other, as many as it is told, which count and then end or are killed.
_CROWD = """
import os, signal, sys
from prometheus_client import Counter, Gauge, Histogram
counter = Counter("test_events", "x", ["kind"])
histogram = Histogram("test_seconds", "x", buckets=[1, 2])
gauges = [Gauge(f"test_{mode}", "x", multiprocess_mode=mode) for mode in ("livesum", "livemax", "all")]
for number in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        counter.labels("a").inc()
        histogram.observe(1.5)
        for gauge in gauges:
            gauge.set(7)
        if sys.argv[2] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    os.waitpid(pid, 0)
    print(pid)
"""

#: Counts, and lives until it is told to go.
_LIVES = """
from prometheus_client import Counter, Gauge
Counter("test_events", "x", ["kind"]).labels("a").inc(5)
Gauge("test_livesum", "x", multiprocess_mode="livesum").set(3)
print("written", flush=True)
input()
"""

#: Takes the lock, and keeps it.
_HOLDS = """
import fcntl, sys
lock = open(sys.argv[1], "ab")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
input()
"""


def _environment(folder):
    return {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}


@pytest.fixture
def crowd(tmp_path):
    """Have so many processes count, and end; return their numbers."""

    def run(count, end="killed"):
        command = [sys.executable, "-c", _CROWD, str(count), end]
        ended = subprocess.run(
            command, check=True, env=_environment(tmp_path), stdout=subprocess.PIPE
        )
        return [int(line) for line in ended.stdout.split()]

    return run


@pytest.fixture
def start_one(tmp_path):
    """Start a process that has counted, and lives."""
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", _LIVES],
            env=_environment(tmp_path),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout.readline() == b"written\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.fixture
def files(tmp_path):
    return MetricsFiles(tmp_path)


def samples(files):
    """What a scrape tells: value by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(files.exposition().decode())
        for sample in family.samples
    }


EVENTS = ("test_events_total", ("kind", "a"))
BUCKET = ("test_seconds_bucket", ("le", "2.0"))
FILES_OF_ONE = 5


def test_processes_that_ended_leave_their_sums_and_no_files(files, crowd, start_one, tmp_path):
    """As 300 sessions that were opened and cancelled, and 50 replicas that were restarted."""
    crowd(300, "ended")
    crowd(50)
    start_one()
    assert len(list(tmp_path.iterdir())) > 350 * FILES_OF_ONE
    for _ in range(2):
        found = samples(files)
        assert found[EVENTS] == 355
        assert found[BUCKET] == found["test_seconds_count",] == 350
        assert found["test_seconds_sum",] == 350 * 1.5
        assert found["test_livesum",] == 3
        assert not [name for name in found if name[0] in ("test_livemax", "test_all")]
    # The live one's two, an archive of counters and one of histograms, and the lock.
    assert len(list(tmp_path.iterdir())) == 5


def test_no_sum_runs_backwards_while_processes_end_and_all_scrape_at_once(
    files, crowd, start_one, tmp_path
):
    process = start_one()
    seen = []
    done = threading.Event()

    def scrape():
        found = [0.0]
        while not done.is_set():
            found.append(samples(MetricsFiles(tmp_path))[EVENTS])
        seen.append(found)

    with ThreadPoolExecutor(4) as scrapers:
        futures = [scrapers.submit(scrape) for _ in range(4)]
        for _ in range(3):
            crowd(10)
        process.kill()
        process.wait()
        done.set()
        for future in futures:
            future.result()
    assert all(found == sorted(found) for found in seen)
    assert samples(files)[EVENTS] == 35


@pytest.mark.parametrize("keep", [0, 3, 100, 5_000])
def test_a_torn_file_is_set_aside_and_counts_as_far_as_it_can_be_read(
    files, crowd, tmp_path, keep, caplog
):
    torn = tmp_path / f"histogram_{crowd(2)[0]}.db"
    with torn.open("r+b") as file:
        file.truncate(keep)
        if keep > 100:  # the place of a length
            file.seek(8)
            file.write(b"\xff\xff\xff\x7f")
    for _ in range(2):
        found = samples(files)
        assert found[EVENTS] == 2
        assert found["test_seconds_count",] == 1
    assert bool(list(tmp_path.glob("*.torn"))) == bool(keep)
    assert caplog.text.count("action=metrics_file_torn") == bool(keep)


def test_of_torn_files_only_the_newest_are_kept(files, crowd, tmp_path):
    for _ in range(2):
        crowd(limits.TORN_FILES_MAX)
        for path in tmp_path.glob("counter_[0-9]*.db"):
            os.truncate(path, 3)
        files.exposition()
    assert len(list(tmp_path.glob("*.torn"))) == limits.TORN_FILES_MAX


def test_a_live_process_that_has_only_begun_its_file_disturbs_nothing(files, start_one, tmp_path):
    start_one()
    begun = tmp_path / f"counter_{os.getpid()}.db"
    begun.touch()
    assert samples(files)[EVENTS] == 5
    assert begun.exists()


def test_a_number_that_another_process_has_by_now_vouches_for_no_file(files, crowd, tmp_path):
    (pid,) = crowd(1)
    reused = (tmp_path / f"gauge_livesum_{pid}.db").rename(
        tmp_path / f"gauge_livesum_{os.getpid()}.db"
    )
    os.utime(reused, (1, 1))  # long before this process began
    assert ("test_livesum",) not in samples(files)
    assert not reused.exists()


def test_a_file_that_a_process_took_up_from_an_earlier_one_of_its_number_stays(
    files, crowd, tmp_path
):
    (pid,) = crowd(1)
    reused = (tmp_path / f"gauge_livesum_{pid}.db").rename(
        tmp_path / f"gauge_livesum_{os.getpid()}.db"
    )
    os.utime(reused, (1, 1))
    with reused.open("r+b"):
        assert samples(files)["test_livesum",] == 7


@pytest.mark.parametrize("dies_at", [0, 1, 2, 3, 5, 8])
def test_a_reader_that_is_killed_while_it_merges_counts_nothing_twice(
    files, crowd, tmp_path, monkeypatch, dies_at
):
    crowd(3)
    samples(files)
    crowd(3)
    steps = iter(range(1_000))

    class Killed(BaseException):
        pass

    def dying(act):
        def step(*args, **kwargs):
            if next(steps) == dies_at:
                raise Killed
            return act(*args, **kwargs)

        return step

    with monkeypatch.context() as patched:
        for name in ("rename", "unlink", "write_text"):
            act = getattr(metrics_files.Path, name)
            patched.setattr(metrics_files.Path, name, dying(act))
        with pytest.raises(Killed):
            files.exposition()
    assert samples(files)[EVENTS] == 6
    assert samples(files)["test_seconds_count",] == 6


def test_nobody_waits_for_a_reader_that_hangs(files, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SCRAPE_WAIT_MS_MAX", 50)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(Unavailable, match="being read"):
            files.exposition()
        process.kill()
    assert files.exposition() == b""
