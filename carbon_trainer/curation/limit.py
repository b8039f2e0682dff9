"""A limit that is enforced within a document too, however long it takes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

SIGNAL = signal.SIGURG
"""A signal that Python and the libraries do not use, and that is ignored where unhandled."""


class OverLimitError(BaseException):
    """Work was interrupted. Not an Exception, as a library that catches all would hide it."""


class HardLimit:
    """Interrupts the main thread's work once a limit is reached. Use as a context around it.

    Work usually ends between documents, where nothing is lost. This is for a document that takes
    longer than predicted; it is processed again when the work is resumed. In threads other than
    the main one, which alone receives signals, it does nothing.

    Args:
        is_reached: whether the limit is reached; called in a separate thread.
        every_s: how often it is called, seconds.
    """

    def __init__(self, is_reached: Callable[[], bool], every_s: float) -> None:
        self._is_reached = is_reached
        self._every_s = every_s
        self._over = threading.Event()
        self._armed = False
        self._previous: Any = None
        self._thread = threading.Thread(target=self._watch, name="hard-limit", daemon=True)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(SIGNAL, self._interrupt)
            self._armed = True
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.ident is None:
            return
        # A signal may still be on its way: from here on it must do nothing.
        self._armed = False
        self._over.set()
        self._thread.join()
        signal.signal(SIGNAL, self._previous)

    def _watch(self) -> None:
        while not self._over.wait(self._every_s):
            if self._is_reached():
                # A signal is what reaches the main thread within a long call of a C library too:
                # its handler runs as soon as that call returns to the interpreter.
                signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)
                return

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            self._over.set()
            raise OverLimitError
