"""A run's report has what `estimate` would have printed before it, if its GPU is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.commands import CommandResult, Shell
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml

pytestmark = pytest.mark.slow

Train = Callable[..., CommandResult]


def _report(shell: Shell) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(
        (shell.folder / "carbon_runs" / shell.run_id() / "report.json").read_text()
    )
    return report


def test_on_a_known_gpu_the_report_has_the_estimate(
    carbon_train: Train, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The GPU meters and is known; the work itself is done on the CPU.
    from carbon_trainer.training import trainer

    monkeypatch.setattr(trainer, "trains_on_gpu", lambda config: True)
    flags = (*shell.tiny, "--precision", "bf16-mixed", "--accelerator", "cpu")
    with SimulatedNvml(SimulatedGpu(name="NVIDIA H100 80GB HBM3")).install():
        assert carbon_train("fit", *flags).status == 0
    document = _report(shell)["estimate"]
    assert document["accelerator"] == "H100-SXM5-80GB"
    assert document["tokens"] == document["tokens_trained"] == 12 * 4 * 32
    assert document["beside"].keys() == {"hours", "energy"}


def test_on_a_cpu_the_report_has_no_estimate(carbon_train: Train, shell: Shell) -> None:
    assert carbon_train("fit", *shell.tiny).status == 0
    assert "estimate" not in _report(shell)
