"""Clocks return UTC nanoseconds; the virtual one moves only when it is advanced."""

from __future__ import annotations

import threading
import time

import pytest

from carbon_trainer.clock import NS_PER_S, SystemClock, VirtualClock, to_datetime


def test_the_system_clock_returns_the_machines_time() -> None:
    assert abs(SystemClock().now_ns() - time.time_ns()) < NS_PER_S


def test_the_virtual_clock_moves_when_something_waits() -> None:
    clock = VirtualClock(start_ns=0)
    assert clock.wait(3.5) is False
    clock.advance(0.5)
    assert clock.now_ns() == 4 * NS_PER_S


def test_a_wait_ends_when_its_event_is_set() -> None:
    event = threading.Event()
    event.set()
    clock = VirtualClock(start_ns=0)
    assert clock.wait(100, event)
    assert clock.now_ns() == 0
    assert SystemClock().wait(100, event)


def test_instants_are_shown_in_utc() -> None:
    assert to_datetime(0).isoformat() == "1970-01-01T00:00:00+00:00"


@pytest.mark.parametrize("step_s", [-7200, 7200])
def test_a_step_of_the_machines_clock_moves_nothing(
    step_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SystemClock()
    start_ns, stepped_ns = clock.now_ns(), time.time_ns() + round(step_s * NS_PER_S)
    monkeypatch.setattr(time, "time_ns", lambda: stepped_ns)
    assert 0 <= clock.now_ns() - start_ns < 5 * NS_PER_S
