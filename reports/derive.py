"""Makes each figure of a run, with the text that says how."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from carbon_trainer.ledger.facts import (
    CorpusDescribed,
    IntensityUsed,
    ModelDescribed,
    Progress,
    RunClosed,
    RunOpened,
)
from carbon_trainer.reports.energy import CORRELATION, Cell, Tally, energy_sigma_mj, unknown_seconds
from carbon_trainer.reports.figure import (
    ESTIMATED,
    MEASURED,
    Figure,
    Input,
    linear_sum,
    root_sum_square,
    weakest,
)
from carbon_trainer.reports.record import RunRecord
from carbon_trainer.reports.segments import Segment
from carbon_trainer.reports.series import EnergySeries, kg_per_mj
from carbon_trainer.reports.text import component_text, count_text, number_text, slug
from carbon_trainer.units import MJ_PER_KWH, kwh_from_mj

MOST_TERMS = 6
_NO_INTERVALS = "The ledger has no interval of this run."
_NO_FACTOR = "The ledger has no emission factor (intensity_used) for this run."


@dataclass(frozen=True, slots=True)
class FactorUse:
    """An emission factor with what was booked under it.

    Attributes:
        seq: its place in the chain.
        fact: the factor, PUE and price.
        energy_mj: the machines' energy, before PUE.
        facility_kwh: energy times PUE.
        emissions_kgco2e: facility energy times intensity.
        cost: facility energy times price; None without a price.
    """

    seq: int
    fact: IntensityUsed
    energy_mj: int
    facility_kwh: float
    emissions_kgco2e: float
    cost: float | None


def factor_uses(record: RunRecord, cells: Sequence[Cell]) -> tuple[FactorUse, ...]:
    """Split a run's energy by the emission factor in force, in order of the chain."""
    uses = []
    for number, item in enumerate(record.of(IntensityUsed)):
        energy_mj = sum(cell.energy_mj for cell in cells if cell.factor == number)
        fact = item.fact
        facility_kwh = kwh_from_mj(energy_mj) * fact.pue
        kilograms = facility_kwh * fact.intensity_gco2e_per_kwh / 1000
        cost = None if fact.price_per_kwh is None else facility_kwh * fact.price_per_kwh
        uses.append(FactorUse(item.seq, fact, energy_mj, facility_kwh, kilograms, cost))
    return tuple(uses)


def energy_figure(row: Tally, sources: Sequence[str], *, key: str, label: str) -> Figure:
    """The machines' energy of a component or of all, before PUE."""
    parts = ", ".join(
        f"{method} {energy_mj:,} mJ" for method, energy_mj in row.energy_by_method_mj.items()
    )
    basis = (
        f"Sum of the energy of all intervals ({parts}) = {row.energy_mj:,} mJ; "
        f"1 kWh = {MJ_PER_KWH:,} mJ. Before PUE."
    )
    if sources:
        basis += f" Sources: {'; '.join(sources)}."
    if unknown_seconds(row):
        basis += (
            f" For {number_text(unknown_seconds(row))} device-seconds the energy is unknown and "
            "counts as zero: this is a lower bound."
        )
    if row.sigma_mj is None:
        basis += " Uncertainty missing: a device has no described source."
    elif row.component:
        basis += " Uncertainty: the sources' gain error, added up, and the intervals' timing error."
    else:
        basis += f" {CORRELATION}"
    sigma = None if row.sigma_mj is None else kwh_from_mj(row.sigma_mj)
    inputs = tuple(
        Input(name=f"intervals, {method}", value=energy_mj, unit="mJ", method=method)
        for method, energy_mj in row.energy_by_method_mj.items()
    )
    return Figure(
        key=key, label=label, value=kwh_from_mj(row.energy_mj), unit="kWh", method=row.method,
        sigma=sigma, basis=basis, formula=f"sum of the intervals' energy_mj / {MJ_PER_KWH}",
        inputs=inputs,
    )  # fmt: skip


def component_figure(row: Tally, sources: Sequence[str]) -> Figure:
    """The energy of one component."""
    label = f"{component_text(row.name)} energy"
    return energy_figure(row, sources, key=f"energy-{slug(row.name)}", label=label)


