"""``carbon-train doctor --acceptance``: its flags, and machines where it cannot run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from carbon_trainer.acceptance.parts import PARTS
from tests.cli.commands import CommandResult
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml

CarbonTrain = Callable[..., CommandResult]


def test_a_missing_gpu_is_bad_input(carbon_train: CarbonTrain) -> None:
    with SimulatedNvml().install():
        result = carbon_train("doctor", "--acceptance")
    assert result.status == 2
    assert "the acceptance check needs an NVIDIA GPU" in result.err
    assert not Path("carbon_acceptance").exists()


@pytest.mark.slow
def test_torch_without_cuda_is_bad_input(carbon_train: CarbonTrain) -> None:
    with SimulatedNvml(SimulatedGpu()).install():
        result = carbon_train("doctor", "--acceptance")
    assert result.status == 2
    assert "install a build of torch with CUDA" in result.err
    assert not Path("carbon_acceptance").exists()


def test_its_help_names_every_part(carbon_train: CarbonTrain) -> None:
    shown = " ".join(carbon_train("doctor", "--help").out.split())
    assert [part.name for part in PARTS if part.name not in shown] == []


@pytest.mark.parametrize("flags", [("--part", "board"), ("--to", "out")])
def test_its_flags_need_it(carbon_train: CarbonTrain, flags: tuple[str, ...]) -> None:
    result = carbon_train("doctor", *flags)
    assert result.status == 2
    assert "--part and --to need --acceptance" in result.err
