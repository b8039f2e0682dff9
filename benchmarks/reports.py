"""Duration of reports: of one run with very many intervals, and over very many runs.

Compared, over the same rows: pandas' own reading of the intervals (`read_sql`), and CodeCarbon's
format of records, an emissions.csv with a row a run, read and summed by pandas.

    python -m benchmarks.reports [--intervals 1000000] [--runs 10000] [--url postgresql+psycopg://…]
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from carbon_trainer.config import RunConfig
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.facts import Interval, Progress, RunClosed
from carbon_trainer.ledger.merge import merge
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.build import render_run, write_run_report
from carbon_trainer.reports.exports.codecarbon import COLUMNS
from carbon_trainer.reports.portfolio.build import PORTFOLIO_RENDERERS
from carbon_trainer.reports.portfolio.figures import portfolio_of
from carbon_trainer.reports.portfolio.selection import Selection
from tests.reports.ledgers import CORPUS, FR, GB, GPU, MACHINE, MODEL, OPENED, RUN, T0_NS, S

BATCH = 5_000
PARTS = (
    (f"{GPU}a", "gpu", "measured"), (f"{GPU}b", "gpu", "measured"), ("cpu", "cpu", "estimated"),
    ("ram", "ram", "estimated"),
)  # fmt: skip


def long_run(path: Path, intervals: int) -> None:
    ledger = Ledger.open(path)
    head = ledger.append(
        RUN, [(T0_NS, f) for f in (OPENED, GB, MACHINE, CORPUS, MODEL)], ChainHead()
    )
    for first in range(0, intervals, BATCH):
        stamped: list[tuple[int, object]] = []
        for number in range(first, min(first + BATCH, intervals)):
            device, component, method = PARTS[number % 4]
            start_ns = T0_NS + number // 4 * S
            phase = "train" if number // 400 % 10 else "validation"
            stamped.append((start_ns, Interval(
                device=device, component=component, start_ns=start_ns, end_ns=start_ns + S,
                energy_mj=300_000 + number % 777, method=method, sigma_mj=30, phase=phase, steps=1,
                tokens=8192,
            )))  # fmt: skip
            if number % 100 == 0:
                stamped.append((start_ns, Progress(
                    time_ns=start_ns, step=number // 4, tokens=number * 2048, loss=3.0,
                )))  # fmt: skip
        head = ledger.append(RUN, stamped, head)
    closed = RunClosed(status="finished", exit_status=0, reason="done", step=intervals // 4,
                       tokens=intervals * 2048, checkpoint=None)  # fmt: skip
    ledger.append(RUN, [(T0_NS + intervals // 4 * S, closed)], head)
    ledger.close()


def many_runs(path: Path, runs: int, intervals: int = 60) -> None:
    ledger = Ledger.open(path)
    config = RunConfig().to_json()
    for number in range(runs):
        start_ns = T0_NS + number * 3600 * S
        opened = dataclasses.replace(
            OPENED, project=f"project {number % 7}", user=f"user {number % 11}", config=config
        )
        stamped = [(start_ns, f) for f in (opened, FR if number % 2 else GB, MACHINE, MODEL)]
        for index in range(intervals):
            device, component, method = (
                (GPU, "gpu", "measured") if index % 3 == 0 else PARTS[index % 3 + 1]
            )
            stamped.append((start_ns, Interval(
                device=device, component=component, start_ns=start_ns + index // 3 * S,
                end_ns=start_ns + (index // 3 + 1) * S, energy_mj=200_000 + index, method=method,
                sigma_mj=30, phase="train",
            )))  # fmt: skip
        stamped.append((start_ns + intervals // 3 * S, RunClosed(
            status="finished" if number % 5 else "failed", exit_status=0, reason="done", step=1,
            tokens=8192, checkpoint=None,
        )))  # fmt: skip
        ledger.append(f"run-{number:06d}", stamped, ChainHead())
    ledger.close()


def in_a_process(function: Callable[[str], object], location: str) -> tuple[float, float]:
    """Return the seconds of a call in a fresh process, its imports aside, and the process's MB."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe()
    process = context.Process(target=_timed, args=(function, location, sender))
    process.start()
    seconds, megabytes = receiver.recv()
    process.join()
    return seconds, megabytes


def _timed(function: Callable[[str], object], location: str, sender: object) -> None:
    started = time.perf_counter()
    function(location)
    seconds = time.perf_counter() - started
    sender.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3))


def html(place: str) -> None:
    render_run(Ledger.open(place, create=False), RUN, "html")


def three_forms(place: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_run_report(Ledger.open(place, create=False), RUN, Path(folder))


def pandas_rows(place: str) -> None:
    frame = pd.read_sql("SELECT * FROM intervals", f"sqlite:///{place}")
    frame.groupby(["device", "phase"])["energy_mj"].sum()


def portfolio(place: str) -> None:
    PORTFOLIO_RENDERERS["html"](portfolio_of(Ledger.open(place, create=False), Selection()))


def csv_sum(place: str) -> None:
    frame = pd.read_csv(place)
    frame.groupby("project_name")[["energy_consumed", "emissions"]].sum()


def emissions_csv(path: Path, runs: int) -> None:
    row = {**dict.fromkeys(COLUMNS, 1.0), "project_name": "p", "run_id": "r"}
    pd.DataFrame([row] * runs).to_csv(path, index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--intervals", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--url", help="an empty PostgreSQL database, for the portfolio as well")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, many, rows = folder / "one.sqlite", folder / "many.sqlite", folder / "emissions.csv"
        long_run(one, args.intervals)
        many_runs(many, args.runs)
        emissions_csv(rows, args.runs)
        print(
            f"a run of {args.intervals:,} intervals ({one.stat().st_size / 1e6:.0f} MB of SQLite)"
        )
        base = show("report.html", *in_a_process(html, str(one)))
        show("report.html, .md and .json", *in_a_process(three_forms, str(one)))
        peer = show("pandas.read_sql and groupby, no report", *in_a_process(pandas_rows, str(one)))
        print(
            f"  the report takes {base / peer:.2f} times as long as pandas takes to read the rows"
        )
        print(f"{args.runs:,} runs of 60 intervals")
        ours = show("portfolio.html from SQLite", *in_a_process(portfolio, str(many)))
        if args.url:
            merge(Ledger.open(str(many)), Ledger.open(args.url))
            show("portfolio.html from PostgreSQL", *in_a_process(portfolio, args.url))
        peer = show(
            "emissions.csv of as many rows summed by pandas", *in_a_process(csv_sum, str(rows))
        )
        print(f"  {ours / peer:.0f} times as long, with uncertainties, cuts, gaps and the page")


def show(title: str, seconds: float, megabytes: float) -> float:
    print(f"  {title:<48} {seconds:6.2f} s {megabytes:6.0f} MB")
    return seconds


if __name__ == "__main__":
    main()
