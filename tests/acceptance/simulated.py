"""The acceptance check on a simulated GPU."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.gpu import simulated_plan
from carbon_trainer.acceptance.check import Plan


def short_plan(folder: Path, *parts: str, **gpu: object) -> Plan:
    """Return a short check of some parts.

    Args:
        folder: where everything goes.
        parts: their names.
        gpu: what the simulated GPU has otherwise.
    """
    results, power = folder / "results", folder / "power"
    results.mkdir()
    power.mkdir()
    plan = simulated_plan(results, power, scale="short", parts=parts)
    assert plan.environ is not None
    (described,) = json.loads(plan.environ["SIMULATED_NVML"])
    plan.environ["SIMULATED_NVML"] = json.dumps([{**described, **gpu}])
    return plan
