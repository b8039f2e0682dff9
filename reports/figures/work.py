"""Time, steps, tokens, power and losses: what was done with the energy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from carbon_trainer.ledger.facts import (
    CorpusDescribed,
    Progress,
    RunClosed,
    RunOpened,
)
from carbon_trainer.reports.figures.figure import (
    ESTIMATED,
    Figure,
    Input,
)
from carbon_trainer.reports.figures.series import EnergySeries
from carbon_trainer.reports.figures.text import count_text, number_text
from carbon_trainer.reports.record.run_record import RunRecord
from carbon_trainer.reports.record.segments import Segment


def time_figures(segments: Sequence[Segment], *, is_open: bool) -> tuple[Figure, Figure]:
    """Wall time from the first start to the last end, and the part of it in segments."""
    if not segments:
        reason = "The ledger does not say when the run was opened."
        return (
            Figure.missing("duration", "Duration", "s", reason),
            Figure.missing("active-time", "Active time", "s", reason),
        )
    until = "the last record (the run is open)" if is_open else "the last closing record"
    if segments[-1].was_killed and not is_open:
        until = "the last that is known of its process, which was killed"
    wall_s = (max(s.end_ns for s in segments) - segments[0].start_ns) / 1e9
    active_s = math.fsum(s.seconds for s in segments)
    basis = f"By the machine's clock, from the run's opening to {until}, pauses included."
    active_basis = f"Sum of the lengths of {count_text(len(segments), 'segment')}, pauses left out."
    return (
        Figure.exact("duration", "Duration", wall_s, "s", basis),
        Figure.exact("active-time", "Active time", active_s, "s", active_basis),
    )


def work_figures(record: RunRecord, energy: Figure) -> dict[str, Figure]:
    """Steps, tokens and what they took."""
    progress = [item.fact for item in record.facts if isinstance(item.fact, Progress | RunClosed)]
    if not progress:
        reason = "The ledger has no progress of this run."
        steps = Figure.missing("steps", "Optimizer steps", "steps", reason)
        tokens = Figure.missing("tokens", "Tokens", "tokens", reason)
    else:
        basis = f"Cumulative count in the last {progress[-1].kind} record; counted, exact."
        steps = Figure.exact("steps", "Optimizer steps", progress[-1].step, "steps", basis)
        tokens = Figure.exact("tokens", "Tokens", progress[-1].tokens, "tokens", basis)
        corpus = record.last(CorpusDescribed)
        if corpus is not None and corpus.rows is not None:
            tokens = replace(tokens, basis=f"{basis} {ROWS_BASIS}")
            if _process_count(record) > 1:
                tokens = replace(tokens, method=ESTIMATED, sigma=None)
    return {"steps": steps, "tokens": tokens, **_token_ratios(tokens, energy)}


ROWS_BASIS = (
    "Rows have unequal lengths: with several processes it is the first one's count times their "
    "number, right on average."
)


def _process_count(record: RunRecord) -> int:
    """Return how many processes the settings ask for; those of a launcher are not on record."""
    opened = record.last(RunOpened)
    config = {} if opened is None else opened.config
    return int(config.get("devices") or 1) * int(config.get("nodes") or 1)


def _token_ratios(tokens: Figure, energy: Figure) -> dict[str, Figure]:
    labels = {
        "tokens_per_kwh": ("tokens-per-kwh", "Tokens per kWh", "tokens/kWh"),
        "kwh_per_million_tokens": (
            "kwh-per-million-tokens",
            "Energy per million tokens",
            "kWh/million tokens",
        ),
    }
    if not tokens.value or not energy.value:
        reason = "There are no tokens or no energy on record to divide."
        return {name: Figure.missing(*label, reason) for name, label in labels.items()}
    basis = (
        "Energy of the machines (before PUE), all phases and repeated steps included, and tokens "
        "trained: {}. Relative uncertainty: the energy's."
    )
    formulas = {
        "tokens_per_kwh": (tokens.value / energy.value, "tokens / energy"),
        "kwh_per_million_tokens": (1e6 * energy.value / tokens.value, "10^6 x energy / tokens"),
    }
    figures = {}
    for name, (value, formula) in formulas.items():
        key, label, unit = labels[name]
        sigma = None if energy.relative is None else value * energy.relative
        figures[name] = Figure(
            key=key, label=label, value=value, unit=unit, method=energy.method, sigma=sigma,
            basis=basis.format(formula), formula=formula,
            inputs=(Input.from_figure(tokens), Input.from_figure(energy)),
        )  # fmt: skip
    return figures


def power_figures(
    energy: Figure, active: Figure, series: EnergySeries | None
) -> tuple[Figure, Figure]:
    """Mean power over the active time, and the highest of a bin."""
    reason = "There is no energy or no time on record."
    mean = Figure.missing("mean-power", "Mean power", "W", reason)
    peak = Figure.missing("peak-power", "Peak power", "W", reason)
    if energy.value is not None and active.value:
        watts = energy.value * 3.6e6 / active.value
        basis = "Energy of the machines (before PUE) / active time; 1 kWh = 3,600,000 J."
        formula, inputs = (
            "energy x 3600000 / active time",
            (Input.from_figure(energy), Input.from_figure(active)),
        )
        mean = replace(_with_value(energy, mean, watts, basis), formula=formula, inputs=inputs)
    if series is not None and series.peak_w is not None:
        basis = (
            f"Highest mean power of all devices together over {number_text(series.width_s)} s of "
            "recorded time, before PUE. Relative uncertainty: the energy's; shorter peaks are "
            "not resolved."
        )
        peak = _with_value(energy, peak, series.peak_w, basis)
    return mean, peak


def _with_value(energy: Figure, template: Figure, value: float, basis: str) -> Figure:
    sigma = None if energy.relative is None else value * energy.relative
    return Figure(
        key=template.key, label=template.label, value=value, unit=template.unit,
        method=energy.method, sigma=sigma, basis=basis,
    )  # fmt: skip


def loss_figures(record: RunRecord) -> dict[str, Figure]:
    """The last training loss, the last validation loss and its perplexity."""
    progress = [item.fact for item in record.facts_of(Progress)]
    train = [p for p in progress if p.loss is not None]
    validation = [p for p in progress if p.validation_loss is not None]
    return {
        "train_loss": _loss("train-loss", "Training loss", train, "loss"),
        "validation_loss": _loss(
            "validation-loss", "Validation loss", validation, "validation_loss"
        ),
        "perplexity": _perplexity(validation),
    }


def _loss(key: str, label: str, progress: Sequence[Progress], name: str) -> Figure:
    if not progress:
        return Figure.missing(key, label, "nats/token", f"No progress record has a {name}.")
    last = progress[-1]
    basis = f"The last one on record, at step {last.step}; cross-entropy of the next token."
    return Figure.exact(key, label, float(getattr(last, name)), "nats/token", basis)


def _perplexity(validation: Sequence[Progress]) -> Figure:
    key, label = "perplexity", "Perplexity (validation)"
    loss = validation[-1].validation_loss if validation else None
    if loss is None or loss > 700:
        reason = "There is no validation loss on record." if loss is None else "It is above 10^304."
        return Figure.missing(key, label, "", reason)
    return Figure.exact(key, label, math.exp(loss), "", "exp(last validation loss).")
