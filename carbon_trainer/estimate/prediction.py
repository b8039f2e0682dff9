"""The prediction of a run that is about to train, for its record."""

from __future__ import annotations

from carbon_trainer.estimate.efficiency import INTERVAL
from carbon_trainer.estimate.estimate import Job, estimate
from carbon_trainer.hardware.accelerators import accelerator_of
from carbon_trainer.ledger.facts import EstimateMade


def predict_training(
    label: str, *, accelerators: int, parameters: int, tokens: int, pue: float
) -> EstimateMade | None:
    """Predict hours and energy, as ``carbon-train estimate`` does; None for an unknown board.

    Args:
        label: the accelerator as NVML names it.
        accelerators: how many work side by side.
        parameters: the model's.
        tokens: planned.
        pue: of the building.

    Raises:
        InputError: if a figure is out of range.
    """
    board = accelerator_of(label)
    if board is None:
        return None
    job = Job(
        parameters=parameters, tokens=tokens, gpu=board.name, gpus=accelerators, pue=pue
    )  # fmt: skip
    estimated = estimate(job)
    hours = estimated.days.scaled(24)
    return EstimateMade(
        accelerator=board.name,
        accelerators=accelerators,
        parameters=parameters,
        tokens=tokens,
        hours=hours.value,
        hours_low=hours.interval[0],
        hours_high=hours.interval[1],
        energy_kwh=estimated.energy_kwh.value,
        energy_low_kwh=estimated.energy_kwh.interval[0],
        energy_high_kwh=estimated.energy_kwh.interval[1],
        interval=INTERVAL,
        pue=pue,
        basis=f"6 x parameters x tokens over a dense peak of {board.peak_bf16_tflops:g} TFLOP/s; "
        "utilisation, downtime and power as in published runs (carbon-train estimate --list).",
    )
