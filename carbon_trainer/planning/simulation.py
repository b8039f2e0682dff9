"""What policies would have emitted, from many starts on a real trace, with what was forecast."""

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
from carbon_trainer.planning.problem import NS_PER_H, Idle, Level, Mode, PlanProblem, State

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
        levels: power levels.
        pause: idling in process.
        release: exit and come back.
        queue_w: drawn before the first start, watts.
        work_error: how much more work there truly is than was estimated, relative; the planner
            is told that so much more is possible.
    """

    work_hours: float
    window_hours: float
    levels: tuple[Level, ...]
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
            levels=self.levels,
            intensity=intensity,
            pause=self.pause,
            release=self.release,
            queue_w=self.queue_w,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one start went.

    Attributes:
        start_ns: when the job was given.
        policy: who decided.
        emissions_gco2e: what it emitted.
        run_now_gco2e: what running at once would have.
        optimum_gco2e: the least that was possible, had everything been known.
        energy_kwh: what it used.
        resumes: how often it came back.
        hours: from the start to completion.
        missed: whether it was done after the deadline.
        hurried: hours in which the guard ran it for the deadline's sake.
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
    hurried: int

    @property
    def saving(self) -> float:
        """Emissions saved against running at once, relative."""
        return 1 - self.emissions_gco2e / self.run_now_gco2e if self.run_now_gco2e else 0.0

    @property
    def best_saving(self) -> float:
        """What could have been saved, had everything been known, relative."""
        return 1 - self.optimum_gco2e / self.run_now_gco2e if self.run_now_gco2e else 0.0


def starts(
    trace: IntensitySeries, job: Job, every_ns: int, first_ns: int | None = None
) -> list[int]:
    """Return the starts whose windows a trace covers.

    Raises:
        InputError: if it covers none.
    """
    begin = trace.start_ns if first_ns is None else max(first_ns, trace.start_ns)
    last = trace.end_ns - round(job.window_hours * NS_PER_H)
    found = list(range(begin, last + 1, every_ns))
    if not found:
        raise InputError(
            f"the trace runs from {iso(trace.start_ns)} to {iso(trace.end_ns)}, which is shorter "
            f"than the {job.window_hours:g} hours from start to deadline: give a longer one"
        )
    return found


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
        start_ns: when it is given.
        names: policies.
        forecasts: as they were issued, in order; none for perfect foresight.
    """
    true_hours = job.work_hours * (1 + job.work_error)
    truth = job.problem(start_ns, trace, true_hours)
    now_plan = policy("run-now")(truth)
    best_plan = policy("optimal")(truth)
    found = []
    for name in names:
        if not forecasts and not job.work_error:
            plan = {"run-now": now_plan, "optimal": best_plan}.get(name) or policy(name)(truth)
            run = _Run(plan.slots, 0)
        elif name == "optimal":
            run = _follow(trace, job, start_ns, true_hours, forecasts)
        else:
            run = _Run(_once(trace, job, start_ns, true_hours, name, forecasts).slots, 0)
        found.append(_outcome(trace, job, start_ns, name, run, now_plan, best_plan))
    return found


@dataclass(frozen=True, slots=True)
class _Run:
    slots: Sequence[PlanSlot]
    hurried: int


def _once(
    trace: IntensitySeries, job: Job, start_ns: int, true_hours: float, name: str,
    forecasts: Sequence[IntensitySeries],
) -> Plan:  # fmt: skip
    """Plan once, by what is forecast at the start; a wrong estimate of work shows only later."""
    known = _known(trace, forecasts, start_ns, start_ns + round(job.window_hours * NS_PER_H))
    return policy(name)(job.problem(start_ns, known, true_hours))


