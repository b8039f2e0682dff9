"""Call the command line as a shell does, in this process or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from carbon_trainer.cli.main import main
from tests.warm import WarmProcess

ROOT = Path(__file__).parents[2]
Process = subprocess.Popen[str] | WarmProcess

TEXT = "\n\n".join(
    f"def function_{n}(argument):\n    return argument + {n} * {n % 7}\n" for n in range(400)
)

TINY_MODEL = {
    "model_type": "gpt_neox", "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 32,
    "hidden_dropout": 0.1, "attention_dropout": 0.1,
}  # fmt: skip
"""Dropout is on, so that random state shows in the loss."""


@dataclass(frozen=True)
class CommandResult:
    status: int
    out: str
    err: str


class Shell:
    """A folder with a small corpus and a small model, and commands run in it.

    Args:
        folder: where; it exists.
        layers: how many the model has.
    """

    def __init__(self, folder: Path, layers: int = 1) -> None:
        self.folder = folder
        (folder / "corpus.txt").write_text(TEXT)
        (folder / "model.json").write_text(json.dumps({**TINY_MODEL, "num_hidden_layers": layers}))

    @property
    def tiny(self) -> list[str]:
        """Flags that make a job of seconds."""
        return [
            "--data", "corpus.txt", "--model", "model.json", "--vocab-size", "300",
            "--block-size", "32", "--batch-size", "4", "--max-steps", "12", "--log-every", "1",
            "--no-host-metering", "--learning-rate", "0.01",
        ]  # fmt: skip

    def run_id(self) -> str:
        """Return the id of the one run."""
        (run,) = [p.parent for p in (self.folder / "carbon_runs").glob("*/report.json")]
        return run.name

    def start(
        self, *args: str, gpu: dict[str, object] | None = None, piped: bool = False
    ) -> Process:
        """Start a command in a process of its own, with a simulated GPU if one is described.

        Args:
            args: what follows ``carbon-train``.
            gpu: the simulated GPU.
            piped: whether its output is to be read while it runs, through ``stdout``.
        """
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        if gpu is not None:
            environ |= {
                "SIMULATED_NVML": json.dumps([gpu]),
                "SIMULATED_NVML_ROOT": str(ROOT),
                "PYTHONPATH": str(ROOT / "tests" / "simulation" / "site"),
            }
        if args[0] == "fit" and not piped:
            command = ["-m", "carbon_trainer", *args]
            return WarmProcess(command, cwd=self.folder, env=environ)
        code = "from carbon_trainer.cli.main import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, *args], cwd=self.folder, env=environ, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *args: str, gpu: dict[str, object] | None = None) -> CommandResult:
        """Run a command in a process of its own to its end."""
        process = self.start(*args, gpu=gpu)
        out, err = process.communicate(timeout=240)
        return CommandResult(process.returncode, out, err)


def call(
    args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandResult:
    """Run a command in this process."""
    monkeypatch.setattr(sys, "argv", ["carbon-train", *args])
    monkeypatch.setenv("COLUMNS", "200")
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_info:
        main()
    captured = capsys.readouterr()
    status = exit_info.value.code
    return CommandResult(status if isinstance(status, int) else 0, captured.out, captured.err)
