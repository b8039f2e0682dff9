"""How long each part measures, and which models it trains."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sizes of the check.

    Attributes:
        watch_s: duration of a sensor's trace, seconds.
        held_s: duration of a constant load, seconds.
        wave_s: duration of a wave, seconds.
        marked_steps: steps that are marked by events and in the thread.
        settle_s: time for a power limit to settle, seconds.
        level_s: duration of each of six power limits, seconds.
        idle_s: duration of each measurement of idle power, seconds.
        recipe: the model that is trained.
        recipe_flags: settings of that training.
        steps: its steps; more on a GPU where they take too little time.
        memory_cases: recipe, block size, batch size of three trainings.
        overhead_steps: length of a step in milliseconds, and steps of a round.
        overhead_rounds: rounds of each variant.
        front_door_steps: steps with LoRA and the Hugging Face Trainer.
    """

    watch_s: float
    held_s: float
    wave_s: float
    marked_steps: int
    settle_s: float
    level_s: float
    idle_s: float
    recipe: str
    recipe_flags: tuple[str, ...]
    steps: int
    memory_cases: tuple[tuple[str, int, int], ...]
    overhead_steps: tuple[tuple[int, int], ...]
    overhead_rounds: int
    front_door_steps: int


FULL = Scale(
    watch_s=2.0,
    held_s=10.0,
    wave_s=7.0,
    marked_steps=60,
    settle_s=3.0,
    level_s=2.0,
    idle_s=5.0,
    recipe="gpt-neox-125m",
    recipe_flags=(
        "--block-size",
        "1024",
        "--batch-size",
        "8",
        "--accumulate",
        "4",
        "--vocab-size",
        "8192",
    ),
    steps=200,
    memory_cases=(("gpt-neox-125m", 1024, 8), ("gpt-neox-410m", 1024, 8), ("gpt-neox-1b", 1024, 4)),
    overhead_steps=((5, 200), (20, 80), (100, 16)),
    overhead_rounds=2,
    front_door_steps=10,
)
"""On a GPU: under eight minutes."""

SIMULATED = replace(
    FULL,
    recipe="gpt-neox-tiny",
    recipe_flags=("--block-size", "64", "--batch-size", "2", "--vocab-size", "512"),
    steps=400,
    memory_cases=(("gpt-neox-14m", 256, 4), ("gpt-neox-31m", 256, 4), ("gpt-neox-70m", 256, 4)),
)
"""On a simulated GPU: the same, with models that two CPU cores can train."""

SHORT = Scale(
    watch_s=1.0,
    held_s=1.5,
    wave_s=5.0,
    marked_steps=15,
    settle_s=1.0,
    level_s=0.7,
    idle_s=1.5,
    recipe="gpt-neox-tiny",
    recipe_flags=("--block-size", "32", "--batch-size", "2", "--vocab-size", "300"),
    steps=400,
    memory_cases=(("gpt-neox-14m", 256, 4),),
    overhead_steps=((5, 30),),
    overhead_rounds=1,
    front_door_steps=3,
)
"""For tests."""

SCALES = {"full": FULL, "simulated": SIMULATED, "short": SHORT}
