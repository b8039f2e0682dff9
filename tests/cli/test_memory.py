"""A training that will not fit into memory is refused before it starts, with what would fit."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import pytest

from tests.cli.commands import CommandResult, Shell
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml

Train = Callable[..., CommandResult]
JOB = ("--data", "corpus.txt", "--vocab-size", "300", "--max-steps", "2", "--no-host-metering")


@pytest.mark.slow
def test_on_a_cpu_free_memory_is_the_limit(
    carbon_train: Train, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = psutil.virtual_memory()._replace(available=60_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    result = carbon_train("fit", "--recipe", "gpt-neox-tiny", *JOB)
    assert result.status == 2
    assert "training gpt-neox-tiny will take about 0.1 GB" in result.err
    assert "what fits is --batch-size" in result.err
    assert "Traceback" not in result.err


@pytest.mark.slow
def test_a_model_that_fits_with_no_vocabulary_is_refused_before_the_data_are_read(
    carbon_train: Train, shell: Shell
) -> None:
    result = carbon_train("fit", "--recipe", "opt-175b", *JOB)
    assert result.status == 2
    assert "training opt-175b will take about" in result.err
    assert "tokenizer" not in result.out
    assert not (shell.folder / "carbon_runs" / "cache").exists()


@pytest.mark.slow
def test_on_a_gpu_its_memory_is_the_limit_and_checked_before_any_weight_is_made(
    carbon_train: Train, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from carbon_trainer.training import trainer

    monkeypatch.setattr(trainer, "trains_on_gpu", lambda config: True)
    with SimulatedNvml(SimulatedGpu()).install():
        result = carbon_train("fit", "--recipe", "opt-30b", "--precision", "bf16-mixed", *JOB)
    assert result.status == 2
    assert "the GPU has 85.9 GB" in result.err
    assert "GPUs of this size with --strategy fsdp" in result.err


def test_a_model_of_unpublished_size_is_answered_with_alternatives(
    carbon_train: Train, shell: Shell
) -> None:
    result = carbon_train("fit", "--recipe", "gpt-4", *JOB)
    assert result.status == 2
    assert "not published" in result.err
    assert "carbon-train estimate --params" in result.err