def total_figure(row: Tally | None, sources: Sequence[str]) -> Figure:
    """The machines' energy, all components."""
    if row is None:
        return Figure.missing("energy", "Energy of the machines", "kWh", _NO_INTERVALS)
    return energy_figure(row, sources, key="energy", label="Energy of the machines")


def facility_figure(
    total: Tally | None, cells: Sequence[Cell], uses: Sequence[FactorUse]
) -> Figure:
    """Energy times PUE, which is applied here and nowhere else."""
    key, label = "facility-energy", "Energy of the facility"
    if total is None or not uses:
        why = _NO_INTERVALS if total is None else "The ledger has no PUE for this run."
        return Figure.missing(key, label, "kWh", why)
    sigma = energy_sigma_mj(cells, lambda cell: uses[cell.factor].fact.pue)
    pues = _terms(
        f"{kwh_from_mj(use.energy_mj):.6g} kWh x PUE {use.fact.pue:g} ({use.fact.pue_method})"
        for use in uses
    )
    return Figure(
        key=key,
        label=label,
        value=math.fsum(use.facility_kwh for use in uses),
        unit="kWh",
        method=weakest([total.method, *(use.fact.pue_method for use in uses)]),
        sigma=None if sigma is None else kwh_from_mj(sigma),
        basis=f"Energy of the machines x PUE: {pues}. PUE is applied once, here. The ledger gives "
        "no uncertainty for the PUE, so only that of the energy is included.",
        formula="sum of energy x PUE",
        inputs=tuple(part for use in uses for part in (_energy_input(use), _pue_input(use))),
    )


def emissions_figure(
    total: Tally | None, cells: Sequence[Cell], uses: Sequence[FactorUse]
) -> Figure:
    """Facility energy times the grid's intensity, each interval by the factor in force."""
    key, label = "emissions", "Emissions (location-based)"
    if total is None or not uses:
        why = _NO_INTERVALS if total is None else _NO_FACTOR
        return Figure.missing(key, label, "kgCO2e", why)
    mixed = mixed_kinds(
        (use.fact.accounting, use.emissions_kgco2e) for use in uses if use.energy_mj
    )
    if mixed:
        return Figure.missing(key, label, "kgCO2e", mixed)
    from_energy = energy_sigma_mj(cells, lambda cell: kg_per_mj(uses[cell.factor].fact))
    from_factor = linear_sum(use.emissions_kgco2e * use.fact.uncertainty for use in uses)
    terms = _terms(_emission_term(use) for use in uses)
    return Figure(
        key=key,
        label=label,
        value=math.fsum(use.emissions_kgco2e for use in uses),
        unit="kgCO2e",
        method=weakest(
            [total.method, *(m for use in uses for m in (use.fact.method, use.fact.pue_method))]
        ),
        sigma=root_sum_square([from_energy, from_factor]),
        basis=f"Facility energy x grid intensity: {terms}. Uncertainty: that of the energy and "
        f"that of the factor ({_factor_uncertainties(uses)}), the factor's fully correlated over "
        "the run, both combined as root sum of squares. "
        f"{CORRELATION}",
        formula="sum of energy x PUE x intensity / 1000",
        inputs=tuple(
            part
            for use in uses
            for part in (_energy_input(use), _pue_input(use), intensity_input(use))
        ),
    )


def mixed_kinds(parts: Iterable[tuple[str, float]]) -> str:
    """Say that emissions by different kinds of intensity have no sum; nothing where they have.

    Args:
        parts: kind of accounting and emissions by it (kgCO2e).
    """
    kinds: dict[str, float] = {}
    for kind, kilograms in parts:
        kinds[kind] = kinds.get(kind, 0.0) + kilograms
    if len(kinds) < 2:
        return ""
    listed = ", ".join(f"{number_text(kg)} kgCO2e by {kind}" for kind, kg in sorted(kinds.items()))
    return f"Mixed kinds of intensity have no sum: {listed}."


def factor_id(fact: IntensityUsed) -> str:
    """Name an emission factor: zone, accounting, vintage."""
    return f"{fact.zone}; {fact.accounting}; {fact.vintage}"


def _energy_input(use: FactorUse) -> Input:
    name = f"energy under record {use.seq}"
    return Input(name=name, value=kwh_from_mj(use.energy_mj), unit="kWh", record=use.seq)


