"""Durations, times and spans are read as people write them, and anything else is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon_trainer.durations import (
    deadline_of,
    duration_ns,
    duration_of,
    ns_of,
    span_of,
    time_of,
)
from carbon_trainer.errors import InputError

S = 1_000_000_000
HOUR = 3600 * S
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30), ("15m", 900), ("90min", 5400), ("48h", 172_800), ("3d", 259_200),
        ("1w", 604_800), ("1.5 h", 5400), (" 2h ", 7200), ("0s", 0),
    ],
)  # fmt: skip
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert duration_of(text, "--deadline") == timedelta(seconds=seconds)
    assert duration_ns(text, "--deadline") == seconds * S


@pytest.mark.parametrize("text", ["", "48", "h", "-3h", "3 years", "1,5h", "soon"])
def test_what_is_not_a_duration_is_refused_with_its_flag_and_an_example(text: str) -> None:
    with pytest.raises(InputError, match=r"^--max-wait: invalid duration .*such as 48h"):
        duration_of(text, "--max-wait")


def test_a_time_has_a_zone_and_is_read_as_utc() -> None:
    assert time_of("2026-11-24T12:00Z", "--at") == NOON
    assert time_of("2026-11-24T13:00+01:00", "--at") == NOON
    with pytest.raises(InputError, match="has no time zone"):
        time_of("2026-11-24T12:00", "--at")
    with pytest.raises(InputError, match="invalid time 'noon'"):
        time_of("noon", "--at")


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5.5))])))
def test_nanoseconds_of_a_time_are_exact_to_its_microsecond(time: datetime) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert epoch + timedelta(microseconds=ns_of(time) // 1000) == time


def test_a_deadline_is_a_duration_from_the_start_or_a_time() -> None:
    start_ns = ns_of(NOON)
    assert deadline_of("6h", start_ns) == start_ns + 6 * HOUR
    assert deadline_of("2026-11-24T18:00Z", start_ns) == start_ns + 6 * HOUR


@pytest.mark.parametrize("text", ["0h", "2026-11-24T12:00Z", "2026-11-24T11:59Z"])
def test_a_deadline_that_is_not_after_the_start_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="at or before the start 2026-11-24 12:00 UTC"):
        deadline_of(text, ns_of(NOON))


def test_a_span_is_two_times_in_order() -> None:
    begin, end = "2026-11-24T12:00Z", "2026-11-24T18:00Z"
    assert span_of(f"{begin} / {end}", "--blackout") == (ns_of(NOON), ns_of(NOON) + 6 * HOUR)
    for text, message in (
        (begin, "invalid span"),
        (f"{end}/{begin}", "ends before it begins"),
        (f"{begin}/{begin}", "ends before it begins"),
    ):
        with pytest.raises(InputError, match=message):
            span_of(text, "--blackout")
