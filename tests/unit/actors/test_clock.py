"""The actor's clock: right at its start, and never moved by anybody afterwards."""

import time

from actors.clock import Clock


def test_it_starts_at_the_wall_clock():
    before_ms = time.time_ns() // 1_000_000
    now_ms = Clock().now_ms()
    assert before_ms - 1 <= now_ms <= time.time_ns() // 1_000_000 + 1


def test_a_correction_of_the_wall_clock_moves_no_deadline(monkeypatch):
    boot_ns = 5_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: 1_764_000_000_000 * 1_000_000)
    monkeypatch.setattr(
        time, "clock_gettime_ns", lambda which: {time.CLOCK_BOOTTIME: boot_ns}[which]
    )
    clock = Clock()
    assert clock.now_ms() == 1_764_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    boot_ns += 1_234_567_890
    assert clock.now_ms() == 1_764_000_001_234
