"""Estimated memory of trainings, compared with what they take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from carbon_trainer.acceptance.findings import Cell, Findings
from carbon_trainer.acceptance.parts import PartContext
from carbon_trainer.energy.sources.nvml import describe_nvml
from carbon_trainer.models.activations import FULL, HALF, MIXED
from carbon_trainer.models.memory import MemoryEstimate, TrainingSetup, estimate_memory
from carbon_trainer.models.recipes import recipe

if TYPE_CHECKING:
    import torch

VOCAB_SIZE = 8192
MAX_S = 200

MAX_SHARE = 0.85
"""Share of a GPU's memory: a training that is estimated to take more is skipped."""

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Makes glibc return large blocks at once, as GPUs' allocators keep them separate anyway."""


def measure(context: PartContext, findings: Findings) -> None:
    """Train each size for two steps in a separate process."""
    on_gpu = context.accelerator.trains_on == "gpu"
    precision = MIXED if on_gpu else FULL
    rows: list[tuple[Cell, ...]] = []
    for name, block_size, batch_size in context.scale.memory_cases:
        setup = TrainingSetup(
            vocab_size=VOCAB_SIZE, block_size=block_size, batch_size=batch_size,
            precision=precision, on_gpu=on_gpu,
        )  # fmt: skip
        estimate = estimate_memory(recipe(name), setup)
        if on_gpu and estimate is not None and estimate.total > MAX_SHARE * _gpu_bytes(context):
            continue  # a workstation's board
        measured = memory_of(name, setup)
        if estimate is None or isinstance(measured, str):
            findings.check(f"{name} is trained", False, str(measured))
            continue
        rows.append(_row(name, setup, estimate, measured))
        error = estimate.total / measured["total"] - 1
        findings.check(
            f"{name}: estimated memory within {setup.uncertainty:.0%} of the measured",
            abs(error) <= setup.uncertainty,
            f"{error:+.1%}",
        )
    findings.table(
        "Memory of a training of two steps, AdamW",
        ("recipe", "block", "batch", "precision", "estimated, GB", "of which tensors, GB",
         "measured, GB", "of which tensors, GB", "error"),
        rows,
    )  # fmt: skip


def _gpu_bytes(context: PartContext) -> int:
    """Return the GPU's memory, bytes."""
    return next(
        gpu.memory_bytes for gpu in describe_nvml().gpus if gpu.uuid == context.accelerator.uuid
    )


def _row(
    name: str, setup: TrainingSetup, estimate: MemoryEstimate, measured: dict[str, int]
) -> tuple[Cell, ...]:
    return (
        name,
        setup.block_size,
        setup.batch_size,
        setup.precision,
        round(estimate.total / 1e9, 2),
        round((estimate.total - estimate.device) / 1e9, 2),
        round(measured["total"] / 1e9, 2),
        round(measured["tensors"] / 1e9, 2),
        f"{estimate.total / measured['total'] - 1:+.1%}",
    )


def memory_of(name: str, setup: TrainingSetup, **environ: str) -> dict[str, int] | str:
    """Return what two steps of a training take in a separate process, or why it failed.

    Args:
        name: the recipe.
        setup: the training; on one device.
        environ: further environment variables.

    Returns:
        Bytes: ``total``, with a GPU's context, and those in ``tensors``.
    """
    sizes = (setup.vocab_size, setup.block_size, setup.batch_size)
    case = [name, *map(str, sizes), setup.precision]
    try:
        process = subprocess.run(  # noqa: S603 - this interpreter, this module
            [sys.executable, "-m", __name__, "cuda" if setup.on_gpu else "cpu", *case],
            env={**os.environ, **MALLOC, **environ}, capture_output=True, text=True,
            check=False, timeout=MAX_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it took longer than {MAX_S} s"
    if process.returncode:
        return (
            process.stderr.strip().splitlines()[-1][:300] if process.stderr.strip() else "it failed"
        )
    measured: dict[str, int] = json.loads(process.stdout.splitlines()[-1])
    return measured


def _train(device: str, name: str, sizes: list[int], precision: str) -> None:
    """Run as the training; print what it took."""
    import torch

    from carbon_trainer.models.build import model_of

    vocab_size, block_size, batch_size = sizes
    torch.manual_seed(1)
    ids = torch.randint(0, vocab_size, (batch_size, block_size), device=device)
    tiny = recipe("gpt-neox-tiny").to_config(vocab_size=300, block_size=16)
    # Libraries are loaded on first use, and are not part of a training's memory.
    _steps(model_of(tiny), ids[:1, :16] % 300, MIXED)
    before = _start_peak(device)
    with torch.device(device):
        model = model_of(recipe(name).to_config(vocab_size=vocab_size, block_size=block_size))
    _steps(model, ids, precision)
    print(json.dumps(_peak(device, before)))  # noqa: T201 - read by the parent


def _steps(model: torch.nn.Module, ids: torch.Tensor, precision: str) -> None:
    import torch

    model.to(ids.device, torch.bfloat16 if precision == HALF else None)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(2):
        # The first step's gradients stay through the second's forward pass, as in Lightning.
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=precision == MIXED):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def _start_peak(device: str) -> int:
    """Reset the peak of memory; return what is in use already, bytes."""
    import torch

    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return 0
    before = _resident("VmRSS")
    # Linux: resets VmHWM, the peak of resident memory, to the present.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return before


def _peak(device: str, before: int) -> dict[str, int]:
    import torch

    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        outside = total - free - torch.cuda.memory_reserved()
        return {
            "total": outside + torch.cuda.max_memory_reserved(),
            "tensors": torch.cuda.max_memory_allocated(),
        }
    resident = _resident("VmHWM") - before
    return {"total": resident, "tensors": resident}


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(field)


if __name__ == "__main__":
    _train(sys.argv[1], sys.argv[2], [int(size) for size in sys.argv[3:6]], sys.argv[6])
