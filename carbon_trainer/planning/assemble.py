"""From modes and hours at levels to a plan with instants, energy, emissions and cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from carbon_trainer.planning.allocation import Schedule, neighbours
from carbon_trainer.planning.paths import comebacks, lost_hours
from carbon_trainer.planning.plan import PlanSlot
from carbon_trainer.planning.problem import NS_PER_H, Level, Mode
from carbon_trainer.planning.timeline import DONE, IDLE_CODES, MODES, RESTART, RUN, Timeline

SHORTEST_NS = 1_000_000
"""What would last less than a millisecond is left out: it is rounding."""


def assemble(timeline: Timeline, schedule: Schedule, before: int) -> tuple[PlanSlot, ...]:
    """Return a schedule's slots, in order and without gaps, up to completion."""
    writer = _Writer(timeline)
    shared = neighbours(timeline, schedule.modes, before)
    lost = lost_hours(timeline, schedule.modes, before)
    back = dict(comebacks(schedule.modes, before))
    pending_kwh = 0.0
    for t in range(len(timeline)):
        mode = int(schedule.modes[t])
        if mode == DONE:
            break
        if t in back:
            restart = timeline.restarts[back[t]]
            whole_h = timeline.problem.idles[IDLE_CODES[back[t]]].restart_s / 3600
            pending_kwh = restart.kwh / whole_h if whole_h else 0.0
            at_once_kwh = 0.0 if whole_h else restart.kwh
        else:
            at_once_kwh = 0.0
        if mode == RESTART:
            hours = float(timeline.hours[t])
            writer.restart(t, int(timeline.edges_ns[t + 1]), hours * pending_kwh)
        elif mode == RUN:
            kwh = at_once_kwh or float(lost[t]) * pending_kwh
            _run_slot(writer, schedule, t, float(lost[t]), kwh, int(shared[t]), t in back)
        else:
            writer.idle(t, int(timeline.edges_ns[t + 1]), mode)
    return tuple(writer.slots)


def _run_slot(
    writer: _Writer, schedule: Schedule, t: int, lost_h: float, restart_kwh: float,
    shared: int, comes_back: bool,
) -> None:  # fmt: skip
    timeline = writer.timeline
    start_ns, end_ns = int(timeline.edges_ns[t]), int(timeline.edges_ns[t + 1])
    hours = schedule.level_hours[t]
    spare_h = float(timeline.hours[t]) - lost_h - float(hours.sum())
    after = int(schedule.modes[t + 1]) if t + 1 < len(timeline) else DONE
    spare_ns = round(spare_h * NS_PER_H)
    may_idle = spare_ns > SHORTEST_NS and shared not in (RUN, RESTART, DONE)
    idles_first = may_idle and shared != after
    if idles_first:
        writer.idle(t, start_ns + spare_ns, shared)
    if comes_back or lost_h:
        writer.restart(t, writer.now_ns + round(lost_h * NS_PER_H), restart_kwh)
    used = [int(i) for i in hours.nonzero()[0][::-1]]
    for i in used:
        until_ns = writer.now_ns + round(float(hours[i]) * NS_PER_H)
        is_last = i == used[-1] and (spare_ns <= SHORTEST_NS or idles_first)
        writer.run(t, end_ns if is_last else min(until_ns, end_ns), timeline.levels[i])
    if not idles_first and shared != DONE and end_ns > writer.now_ns:
        writer.idle(t, end_ns, shared)


@dataclass(slots=True)
class _Writer:
    """Writes slots one after another, joining what goes on at the same intensity."""

    timeline: Timeline
    slots: list[PlanSlot] = field(default_factory=list)

    @property
    def now_ns(self) -> int:
        return self.slots[-1].end_ns if self.slots else int(self.timeline.edges_ns[0])

    def idle(self, t: int, end_ns: int, code: int) -> None:
        self._write(t, end_ns, MODES[code], None, 1000 * self.timeline.idle_kw(code))

    def run(self, t: int, end_ns: int, level: Level) -> None:
        self._write(t, end_ns, Mode.RUN, level, level.power_w)

    def restart(self, t: int, end_ns: int, kwh: float) -> None:
        self._write(t, end_ns, Mode.RESTART, None, 0.0, kwh)

    def _write(
        self, t: int, end_ns: int, mode: Mode, level: Level | None, power_w: float,
        extra_kwh: float = 0.0,
    ) -> None:  # fmt: skip
        start_ns = self.now_ns
        if end_ns <= start_ns and not extra_kwh:
            return
        hours = (end_ns - start_ns) / NS_PER_H
        kwh = power_w / 1000 * hours + extra_kwh
        self.slots.append(
            PlanSlot(
                start_ns=start_ns,
                end_ns=max(end_ns, start_ns),
                mode=mode,
                level=level,
                power_w=power_w,
                work_hours=0.0 if level is None else level.speed * hours,
                energy_kwh=kwh,
                emissions_gco2e=kwh * float(self.timeline.intensity[t]),
                cost=kwh * float(self.timeline.price[t]),
            )
        )
