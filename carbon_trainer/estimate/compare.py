"""Compares pre-training a model with fine-tuning an open one and with using a larger open one.

Each way has a one-off energy and one for each query; both include the machines and the building
(PUE). A way breaks even with the larger model when what its cheaper queries have saved makes up for
its one-off energy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from carbon_trainer.estimate.efficiency import Spread
from carbon_trainer.estimate.estimate import Estimate, Job, check_positive, estimate
from carbon_trainer.estimate.inference import ANSWER_TOKENS, query_kwh
from carbon_trainer.estimate.published import FLOPS_PER_PARAMETER_AND_TOKEN

FINE_TUNING_TOKENS = 750_000 * 15
"""Tokens of a fine-tuning: LIMA's, 750,000 of them 15 times over (Zhou et al. 2023,
arXiv 2305.11206, sections 2 and 3)."""

OPEN_PARAMETERS = 70e9
"""The larger open model's, unless given: Llama 3.1 70B's."""

ADAPTER_SHARE = 0.01
"""Adapters' parameters over the model's, assumed; at 0.05 LoRA would take 2 % more."""

LORA_FLOPS_PER_PARAMETER_AND_TOKEN = 4 + 2 * ADAPTER_SHARE
"""Forward pass 2, backward pass 2 for activations, and 2 for the weights that are trained, which
are the adapters' (Hu et al. 2021, arXiv 2106.09685; split as in Kaplan et al. 2020, table 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """The use of a model.

    Attributes:
        queries: how many it is to answer.
        tokens_per_query: of an answer.
        fine_tuning_tokens: to fine-tune on, repeated ones as often as they are repeated.
        open_parameters: of the larger open model that would be used as it is.
    """

    queries: float
    tokens_per_query: float = ANSWER_TOKENS
    fine_tuning_tokens: float = FINE_TUNING_TOKENS
    open_parameters: float = OPEN_PARAMETERS


@dataclass(frozen=True, slots=True)
class Way:
    """One way to have queries answered; energies in kWh of the building.

    Attributes:
        key: its name for machines.
        label: its name for people.
        once: one-off, spent before the first query; None where there is none.
        query: of one query.
        total: of all queries and what is spent once.
        breaks_even: queries from which on it takes less than the larger open model; None where
            it never does, or for that model itself.
    """

    key: str
    label: str
    once: Spread | None
    query: Spread
    total: Spread
    breaks_even: Spread | None


def compare(job: Job, use: Use) -> tuple[Way, ...]:
    """Return the ways, the larger open model as it is last.

    Args:
        job: the pre-training.
        use: the use of its model.

    Raises:
        InputError: if a figure is out of range.
    """
    _check(use)
    pre_training = estimate(job)
    tuned = estimate(replace(job, tokens=use.fine_tuning_tokens)).energy_kwh
    # Time and energy are taken to follow the operations.
    lora = tuned.scaled(LORA_FLOPS_PER_PARAMETER_AND_TOKEN / FLOPS_PER_PARAMETER_AND_TOKEN)
    own = query_kwh(job.parameters, use.tokens_per_query).scaled(job.pue)
    large = query_kwh(use.open_parameters, use.tokens_per_query).scaled(job.pue)
    ways = [
        _way("pretrain", "pre-training", pre_training.energy_kwh, own, large, use.queries),
        _way("fine_tune", "fine-tuning", tuned, own, large, use.queries),
        _way("lora", "LoRA", lora, own, large, use.queries),
    ]
    total = large.scaled(use.queries)
    return (*ways, Way("open_model", "larger open model", None, large, total, None))


def emissions(way: Way, total: Estimate) -> Spread:
    """Return a way's emissions in all, kgCO2e, by the zone's annual mean."""
    grid = total.intensity
    return way.total.times(Spread(grid.intensity_gco2e_per_kwh / 1000, grid.uncertainty))


def _way(key: str, label: str, once: Spread, own: Spread, large: Spread, queries: float) -> Way:
    saved = large.value - own.value
    # How full servers are is unknown, but the same for both models: their difference has no more
    # relative error than one of them.
    break_even = once.over(replace(large, value=saved)) if saved > 0 else None
    return Way(key, label, once, own, _sum(once, own.scaled(queries)), break_even)


def _sum(first: Spread, second: Spread) -> Spread:
    """Return a log-normal of about the median and variance of a sum of two independent ones."""
    value = first.value + second.value
    sigma = math.hypot(first.value * first.log_sigma, second.value * second.log_sigma) / value
    return Spread(value, sigma, min(first.freedom, second.freedom))


def _check(use: Use) -> None:
    check_positive(
        {
            "--compare": use.queries,
            "--tokens-per-query": use.tokens_per_query,
            "--fine-tuning-tokens": use.fine_tuning_tokens,
            "--open-params": use.open_parameters,
        }
    )
