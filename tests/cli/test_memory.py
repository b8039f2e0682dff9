"""A training that will not fit into memory is refused before it starts, with what would fit."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import pytest

from tests.cli.commands import Ended, Shell
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml

Train = Callable[..., Ended]
JOB = ("--data", "corpus.txt", "--vocab-size", "300", "--max-steps", "2", "--no-host-metering")


@pytest.mark.slow
def test_on_a_cpu_free_memory_counts(
    carbon_train: Train, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = psutil.virtual_memory()._replace(available=60_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    ended = carbon_train("fit", "--recipe", "gpt-neox-tiny", *JOB)
    assert ended.status == 2
    assert "training gpt-neox-tiny will take about 0.1 GB" in ended.err
    assert "what fits is --batch-size" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.slow
def test_what_no_vocabulary_makes_fit_is_refused_before_the_data_are_read(
    carbon_train: Train, shell: Shell
) -> None:
    ended = carbon_train("fit", "--recipe", "opt-175b", *JOB)
    assert ended.status == 2
    assert "training opt-175b will take about" in ended.err
    assert "tokenizer" not in ended.out
    assert not (shell.folder / "carbon_runs" / "cache").exists()


@pytest.mark.slow
def test_on_a_gpu_its_own_memory_counts_before_any_weight_is_made(
    carbon_train: Train, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from carbon_trainer.training import trainer

    monkeypatch.setattr(trainer, "trains_on_gpu", lambda config: True)
    with SimulatedNvml(SimulatedGpu()).install():
        ended = carbon_train("fit", "--recipe", "opt-30b", "--precision", "bf16-mixed", *JOB)
    assert ended.status == 2
    assert "the GPU has 85.9 GB" in ended.err
    assert "GPUs of this size with --strategy fsdp" in ended.err


def test_a_model_of_unpublished_size_is_answered_with_what_can_be_done(
    carbon_train: Train, shell: Shell
) -> None:
    ended = carbon_train("fit", "--recipe", "gpt-4", *JOB)
    assert ended.status == 2
    assert "not published" in ended.err
    assert "carbon-train estimate --params" in ended.err
