"""Savings of policies on real traces, and the time that finding a plan takes, in one run.

``python -m benchmarks.planning --traces DIR [--forecasts DIR]``: a folder of ``ZONE_YEAR.csv``
(time_utc, gco2e_per_kwh) and one of ``ZONE_PERIOD_actual.csv`` beside ``ZONE_PERIOD_*h.csv`` with
recorded forecasts. The job takes 24 hours at 950 W and has five power settings; each saving is a
mean over zones of the mean over starts, against running at once.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import click
import numpy as np

from carbon_trainer.grid.csv import read_csv, read_forecasts
from carbon_trainer.grid.series import IntensitySeries
from carbon_trainer.planning.policies import POLICIES
from carbon_trainer.planning.problem import NS_PER_H, Idle, PlanProblem, PowerSetting
from carbon_trainer.planning.simulation import Job, Outcome, simulate, starts
from carbon_trainer.planning.solver import solve

POWER_SETTINGS = tuple(
    PowerSetting(power_w, speed)
    for power_w, speed in ((950, 1.0), (850, 0.975), (750, 0.92), (650, 0.81), (550, 0.64))
)
SLACKS = (1.25, 1.5, 2.0, 3.0)
HELD_W = 190.0


@click.command()
@click.option("--traces", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--forecasts", type=click.Path(path_type=Path, exists=True))
@click.option("--starts", "count", default=12, show_default=True, help="Starts a zone.")
def main(traces: Path, forecasts: Path | None, count: int) -> None:
    zones = {path.stem: hourly(read_csv(path)) for path in sorted(traces.glob("*.csv"))}
    print(f"{len(zones)} zones, {count} starts each\n")
    for held_w in (0.0, HELD_W):
        savings_table(zones, held_w, count)
    if forecasts is not None:
        forecast_table(forecasts, count)
    growth_table(next(iter(zones.values())))


def hourly(series: IntensitySeries) -> IntensitySeries:
    """Return means of hours."""
    per_hour = NS_PER_H // series.step_ns
    count = len(series) // per_hour
    values = series.intensity_gco2e_per_kwh[: count * per_hour].reshape(count, per_hour)
    basis = series.basis[: count * per_hour : per_hour]
    return IntensitySeries(series.info, series.start_ns, NS_PER_H, values.mean(axis=1), basis)


def job(slack: float, held_w: float, error: float = 0.0) -> Job:
    return Job(
        work_hours=24, window_hours=24 * slack, power_settings=POWER_SETTINGS,
        pause=Idle(held_w, 10, 0.003), work_error=error,
    )  # fmt: skip


def sample_starts(series: IntensitySeries, its_job: Job, count: int) -> list[int]:
    all_starts = starts(series, its_job, NS_PER_H)
    return [all_starts[i] for i in np.linspace(0, len(all_starts) - 1, count).astype(int)]


def savings_table(zones: dict[str, IntensitySeries], held_w: float, count: int) -> None:
    print(f"**Perfect forecasts, idle at {held_w:.0f} W: saving, %, and resumes**\n")
    print("| slack | " + " | ".join(POLICIES) + " |\n|---" * 1 + "|---" * len(POLICIES) + "|")
    for slack in SLACKS:
        outcomes_by_policy: dict[str, list[Outcome]] = {name: [] for name in POLICIES}
        for series in zones.values():
            for start in sample_starts(series, job(slack, held_w), count):
                for outcome in simulate(series, job(slack, held_w), start, list(POLICIES)):
                    outcomes_by_policy[outcome.policy].append(outcome)
        groups = outcomes_by_policy.values()
        savings = [100 * np.mean([outcome.saving for outcome in group]) for group in groups]
        resumes = [np.mean([outcome.resumes for outcome in group]) for group in groups]
        cells = [f"{a:.1f} ({b:.1f})" for a, b in zip(savings, resumes, strict=True)]
        print(f"| {slack} | " + " | ".join(cells) + " |", flush=True)
    print()


def forecast_table(folder: Path, count: int) -> None:
    print("**Recorded forecasts, released at 0 W: share of the optimum's saving, %; missed**\n")
    print("| zone | slack 1.5 | slack 3 | slack 1.5, work 20 % longer | missed |")
    print("|---|---|---|---|---|")
    shares = []
    for path in sorted(folder.glob("*_actual.csv")):
        forecast_files = list(folder.glob(path.name.replace("_actual.csv", "_*h.csv")))
        if not forecast_files:
            continue
        series, recorded = hourly(read_csv(path)), read_forecasts(forecast_files[0])
        row, missed = [], 0
        for slack, error in ((1.5, 0.0), (3.0, 0.0), (1.5, 0.2)):
            its_job = job(slack, 0.0, error)
            last_ns = recorded[-1].start_ns - round(its_job.window_hours * NS_PER_H)
            begins = [t for t in sample_starts(series, its_job, count) if t <= last_ns]
            outcomes = [
                outcome
                for start in begins
                for outcome in simulate(series, its_job, start, ["optimal"], recorded)
            ]
            missed += sum(outcome.missed for outcome in outcomes)
            best = np.mean([outcome.best_saving for outcome in outcomes])
            row.append(100 * float(np.mean([outcome.saving for outcome in outcomes]) / best))
        shares.append(row)
        zone = path.name.removesuffix("_actual.csv")
        print(f"| {zone} | " + " | ".join(f"{x:.1f}" for x in row) + f" | {missed} |", flush=True)
    means = np.mean(shares, axis=0)
    print("| mean | " + " | ".join(f"{x:.1f}" for x in means) + " | |\n")


def growth_table(series: IntensitySeries) -> None:
    print("**Solving: 5-minute slots, 12 settings, run, pause and release**\n")
    print("| slots | days | ms (median of 5) | gap, % | peak memory of this process, MB |")
    print("|---|---|---|---|---|")
    speeds = 1 - np.linspace(0, 0.62, 12) ** 1.6
    powers = np.linspace(950, 500, 12)
    settings = tuple(PowerSetting(float(p), float(s)) for p, s in zip(powers, speeds, strict=True))
    for days in (1, 7, 28, 70):
        slots = days * 288
        noise = np.random.default_rng(0).normal(1, 0.01, slots)
        hours = np.arange(len(series))
        values = np.interp(np.arange(slots) / 12, hours, series.intensity_gco2e_per_kwh) * noise
        fine = IntensitySeries(
            series.info, series.start_ns, NS_PER_H // 12, values, np.zeros(slots, np.uint8)
        )
        problem = PlanProblem(
            now_ns=fine.start_ns, deadline_ns=fine.end_ns, work_hours=24 * days / 2,
            power_settings=settings, intensity=fine,
            pause=Idle(HELD_W, 10, 0.003), release=Idle(0, 300, 0.05),
        )  # fmt: skip
        times_ms = []
        for _ in range(5):
            start_s = time.perf_counter()
            plan = solve(problem)
            times_ms.append(1000 * (time.perf_counter() - start_s))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        gap = 100 * (plan.gap or 0.0)
        median_ms = np.median(times_ms)
        print(f"| {slots} | {days} | {median_ms:.0f} | {gap:.4f} | {peak_mb:.0f} |", flush=True)


if __name__ == "__main__":
    main()
