"""From modes and hours at settings to a plan with instants, energy, emissions and cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from carbon_trainer.planning.allocation import Allocation, neighbours
from carbon_trainer.planning.paths import lost_hours, resumes
from carbon_trainer.planning.plan import PlanSlot
from carbon_trainer.planning.problem import NS_PER_H, Mode, PowerSetting
from carbon_trainer.planning.timeline import DONE, IDLE_CODES, MODES, RESTART, RUN, Timeline

SHORTEST_NS = 1_000_000
"""Idling of less than a millisecond is left out: it is rounding."""


def assemble(timeline: Timeline, allocation: Allocation, initial_mode: int) -> tuple[PlanSlot, ...]:
    """Return an allocation's slots, in order and without gaps, up to completion."""
    writer = _Writer(timeline)
    shared = neighbours(timeline, allocation.modes, initial_mode)
    lost = lost_hours(timeline, allocation.modes, initial_mode)
    resumed_from = dict(resumes(allocation.modes, initial_mode))
    restart_kw = 0.0
    for slot in range(len(timeline)):
        mode = int(allocation.modes[slot])
        if mode == DONE:
            break
        if slot in resumed_from:
            # A restart's energy is spread over its time; one that takes no time is a slot of length
            # 0 that has all of it.
            restart = timeline.restarts[resumed_from[slot]]
            restart_h = timeline.problem.idles[IDLE_CODES[resumed_from[slot]]].restart_s / 3600
            restart_kw = restart.kwh / restart_h if restart_h else 0.0
            instant_kwh = 0.0 if restart_h else restart.kwh
        else:
            instant_kwh = 0.0
        if mode == RESTART:
            hours = float(timeline.hours[slot])
            writer.restart(slot, int(timeline.edges_ns[slot + 1]), hours * restart_kw)
        elif mode == RUN:
            kwh = instant_kwh or float(lost[slot]) * restart_kw
            is_resume = slot in resumed_from
            _run_slot(
                writer, allocation, slot, float(lost[slot]), kwh, int(shared[slot]), is_resume
            )
        else:
            writer.idle(slot, int(timeline.edges_ns[slot + 1]), mode)
    return tuple(writer.slots)


def _run_slot(
    writer: _Writer, allocation: Allocation, slot: int, lost_h: float, restart_kwh: float,
    shared: int, is_resume: bool,
) -> None:  # fmt: skip
    timeline = writer.timeline
    start_ns, end_ns = int(timeline.edges_ns[slot]), int(timeline.edges_ns[slot + 1])
    hours = allocation.setting_hours[slot]
    idle_h = float(timeline.hours[slot]) - lost_h - float(hours.sum())
    after = int(allocation.modes[slot + 1]) if slot + 1 < len(timeline) else DONE
    idle_ns = round(idle_h * NS_PER_H)
    has_idle = idle_ns > SHORTEST_NS and shared not in (RUN, RESTART, DONE)
    # What is not run of a slot belongs to the idling that it is shared with, before or after.
    is_idle_first = has_idle and shared != after
    if is_idle_first:
        writer.idle(slot, start_ns + idle_ns, shared)
    if is_resume or lost_h:
        writer.restart(slot, writer.now_ns + round(lost_h * NS_PER_H), restart_kwh)
    # Fastest first: the order within a slot changes nothing, as its intensity is one.
    used_settings = [int(i) for i in hours.nonzero()[0][::-1]]
    for i in used_settings:
        # Rounding to nanoseconds must leave no gap: the last part ends where the slot does.
        until_ns = writer.now_ns + round(float(hours[i]) * NS_PER_H)
        is_last = i == used_settings[-1] and (idle_ns <= SHORTEST_NS or is_idle_first)
        writer.run(slot, end_ns if is_last else min(until_ns, end_ns), timeline.power_settings[i])
    if not is_idle_first and shared != DONE and end_ns > writer.now_ns:
        writer.idle(slot, end_ns, shared)


@dataclass(slots=True)
class _Writer:
    """Writes slots one after another, each from the end of the one before."""

    timeline: Timeline
    slots: list[PlanSlot] = field(default_factory=list)

    @property
    def now_ns(self) -> int:
        return self.slots[-1].end_ns if self.slots else int(self.timeline.edges_ns[0])

    def idle(self, slot: int, end_ns: int, code: int) -> None:
        self._write(slot, end_ns, MODES[code], None, 1000 * self.timeline.idle_kw(code))

    def run(self, slot: int, end_ns: int, setting: PowerSetting) -> None:
        self._write(slot, end_ns, Mode.RUN, setting, setting.power_w)

    def restart(self, slot: int, end_ns: int, kwh: float) -> None:
        self._write(slot, end_ns, Mode.RESTART, None, 0.0, kwh)

    def _write(
        self, slot: int, end_ns: int, mode: Mode, setting: PowerSetting | None, power_w: float,
        restart_kwh: float = 0.0,
    ) -> None:  # fmt: skip
        start_ns = self.now_ns
        if end_ns <= start_ns and not restart_kwh:
            return
        hours = (end_ns - start_ns) / NS_PER_H
        kwh = power_w / 1000 * hours + restart_kwh
        self.slots.append(
            PlanSlot(
                start_ns=start_ns,
                end_ns=max(end_ns, start_ns),
                mode=mode,
                power_setting=setting,
                power_w=power_w,
                work_hours=0.0 if setting is None else setting.speed * hours,
                energy_kwh=kwh,
                emissions_gco2e=kwh * float(self.timeline.intensity[slot]),
                cost=kwh * float(self.timeline.price[slot]),
            )
        )
