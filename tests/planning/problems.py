"""Problems for tests: intensities out of thin air, and Hypothesis' random jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from carbon_trainer.grid.series import IntensitySeries, SeriesInfo
from carbon_trainer.planning.problem import NS_PER_H, Idle, PlanProblem, PowerSetting

INFO = SeriesInfo(zone="XX", provider="test", accounting="as given", source="test", licence="")
POWER_SETTINGS = tuple(
    PowerSetting(power_w, speed)
    for power_w, speed in ((950, 1.0), (850, 0.975), (750, 0.92), (650, 0.81), (550, 0.64))
)


def series(values: Sequence[float], *, start_ns: int = 0, hours: float = 1.0) -> IntensitySeries:
    """Intensities of slots of some hours."""
    basis = np.zeros(len(values), np.uint8)
    return IntensitySeries(INFO, start_ns, round(hours * NS_PER_H), np.array(values, float), basis)


def problem(values: Sequence[float], work_hours: float, **changes: Any) -> PlanProblem:
    """A job in hourly slots from the epoch on; pausing costs nothing unless told."""
    arguments = {
        "now_ns": 0,
        "deadline_ns": len(values) * NS_PER_H,
        "work_hours": work_hours,
        "power_settings": (PowerSetting(1000, 1.0),),
        "intensity": series(values),
        "pause": Idle(),
    }
    return PlanProblem(**{**arguments, **changes})


def day(count: int = 24) -> list[float]:
    """A grid with solar noons and wind, g/kWh."""
    hours = np.arange(count)
    noon = 120 * np.cos((hours - 13) / 24 * 2 * np.pi)
    wind = 60 * np.sin(hours / 37 * 2 * np.pi)
    return list(300 - noon - wind)


@st.composite
def problems(draw: st.DrawFn, longest: int = 14) -> PlanProblem:
    """Small jobs of every kind."""
    count = draw(st.integers(3, longest))
    values = draw(st.lists(st.integers(20, 500), min_size=count, max_size=count))
    speeds = sorted(draw(st.sets(st.sampled_from([0.35, 0.5, 0.64, 0.8, 0.92]), max_size=2)))
    power = [draw(st.integers(300, 900)) for _ in speeds]
    power_settings = (
        PowerSetting(1000, 1.0),
        *(PowerSetting(p, s) for p, s in zip(power, speeds, strict=True)),
    )
    idle = st.builds(
        Idle,
        st.sampled_from([0.0, 100.0, 190.0]),
        st.sampled_from([0.0, 10.0, 600.0]),
        st.sampled_from([0.0, 0.003, 0.1]),
    )
    release = st.builds(
        Idle, st.just(0.0), st.sampled_from([0.0, 300.0, 1200.0]), st.sampled_from([0.0, 0.05, 0.3])
    )
    work = draw(st.integers(1, 19)) / 20 * count
    return problem(
        values,
        round(work, 2),
        power_settings=power_settings,
        pause=draw(st.none() | idle),
        release=draw(st.none() | release),
    )
