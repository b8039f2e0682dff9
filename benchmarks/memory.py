"""The estimated memory of trainings, compared with what they take.

Each training is a separate process on the CPU: its peak of resident memory in two steps of forward,
backward, clipping and AdamW, less what was resident before the model was built (VmHWM and VmRSS of
Linux). The allocator returns large blocks to the system at once, as GPUs' allocators keep them
separate anyway.

    python -m benchmarks.memory
"""

from __future__ import annotations

from carbon_trainer.acceptance.parts.memory import memory_of
from carbon_trainer.models.activations import FULL, HALF, MIXED
from carbon_trainer.models.memory import TrainingSetup, estimate_memory
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


def main() -> None:
    print(f"{'recipe':<14}{'vocab':>7}{'block':>7}{'batch':>6} {'precision':<11}"
          f"{'state':>8}{'saved':>8}{'logits':>8}{'estimate':>9}{'measured':>9}"
          f"{'error':>8}")  # fmt: skip
    errors = []
    for case in CASES:
        name, vocab_size, block_size, batch_size, precision = case
        setup = TrainingSetup(vocab_size=vocab_size, block_size=block_size, batch_size=batch_size,
                      precision=precision)  # fmt: skip
        estimate = estimate_memory(recipe(name), setup)
        if estimate is None:
            raise RuntimeError(name)
        measured = memory_of(name, setup, OMP_NUM_THREADS="1")
        if isinstance(measured, str):
            raise TypeError(f"{name}: {measured}")
        total = measured["total"]
        errors.append(estimate.total / total - 1)
        parts = (
            estimate.state,
            estimate.copies + estimate.activations,
            estimate.logits,
            estimate.total,
            total,
        )
        print(f"{name:<14}{vocab_size:>7}{block_size:>7}{batch_size:>6} {precision:<11}"
              + "".join(f"{part / 1e6:>8.0f}{' ' if part is total else ''}" for part in parts)
              + f"{errors[-1]:>+8.1%}", flush=True)  # fmt: skip
    print(f"MB; mean absolute error {sum(map(abs, errors)) / len(errors):.1%}, "
          f"from {min(errors):+.1%} to {max(errors):+.1%}")  # fmt: skip


if __name__ == "__main__":
    main()
