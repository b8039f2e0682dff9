"""When should a job of ten hours run within two days, and at which power? Asked of a trace."""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

from carbon_trainer.clock import to_datetime
from carbon_trainer.grid.csv import read_csv
from carbon_trainer.planning.policies import run_now
from carbon_trainer.planning.problem import NS_PER_H, Idle, PlanProblem, PowerSetting
from carbon_trainer.planning.solver import solve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", nargs="?", type=Path, help="CSV of time_utc,gco2e_per_kwh")
    args = parser.parse_args()
    intensity = read_csv(args.trace or invented())

    problem = PlanProblem(
        now_ns=intensity.start_ns,
        deadline_ns=intensity.start_ns + 48 * NS_PER_H,
        work_hours=10,
        # What a machine draws at each of its settings, and how fast it is then;
        # `carbon-train profile` measures it.
        power_settings=(PowerSetting(950, 1.0), PowerSetting(750, 0.92), PowerSetting(550, 0.64)),
        intensity=intensity,
        pause=Idle(power_w=190, restart_s=10, restart_kwh=0.003),
    )
    best, at_once = solve(problem), run_now(problem)

    for slot in best.slots:
        begins, ends = to_datetime(slot.start_ns), to_datetime(slot.end_ns)
        print(f"{begins:%a %H:%M} - {ends:%a %H:%M}  {slot.mode:8}  {slot.power_w:4.0f} W")
    saved = 1 - best.emissions_gco2e / at_once.emissions_gco2e
    print(f"{best.emissions_gco2e / 1000:.2f} kgCO2e, {saved:.0%} less than at once")


def invented() -> Path:
    """Write two days in which the sun shines at noon, so that the example needs no file."""
    path = Path(tempfile.mkdtemp()) / "invented.csv"
    rows = ["time_utc,gco2e_per_kwh"]
    for hour in range(48):
        sun = max(0.0, math.sin((hour % 24 - 6) / 12 * math.pi))
        rows.append(f"2026-06-{1 + hour // 24:02}T{hour % 24:02}:00Z,{400 - 250 * sun:.0f}")
    path.write_text("\n".join(rows))
    return path


if __name__ == "__main__":
    main()
