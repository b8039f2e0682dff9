"""What ``carbon-train simulate`` does."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from carbon_trainer.cli.actions.problem import idles_of, levels_of, trace_of, work_of
from carbon_trainer.durations import duration_of
from carbon_trainer.errors import InputError
from carbon_trainer.grid.csv import read_forecasts
from carbon_trainer.grid.series import IntensitySeries, iso
from carbon_trainer.planning.policies import POLICIES, policy
from carbon_trainer.planning.simulation import Job, Outcome, simulate, starts


def compare_policies(
    trace: Path, forecasts: Path | None, names: tuple[str, ...], every: str, jobs: int | None,
    csv_path: Path | None, **flags: Any,
) -> None:  # fmt: skip
    """Back-test policies on a trace, and print their savings over many starts."""
    policies = list(names) or list(POLICIES)
    for name in policies:
        # Raises for an unknown name now rather than in a worker process.
        policy(name)
    series = trace_of(trace)
    recorded = [] if forecasts is None else read_forecasts(forecasts)
    job = _job(flags)
    every_ns = duration_of(every, "--every") // timedelta(microseconds=1) * 1000
    first_ns = recorded[0].start_ns if recorded else None
    starts_ns = _covered(starts(series, job, every_ns, first_ns), job, recorded)
    outcomes = list(_outcomes(series, job, policies, recorded, starts_ns, jobs))
    if csv_path is not None:
        _write(csv_path, outcomes)
    Console(highlight=False, soft_wrap=True).print(_table(policies, outcomes))


def _job(flags: dict[str, Any]) -> Job:
    work = work_of(flags)
    if (flags["slack"] is None) == (flags["deadline"] is None):
        raise InputError("give exactly one of --slack and --deadline")
    window = (
        flags["slack"] * work
        if flags["slack"] is not None
        else duration_of(flags["deadline"], "--deadline") / timedelta(hours=1)
    )
    pause, release = idles_of(flags)
    return Job(
        work_hours=work,
        window_hours=window,
        power_settings=levels_of(flags["levels"]),
        pause=pause,
        release=release,
        queue_w=flags["queue_w"],
        work_error=flags["work_error"],
    )


def _covered(starts_ns: list[int], job: Job, recorded: Sequence[IntensitySeries]) -> list[int]:
    """Return the starts whose windows end at most a day after the last recorded forecast.

    Later ones would be planned with a forecast that is never updated, as no real job is.
    """
    if not recorded:
        return starts_ns
    window_ns = round(job.window_hours * 3.6e12)
    end_ns = recorded[-1].start_ns + 86_400 * 10**9
    return [start_ns for start_ns in starts_ns if start_ns + window_ns <= end_ns]


def _outcomes(
    series: IntensitySeries, job: Job, names: list[str], recorded: list[IntensitySeries],
    starts_ns: list[int], jobs: int | None,
) -> Iterator[Outcome]:  # fmt: skip
    simulate_chunk = partial(_simulate, series, job, names, recorded)
    workers = max(min(jobs or os.cpu_count() or 1, len(starts_ns)), 1)
    # Eight chunks a worker keep all of them busy to the end, as starts take unequally long.
    size = max(1, len(starts_ns) // (8 * workers))
    chunks = [starts_ns[i : i + size] for i in range(0, len(starts_ns), size)]
    console = Console(stderr=True)
    with ProcessPoolExecutor(max_workers=workers) as pool:
        results = pool.map(simulate_chunk, chunks)
        for outcomes in track(
            results, "Simulating", total=len(chunks), console=console, transient=True
        ):
            yield from outcomes


def _simulate(
    series: IntensitySeries, job: Job, names: list[str], recorded: list[IntensitySeries],
    starts_ns: list[int],
) -> list[Outcome]:  # fmt: skip
    return [
        outcome
        for start_ns in starts_ns
        for outcome in simulate(series, job, start_ns, names, recorded)
    ]


def _table(names: list[str], outcomes: list[Outcome]) -> Table:
    count = len(outcomes) // len(names)
    table = Table(box=None, pad_edge=False, title=f"{count} starts", title_justify="left")
    table.add_column("policy")
    for heading in ("saving", "of optimum", "energy", "resumes", "missed deadlines"):
        table.add_column(heading, justify="right")
    for name in names:
        rows = [outcome for outcome in outcomes if outcome.policy == name]
        saving = float(np.mean([row.saving for row in rows]))
        savings = [1 - row.optimum_gco2e / row.run_now_gco2e for row in rows if row.run_now_gco2e]
        optimum = float(np.mean(savings))
        table.add_row(
            name,
            f"{100 * saving:.1f} %",
            f"{100 * saving / optimum:.1f} %" if optimum > 0 else "",
            f"{np.mean([row.energy_kwh for row in rows]):.2f} kWh",
            f"{np.mean([row.resumes for row in rows]):.1f}",
            str(sum(row.missed for row in rows)),
        )
    return table


def _write(path: Path, outcomes: list[Outcome]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([field.name for field in dataclasses.fields(Outcome)])
            for outcome in outcomes:
                row = [getattr(outcome, field.name) for field in dataclasses.fields(Outcome)]
                writer.writerow([iso(row[0]), *row[1:]])
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
