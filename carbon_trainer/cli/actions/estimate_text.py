"""How estimates are told: tables and notes for people, a document for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from carbon_trainer.estimate.attention import REFERENCE_TOKENS
from carbon_trainer.estimate.compare import ADAPTER_SHARE, FINE_TUNING_TOKENS, Use, Way, emissions
from carbon_trainer.estimate.efficiency import Spread
from carbon_trainer.estimate.estimate import Estimate
from carbon_trainer.estimate.inference import (
    MACHINES_OVER_ACCELERATORS,
    SOURCE,
    is_extrapolated,
    provider_queries,
)
from carbon_trainer.estimate.published import (
    PublishedRun,
    calibrating_runs,
    is_hopper,
    published_runs,
)

HIGHEST_MFU = 0.6
"""No published run that is known here has reached more of its dense peak."""


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


def document(found: Estimate) -> dict[str, Any]:
    """Return an estimate as JSON types."""
    figures = {
        key: _figure(figure, unit)
        for key, (_, figure, unit) in _figures(found).items()
        if figure is not None
    }
    embodied, job = found.embodied_kgco2e, found.job
    return {
        "parameters": job.parameters,
        "tokens": job.tokens,
        "accelerator": found.board.name,
        "accelerators": job.gpus,
        "flops": found.flops,
        "attention": _attention(found),
        "figures": figures,
        "embodied_kgco2e": None
        if embodied is None
        else {"low": embodied[0], "high": embodied[1], "method": "assumed"},
        "ends": None if found.ends is None else found.ends.isoformat(),
        "intensity_gco2e_per_kwh": found.intensity.intensity_gco2e_per_kwh,
        "intensity_relative_sigma": found.intensity.uncertainty,
        "intensity_zone": found.intensity.zone,
        "intensity_method": found.intensity.method,
        "intensity_source": found.intensity.source,
        "intensity_vintage": found.intensity.vintage,
        "pue": job.pue,
        "notes": _notes(found),
    }


def _figure(figure: Spread, unit: str) -> dict[str, Any]:
    low, high = figure.interval
    return {
        "value": figure.value, "low": low, "high": high, "interval": "80 %", "unit": unit,
        "method": "estimated",
    }  # fmt: skip


def show(found: Estimate) -> None:
    """Print an estimate for people."""
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
    if found.attention is not None:
        share, _ = found.attention
        low, high = (f"{100 * value:.3g} %" for value in share.interval)
        known = share.log_sigma == 0
        table.add_row("Attention's share of FLOP", f"{100 * share.value:.3g} %",
                      "" if known else f"{low} to {high}")  # fmt: skip
    if found.ends is not None:
        table.add_row("Ends", f"{found.ends:%Y-%m-%d}", "")
    console = Console(highlight=False)
    console.print(table)
    for note in _notes(found):
        console.print(f"- {note}", soft_wrap=True)


def _notes(found: Estimate) -> list[str]:
    job, grid = found.job, found.intensity
    terms = "6 x parameters x tokens"
    if found.attention is not None:
        terms = f"(6 x parameters + 12 x layers x width x {job.sequence_length:,}) x tokens"
    if job.development != 1:
        terms += f" x {job.development:g} (--development)"
    shares = (
        "utilisation, downtime and power as in published runs (--list)"
        if job.mfu is None
        else f"utilisation {job.mfu:g} as told, power as in published runs (--list), and downtime "
        "as in the few that tell it, which makes the interval wide"
    )
    made = (
        f"estimated: {terms} = {found.flops:.3g} FLOP over a dense peak of "
        f"{found.board.peak_bf16_tflops:g} TFLOP/s; {shares}."
    )
    factors = (
        f"{grid.intensity_gco2e_per_kwh:.0f} gCO2e/kWh ({grid.zone_name}, {grid.method}; "
        f"{grid.source}, {grid.vintage}); PUE {job.pue:g}{' (assumed)' if job.pue == 1 else ''}."
    )
    notes = [made, factors, *_beyond_what_is_known(found)]
    if found.attention is not None:
        notes.append(_attention_note(found))
    if job.mfu is not None and job.mfu > HIGHEST_MFU:
        notes.append(
            f"no published run that is known here reached --mfu {job.mfu:g}; most are below 0.5."
        )
    if job.development == 1:
        notes.append(
            "the final run alone. All of a project took 3.4 times that for LLaMA (Touvron et al. "
            "2023): --development 3.4."
        )
    if found.embodied_kgco2e is None:
        notes.append(f"no figure of making {found.board.name} is known here.")
    if found.cost is not None:
        notes.append("the cost is in the currency of --price-per-kwh.")
    return [*notes, *_calendar_notes(found)]


def _beyond_what_is_known(found: Estimate) -> list[str]:
    """Say where the job is of another kind, size or accelerator than the published runs."""
    job, board, runs = found.job, found.board, calibrating_runs()
    notes = []
    if job.encoder_decoder:
        notes.append(
            "a token goes through one half of an encoder-decoder; both are counted, so the truth "
            "lies lower."
        )
    if job.mfu is not None:
        return notes
    sizes = [run.active_parameters for run in runs]
    if not min(sizes) <= job.parameters <= max(sizes):
        notes.append(
            f"extrapolated: published runs that are learnt from had {_short(min(sizes))} to "
            f"{_short(max(sizes))} parameters."
        )
    models = dict.fromkeys(run.accelerator.partition("-")[0] for run in runs)
    if not board.name.startswith(tuple(models)):
        alike = [one for one in models if is_hopper(one) == is_hopper(board.name)]
        notes.append(
            f"no published run on {board.name} is learnt from: it is taken to get as much of its "
            f"peak done as {', '.join(alike)}."
        )
    return notes


def _calendar_notes(found: Estimate) -> list[str]:
    start = found.job.start
    if start is None:
        return []
    past = ["--start lies in the past."] if start < datetime.now(UTC) else []
    return [*past, *([] if found.ends else ["it ends beyond the year 9999."])]


def _attention_note(found: Estimate) -> str:
    basis = found.attention[1] if found.attention is not None else ""
    note = f"attention: Chowdhery et al. 2022 (PaLM), appendix B; {basis}."
    if found.job.mfu is None:
        note += (
            f" Hours grow by what it adds over sequences of {REFERENCE_TOKENS:,}, which most "
            "published runs had."
        )
    return note


def _attention(found: Estimate) -> dict[str, Any] | None:
    if found.attention is None:
        return None
    share, basis = found.attention
    method = "exact" if share.log_sigma == 0 else "estimated"
    return {**_figure(share, "share of FLOP"), "method": method, "basis": basis}


def ways_document(ways: Sequence[Way], use: Use, found: Estimate) -> dict[str, Any]:
    """Return a comparison as JSON types."""
    told = {}
    for way in ways:
        told[way.key] = {
            "parameters": use.open_parameters if way.once is None else found.job.parameters,
            "once_kwh": None if way.once is None else _figure(way.once, "kWh"),
            "query_kwh": _figure(way.query, "kWh"),
            "total_kwh": _figure(way.total, "kWh"),
            "total_kgco2e": _figure(emissions(way, found), "kgCO2e"),
            "breaks_even": None if way.breaks_even is None else _figure(way.breaks_even, "queries"),
        }
    return {
        "queries": use.queries,
        "tokens_per_query": use.tokens_per_query,
        "fine_tuning_tokens": use.fine_tuning_tokens,
        "ways": told,
        "providers": [
            {"what": one.what, "energy_wh": one.energy_wh, "emissions_gco2e": one.emissions_g,
             "boundary": one.boundary, "source": one.source, "method": "as published"}
            for one in provider_queries()
        ],
        "notes": _use_notes(use, found),
    }  # fmt: skip


def show_ways(ways: Sequence[Way], use: Use, found: Estimate) -> None:
    """Print a comparison for people, within 80 columns."""
    own, large = _short(found.job.parameters), _short(use.open_parameters)
    console = Console(highlight=False)
    console.print(
        f"\n{_short(use.queries)} queries of {use.tokens_per_query:,.0f} tokens: a model of {own} "
        f"parameters of your own,\nor an open one of {large} as it is; kWh of the building",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("", "once", "answers", "all", "80 % interval", "even after"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for way in ways:
        low, high = (_short(value) for value in way.total.interval)
        large_one = way.once is None
        even = "" if large_one else "never"
        if way.breaks_even is not None:
            even = _short(way.breaks_even.value)
        once = "-" if way.once is None else _short(way.once.value)
        answers = _short(way.query.value * use.queries)
        total = _short(way.total.value)
        table.add_row(way.label, once, answers, total, f"{low} to {high}", even)
    console.print(table)
    for note in _use_notes(use, found):
        console.print(f"- {note}", soft_wrap=True)
    console.print("\nAs providers have published, each in a boundary of its own:")
    for one in provider_queries():
        each, all_of_it = (
            (f"{one.energy_wh:g} Wh", f"{_short(one.energy_wh * use.queries / 1000)} kWh")
            if one.energy_wh is not None
            else (f"{one.emissions_g:g} gCO2e",
                  f"{_short((one.emissions_g or 0) * use.queries / 1000)} kgCO2e")
        )  # fmt: skip
        console.print(f"- {one.what}: {each}, so {all_of_it} for {_short(use.queries)} of them.",
                      soft_wrap=True)  # fmt: skip
        console.print(f"  {one.boundary} ({one.source})", soft_wrap=True)


def _use_notes(use: Use, found: Estimate) -> list[str]:
    grid = found.intensity
    assumed = " (LIMA's: assumed)" if use.fine_tuning_tokens == FINE_TUNING_TOKENS else ""
    answers = (
        f"answers: GPUs' energy by {SOURCE}, dense models on H100 and B200, x "
        f"{MACHINES_OVER_ACCELERATORS:.2f} for hosts and idle machines (Elsworth et al. 2025). The "
        "interval is that between servers with little and with much to do."
    )
    tuning = (
        f"fine-tuning: {_short(use.fine_tuning_tokens)} tokens{assumed}; the open model's own "
        "pre-training, done by others, is not counted. LoRA: 4 operations a parameter and token "
        f"and 2 for adapters, {100 * ADAPTER_SHARE:g} % of the parameters (assumed)."
    )
    even = (
        "even after: so many queries take as much as with the larger model as it is. Whether the "
        "models answer equally well is not considered."
    )
    factor = f"{grid.intensity_gco2e_per_kwh / 1000:.3g} kgCO2e ({grid.zone_name})"
    notes = [answers, tuning, even, f"emissions: kWh x {factor}."]
    beyond = [p for p in (found.job.parameters, use.open_parameters) if is_extrapolated(p)]
    if beyond:
        sizes = " and ".join(_short(p) for p in beyond)
        notes.append(f"no model of {sizes} parameters was measured: its answers are extrapolated.")
    return notes


def _short(value: float) -> str:
    """Three digits, for people."""
    for unit, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def published_document() -> list[dict[str, Any]]:
    """Return the published runs as JSON types, with what is made of them here."""
    return [
        {**asdict(run), "effective_mfu": run.effective_mfu if _is_known(run) else None}
        for run in published_runs()
    ]


def _is_known(run: PublishedRun) -> bool:
    return run.tokens is not None and run.accelerator_hours is not None


def show_published() -> None:
    """Print the published runs that estimates are made from, with their sources."""
    runs = published_runs()
    distinct = dict.fromkeys(run.source for run in runs)
    sources = {source: number for number, source in enumerate(distinct, 1)}
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "params", "tokens", "on", "hours", "done", "#"):
        justify: Literal["left", "right"] = "left" if heading in ("model", "on") else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    for run in runs:
        table.add_row(
            run.model,
            _short(run.active_parameters),
            "" if run.tokens is None else _short(run.tokens),
            run.accelerator,
            "" if run.accelerator_hours is None else f"{run.accelerator_hours:,.0f}",
            f"{run.effective_mfu:.0%}" if _is_known(run) else "",
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
