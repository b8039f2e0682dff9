"""Ctrl-C, SIGTERM and pre-emption: answered at once, or in training at the next step boundary."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""The last two are how schedulers such as Slurm tell that a job is about to be pre-empted."""


class Interrupted(BaseException):
    """The process was asked to end. Not an Exception: no handler of errors may swallow it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


def exit_status_of(signal_number: int) -> int:
    """Return the exit status that shells expect: 130 for Ctrl-C, 143 for SIGTERM (POSIX 2.8.2)."""
    return 128 + signal_number


def signal_name(signal_number: int) -> str:
    """Return what happened, for people."""
    return "Ctrl-C" if signal_number == signal.SIGINT else signal.Signals(signal_number).name


class Interrupts:
    """Receives signals for one run. Use as a context around it, in the main thread.

    Attributes:
        received: the signal that was noted and not yet answered; None if none was.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._is_held = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous = {}

    def install(self) -> None:
        """Put the handlers in place, also again after somebody else has put theirs."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in HANDLED:
            previous = signal.signal(number, self._handle)
            self._previous.setdefault(number, previous)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Only note signals meanwhile; the caller looks at ``received``."""
        self.hold()
        try:
            yield
        finally:
            self._is_held = False

    def hold(self) -> None:
        """Only note signals from here on, until ``raise_pending``."""
        self._is_held = True

    def raise_pending(self) -> None:
        """Raise signals at once from here on, and one that was noted meanwhile now.

        Raises:
            Interrupted: if one was.
        """
        self._is_held = False
        if self.received is not None:
            raise Interrupted(self.received)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        second_time = self.received is not None
        self.received = number
        if not self._is_held or second_time:
            raise Interrupted(number)


class HeldSignals:
    """Signals that would end a script at once, held until its checkpoint is saved.

    For scripts that we do not start ourselves: only signals that nobody handles are held, so that
    a handler of the script, of its framework or of its scheduler stays. A second signal is
    answered at once.

    Attributes:
        received: the signal that has come; 0 for none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._previous: dict[int, Any] = {}

    def hold(self) -> None:
        """Hold signals from here on; only Python's main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in HANDLED:
            handler = signal.getsignal(number)
            if handler in (signal.SIG_DFL, signal.default_int_handler):
                self._previous[number] = handler
                signal.signal(number, self._receive)

    def release(self) -> None:
        """Hold no more, and deliver the signal that was held: the script ends as it would have."""
        self._restore()
        received, self.received = self.received, 0
        if received:
            signal.raise_signal(received)

    def _restore(self) -> None:
        previous, self._previous = self._previous, {}
        for number, handler in previous.items():
            # A handler that was installed meanwhile stays. Bound methods are equal, not identical.
            if signal.getsignal(number) == self._receive:
                signal.signal(number, handler)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        is_second = self.received != 0
        self.received = number
        if is_second:
            self.release()
