"""A run that fails says why in a sentence, and keeps its traceback."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from carbon_trainer.runs.failure import failure

DETERMINISTIC = (
    "cumsum_cuda_kernel does not have a deterministic implementation, but you set "
    "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this "
    "operation, or you can use the 'warn_only=True' option, if that's acceptable for your "
    "application."
)
"""As torch 2.13 says it."""


def failed(folder: Path, message: str) -> tuple[str, str]:
    session: Any = SimpleNamespace(run_dir=folder, step=7)
    reason = failure(session, RuntimeError(message)).reason
    return reason, (folder / "traceback.txt").read_text()


def test_it_names_the_step_the_error_and_the_traceback(tmp_path: Path) -> None:
    reason, traceback = failed(tmp_path, "no\nmore")
    assert reason.startswith("at step 7: RuntimeError: no more; the traceback is in ")
    assert "RuntimeError: no\nmore" in traceback


def test_a_kernel_without_a_deterministic_form_is_named_with_the_flag(tmp_path: Path) -> None:
    reason, traceback = failed(tmp_path, DETERMINISTIC)
    assert (
        "cumsum_cuda_kernel does not have a deterministic implementation; train it without "
        "--deterministic;" in reason
    )
    assert "warn_only" in traceback
