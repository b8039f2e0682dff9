"""The planning problem: work, deadline, power settings, costs of idling and restarts, limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.errors import InputError
from carbon_trainer.grid.series import IntensitySeries, iso

NS_PER_H = 3600 * NS_PER_S
State = Literal["queued", "running", "paused", "released"]


class Mode(StrEnum):
    """What a job does in a slot."""

    QUEUE = "queue"
    RUN = "run"
    RESTART = "restart"
    PAUSE = "pause"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, order=True)
class PowerSetting:
    """A power at which the job may run, and its speed then.

    Attributes:
        power_w: what the job draws, watts.
        speed: hours of work done in an hour; 1 for the full speed that work is counted in.
    """

    power_w: float
    speed: float


@dataclass(frozen=True, slots=True)
class Idle:
    """A way not to run between the first start and completion.

    Attributes:
        power_w: what is drawn meanwhile, watts.
        restart_s: how long a restart takes, seconds; no work is done, and no power drawn but
            `restart_kwh`.
        restart_kwh: what a restart uses, at the intensity of its slot.
    """

    power_w: float = 0.0
    restart_s: float = 0.0
    restart_kwh: float = 0.0


@dataclass(frozen=True, slots=True)
class Objective:
    """What the plan minimizes: a weighted sum of grams of CO2 equivalent and of money.

    Attributes:
        per_gco2e: weight of a gram.
        per_cost: weight of a unit of money.
    """

    per_gco2e: float = 1.0
    per_cost: float = 0.0

    def __post_init__(self) -> None:
        if min(self.per_gco2e, self.per_cost) < 0 or self.per_gco2e + self.per_cost <= 0:
            raise InputError("an objective's weights must be at least 0, and one of them above")


@dataclass(frozen=True, slots=True)
class Budgets:
    """The most that the rest of the job may use; None where it may use any amount.

    Attributes:
        energy_kwh: kilowatt hours.
        emissions_gco2e: grams of CO2 equivalent.
        cost: money, in the price's currency.
    """

    energy_kwh: float | None = None
    emissions_gco2e: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class PowerCap:
    """The most that the job may draw in a span, watts."""

    start_ns: int
    end_ns: int
    power_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanProblem:
    """One job that may be shifted and throttled.

    Attributes:
        now_ns: when the plan begins, nanoseconds since the epoch.
        deadline_ns: when the work must be done.
        work_hours: work left, in hours at speed 1.
        power_settings: the power settings that the job may run at, in any order.
        intensity: carbon intensity; must cover now to the deadline.
        pause: idling in process, GPUs held; None where that cannot be done.
        release: checkpoint, exit and restart; None where that cannot be done.
        queue_w: drawn before the first start, watts.
        price: money per kWh over time, in a series of its own; None where nothing is paid.
        objective: what the plan minimizes.
        budgets: the most that may be used.
        not_before_ns: the earliest start; None for now.
        blackouts: spans (start, end) in which the job must not run, nanoseconds.
        caps: spans with a fleet's power cap.
        state: what the job does now; a job that is queued has not started.
    """

    now_ns: int
    deadline_ns: int
    work_hours: float
    power_settings: tuple[PowerSetting, ...]
    intensity: IntensitySeries
    pause: Idle | None = None
    release: Idle | None = None
    queue_w: float = 0.0
    price: IntensitySeries | None = None
    objective: Objective = Objective()
    budgets: Budgets = Budgets()
    not_before_ns: int | None = None
    blackouts: tuple[tuple[int, int], ...] = ()
    caps: tuple[PowerCap, ...] = ()
    state: State = "queued"

    def __post_init__(self) -> None:
        _check_times(self)
        _check_figures(self)

    @property
    def hours(self) -> float:
        """Hours from now to the deadline."""
        return (self.deadline_ns - self.now_ns) / NS_PER_H

    @property
    def idles(self) -> dict[Mode, Idle]:
        """The ways to idle, by mode."""
        idles = {Mode.PAUSE: self.pause, Mode.RELEASE: self.release}
        return {mode: idle for mode, idle in idles.items() if idle is not None}

    def dominated_settings(self) -> list[PowerSetting]:
        """Return the settings that no plan needs: another one, or a mix of two, uses less."""
        corners = set(hull(sorted(self.power_settings)))
        return [setting for setting in self.power_settings if setting not in corners]


def hull(settings: list[PowerSetting]) -> list[PowerSetting]:
    """Return the settings on the lower convex envelope of power over speed, slowest first.

    Args:
        settings: any settings; of two with one speed the one of less power counts.
    """
    # Andrew's monotone chain, on points that are sorted by speed.
    best: dict[float, PowerSetting] = {}
    for setting in sorted(settings, key=lambda setting: (setting.speed, -setting.power_w)):
        best[setting.speed] = setting
    corners: list[PowerSetting] = []
    for setting in best.values():
        # A slower setting that draws as much is never better: work done sooner can idle longer.
        while corners and corners[-1].power_w >= setting.power_w:
            corners.pop()
        while len(corners) > 1 and _slope(corners[-2], corners[-1]) >= _slope(corners[-2], setting):
            corners.pop()
        corners.append(setting)
    return corners


def _slope(first: PowerSetting, second: PowerSetting) -> float:
    return (second.power_w - first.power_w) / (second.speed - first.speed)


def edges_ns(problem: PlanProblem) -> NDArray[np.int64]:
    """Return the instants at which anything changes, from now to the deadline."""
    edges = [problem.now_ns, problem.deadline_ns]
    for span in (*problem.blackouts, *((cap.start_ns, cap.end_ns) for cap in problem.caps)):
        edges += span
    if problem.not_before_ns is not None:
        edges.append(problem.not_before_ns)
    edge_lists = [np.array(edges, np.int64)]
    edge_lists += [
        series.start_ns + series.step_ns * np.arange(len(series) + 1, dtype=np.int64)
        for series in (problem.intensity, problem.price)
        if series is not None
    ]
    instants = np.unique(np.concatenate(edge_lists))
    is_inside = (instants >= problem.now_ns) & (instants <= problem.deadline_ns)
    return np.asarray(instants[is_inside], np.int64)


def _check_times(problem: PlanProblem) -> None:
    if problem.deadline_ns <= problem.now_ns:
        raise InputError("the deadline lies in the past: give one after the start")
    for name, series in (("intensity", problem.intensity), ("price", problem.price)):
        if series is not None and not series.covers(problem.now_ns, problem.deadline_ns):
            raise InputError(
                f"the {name} runs from {iso(series.start_ns)} to {iso(series.end_ns)}, which "
                f"does not cover {iso(problem.now_ns)} to the deadline "
                f"{iso(problem.deadline_ns)}: give a longer one or an earlier deadline"
            )
    for start_ns, end_ns in problem.blackouts:
        if end_ns <= start_ns:
            raise InputError("a black-out window must end after it starts")


def _check_figures(problem: PlanProblem) -> None:
    if not 0 < problem.work_hours < float("inf"):
        raise InputError(f"work must be more than 0 hours; it is {problem.work_hours:g}")
    if not problem.power_settings:
        raise InputError("there is no power setting: give at least one, such as 700:1.0")
    for setting in problem.power_settings:
        if not (0 < setting.speed < float("inf") and 0 <= setting.power_w < float("inf")):
            raise InputError(
                f"invalid power setting {setting.power_w:g}:{setting.speed:g}: power (W) must be "
                "at least 0 and speed above 0"
            )
    for mode, idle in problem.idles.items():
        figures = (idle.power_w, idle.restart_s, idle.restart_kwh)
        if not all(0 <= figure < float("inf") for figure in figures):
            raise InputError(f"{mode}: power, restart time and energy must be at least 0")
    if not 0 <= problem.queue_w < float("inf"):
        raise InputError("the power drawn in the queue must be at least 0 W")
    _check_price(problem)


def _check_price(problem: PlanProblem) -> None:
    if problem.price is not None:
        return
    if problem.objective.per_cost:
        raise InputError("to plan for cost a price is needed: give one per kWh")
    if problem.budgets.cost is not None:
        raise InputError("a budget of money needs a price per kWh")