def _pue_input(use: FactorUse) -> Input:
    return Input(name="PUE", value=use.fact.pue, method=use.fact.pue_method, record=use.seq)


def intensity_input(use: FactorUse) -> Input:
    """Return a factor's intensity as an input."""
    return Input(
        name="intensity", value=use.fact.intensity_gco2e_per_kwh, unit="gCO2e/kWh",
        method=use.fact.method, record=use.seq, factor_id=factor_id(use.fact),
        source=use.fact.source, vintage=use.fact.vintage,
    )  # fmt: skip


def _terms(terms: Iterable[str]) -> str:
    """Write a sum; of one with very many terms the first ones and how many follow."""
    every = list(terms)
    more = f" + {len(every) - MOST_TERMS} more terms" if len(every) > MOST_TERMS else ""
    return " + ".join(every[:MOST_TERMS]) + more


def _emission_term(use: FactorUse) -> str:
    fact = use.fact
    return (
        f"{use.facility_kwh:.6g} kWh x {fact.intensity_gco2e_per_kwh:g} gCO2e/kWh ({fact.zone}, "
        f"{fact.accounting}, {fact.method}; {fact.source}; vintage {fact.vintage})"
    )


def _factor_uncertainties(uses: Sequence[FactorUse]) -> str:
    said = [f"± {use.fact.uncertainty:.0%}: {use.fact.uncertainty_basis}" for use in uses]
    return "; ".join(list(dict.fromkeys(said))[:MOST_TERMS])


def cost_figure(
    total: Tally | None, cells: Sequence[Cell], uses: Sequence[FactorUse]
) -> Figure | None:
    """Facility energy times price; None where no price was ever given."""
    key, label = "cost", "Cost of electricity"
    currencies = sorted({use.fact.currency for use in uses if use.cost is not None})
    if not currencies:
        return None
    if total is None:
        return Figure.missing(key, label, currencies[0], _NO_INTERVALS)
    if len(currencies) > 1 or any(use.cost is None and use.energy_mj for use in uses):
        why = "A part of the run has no price, or one in another currency: it has no single sum."
        return Figure.missing(key, label, currencies[0], why)

    def price(cell: Cell) -> float:
        fact = uses[cell.factor].fact
        return fact.pue * (fact.price_per_kwh or 0.0) / MJ_PER_KWH

    terms = _terms(
        f"{use.facility_kwh:.6g} kWh x {use.fact.price_per_kwh:g} {use.fact.currency}/kWh"
        for use in uses
        if use.cost is not None
    )
    return Figure(
        key=key,
        label=label,
        value=math.fsum(use.cost or 0.0 for use in uses),
        unit=currencies[0],
        method=weakest([total.method, *(use.fact.pue_method for use in uses)]),
        sigma=energy_sigma_mj(cells, price),
        basis=f"Facility energy x price as given: {terms}. The price carries no uncertainty.",
        formula="sum of energy x PUE x price",
        inputs=tuple(
            part
            for use in uses
            for part in (_energy_input(use), _pue_input(use), _price_input(use))
        ),
    )


def _price_input(use: FactorUse) -> Input:
    unit = f"{use.fact.currency}/kWh"
    return Input(name="price", value=use.fact.price_per_kwh, unit=unit, method="as given",
                 record=use.seq)  # fmt: skip


def time_figures(segments: Sequence[Segment], *, is_open: bool) -> tuple[Figure, Figure]:
    """Wall time from the first start to the last end, and the part of it in segments."""
    if not segments:
        why = "The ledger does not say when the run was opened."
        return (
            Figure.missing("duration", "Duration", "s", why),
            Figure.missing("active-time", "Active time", "s", why),
        )
    until = "the last record (the run is open)" if is_open else "the last closing record"
    if segments[-1].was_killed and not is_open:
        until = "the last that is known of its process, which was killed"
    wall_s = (max(s.end_ns for s in segments) - segments[0].start_ns) / 1e9
    active_s = math.fsum(s.seconds for s in segments)
    basis = f"By the machine's clock, from the run's opening to {until}, pauses included."
    active_basis = f"Sum of the lengths of {count_text(len(segments), 'segment')}, pauses left out."
    return (
        _exact("duration", "Duration", wall_s, "s", basis),
        _exact("active-time", "Active time", active_s, "s", active_basis),
    )


