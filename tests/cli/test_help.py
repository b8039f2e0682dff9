"""Help answers at once: it is made of light modules, whatever its command imports when it runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from carbon_trainer.cli.main import command_paths

HEAVY = (
    "alembic", "codecarbon", "jinja2", "lightning", "matplotlib", "numpy", "pandas", "psutil",
    "pyarrow", "pydantic", "requests", "rich", "sqlalchemy", "torch", "transformers", "yaml",
)  # fmt: skip


COMMANDS = list(command_paths())


def heavy_after(*words: str) -> tuple[str, list[str]]:
    """Return what a command prints, and which heavy modules it has imported, in a new process."""
    code = (
        "import sys\n"
        "from carbon_trainer.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    out, _, heavy = result.stdout.rstrip().rpartition("\n")
    return out, heavy.strip("[]").replace("'", "").split(", ") if heavy != "[]" else []


def test_subcommands_are_listed() -> None:
    assert {(), ("fit",), ("runs", "resume-now"), ("data", "prepare")} <= set(COMMANDS)
    assert ("ledger", "merge") in COMMANDS


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "carbon-train")
def test_help_imports_nothing_heavy(path: tuple[str, ...]) -> None:
    out, heavy = heavy_after(*path, "--help")
    assert out.startswith(f"Usage: {' '.join(('carbon-train', *path))} ")
    assert heavy == []


def test_a_command_that_runs_imports_what_it_needs() -> None:
    out, heavy = heavy_after("recipes", "llama")
    assert "llama-7b" in out
    assert {"rich", "yaml"} <= set(heavy)
