"""What a transformers checkpoint folder carries of a run, sealed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from carbon_trainer.errors import InputError
from carbon_trainer.runs.checkpoints import damaged_inside, seal_inside

STATE = "carbon_trainer.json"
SEAL = "carbon_trainer.sha256"


def leave_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a run's state into a checkpoint and seal all that is in the folder.

    Args:
        folder: the checkpoint, which the trainer has written.
        state: plain types, see ``state_of``.

    Raises:
        OSError: if the disk refuses.
    """
    (folder / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    seal_inside(folder, SEAL)


def read_state(folder: Path) -> dict[str, Any] | None:
    """Return the run's state in a checkpoint; None where the checkpoint has none.

    Raises:
        InputError: if the checkpoint is not as it was sealed.
    """
    if not (folder / STATE).exists():
        return None
    try:
        damaged = damaged_inside(folder, SEAL)
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"the checkpoint {folder} is not whole: {error}; go on from another one."
        ) from error
    if damaged:
        raise InputError(
            f"the checkpoint {folder} is not what was saved, see {', '.join(damaged[:3])}; go on "
            "from another one."
        )
    return dict(state)
