"""Errors of estimates made before a run, for published runs, with leave-one-out cross-validation.

Baselines: the constant utilisation that fits all other runs best, and 0.40, which is often used.

    python -m benchmarks.estimate
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from carbon_trainer.estimate.efficiency import Spread, calibrate
from carbon_trainer.estimate.estimate import power_share
from carbon_trainer.estimate.published import (
    FLOPS_PER_PARAMETER_AND_TOKEN,
    PublishedRun,
    calibrating_runs,
    published_runs,
)

Method = Callable[[Sequence[PublishedRun], PublishedRun], Spread]
CONSTANTS = np.arange(0.2, 0.6, 0.005)


def calibrated_spread(others: Sequence[PublishedRun], run: PublishedRun) -> Spread:
    return calibrate(others).predict(run.active_parameters, run.accelerator)


def best_constant(others: Sequence[PublishedRun], run: PublishedRun) -> Spread:
    mfus = np.array([other.effective_mfu for other in others])
    errors = [float(np.mean(np.abs(mfus / value - 1))) for value in CONSTANTS]
    return Spread(float(CONSTANTS[int(np.argmin(errors))]), 0.0)


def forty_percent(others: Sequence[PublishedRun], run: PublishedRun) -> Spread:
    return Spread(0.40, 0.0)


METHODS: dict[str, Method] = {
    "ours": calibrated_spread, "best constant MFU": best_constant, "MFU 0.40": forty_percent,
}  # fmt: skip


def left_out(
    method: Method, runs: Sequence[PublishedRun], by_family: bool = False
) -> tuple[float, float]:
    """Return the mean absolute error of hours, and the share of truths in the 80 % interval."""
    errors, inside = [], []
    for run in runs:
        others = [
            other
            for other in runs
            if (other.family != run.family if by_family else other is not run)
        ]
        estimate = method(others, run)
        errors.append(abs(run.effective_mfu / estimate.value - 1))
        low, high = estimate.interval
        inside.append(low <= run.effective_mfu <= high)
    return float(np.mean(errors)), float(np.mean(inside))


def energy_rows() -> list[tuple[str, float, float]]:
    """Return measured energies (MWh) beside those from parameters and tokens alone."""
    rows = []
    for run in published_runs():
        if run.measured_mwh is None or run.tokens is None or run.board_power_w is None:
            continue
        others = [other for other in calibrating_runs() if other.family != run.family]
        mfu = calibrate(others).predict(run.active_parameters, run.accelerator).value
        flops = FLOPS_PER_PARAMETER_AND_TOKEN * run.active_parameters * run.tokens
        hours = flops / (mfu * run.peak_flops * 3600)
        watts = power_share().value * run.board_power_w
        rows.append((run.model, run.measured_mwh, hours * watts * (run.pue or 1) / 1e6))
    return rows


def main() -> None:
    clean = calibrating_runs()
    vague = {"Llama 3 8B", "Llama 3.1 8B"}
    wider = [*clean, *(run for run in published_runs() if run.model in vague)]
    families = len({run.family for run in clean})
    for title, runs, by_family in (
        (f"GPU-hours of {len(clean)} clean runs, each left out", clean, False),
        (
            f"the same, all runs of its family left out ({families})",
            clean,
            True,
        ),
        (f"with the two whose tokens are stated as a minimum ({len(wider)})", wider, False),
    ):
        print(title)
        for name, method in METHODS.items():
            error, inside = left_out(method, runs, by_family)
            covers = f", 80 % interval holds {inside:.1%}" if name == "ours" else ""
            print(f"  {name:<18} mean absolute error {error:6.1%}{covers}")
    print("energy by parameters and tokens alone, its family left out, compared with measured")
    for model, measured, estimate in energy_rows():
        print(f"  {model:<20} {measured:8.1f} MWh measured, {estimate:8.1f} estimated "
              f"({estimate / measured - 1:+.0%})")  # fmt: skip


if __name__ == "__main__":
    main()
