"""Energy of inference: of an output token, from measurements of servers under load.

Measured by the ML.ENERGY Benchmark (Chung et al. 2025, arXiv 2505.06371; results of version 3,
published 16 February 2026): dense models in bfloat16 on vLLM, H100 and B200, answering chat
prompts, which are in the energy. Each model at 8 and 64 requests at once and at the load of least
energy. How full a server is matters more than anything else, and is seldom known: so the spread of
an estimate is that over those loads.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from carbon_trainer.estimate.efficiency import Spread

SOURCE = "ML.ENERGY Benchmark v3 (Chung et al. 2025, arXiv 2505.06371)"

MACHINES_OVER_ACCELERATORS = (58 + 25 + 10) / 58
"""All machines' energy over the accelerators', hosts and idle machines included, before the
building: shares of a prompt's energy at Google (Elsworth et al. 2025, arXiv 2508.15734)."""

ANSWER_TOKENS = 400
"""A typical answer, about as long as those that were measured (360 to 730 tokens)."""

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True)
class MeasuredServer:
    """One model on one server under one load, the GPUs' energy.

    Attributes:
        model: its name on the Hugging Face hub.
        parameters: all of them.
        gpu: of the server.
        gpus: how many.
        requests_at_once: the most that were answered at a time.
        joules_per_output_token: of the GPUs, prompts included.
        mean_output_tokens: of an answer.
    """

    model: str
    parameters: float
    gpu: str
    gpus: int
    requests_at_once: int
    joules_per_output_token: float
    mean_output_tokens: int


@dataclass(frozen=True, slots=True)
class ProviderQuery:
    """What a provider has published of one query: energy or emissions, never both in one boundary.

    Attributes:
        what: the service and the query.
        energy_wh: None where it was not published.
        emissions_g: likewise, gCO2e.
        boundary: what is counted and what is not.
        source: where it was published.
    """

    what: str
    energy_wh: float | None
    emissions_g: float | None
    boundary: str
    source: str


@cache
def measured_servers() -> tuple[MeasuredServer, ...]:
    """Return all measurements that are known here."""
    return tuple(
        MeasuredServer(
            model=row["model"],
            parameters=float(row["params_b"]) * 1e9,
            gpu=row["gpu"],
            gpus=int(row["gpus"]),
            requests_at_once=int(row["requests_at_once"]),
            joules_per_output_token=float(row["joules_per_output_token"]),
            mean_output_tokens=int(row["mean_output_tokens"]),
        )
        for row in _rows("inference_energy.csv")
    )


@cache
def provider_queries() -> tuple[ProviderQuery, ...]:
    """Return what providers have published of a query."""
    return tuple(
        ProviderQuery(
            row["what"],
            float(row["energy_wh"]) if row["energy_wh"] else None,
            float(row["emissions_g"]) if row["emissions_g"] else None,
            row["boundary"],
            row["source"],
        )
        for row in _rows("provider_queries.csv")
    )


def query_kwh(parameters: float, tokens: float) -> Spread:
    """Return the machines' energy of one query, before PUE.

    Args:
        parameters: the model's; of a mixture of experts those that a token passes through.
        tokens: of the answer.
    """
    slope, constant, sigma, freedom = _line()
    joules = math.exp(constant + slope * math.log(parameters)) * MACHINES_OVER_ACCELERATORS
    return Spread(joules * tokens / JOULES_PER_KWH, sigma, freedom)


def is_extrapolated(parameters: float) -> bool:
    """Say whether a model is smaller or larger than all that were measured."""
    sizes = [server.parameters for server in measured_servers()]
    return not min(sizes) <= parameters <= max(sizes)


@cache
def _line() -> tuple[float, float, float, int]:
    """Fit log(joules a token) to log(parameters), all loads alike; the rest is their spread."""
    runs = measured_servers()
    sizes = np.log([server.parameters for server in runs])
    joules = np.log([server.joules_per_output_token for server in runs])
    # All loads in one fit: how full a server is spreads the energy more than the model does, and
    # the load of the server that a user will meet is not known.
    slope, constant = np.polyfit(sizes, joules, 1)
    freedom = len(runs) - 2
    residuals = joules - (constant + slope * sizes)
    sigma = math.sqrt(float(np.sum(residuals**2)) / freedom * (1 + 1 / len(runs)))
    return float(slope), float(constant), sigma, freedom


def _rows(name: str) -> list[dict[str, str]]:
    text = files("carbon_trainer.estimate").joinpath(f"data/{name}").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))
