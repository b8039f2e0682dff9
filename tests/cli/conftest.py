"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import CommandResult, Shell, call


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A folder of its own, which is also this process's."""
    monkeypatch.delenv("CARBON_TRAINER_LEDGER", raising=False)
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path)


@pytest.fixture
def carbon_train(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., CommandResult]:
    """`carbon-train` in this process, in the shell's folder."""
    return lambda *args: call(list(args), monkeypatch, capsys)
