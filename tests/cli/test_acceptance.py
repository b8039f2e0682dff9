"""``carbon-train doctor --acceptance`` where it cannot be done, and its own words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from carbon_trainer.acceptance.parts import PARTS
from tests.cli.commands import Ended
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml

CarbonTrain = Callable[..., Ended]


def test_without_a_gpu_it_says_so(carbon_train: CarbonTrain) -> None:
    with SimulatedNvml().install():
        ended = carbon_train("doctor", "--acceptance")
    assert ended.status == 2
    assert "the acceptance check needs an NVIDIA GPU" in ended.err
    assert not Path("carbon_acceptance").exists()


@pytest.mark.slow
def test_without_a_torch_for_it_it_says_so(carbon_train: CarbonTrain) -> None:
    with SimulatedNvml(SimulatedGpu()).install():
        ended = carbon_train("doctor", "--acceptance")
    assert ended.status == 2
    assert "install a build of torch with CUDA" in ended.err
    assert not Path("carbon_acceptance").exists()


def test_its_help_names_every_part(carbon_train: CarbonTrain) -> None:
    shown = " ".join(carbon_train("doctor", "--help").out.split())
    assert [part.name for part in PARTS if part.name not in shown] == []


@pytest.mark.parametrize("flags", [("--part", "board"), ("--to", "out")])
def test_its_flags_go_with_it_alone(carbon_train: CarbonTrain, flags: tuple[str, ...]) -> None:
    ended = carbon_train("doctor", *flags)
    assert ended.status == 2
    assert "--part and --to go with --acceptance" in ended.err
