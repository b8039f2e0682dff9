"""Durations, times and spans as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from carbon_trainer.errors import InputError

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def duration_of(text: str, flag: str) -> timedelta:
    """Read ``48h``, ``3d``, ``90min``.

    Raises:
        InputError: if it is not a duration.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)\s*", text)
    if match is None:
        raise InputError(
            f"{flag}: invalid duration {text!r} (expected one such as 48h, 3d or 90min)"
        )
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def duration_ns(text: str, flag: str) -> int:
    """Read a duration, nanoseconds.

    Raises:
        InputError: if it is not a duration.
    """
    return duration_of(text, flag) // timedelta(microseconds=1) * 1000


def time_of(text: str, flag: str) -> datetime:
    """Read an instant with its zone: ``2026-11-24T12:00Z``.

    Raises:
        InputError: if it is not a time, or has no zone.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{flag}: invalid time {text!r} (expected one such as 2026-11-24T12:00Z)"
        ) from None
    if time.tzinfo is None:
        raise InputError(
            f"{flag}: {text!r} has no time zone (append Z for UTC, or an offset such as +01:00)"
        )
    return time.astimezone(UTC)


def ns_of(time: datetime) -> int:
    """Return an aware time as nanoseconds since the epoch, exactly."""
    # By whole microseconds: ``timestamp()`` is a float, which resolves 200 ns in this century.
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def deadline_of(text: str, start_ns: int) -> int:
    """Read a deadline: a duration from the start, or an instant.

    Raises:
        InputError: if it is neither, or not after the start.
    """
    if re.fullmatch(r"\s*[\d.]+\s*[a-z]*\s*", text):
        deadline_ns = start_ns + duration_ns(text, "--deadline")
    else:
        deadline_ns = ns_of(time_of(text, "--deadline"))
    if deadline_ns <= start_ns:
        start = datetime.fromtimestamp(start_ns / 1e9, UTC)
        raise InputError(
            f"--deadline {text} is at or before the start {start:%Y-%m-%d %H:%M} UTC: give a "
            "later one"
        )
    return deadline_ns


def span_of(text: str, flag: str) -> tuple[int, int]:
    """Read a span of time: two instants with a slash between.

    Raises:
        InputError: if it is not a span.
    """
    begin, separator, end = text.partition("/")
    if not separator:
        raise InputError(
            f"{flag}: invalid span {text!r} (expected one such as "
            "2026-11-24T12:00Z/2026-11-24T18:00Z)"
        )
    span = ns_of(time_of(begin.strip(), flag)), ns_of(time_of(end.strip(), flag))
    if span[1] <= span[0]:
        raise InputError(f"{flag}: {text!r} ends before it begins")
    return span
