"""Signals to a script of a user's own are held until its checkpoint is saved, then delivered."""

from __future__ import annotations

import signal
import threading

import pytest

from carbon_trainer.runs.signals import HeldSignals


def test_a_signal_is_held_and_then_delivered() -> None:
    signals = HeldSignals()
    signals.hold()
    signal.raise_signal(signal.SIGINT)
    assert signals.received == signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        signals.release()
    assert signals.received == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_signal_nothing_is_delivered() -> None:
    signals = HeldSignals()
    signals.hold()
    signals.release()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_second_signal_is_not_held() -> None:
    signals = HeldSignals()
    signals.hold()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_script_is_left_alone() -> None:
    numbers: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: numbers.append(number))
    try:
        signals = HeldSignals()
        signals.hold()
        signal.raise_signal(signal.SIGUSR1)
        assert (numbers, signals.received) == ([signal.SIGUSR1], 0)
        signals.release()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_outside_the_main_thread_nothing_is_held() -> None:
    thread = threading.Thread(target=HeldSignals().hold)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