def work_figures(record: RunRecord, energy: Figure) -> dict[str, Figure]:
    """Steps, tokens and what they took."""
    known = [item.fact for item in record.facts if isinstance(item.fact, Progress | RunClosed)]
    if not known:
        why = "The ledger has no progress of this run."
        steps = Figure.missing("steps", "Optimizer steps", "steps", why)
        tokens = Figure.missing("tokens", "Tokens", "tokens", why)
    else:
        basis = f"Cumulative count in the last {known[-1].kind} record; counted, exact."
        steps = _exact("steps", "Optimizer steps", known[-1].step, "steps", basis)
        tokens = _exact("tokens", "Tokens", known[-1].tokens, "tokens", basis)
        corpus = record.last(CorpusDescribed)
        if corpus is not None and corpus.rows is not None:
            tokens = replace(tokens, basis=f"{basis} {ROWS_BASIS}")
            if _processes(record) > 1:
                tokens = replace(tokens, method=ESTIMATED, sigma=None)
    return {"steps": steps, "tokens": tokens, **_token_ratios(tokens, energy)}


ROWS_BASIS = (
    "Rows have unequal lengths: with several processes it is the first one's count times their "
    "number, right on average."
)


def _processes(record: RunRecord) -> int:
    """Return how many processes the run was told to have; those of a launcher are not on record."""
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
        why = "There are no tokens or no energy on record to divide."
        return {name: Figure.missing(*label, why) for name, label in labels.items()}
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
            inputs=(Input.of(tokens), Input.of(energy)),
        )  # fmt: skip
    return figures


def power_figures(
    energy: Figure, active: Figure, series: EnergySeries | None
) -> tuple[Figure, Figure]:
    """Mean power over the active time, and the highest of a bin."""
    why = "There is no energy or no time on record."
    mean = Figure.missing("mean-power", "Mean power", "W", why)
    peak = Figure.missing("peak-power", "Peak power", "W", why)
    if energy.value is not None and active.value:
        watts = energy.value * 3.6e6 / active.value
        basis = "Energy of the machines (before PUE) / active time; 1 kWh = 3,600,000 J."
        formula, inputs = "energy x 3600000 / active time", (Input.of(energy), Input.of(active))
        mean = replace(_like(energy, mean, watts, basis), formula=formula, inputs=inputs)
    if series is not None and series.peak_w is not None:
        basis = (
            f"Highest mean power of all devices together over {number_text(series.width_s)} s of "
            "recorded time, before PUE. Relative uncertainty: the energy's; shorter peaks are "
            "not resolved."
        )
        peak = _like(energy, peak, series.peak_w, basis)
    return mean, peak


def _like(energy: Figure, shape: Figure, value: float, basis: str) -> Figure:
    sigma = None if energy.relative is None else value * energy.relative
    return Figure(
        key=shape.key, label=shape.label, value=value, unit=shape.unit, method=energy.method,
        sigma=sigma, basis=basis,
    )  # fmt: skip


def compute_figure(model: ModelDescribed | None, tokens: Figure) -> Figure:
    """Arithmetic of training: 6 operations a parameter and token (Kaplan et al. 2020, table 1).

    Where weights are frozen, the third of it that makes their gradients is not done; where a token
    goes through a part of the model, only that part counts.
    """
    key, label, unit = "training-compute", "Training compute", "FLOP"
    if model is None or not tokens.value:
        why = "There is no model or no tokens on record."
        return Figure.missing(key, label, unit, why)
    if model.trained_parameters is not None or model.parameters_per_token is not None:
        return _partial_compute(model, tokens, Figure.missing(key, label, unit, ""))
    return Figure(
        key=key, label=label, value=6.0 * model.parameters * tokens.value, unit=unit,
        method=ESTIMATED, sigma=None,
        basis="6 x parameters x tokens (Kaplan et al. 2020, arXiv:2001.08361): forward and "
        "backward pass without attention's part over the context, validation and repeated steps.",
        formula="6 x parameters x tokens",
        inputs=(
            Input(name="parameters", value=float(model.parameters), method=MEASURED),
            Input.of(tokens),
        ),
    )  # fmt: skip


