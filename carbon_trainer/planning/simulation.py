"""Back-tests policies: what they would have emitted, on a real trace and recorded forecasts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from carbon_trainer.errors import InputError
from carbon_trainer.grid.series import IntensitySeries, iso
from carbon_trainer.planning.plan import Plan, PlanSlot
from carbon_trainer.planning.planner import Planner, Progress
from carbon_trainer.planning.policies import policy
from carbon_trainer.planning.problem import NS_PER_H, Idle, Mode, PlanProblem, PowerSetting, State

STATES: dict[Mode, State] = {
    Mode.QUEUE: "queued",
    Mode.RUN: "running",
    Mode.RESTART: "running",
    Mode.PAUSE: "paused",
    Mode.RELEASE: "released",
}
DONE_HOURS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The job of a simulation, whenever it starts.

    Attributes:
        work_hours: work, hours at speed 1.
        window_hours: hours from its start to its deadline.
        power_settings: the power settings that it may run at.
        pause: idling in process.
        release: exit and restart.
        queue_w: drawn before the first start, watts.
        work_error: how much more work there truly is than was estimated, relative; the planner
            is given it as the most that may be left.
    """

    work_hours: float
    window_hours: float
    power_settings: tuple[PowerSetting, ...]
    pause: Idle | None = None
    release: Idle | None = None
    queue_w: float = 0.0
    work_error: float = 0.0

    def problem(self, start_ns: int, intensity: IntensitySeries, work_hours: float) -> PlanProblem:
        """Return the job's problem from a start on."""
        return PlanProblem(
            now_ns=start_ns,
            deadline_ns=start_ns + round(self.window_hours * NS_PER_H),
            work_hours=work_hours,
            power_settings=self.power_settings,
            intensity=intensity,
            pause=self.pause,
            release=self.release,
            queue_w=self.queue_w,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one start went.

    Attributes:
        start_ns: when the job was submitted.
        policy: the policy's name.
        emissions_gco2e: what it emitted.
        run_now_gco2e: what running at once would have.
        optimum_gco2e: the least that was possible, had everything been known.
        energy_kwh: what it used.
        resumes: how often it resumed after idling.
        hours: from the start to completion.
        missed: whether it was done after the deadline.
        deadline_overrides: updates at which the guard overrode the plan, for the deadline.
    """

    start_ns: int
    policy: str
    emissions_gco2e: float
    run_now_gco2e: float
    optimum_gco2e: float
    energy_kwh: float
    resumes: int
    hours: float
    missed: bool
    deadline_overrides: int

    @property
    def saving(self) -> float:
        """Emissions saved against running at once, relative."""
        return 1 - self.emissions_gco2e / self.run_now_gco2e if self.run_now_gco2e else 0.0

    @property
    def best_saving(self) -> float:
        """What could have been saved, had everything been known, relative."""
        return 1 - self.optimum_gco2e / self.run_now_gco2e if self.run_now_gco2e else 0.0


def starts(
    trace: IntensitySeries, job: Job, step_ns: int, first_ns: int | None = None
) -> list[int]:
    """Return the starts whose windows a trace covers.

    Raises:
        InputError: if it covers none.
    """
    begin = trace.start_ns if first_ns is None else max(first_ns, trace.start_ns)
    last = trace.end_ns - round(job.window_hours * NS_PER_H)
    starts_ns = list(range(begin, last + 1, step_ns))
    if not starts_ns:
        raise InputError(
            f"the trace runs from {iso(trace.start_ns)} to {iso(trace.end_ns)}, which is shorter "
            f"than the {job.window_hours:g} hours from start to deadline: give a longer one"
        )
    return starts_ns


def simulate(
    trace: IntensitySeries,
    job: Job,
    start_ns: int,
    names: Sequence[str],
    forecasts: Sequence[IntensitySeries] = (),
) -> list[Outcome]:
    """Return how a start goes under some policies.

    Args:
        trace: the intensity as it was.
        job: the job.
        start_ns: when it is submitted.
        names: policies.
        forecasts: as they were issued, in order; none for perfect foresight.
    """
    true_hours = job.work_hours * (1 + job.work_error)
    truth = job.problem(start_ns, trace, true_hours)
    now_plan = policy("run-now")(truth)
    best_plan = policy("optimal")(truth)
    outcomes = []
    for name in names:
        if not forecasts and not job.work_error:
            plan = {"run-now": now_plan, "optimal": best_plan}.get(name) or policy(name)(truth)
            run = _Run(plan.slots, 0)
        elif name == "optimal":
            run = _replan(trace, job, start_ns, true_hours, forecasts)
        else:
            run = _Run(_plan_once(trace, job, start_ns, true_hours, name, forecasts).slots, 0)
        outcomes.append(_outcome(trace, job, start_ns, name, run, now_plan, best_plan))
    return outcomes


@dataclass(frozen=True, slots=True)
class _Run:
    slots: Sequence[PlanSlot]
    deadline_overrides: int


def _plan_once(
    trace: IntensitySeries, job: Job, start_ns: int, true_hours: float, name: str,
    forecasts: Sequence[IntensitySeries],
) -> Plan:  # fmt: skip
    """Plan once, by what is forecast at the start; a wrong estimate of work shows only later."""
    deadline_ns = start_ns + round(job.window_hours * NS_PER_H)
    forecast = _forecast_at(trace, forecasts, start_ns, deadline_ns)
    return policy(name)(job.problem(start_ns, forecast, true_hours))


def _replan(
    trace: IntensitySeries, job: Job, start_ns: int, true_hours: float,
    forecasts: Sequence[IntensitySeries],
) -> _Run:  # fmt: skip
    """Run a job by the planner, which sees each forecast as it is issued, and the progress."""
    deadline_ns = start_ns + round(job.window_hours * NS_PER_H)
    step_ns = trace.step_ns
    forecast = _forecast_at(trace, forecasts, start_ns, deadline_ns)
    planner = Planner(job.problem(start_ns, forecast, job.work_hours), update_every_s=step_ns / 1e9)
    now_ns, work_done, deadline_overrides = start_ns, 0.0, 0
    state: State = "queued"
    slots: list[PlanSlot] = []
    while true_hours - work_done > DONE_HOURS:
        # Past the deadline a forecast of one more step is enough.
        until_ns = max(deadline_ns, now_ns + step_ns)
        newest = _forecast_at(trace, forecasts, now_ns, until_ns)
        # The planner keeps its plan while it is given the same forecast object.
        if newest.info != forecast.info or not forecast.covers(now_ns, until_ns):
            forecast = newest
        left_hours = max(job.work_hours - work_done, DONE_HOURS)
        max_hours = max(job.work_hours * (1 + abs(job.work_error)) - work_done, DONE_HOURS)
        if now_ns >= deadline_ns:
            slots.append(_full_speed_slot(job, now_ns, now_ns + step_ns, true_hours - work_done))
        else:
            decision = planner.update(now_ns, Progress(left_hours, max_hours, state), forecast)
            deadline_overrides += decision.deadline_override
            slots += _execute(decision.plan, job, now_ns, now_ns + step_ns, true_hours - work_done)
        work_done = sum(slot.work_hours for slot in slots)
        state = STATES[slots[-1].mode]
        now_ns += step_ns
    return _Run(slots, deadline_overrides)


def _execute(plan: Plan, job: Job, start_ns: int, end_ns: int, left_hours: float) -> list[PlanSlot]:
    """Return what is done of a plan in a span, no longer than there is work."""
    executed: list[PlanSlot] = []
    for slot in plan.slots:
        if slot.end_ns < start_ns or slot.start_ns >= end_ns or slot.end_ns < slot.start_ns:
            continue
        if slot.end_ns == start_ns and slot.start_ns < start_ns:
            # It belongs to the span before; a slot of no length, a restart, belongs to this one.
            continue
        part = _cut(slot, max(slot.start_ns, start_ns), min(slot.end_ns, end_ns))
        if part.work_hours >= left_hours - DONE_HOURS / 2:
            fraction = left_hours / part.work_hours
            length_ns = round(fraction * (part.end_ns - part.start_ns))
            executed.append(_cut(part, part.start_ns, part.start_ns + length_ns))
            return executed
        left_hours -= part.work_hours
        executed.append(part)
    now_ns = executed[-1].end_ns if executed else start_ns
    if now_ns < end_ns:
        # The plan's work is done, but there is more than was estimated: go on at full speed.
        executed.append(_full_speed_slot(job, now_ns, end_ns, left_hours))
    return executed


def _full_speed_slot(job: Job, start_ns: int, end_ns: int, left_hours: float) -> PlanSlot:
    """Return a span at full speed, its energy only: emissions are those of the trace."""
    setting = max(job.power_settings, key=lambda setting: setting.speed)
    length_ns = min(end_ns - start_ns, round(left_hours / setting.speed * NS_PER_H) + 1)
    hours = length_ns / NS_PER_H
    return PlanSlot(
        start_ns, start_ns + length_ns, Mode.RUN, setting, setting.power_w,
        setting.speed * hours, setting.power_w / 1000 * hours, 0.0, 0.0,
    )  # fmt: skip


def _cut(slot: PlanSlot, start_ns: int, end_ns: int) -> PlanSlot:
    length = slot.end_ns - slot.start_ns
    fraction = 1.0 if length == 0 else (end_ns - start_ns) / length
    return dataclasses.replace(
        slot,
        start_ns=start_ns,
        end_ns=end_ns,
        work_hours=fraction * slot.work_hours,
        energy_kwh=fraction * slot.energy_kwh,
    )


def _forecast_at(
    trace: IntensitySeries, forecasts: Sequence[IntensitySeries], now_ns: int, until_ns: int
) -> IntensitySeries:
    """Return what is known at an instant: the newest forecast, or the truth."""
    if not forecasts:
        return trace
    issued = [forecast for forecast in forecasts if forecast.start_ns <= now_ns]
    if not issued or issued[-1].end_ns < until_ns:
        raise InputError(
            f"no recorded forecast of {iso(now_ns)} reaches {iso(until_ns)}: give an earlier "
            "deadline or starts that the forecasts cover"
        )
    return issued[-1]


def _outcome(
    trace: IntensitySeries, job: Job, start_ns: int, name: str, run: _Run,
    now_plan: Plan, best_plan: Plan,
) -> Outcome:  # fmt: skip
    finish_ns = run.slots[-1].end_ns
    deadline_ns = start_ns + round(job.window_hours * NS_PER_H)
    idle = (Mode.PAUSE, Mode.RELEASE)
    pairs = zip(run.slots, run.slots[1:], strict=False)
    return Outcome(
        start_ns=start_ns,
        policy=name,
        emissions_gco2e=emissions_of(run.slots, trace),
        run_now_gco2e=emissions_of(now_plan.slots, trace),
        optimum_gco2e=emissions_of(best_plan.slots, trace),
        energy_kwh=sum(slot.energy_kwh for slot in run.slots),
        resumes=sum(a.mode in idle and b.mode not in idle for a, b in pairs),
        hours=(finish_ns - start_ns) / NS_PER_H,
        missed=finish_ns > deadline_ns + 1_000_000,
        deadline_overrides=run.deadline_overrides,
    )


def emissions_of(slots: Sequence[PlanSlot], trace: IntensitySeries) -> float:
    """Return what slots emit at the intensity as it was, grams; none crosses a trace's slot."""
    starts = np.array([slot.start_ns for slot in slots], np.int64)
    ends = np.array([slot.end_ns for slot in slots], np.int64)
    energy_kwh = np.array([slot.energy_kwh for slot in slots])
    return float(energy_kwh @ trace.at((starts + ends) // 2))
