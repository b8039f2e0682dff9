"""Published training runs: what was trained on what, for how long, with how much energy."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FLOPS_PER_PARAMETER_AND_TOKEN = 6
"""Forward and backward pass of training (Kaplan et al. 2020, arXiv 2001.08361, table 1)."""

HOPPER = ("H100", "H200", "H800", "GH200")


@dataclass(frozen=True, slots=True)
class PublishedRun:
    """A run as its authors published it; None where they did not say.

    Attributes:
        model: its name.
        family: models that share authors and code, whose errors are therefore alike.
        parameters: all of them.
        active_parameters: those that a token passes through.
        tokens: how many it was trained on.
        accelerator: on what.
        peak_flops: of one accelerator, dense, 16 bits, operations a second.
        board_power_w: its power limit by the datasheet, watts.
        accelerators: how many.
        accelerator_hours: in all, downtime within the run included.
        mfu_reported: model FLOPs utilisation while it ran, as reported by its authors.
        system_power_w: mean power of one accelerator with its share of the host, as measured.
        measured_mwh: energy, as measured, times PUE.
        pue: of the building.
        excluded: why effective utilisation cannot be learnt from it; empty where it can.
        source: where this was published.
    """

    model: str
    family: str
    parameters: float
    active_parameters: float
    tokens: float | None
    accelerator: str
    peak_flops: float
    board_power_w: float | None
    accelerators: int | None
    accelerator_hours: float | None
    mfu_reported: float | None
    system_power_w: float | None
    measured_mwh: float | None
    pue: float | None
    excluded: str
    source: str

    @property
    def effective_mfu(self) -> float:
        """Model FLOPs over what the accelerators could have done in all hours, downtime too.

        Raises:
            ValueError: if tokens or hours were not published.
        """
        if self.tokens is None or self.accelerator_hours is None:
            raise ValueError(f"{self.model}: tokens or hours were not published")
        flops = FLOPS_PER_PARAMETER_AND_TOKEN * self.active_parameters * self.tokens
        return flops / (self.accelerator_hours * 3600 * self.peak_flops)


@cache
def published_runs() -> tuple[PublishedRun, ...]:
    """Return all published runs that are known here."""
    text = files("carbon_trainer.estimate").joinpath("data/published_runs.csv").read_text("utf-8")
    return tuple(_run(row) for row in csv.DictReader(text.splitlines()))


def calibrating_runs() -> tuple[PublishedRun, ...]:
    """Return those whose effective utilisation is known."""
    return tuple(run for run in published_runs() if not run.excluded)


def is_hopper(accelerator: str) -> bool:
    """Say whether an accelerator is of NVIDIA's Hopper generation."""
    return accelerator.upper().startswith(HOPPER)


def _run(row: dict[str, str]) -> PublishedRun:
    parameters, tokens = _number(row["params_b"], 1e9), _number(row["tokens_b"], 1e9)
    active = _number(row["active_params_b"], 1e9)
    count = _number(row["accelerators"])
    return PublishedRun(
        model=row["model"],
        family=row["family"],
        parameters=parameters or 0.0,
        active_parameters=active or parameters or 0.0,
        tokens=tokens,
        accelerator=row["accelerator"],
        peak_flops=float(row["peak_bf16_tflops_dense"]) * 1e12,
        board_power_w=_number(row["board_power_w"]),
        accelerators=None if count is None else int(count),
        accelerator_hours=_number(row["accelerator_hours"]),
        mfu_reported=_number(row["mfu_reported"]),
        system_power_w=_number(row["system_power_w"]),
        measured_mwh=_number(row["measured_mwh"]),
        pue=_number(row["pue"]),
        excluded="" if row["calibrates"] == "yes" else row["calibrates"],
        source=row["source"],
    )


def _number(text: str, unit: float = 1.0) -> float | None:
    return float(text) * unit if text else None
