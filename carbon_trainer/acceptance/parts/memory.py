"""Memory that trainings were predicted to take, beside what they took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from carbon_trainer.acceptance.findings import Cell, Findings
from carbon_trainer.acceptance.parts import Setting
from carbon_trainer.energy.sources.nvml import describe_nvml
from carbon_trainer.models.activations import FULL, HALF, MIXED
from carbon_trainer.models.memory import MemoryEstimate, TrainingSetup, estimate_memory
from carbon_trainer.models.recipes import recipe

if TYPE_CHECKING:
    import torch

VOCAB_SIZE = 8192
TAKES_AT_MOST_S = 200

MOST_SHARE = 0.85
"""Of a GPU's memory: a training that is predicted to take more is left out."""

GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Has glibc give large blocks back at once, as GPUs' allocators keep them apart anyway."""


def measure(setting: Setting, findings: Findings) -> None:
    """Train each size for two steps in a process of its own."""
    on_gpu = setting.accelerator.trains_on == "gpu"
    precision = MIXED if on_gpu else FULL
    rows: list[tuple[Cell, ...]] = []
    for name, block_size, batch_size in setting.scale.memory_cases:
        setup = TrainingSetup(
            vocab_size=VOCAB_SIZE, block_size=block_size, batch_size=batch_size,
            precision=precision, on_gpu=on_gpu,
        )  # fmt: skip
        estimate = estimate_memory(recipe(name), setup)
        if on_gpu and estimate is not None and estimate.total > MOST_SHARE * _gpu_bytes(setting):
            continue  # a board of a workstation
        taken = memory_of(name, setup)
        if estimate is None or isinstance(taken, str):
            findings.check(f"{name} is trained", False, str(taken))
            continue
        rows.append(_row(name, setup, estimate, taken))
        off = estimate.total / taken["total"] - 1
        findings.check(
            f"{name}: predicted memory within {setup.uncertainty:.0%} of what it takes",
            abs(off) <= setup.uncertainty,
            f"{off:+.1%}",
        )
    findings.table(
        "Memory of a training of two steps, AdamW",
        ("recipe", "block", "batch", "precision", "predicted, GB", "tensors of it, GB",
         "taken, GB", "tensors of it, GB", "error"),
        rows,
    )  # fmt: skip


def _gpu_bytes(setting: Setting) -> int:
    """Return the GPU's memory, bytes."""
    return next(
        gpu.memory_bytes for gpu in describe_nvml().gpus if gpu.uuid == setting.accelerator.uuid
    )


def _row(
    name: str, setup: TrainingSetup, estimate: MemoryEstimate, taken: dict[str, int]
) -> tuple[Cell, ...]:
    return (
        name,
        setup.block_size,
        setup.batch_size,
        setup.precision,
        round(estimate.total / 1e9, 2),
        round((estimate.total - estimate.device) / 1e9, 2),
        round(taken["total"] / 1e9, 2),
        round(taken["tensors"] / 1e9, 2),
        f"{estimate.total / taken['total'] - 1:+.1%}",
    )


def memory_of(name: str, setup: TrainingSetup, **environ: str) -> dict[str, int] | str:
    """Return what two steps of a training take in a process of its own, or why it failed.

    Args:
        name: the recipe.
        setup: the training; on one device.
        environ: what else is in its environment.

    Returns:
        Bytes: ``total``, with a GPU's context, and those in ``tensors``.
    """
    sizes = (setup.vocab_size, setup.block_size, setup.batch_size)
    case = [name, *map(str, sizes), setup.precision]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, this module
            [sys.executable, "-m", __name__, "cuda" if setup.on_gpu else "cpu", *case],
            env={**os.environ, **GIVES_BACK, **environ}, capture_output=True, text=True,
            check=False, timeout=TAKES_AT_MOST_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it took longer than {TAKES_AT_MOST_S} s"
    if done.returncode:
        return done.stderr.strip().splitlines()[-1][:300] if done.stderr.strip() else "it failed"
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def _train(device: str, name: str, sizes: list[int], precision: str) -> None:
    """Be the training; print what it took."""
    import torch

    from carbon_trainer.models.build import model_of

    vocab_size, block_size, batch_size = sizes
    torch.manual_seed(1)
    ids = torch.randint(0, vocab_size, (batch_size, block_size), device=device)
    tiny = recipe("gpt-neox-tiny").to_config(vocab_size=300, block_size=16)
    # Libraries load on first use, and are no part of a training's memory.
    _steps(model_of(tiny), ids[:1, :16] % 300, MIXED)
    before = _now(device)
    with torch.device(device):
        model = model_of(recipe(name).to_config(vocab_size=vocab_size, block_size=block_size))
    _steps(model, ids, precision)
    print(json.dumps(_most(device, before)))  # noqa: T201 - read by the parent


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


def _now(device: str) -> int:
    """Begin to watch for the most memory; return what is taken already, bytes."""
    import torch

    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return 0
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return before


def _most(device: str, before: int) -> dict[str, int]:
    import torch

    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        outside = total - free - torch.cuda.memory_reserved()
        return {
            "total": outside + torch.cuda.max_memory_reserved(),
            "tensors": torch.cuda.max_memory_allocated(),
        }
    taken = _resident("VmHWM") - before
    return {"total": taken, "tensors": taken}


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(field)


if __name__ == "__main__":
    _train(sys.argv[1], sys.argv[2], [int(size) for size in sys.argv[3:6]], sys.argv[6])
