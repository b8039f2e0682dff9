"""Output of estimates: tables and notes for people, a document for JSON."""

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
"""The highest MFU of the published runs in the data."""


def _figures(estimate: Estimate) -> dict[str, tuple[str, Spread | None, str]]:
    """Return label, figure and unit by key."""
    return {
        "effective_mfu": (
            "Model FLOPs utilization (effective MFU)", estimate.effective_mfu, ""
        ),
        "gpu_hours": ("GPU-hours", estimate.gpu_hours, "h"),
        "days": ("Days", estimate.days, "d"),
        "power_w": ("Power per GPU, host included", estimate.power_w, "W"),
        "energy_kwh": ("Facility energy", estimate.energy_kwh, "kWh"),
        "emissions_kgco2e": ("Emissions (location-based)", estimate.emissions_kgco2e, "kgCO2e"),
        "cost": ("Electricity cost", estimate.cost, ""),
    }  # fmt: skip


def document(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate as JSON types."""
    figures = {
        key: _figure(figure, unit)
        for key, (_, figure, unit) in _figures(estimate).items()
        if figure is not None
    }
    embodied, job = estimate.embodied_kgco2e, estimate.job
    return {
        "parameters": job.parameters,
        "tokens": job.tokens,
        "accelerator": estimate.board.name,
        "accelerators": job.gpus,
        "flops": estimate.flops,
        "attention": _attention(estimate),
        "figures": figures,
        "embodied_kgco2e": None
        if embodied is None
        else {"low": embodied[0], "high": embodied[1], "method": "assumed"},
        "ends": None if estimate.ends is None else estimate.ends.isoformat(),
        "intensity_gco2e_per_kwh": estimate.intensity.intensity_gco2e_per_kwh,
        "intensity_relative_sigma": estimate.intensity.uncertainty,
        "intensity_zone": estimate.intensity.zone,
        "intensity_method": estimate.intensity.method,
        "intensity_source": estimate.intensity.source,
        "intensity_vintage": estimate.intensity.vintage,
        "pue": job.pue,
        "notes": _notes(estimate),
    }


def _figure(figure: Spread, unit: str) -> dict[str, Any]:
    low, high = figure.interval
    return {
        "value": figure.value, "low": low, "high": high, "interval": "80 %", "unit": unit,
        "method": "estimated",
    }  # fmt: skip


def show(estimate: Estimate) -> None:
    """Print an estimate for people."""
    job = estimate.job
    model = f"{_short(job.parameters)} parameters, {_short(job.tokens)} tokens"
    table = Table(title=f"{model}, {job.gpus:,} x {estimate.board.name}", title_justify="left")
    table.add_column("")
    for heading in ("estimate", "80 % interval"):
        table.add_column(heading, justify="right")
    for label, figure, unit in _figures(estimate).values():
        if figure is not None:
            low, high = (_short(value) for value in figure.interval)
            table.add_row(label, f"{_short(figure.value)} {unit}".strip(), f"{low} to {high}")
    if estimate.embodied_kgco2e is not None:
        low, high = (_short(value) for value in estimate.embodied_kgco2e)
        table.add_row("Embodied emissions of the GPUs", "range, kgCO2e", f"{low} to {high}")
    if estimate.attention is not None:
        share, _ = estimate.attention
        low, high = (f"{100 * value:.3g} %" for value in share.interval)
        is_exact = share.log_sigma == 0
        table.add_row("Attention share of FLOPs", f"{100 * share.value:.3g} %",
                      "" if is_exact else f"{low} to {high}")  # fmt: skip
    if estimate.ends is not None:
        table.add_row("End date", f"{estimate.ends:%Y-%m-%d}", "")
    console = Console(highlight=False)
    console.print(table)
    for note in _notes(estimate):
        console.print(f"- {note}", soft_wrap=True)


def _notes(estimate: Estimate) -> list[str]:
    job, grid = estimate.job, estimate.intensity
    terms = "6 x parameters x tokens"
    if estimate.attention is not None:
        terms = f"(6 x parameters + 12 x layers x width x {job.sequence_length:,}) x tokens"
    if job.development != 1:
        terms += f" x {job.development:g} (--development)"
    basis = (
        "utilization, downtime and power from published runs (--list)"
        if job.mfu is None
        else f"utilization {job.mfu:g} as given, power from published runs (--list), downtime from "
        "the few that publish it, which widens the interval"
    )
    compute = (
        f"estimated: {terms} = {estimate.flops:.3g} FLOPs over a dense peak of "
        f"{estimate.board.peak_bf16_tflops:g} TFLOP/s; {basis}."
    )
    factors = (
        f"{grid.intensity_gco2e_per_kwh:.0f} gCO2e/kWh ({grid.zone_name}, {grid.method}; "
        f"{grid.source}, {grid.vintage}); PUE {job.pue:g}{' (assumed)' if job.pue == 1 else ''}."
    )
    notes = [compute, factors, *_extrapolation_notes(estimate)]
    if estimate.attention is not None:
        notes.append(_attention_note(estimate))
    if job.mfu is not None and job.mfu > HIGHEST_MFU:
        notes.append(
            f"--mfu {job.mfu:g} is higher than in any published run (--list); most are below 0.5."
        )
    if job.development == 1:
        notes.append(
            "only the final run. The whole project took 3.4 times as much for LLaMA (Touvron et "
            "al. 2023): --development 3.4."
        )
    if estimate.embodied_kgco2e is None:
        notes.append(f"embodied emissions of {estimate.board.name} are unknown.")
    if estimate.cost is not None:
        notes.append("the cost is in the currency of --price-per-kwh.")
    return [*notes, *_calendar_notes(estimate)]


def _extrapolation_notes(estimate: Estimate) -> list[str]:
    """Return how the job differs in kind, size or accelerator from the published runs."""
    job, board, runs = estimate.job, estimate.board, calibrating_runs()
    notes = []
    if job.encoder_decoder:
        notes.append(
            "a token passes through one half of an encoder-decoder; both are counted, so actual "
            "values are lower."
        )
    if job.mfu is not None:
        return notes
    sizes = [run.active_parameters for run in runs]
    if not min(sizes) <= job.parameters <= max(sizes):
        notes.append(
            f"extrapolated: the calibration runs have {_short(min(sizes))} to {_short(max(sizes))} "
            "parameters."
        )
    models = dict.fromkeys(run.accelerator.partition("-")[0] for run in runs)
    if not board.name.startswith(tuple(models)):
        alike = [model for model in models if is_hopper(model) == is_hopper(board.name)]
        notes.append(
            f"no calibration run used {board.name}: its utilization is assumed to be that of "
            f"{', '.join(alike)}."
        )
    return notes


def _calendar_notes(estimate: Estimate) -> list[str]:
    start = estimate.job.start
    if start is None:
        return []
    past = ["--start is in the past."] if start < datetime.now(UTC) else []
    return [*past, *([] if estimate.ends else ["the training would end after the year 9999."])]


def _attention_note(estimate: Estimate) -> str:
    basis = estimate.attention[1] if estimate.attention is not None else ""
    note = f"attention: Chowdhery et al. 2022 (PaLM), appendix B; {basis}."
    if estimate.job.mfu is None:
        note += (
            f" Hours increase by the attention beyond that of sequences of {REFERENCE_TOKENS:,}, "
            "the length in most published runs."
        )
    return note


def _attention(estimate: Estimate) -> dict[str, Any] | None:
    if estimate.attention is None:
        return None
    share, basis = estimate.attention
    method = "exact" if share.log_sigma == 0 else "estimated"
    return {**_figure(share, "share of FLOP"), "method": method, "basis": basis}


def ways_document(ways: Sequence[Way], use: Use, estimate: Estimate) -> dict[str, Any]:
    """Return a comparison as JSON types."""
    documents = {}
    for way in ways:
        documents[way.key] = {
            "parameters": use.open_parameters if way.once is None else estimate.job.parameters,
            "once_kwh": None if way.once is None else _figure(way.once, "kWh"),
            "query_kwh": _figure(way.query, "kWh"),
            "total_kwh": _figure(way.total, "kWh"),
            "total_kgco2e": _figure(emissions(way, estimate), "kgCO2e"),
            "breaks_even": None if way.breaks_even is None else _figure(way.breaks_even, "queries"),
        }
    return {
        "queries": use.queries,
        "tokens_per_query": use.tokens_per_query,
        "fine_tuning_tokens": use.fine_tuning_tokens,
        "ways": documents,
        "providers": [
            {"what": query.what, "energy_wh": query.energy_wh,
             "emissions_gco2e": query.emissions_g, "boundary": query.boundary,
             "source": query.source, "method": "as published"}
            for query in provider_queries()
        ],
        "notes": _use_notes(use, estimate),
    }  # fmt: skip


def show_ways(ways: Sequence[Way], use: Use, estimate: Estimate) -> None:
    """Print a comparison for people, within 80 columns."""
    own, large = _short(estimate.job.parameters), _short(use.open_parameters)
    console = Console(highlight=False)
    console.print(
        f"\n{_short(use.queries)} queries of {use.tokens_per_query:,.0f} tokens, from a model of "
        f"{own} parameters trained in\none of three ways, or from an open model of {large}; "
        "facility energy, kWh:",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    for heading in (
        "", "training\n(one-off)", "inference", "total", "80 % interval", "break-even\n(queries)",
    ):  # fmt: skip
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for way in ways:
        low, high = (_short(value) for value in way.total.interval)
        # The larger model is what the others break even with.
        break_even = "" if way.once is None else "never"
        if way.breaks_even is not None:
            break_even = _short(way.breaks_even.value)
        training = "-" if way.once is None else _short(way.once.value)
        inference = _short(way.query.value * use.queries)
        total = _short(way.total.value)
        table.add_row(way.label, training, inference, total, f"{low} to {high}", break_even)
    console.print(table)
    for note in _use_notes(use, estimate):
        console.print(f"- {note}", soft_wrap=True)
    console.print("\nPublished by providers, each with a different boundary:")
    for query in provider_queries():
        per_query, total = (
            (f"{query.energy_wh:g} Wh", f"{_short(query.energy_wh * use.queries / 1000)} kWh")
            if query.energy_wh is not None
            else (f"{query.emissions_g:g} gCO2e",
                  f"{_short((query.emissions_g or 0) * use.queries / 1000)} kgCO2e")
        )  # fmt: skip
        console.print(f"- {query.what}: {per_query}, {total} for {_short(use.queries)} queries.",
                      soft_wrap=True)  # fmt: skip
        console.print(f"  {query.boundary} ({query.source})", soft_wrap=True)


def _use_notes(use: Use, estimate: Estimate) -> list[str]:
    grid = estimate.intensity
    assumed = " (as LIMA: assumed)" if use.fine_tuning_tokens == FINE_TUNING_TOKENS else ""
    inference = (
        f"inference: GPU energy from {SOURCE}, dense models on H100 and B200, x "
        f"{MACHINES_OVER_ACCELERATORS:.2f} for hosts and idle machines (Elsworth et al. 2025). The "
        "interval spans servers under low and high load."
    )
    training = (
        f"training: fine-tuning on {_short(use.fine_tuning_tokens)} tokens{assumed}, without the "
        "open model's pre-training. LoRA: 4 FLOPs per parameter and token, and 2 for adapters, "
        f"{100 * ADAPTER_SHARE:g} % of the parameters (assumed)."
    )
    break_even = (
        "break-even: number of queries from which the total is below that of the larger open "
        "model. Differences in answer quality are not considered."
    )
    factor = f"{grid.intensity_gco2e_per_kwh / 1000:.3g} kgCO2e ({grid.zone_name})"
    notes = [inference, training, break_even, f"emissions: kWh x {factor}."]
    extrapolated = [p for p in (estimate.job.parameters, use.open_parameters) if is_extrapolated(p)]
    if extrapolated:
        sizes = " and ".join(_short(p) for p in extrapolated)
        notes.append(f"inference is extrapolated: no model of {sizes} parameters was measured.")
    return notes


def _short(value: float) -> str:
    """Return a number with three significant digits, for people."""
    for unit, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def published_document() -> list[dict[str, Any]]:
    """Return the published runs as JSON types, with the effective MFU derived from them."""
    return [
        {**asdict(run), "effective_mfu": run.effective_mfu if _is_known(run) else None}
        for run in published_runs()
    ]


def _is_known(run: PublishedRun) -> bool:
    return run.tokens is not None and run.accelerator_hours is not None


def show_published() -> None:
    """Print the published runs that estimates are based on, with their sources."""
    runs = published_runs()
    distinct = dict.fromkeys(run.source for run in runs)
    sources = {source: number for number, source in enumerate(distinct, 1)}
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "params", "tokens", "GPU", "hours", "MFU", "#"):
        justify: Literal["left", "right"] = "left" if heading in ("model", "GPU") else "right"
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
    console.print("\nMFU: effective model FLOPs utilization, downtime included. #: source")
    for source, number in sources.items():
        console.print(f"{number}. {source}", soft_wrap=True)
    console.print("\nExcluded from calibration:")

    for run in runs:
        if run.excluded:
            console.print(f"  {run.model}: {run.excluded}", soft_wrap=True)