def _partial_compute(model: ModelDescribed, tokens: Figure, shape: Figure) -> Figure:
    """As ``compute_figure``, where weights are frozen or a token goes through some of them."""
    passed = model.parameters_per_token or model.parameters
    # Which adapters a token goes through is not on record: as many as of all parameters.
    trained = (model.trained_parameters or model.parameters) * passed / model.parameters
    why = ["2 operations a parameter and token forward, 2 to carry gradients back"]
    why.append("2 for gradients of trained weights (Kaplan et al. 2020, arXiv:2001.08361)")
    if model.trained_parameters is not None:
        why.append("frozen weights have none of their own (LoRA, Hu et al. 2021, arXiv:2106.09685)")
    if model.parameters_per_token is not None:
        why.append(
            "parameters are those that a token goes through, the encoder's for a source and the "
            "decoder's for a target, by their shares of the corpus (Raffel et al. 2020, "
            "arXiv:1910.10683, section 3.2.2)"
        )
    why.append("without attention's part over the context, validation and repeated steps")
    return replace(
        shape, value=(4.0 * passed + 2.0 * trained) * (tokens.value or 0.0), method=ESTIMATED,
        basis="; ".join(why) + ".",
        formula="(4 x parameters + 2 x trained parameters) x tokens",
        inputs=(
            Input(name="parameters", value=float(passed), method=MEASURED),
            Input(name="trained parameters", value=float(trained), method=MEASURED),
            Input.of(tokens),
        ),
    )  # fmt: skip


def coverage_figure(total: Tally | None) -> Figure:
    """The share of the devices' time in segments for which energy was measured."""
    key, label, unit = "coverage", "Time measured", "%"
    whole = 0.0 if total is None else total.recorded_s + total.unrecorded_s
    if total is None or not whole:
        return Figure.missing(key, label, unit, _NO_INTERVALS)
    measured_s = total.seconds_by_method.get(MEASURED, 0.0)
    basis = (
        f"{number_text(measured_s)} of {number_text(whole)} device-seconds have measured "
        f"intervals; {number_text(total.recorded_s - measured_s)} are estimated, assumed or "
        f"unknown, {number_text(total.unrecorded_s)} have none."
    )
    inputs = tuple(
        Input(name=f"device time, {method}", value=seconds, unit="s", method=method)
        for method, seconds in total.seconds_by_method.items()
    )
    return replace(
        _exact(key, label, 100 * measured_s / whole, unit, basis),
        formula="100 x measured / (recorded + not recorded)",
        inputs=(*inputs, Input(name="not recorded", value=total.unrecorded_s, unit="s")),
    )


def lost_figure(segments: Sequence[Segment]) -> Figure:
    """Energy of steps that a later segment did again, as each resumption tells it."""
    lost_mj = sum(segment.lost_mj for segment in segments)
    again = sum(segment.repeated_steps for segment in segments)
    basis = (
        f"Energy since the checkpoint that each resumption went on from; {again:,} steps were "
        "done again. It is part of the energy of the machines."
    )
    inputs = tuple(
        Input(name=f"lost before segment {s.number}", value=s.lost_mj, unit="mJ")
        for s in segments
        if s.lost_mj
    )
    return replace(
        _exact("lost-energy", "Energy of lost work", kwh_from_mj(lost_mj), "kWh", basis),
        method=ESTIMATED if lost_mj else MEASURED, sigma=None if lost_mj else 0.0,
        formula="sum of lost energy", inputs=inputs,
    )  # fmt: skip


def loss_figures(record: RunRecord) -> dict[str, Figure]:
    """The last training loss, the last validation loss and its perplexity."""
    progress = [item.fact for item in record.of(Progress)]
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
    return _exact(key, label, float(getattr(last, name)), "nats/token", basis)


def _perplexity(validation: Sequence[Progress]) -> Figure:
    key, label = "perplexity", "Perplexity (validation)"
    loss = validation[-1].validation_loss if validation else None
    if loss is None or loss > 700:
        why = "There is no validation loss on record." if loss is None else "It is above 10^304."
        return Figure.missing(key, label, "", why)
    return _exact(key, label, math.exp(loss), "", "exp(last validation loss).")


def _exact(key: str, label: str, value: float, unit: str, basis: str) -> Figure:
    return Figure(
        key=key, label=label, value=value, unit=unit, method=MEASURED, sigma=0.0, basis=basis
    )