def _follow(
    trace: IntensitySeries, job: Job, start_ns: int, true_hours: float,
    forecasts: Sequence[IntensitySeries],
) -> _Run:  # fmt: skip
    """Run a job by the planner, which sees each forecast as it is issued, and the progress."""
    deadline_ns = start_ns + round(job.window_hours * NS_PER_H)
    every_ns = trace.step_ns
    known = _known(trace, forecasts, start_ns, deadline_ns)
    planner = Planner(job.problem(start_ns, known, job.work_hours), update_every_s=every_ns / 1e9)
    now_ns, done, hurried = start_ns, 0.0, 0
    state: State = "queued"
    lived: list[PlanSlot] = []
    while true_hours - done > DONE_HOURS:
        until_ns = max(deadline_ns, now_ns + every_ns)
        newest = _known(trace, forecasts, now_ns, until_ns)
        known = known if newest.info == known.info and known.covers(now_ns, until_ns) else newest
        left = max(job.work_hours - done, DONE_HOURS)
        most = max(job.work_hours * (1 + abs(job.work_error)) - done, DONE_HOURS)
        if now_ns >= deadline_ns:
            lived.append(_late(trace, job, now_ns, every_ns, true_hours - done))
        else:
            decision = planner.update(now_ns, Progress(left, most, state), known)
            hurried += decision.hurried
            lived += _lived(decision.plan, job, now_ns, now_ns + every_ns, true_hours - done)
        done = sum(slot.work_hours for slot in lived)
        state = STATES[lived[-1].mode]
        now_ns += every_ns
    return _Run(lived, hurried)


def _lived(plan: Plan, job: Job, start_ns: int, end_ns: int, left_hours: float) -> list[PlanSlot]:
    """Return what is done of a plan in a span, no longer than there is work."""
    found: list[PlanSlot] = []
    for slot in plan.slots:
        if slot.end_ns < start_ns or slot.start_ns >= end_ns or slot.end_ns < slot.start_ns:
            continue
        if slot.end_ns == start_ns and slot.start_ns < start_ns:
            continue
        part = _cut(slot, max(slot.start_ns, start_ns), min(slot.end_ns, end_ns))
        if part.work_hours >= left_hours - DONE_HOURS / 2:
            share = left_hours / part.work_hours
            length_ns = round(share * (part.end_ns - part.start_ns))
            found.append(_cut(part, part.start_ns, part.start_ns + length_ns))
            return found
        left_hours -= part.work_hours
        found.append(part)
    now_ns = found[-1].end_ns if found else start_ns
    if now_ns < end_ns:
        # The plan's work is done and there is more after all: go on as fast as can be.
        found += _more(job, now_ns, end_ns, left_hours)
    return found


def _more(job: Job, start_ns: int, end_ns: int, left_hours: float) -> list[PlanSlot]:
    level = max(job.levels, key=lambda each: each.speed)
    length_ns = min(end_ns - start_ns, round(left_hours / level.speed * NS_PER_H) + 1)
    hours = length_ns / NS_PER_H
    return [
        PlanSlot(
            start_ns, start_ns + length_ns, Mode.RUN, level, level.power_w,
            level.speed * hours, level.power_w / 1000 * hours, 0.0, 0.0,
        )
    ]  # fmt: skip


def _late(
    trace: IntensitySeries, job: Job, now_ns: int, every_ns: int, left_hours: float
) -> PlanSlot:
    return _more(job, now_ns, now_ns + every_ns, left_hours)[0]


def _cut(slot: PlanSlot, start_ns: int, end_ns: int) -> PlanSlot:
    length = slot.end_ns - slot.start_ns
    share = 1.0 if length == 0 else (end_ns - start_ns) / length
    return dataclasses.replace(
        slot,
        start_ns=start_ns,
        end_ns=end_ns,
        work_hours=share * slot.work_hours,
        energy_kwh=share * slot.energy_kwh,
    )


def _known(
    trace: IntensitySeries, forecasts: Sequence[IntensitySeries], now_ns: int, until_ns: int
) -> IntensitySeries:
    """Return what is known at an instant: the newest forecast, or the truth."""
    if not forecasts:
        return trace
    issued = [each for each in forecasts if each.start_ns <= now_ns]
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
        emissions_gco2e=emitted(run.slots, trace),
        run_now_gco2e=emitted(now_plan.slots, trace),
        optimum_gco2e=emitted(best_plan.slots, trace),
        energy_kwh=sum(slot.energy_kwh for slot in run.slots),
        resumes=sum(a.mode in idle and b.mode not in idle for a, b in pairs),
        hours=(finish_ns - start_ns) / NS_PER_H,
        missed=finish_ns > deadline_ns + 1_000_000,
        hurried=run.hurried,
    )


def emitted(slots: Sequence[PlanSlot], trace: IntensitySeries) -> float:
    """Return what slots emit at the intensity as it was, grams; none crosses a trace's slot."""
    begins = np.array([slot.start_ns for slot in slots], np.int64)
    ends = np.array([slot.end_ns for slot in slots], np.int64)
    energy_kwh = np.array([slot.energy_kwh for slot in slots])
    return float(energy_kwh @ trace.at((begins + ends) // 2))
