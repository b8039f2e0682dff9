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
    """Print what policies would have saved on a trace, from many starts."""
    chosen = list(names) or list(POLICIES)
    for name in chosen:
        policy(name)
    series = trace_of(trace)
    known = _forecasts(forecasts)
    job = _job(flags)
    every_ns = duration_of(every, "--every") // timedelta(microseconds=1) * 1000
    begins = _covered(starts(series, job, every_ns, _first(known)), job, known)
    outcomes = list(_outcomes(series, job, chosen, known, begins, jobs))
    if csv_path is not None:
        _write(csv_path, outcomes)
    Console(highlight=False, soft_wrap=True).print(_table(chosen, outcomes))


def _job(flags: dict[str, Any]) -> Job:
    work = work_of(flags)
    if (flags["slack"] is None) == (flags["deadline"] is None):
        raise InputError("give either --slack or --deadline")
    window = (
        flags["slack"] * work
        if flags["slack"] is not None
        else duration_of(flags["deadline"], "--deadline") / timedelta(hours=1)
    )
    pause, release = idles_of(flags)
    return Job(
        work_hours=work,
        window_hours=window,
        levels=levels_of(flags["levels"]),
        pause=pause,
        release=release,
        queue_w=flags["queue_w"],
        work_error=flags["work_error"],
    )


def _forecasts(path: Path | None) -> list[IntensitySeries]:
    if path is None:
        return []
    return read_forecasts(path)


def _first(known: Sequence[IntensitySeries]) -> int | None:
    return known[0].start_ns if known else None


def _covered(begins: list[int], job: Job, known: Sequence[IntensitySeries]) -> list[int]:
    """Leave out starts whose windows recorded forecasts do not reach, as at their last days."""
    if not known:
        return begins
    window_ns = round(job.window_hours * 3.6e12)
    last_ns = known[-1].start_ns
    return [begin for begin in begins if begin + window_ns <= last_ns + 86_400 * 10**9]


def _outcomes(
    series: IntensitySeries, job: Job, names: list[str], known: list[IntensitySeries],
    begins: list[int], jobs: int | None,
) -> Iterator[Outcome]:  # fmt: skip
    one = partial(_simulate, series, job, names, known)
    workers = min(jobs or os.cpu_count() or 1, len(begins))
    size = max(1, len(begins) // (8 * max(workers, 1)))
    chunks = [begins[i : i + size] for i in range(0, len(begins), size)]
    console = Console(stderr=True)
    with ProcessPoolExecutor(max_workers=max(workers, 1)) as pool:
        found = pool.map(one, chunks)
        for part in track(found, "Simulating", total=len(chunks), console=console, transient=True):
            yield from part


def _simulate(
    series: IntensitySeries, job: Job, names: list[str], known: list[IntensitySeries],
    begins: list[int],
) -> list[Outcome]:  # fmt: skip
    return [outcome for begin in begins for outcome in simulate(series, job, begin, names, known)]


def _table(names: list[str], outcomes: list[Outcome]) -> Table:
    count = len(outcomes) // len(names)
    table = Table(box=None, pad_edge=False, title=f"{count} starts", title_justify="left")
    table.add_column("policy")
    for heading in ("saving", "of the optimum's", "energy", "resumes", "missed"):
        table.add_column(heading, justify="right")
    for name in names:
        mine = [outcome for outcome in outcomes if outcome.policy == name]
        saving = float(np.mean([outcome.saving for outcome in mine]))
        best = float(
            np.mean(
                [1 - each.optimum_gco2e / each.run_now_gco2e for each in mine if each.run_now_gco2e]
            )
        )
        table.add_row(
            name,
            f"{100 * saving:.1f} %",
            f"{100 * saving / best:.1f} %" if best > 0 else "",
            f"{np.mean([each.energy_kwh for each in mine]):.2f} kWh",
            f"{np.mean([each.resumes for each in mine]):.1f}",
            str(sum(each.missed for each in mine)),
        )
    return table


def _write(path: Path, outcomes: list[Outcome]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([field.name for field in dataclasses.fields(Outcome)])
            for each in outcomes:
                row = [getattr(each, field.name) for field in dataclasses.fields(Outcome)]
                writer.writerow([iso(row[0]), *row[1:]])
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
