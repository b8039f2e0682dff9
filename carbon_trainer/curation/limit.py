"""A limit that holds in the midst of a document, however long one takes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

SIGNAL = signal.SIGURG
"""Nobody's meanwhile: where it is not handled it is ignored."""


class OverLimitError(BaseException):
    """Work was broken off where it was. No Exception, which libraries might take for theirs."""


class HardLimit:
    """Breaks off what the main thread does once a limit is reached. Use as a context around it.

    Work is asked to end between documents, where nothing is lost. This is for a document that
    takes longer than anybody could foresee: it is dealt with anew when the work goes on. In another
    thread than the main one, which alone gets signals, it does nothing.

    Args:
        is_reached: asked from a thread of its own.
        every_s: how often, seconds.
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
            self._previous = signal.signal(SIGNAL, self._break_off)
            self._armed = True
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.ident is None:
            return
        self._armed = False
        self._over.set()
        self._thread.join()
        signal.signal(SIGNAL, self._previous)

    def _watch(self) -> None:
        while not self._over.wait(self._every_s):
            if self._is_reached():
                signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)
                return

    def _break_off(self, _number: int, _frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            self._over.set()
            raise OverLimitError
