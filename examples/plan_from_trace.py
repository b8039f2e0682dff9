"""When should a job of ten hours run within two days, and at which power? Planned on a trace."""

from __future__ import annotations

import argparse
import math
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from carbon_trainer import grid, planning

HOUR_NS = 3600 * 10**9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", nargs="?", type=Path, help="CSV of time_utc,gco2e_per_kwh")
    args = parser.parse_args()
    intensity = grid.read_csv(args.trace or synthetic_trace())

    problem = planning.PlanProblem(
        now_ns=intensity.start_ns,
        deadline_ns=intensity.start_ns + 48 * HOUR_NS,
        work_hours=10,
        # Power and relative speed of a machine at each of its settings, as
        # `carbon-train profile` measures them.
        power_settings=(
            planning.PowerSetting(power_w=950, speed=1.0),
            planning.PowerSetting(power_w=750, speed=0.92),
            planning.PowerSetting(power_w=550, speed=0.64),
        ),
        intensity=intensity,
        pause=planning.Idle(power_w=190, restart_s=10, restart_kwh=0.003),
    )
    best, at_once = planning.solve(problem), planning.run_now(problem)

    for slot in best.slots:
        start, end = (datetime.fromtimestamp(ns / 1e9, UTC) for ns in (slot.start_ns, slot.end_ns))
        print(f"{start:%a %H:%M} - {end:%a %H:%M}  {slot.mode:8}  {slot.power_w:4.0f} W")
    saved = 1 - best.emissions_gco2e / at_once.emissions_gco2e
    print(f"{best.emissions_gco2e / 1000:.2f} kgCO2e, {saved:.0%} less than at once")


def synthetic_trace() -> Path:
    """Write two days in which the sun shines at noon, so that the example needs no file."""
    path = Path(tempfile.mkdtemp()) / "synthetic.csv"
    rows = ["time_utc,gco2e_per_kwh"]
    for hour in range(48):
        sun = max(0.0, math.sin((hour % 24 - 6) / 12 * math.pi))
        rows.append(f"2026-06-{1 + hour // 24:02}T{hour % 24:02}:00Z,{400 - 250 * sun:.0f}")
    path.write_text("\n".join(rows))
    return path


if __name__ == "__main__":
    main()
