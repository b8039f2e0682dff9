"""A limit breaks off what would not end by itself, and nothing else."""

from __future__ import annotations

import itertools
import signal
import threading

import pytest

from carbon_trainer.curation.limit import SIGNAL, HardLimit, OverLimitError


def never_ends(started: threading.Event) -> None:
    for _ in itertools.count():
        try:
            started.set()
        except Exception:  # noqa: BLE001 - as a library might
            continue


def test_work_is_interrupted_once_the_limit_is_reached_even_where_exceptions_are_caught() -> None:
    started = threading.Event()
    before = signal.getsignal(SIGNAL)
    with pytest.raises(OverLimitError), HardLimit(started.is_set, 0.01):
        never_ends(started)
    assert signal.getsignal(SIGNAL) is before


def test_work_within_the_limit_is_left_alone_and_so_is_what_comes_after() -> None:
    reached = threading.Event()
    with HardLimit(reached.is_set, 0.01):
        total = sum(range(100_000))
    reached.set()
    assert total == 4_999_950_000
    assert not [thread for thread in threading.enumerate() if thread.name == "hard-limit"]


def test_in_another_thread_it_does_nothing() -> None:
    totals = []

    def work() -> None:
        with HardLimit(lambda: True, 0.01):
            totals.append(sum(range(100_000)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert totals == [4_999_950_000]
