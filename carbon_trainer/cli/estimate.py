"""``carbon-train estimate``: what a training would take, before it starts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import click

from carbon_trainer.cli import complete
from carbon_trainer.errors import InputError

if TYPE_CHECKING:
    from carbon_trainer.estimate.efficiency import Spread
    from carbon_trainer.estimate.estimate import Estimate

SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


class Amount(click.ParamType[float]):
    """A number such as ``20e9`` or ``20B``."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        text = str(value).strip().upper().replace("_", "").replace(",", "")
        factor = SUFFIXES.get(text[-1:], 1.0)
        try:
            return float(text[:-1] if factor > 1 else text) * factor
        except ValueError:
            self.fail(f"{value!r} is not a number: write 20e9 or 20B.", param, ctx)


@click.command("estimate")
@click.option("--params", type=Amount(), help="Parameters; of a mixture of experts those in use.")
@click.option("--tokens", type=Amount(), help="Tokens to train on: 400e9 or 400B.")
@click.option(
    "--gpu",
    default="H100",
    show_default=True,
    shell_complete=complete.boards,
    help="Accelerator: A100, H100, MI300X …",
)
@click.option("--gpus", default=1, show_default=True, help="How many.")
@click.option(
    "--zone",
    shell_complete=complete.zones,
    help="Grid: GB, FR, US-CA.  [default: the world's average]",
)
@click.option("--start", help="When it begins (2026-12-01), to say when it would end.")
@click.option(
    "--pue", default=1.0, show_default=True, help="The building's energy over the machines'."
)
@click.option("--price-per-kwh", type=float, help="Price of electricity.")
@click.option("--mfu", type=float, help="Share of the dense peak that is reached while it trains.")
@click.option(
    "--peak-tflops", type=float, help="The accelerator's dense 16-bit peak, if it differs."
)
@click.option("--development", default=1.0, show_default=True,
              help="All computing over the final run's: trials, failures, ablations.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print it for machines.")
@click.option(
    "--list", "listed", is_flag=True, help="List the published runs that it is made from."
)
def command(params: float | None, tokens: float | None, start: str | None, as_json: bool,
            listed: bool, **given: Any) -> None:  # fmt: skip
    """Say what a training would take: hours, days, energy, emissions, cost.

    Each figure is an estimate from published runs, with an interval that holds the truth in about
    four cases of five.
    """
    if listed:
        _print_published()
        return
    if params is None or tokens is None:
        raise InputError("give --params and --tokens, such as --params 20e9 --tokens 400e9.")
    from carbon_trainer.estimate.estimate import Job, estimate

    job = Job(parameters=params, tokens=tokens, start=_instant(start), **given)
    found = estimate(job)
    if as_json:
        click.echo(json.dumps(_document(found), indent=1))
    else:
        _print(found)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"--start is {text!r}, but should be a date such as 2026-12-01."
        ) from error
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _figures(found: Estimate) -> dict[str, tuple[str, Spread | None, str]]:
    """Return label, figure and unit by key."""
    return {
        "effective_mfu": ("Share of the peak got done", found.effective_mfu, ""),
        "gpu_hours": ("GPU-hours", found.gpu_hours, "h"),
        "days": ("Days", found.days, "d"),
        "power_w": ("Power of a GPU and its host", found.power_w, "W"),
        "energy_kwh": ("Energy of the facility", found.energy_kwh, "kWh"),
        "emissions_kgco2e": ("Emissions (location-based)", found.emissions_kgco2e, "kgCO2e"),
        "cost": ("Cost of electricity", found.cost, ""),
    }


def _document(found: Estimate) -> dict[str, Any]:
    figures = {
        key: {"value": figure.value, "low": figure.interval[0], "high": figure.interval[1],
              "interval": "80 %", "unit": unit, "method": "estimated"}
        for key, (_, figure, unit) in _figures(found).items() if figure is not None
    }  # fmt: skip
    embodied = found.embodied_kgco2e
    return {
        "accelerator": found.board.name,
        "flops": found.flops,
        "figures": figures,
        "embodied_kgco2e": None if embodied is None else {"low": embodied[0], "high": embodied[1]},
        "ends": None if found.ends is None else found.ends.isoformat(),
        "intensity_gco2e_per_kwh": found.intensity.intensity_gco2e_per_kwh,
        "intensity_source": found.intensity.source,
        "notes": _notes(found),
    }


def _print(found: Estimate) -> None:
    from rich.console import Console
    from rich.table import Table

    job = found.job
    what = f"{_short(job.parameters)} parameters, {_short(job.tokens)} tokens"
    table = Table(title=f"{what}, {job.gpus:,} x {found.board.name}", title_justify="left")
    table.add_column("")
    for heading in ("estimate", "80 % interval"):
        table.add_column(heading, justify="right")
    for label, figure, unit in _figures(found).values():
        if figure is not None:
            low, high = (_short(value) for value in figure.interval)
            table.add_row(label, f"{_short(figure.value)} {unit}".strip(), f"{low} to {high}")
    if found.embodied_kgco2e is not None:
        low, high = (_short(value) for value in found.embodied_kgco2e)
        table.add_row("Embodied share of the GPUs", "a range, kgCO2e", f"{low} to {high}")
    if found.ends is not None:
        table.add_row("Ends", f"{found.ends:%Y-%m-%d}", "")
    console = Console(highlight=False)
    console.print(table)
    for note in _notes(found):
        console.print(f"- {note}", soft_wrap=True)


def _notes(found: Estimate) -> list[str]:
    job, grid = found.job, found.intensity
    made = (
        f"estimated: 6 x parameters x tokens = {found.flops:.3g} FLOP over a dense peak of "
        f"{found.board.peak_bf16_tflops:g} TFLOP/s; utilisation, downtime and power as in "
        "published runs (--list)."
    )
    factors = (
        f"{grid.intensity_gco2e_per_kwh:.0f} gCO2e/kWh ({grid.zone_name}, {grid.method}; "
        f"{grid.source}, {grid.vintage}); PUE {job.pue:g}{' (assumed)' if job.pue == 1 else ''}."
    )
    notes = [made, factors]
    if job.development == 1:
        notes.append(
            "the final run alone. All of a project took 3.4 times that for LLaMA (Touvron et al. "
            "2023): --development 3.4."
        )
    if found.embodied_kgco2e is None:
        notes.append(f"no figure of making {found.board.name} is known here.")
    return notes


def _short(value: float) -> str:
    """Three digits, for people."""
    for unit, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def _print_published() -> None:
    from rich.console import Console
    from rich.table import Table

    from carbon_trainer.estimate.published import published_runs

    runs = published_runs()
    distinct = dict.fromkeys(run.source for run in runs)
    sources = {source: number for number, source in enumerate(distinct, 1)}
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "params", "tokens", "on", "hours", "done", "#"):
        justify: Literal["left", "right"] = "left" if heading in ("model", "on") else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    for run in runs:
        known = run.tokens is not None and run.accelerator_hours is not None
        table.add_row(
            run.model,
            _short(run.active_parameters),
            "" if run.tokens is None else _short(run.tokens),
            run.accelerator,
            "" if run.accelerator_hours is None else f"{run.accelerator_hours:,.0f}",
            f"{run.effective_mfu:.0%}" if known else "",
            str(sources[run.source]),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print("\ndone: share of the dense peak that all hours together got done. #: source")
    for source, number in sources.items():
        console.print(f"{number}. {source}", soft_wrap=True)
    console.print("\nNot learnt from:")
    for run in runs:
        if run.excluded:
            console.print(f"  {run.model}: {run.excluded}", soft_wrap=True)
