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


def test_work_is_broken_off_once_the_limit_is_reached_even_by_one_who_catches_exceptions() -> None:
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
    assert not [one for one in threading.enumerate() if one.name == "hard-limit"]


def test_in_another_thread_it_does_nothing() -> None:
    done = []

    def work() -> None:
        with HardLimit(lambda: True, 0.01):
            done.append(sum(range(100_000)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [4_999_950_000]
