"""What memory trainings were foretold to take, beside what they took.

Each training is a process of its own on the CPU: the most resident memory in two steps of forward,
backward, clipping and AdamW, less what was resident before the model was made (VmHWM and VmRSS of
Linux). The allocator is told to give large blocks back at once, as GPUs' allocators keep them
apart anyway.

    python -m benchmarks.memory
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from carbon_trainer.models.activations import FULL, HALF, MIXED
from carbon_trainer.models.memory import Setup, need_of
from carbon_trainer.models.recipes import recipe

CASES = [
    ("gpt-neox-14m", 8192, 512, 16, FULL),
    ("gpt-neox-70m", 8192, 512, 8, FULL),
    ("gpt-neox-70m", 8192, 512, 8, MIXED),
    ("gpt2-124m", 8192, 256, 4, FULL),
    ("gpt2-124m", 8192, 256, 4, MIXED),
    ("opt-125m", 8192, 256, 8, FULL),
    ("opt-125m", 8192, 256, 8, MIXED),
    ("opt-125m", 8192, 256, 8, HALF),
    ("opt-125m", 50272, 256, 4, FULL),
    ("llama-tiny", 8192, 1024, 16, FULL),
    ("llama-tiny", 8192, 1024, 16, MIXED),
    ("palm-tiny", 8192, 1024, 16, FULL),
]
"""Recipe, vocabulary, block, batch, precision."""


def resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(field)


def train(name: str, vocab_size: int, block_size: int, batch_size: int, precision: str) -> int:
    """Train for two steps; return the most memory that it took, bytes."""
    import torch

    from carbon_trainer.models.build import model_of

    torch.manual_seed(1)
    ids = torch.randint(0, vocab_size, (batch_size, block_size))
    config = recipe("gpt-neox-tiny").to_config(vocab_size=300, block_size=16)
    step(model_of(config), ids[:1, :16] % 300, MIXED)  # libraries load on first use
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    model = model_of(recipe(name).to_config(vocab_size=vocab_size, block_size=block_size))
    step(model.to(torch.bfloat16) if precision == HALF else model, ids, precision)
    return resident("VmHWM") - before


def step(model: object, ids: object, precision: str) -> None:
    import torch

    module: torch.nn.Module = model  # type: ignore[assignment]
    optimizer = torch.optim.AdamW(module.parameters())
    for _ in range(2):
        # The first step's gradients stay through the second's forward pass, as in Lightning.
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == MIXED):
            loss = module(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()


def measured(case: tuple[str, int, int, int, str]) -> int:
    environ = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536",
               "OMP_NUM_THREADS": "1"}  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.memory", *(str(part) for part in case)]
    done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    return int(done.stdout.splitlines()[-1])


def main() -> None:
    print(f"{'recipe':<14}{'vocab':>7}{'block':>7}{'batch':>6} {'precision':<11}"
          f"{'state':>8}{'kept':>8}{'logits':>8}{'foretold':>9}{'measured':>9}"
          f"{'error':>8}")  # fmt: skip
    errors = []
    for case in CASES:
        name, vocab_size, block_size, batch_size, precision = case
        setup = Setup(vocab_size=vocab_size, block_size=block_size, batch_size=batch_size,
                      precision=precision)  # fmt: skip
        need = need_of(recipe(name), setup)
        if need is None:
            raise RuntimeError(name)
        took = measured(case)
        errors.append(need.total / took - 1)
        parts = (need.state, need.copies + need.activations, need.logits, need.total, took)
        print(f"{name:<14}{vocab_size:>7}{block_size:>7}{batch_size:>6} {precision:<11}"
              + "".join(f"{part / 1e6:>8.0f}{' ' if part is took else ''}" for part in parts)
              + f"{errors[-1]:>+8.1%}", flush=True)  # fmt: skip
    print(f"MB; mean absolute error {sum(map(abs, errors)) / len(errors):.1%}, "
          f"from {min(errors):+.1%} to {max(errors):+.1%}")  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) > 1:
        words = sys.argv[1:]
        print(train(words[0], int(words[1]), int(words[2]), int(words[3]), words[4]))
    else:
        main()
