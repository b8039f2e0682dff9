"""What ``carbon-train grid`` does."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.bar import Bar
from rich.console import Console
from rich.table import Table

from carbon_trainer.cli.actions.problem import trace_of
from carbon_trainer.durations import duration_of, ns_of, time_of
from carbon_trainer.errors import InputError
from carbon_trainer.grid.forecasts import expected_intensity
from carbon_trainer.grid.providers import infos, provider
from carbon_trainer.grid.series import Basis, IntensitySeries
from carbon_trainer.grid.store import Store
from carbon_trainer.grid.zones import ZoneFactors

ROWS = 72
"""A chart has at most this many rows; more hours than that are averaged over longer steps."""


def list_providers() -> None:
    """List providers and their requirements."""
    table = Table(box=None, pad_edge=False)
    for heading in (
        "provider", "zones", "accounting", "step", "forecast", "credentials", "licence",
    ):  # fmt: skip
        table.add_column(heading)
    for info in infos():
        table.add_row(
            info.name, info.zones, info.accounting, f"{info.step_minutes} min",
            f"{info.forecast_hours} h", ", ".join(info.keys) or "none", info.licence,
        )  # fmt: skip
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(
        f"Without a provider: annual means of {len(ZoneFactors().zones())} countries and US "
        "states, with a typical daily profile where open data allow (US-CA, ES, NO)."
    )


def show(zone: str, name: str | None, trace: Path | None, start: str | None, hours: int) -> None:
    """Plot a zone's forecast carbon intensity in the terminal."""
    begin = _now() if start is None else time_of(start, "--start")
    if trace is not None:
        series = trace_of(trace)
        begin = series.time(0) if start is None else begin
        series = series.between(ns_of(begin), ns_of(begin + timedelta(hours=hours)))
    else:
        series = expected_intensity(zone, name, begin, begin + timedelta(hours=hours))
    console = Console(highlight=False, soft_wrap=True)
    info = series.info
    console.print(f"{info.zone}: {info.accounting}, gCO2e/kWh, {info.source} ({info.licence})")
    console.print(_chart(series, ns_of(begin), ns_of(begin + timedelta(hours=hours))))
    for note in info.notes:
        console.print(f"Note: {note}.")


def fetch(
    zone: str, name: str, start: str | None, end: str | None, last: str | None, out: Path
) -> None:
    """Write a provider's forecast or history of a zone into a CSV."""
    client = provider(name)
    if start is None and last is None:
        series = client.forecast(zone, datetime.now(UTC))
    else:
        until = _now() if end is None else time_of(end, "--end")
        begin = time_of(start, "--start") if start else until - duration_of(last or "", "--last")
        if begin >= until:
            raise InputError("--start must be before --end")
        series = client.history(zone, begin, until)
        Store().put(name, zone, "history", series)
    write_csv(out, series)
    Console(highlight=False, soft_wrap=True).print(f"wrote {len(series)} values to {out}")


def write_csv(path: Path, series: IntensitySeries) -> None:
    """Write a series as a CSV, with its metadata in comments.

    Raises:
        InputError: if it cannot be written.
    """
    info = series.info
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            for name in ("zone", "provider", "accounting", "source", "licence", "issued_at"):
                file.write(f"# {name}: {getattr(info, name)}\n")
            writer = csv.writer(file)
            writer.writerow(["time_utc", "gco2e_per_kwh", "basis"])
            for time, value, basis in zip(
                series.index, series.intensity_gco2e_per_kwh, series.basis, strict=True
            ):
                writer.writerow([time.isoformat(), f"{value:.3f}", Basis(basis).text])
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def _chart(series: IntensitySeries, start_ns: int, end_ns: int) -> Table:
    """Return a bar chart by hour, or by a longer step."""
    hours = max(1, -(-(end_ns - start_ns) // (ROWS * 3600 * 10**9)))
    step_ns = max(hours * 3600 * 10**9, series.step_ns)
    starts = range(max(start_ns, series.start_ns), min(end_ns, series.end_ns), step_ns)
    means = [series.mean(begin, min(begin + step_ns, series.end_ns)) for begin in starts]
    table = Table(box=None, pad_edge=False, show_header=False)
    highest = max(max(means), 1e-9)
    for begin, mean in zip(starts, means, strict=True):
        time = datetime.fromtimestamp(begin / 1e9, UTC).strftime("%a %d %b %H:%M")
        slot = (begin - series.start_ns) // series.step_ns
        table.add_row(time, f"{mean:.0f}", Bar(highest, 0, mean, width=50),
                      Basis(series.basis[slot]).text)  # fmt: skip
    return table


def _now() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
