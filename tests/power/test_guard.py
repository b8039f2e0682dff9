"""The guard waits for the one process that changed limits, by whatever the system has for that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from carbon_trainer.hardware.process import ProcessIdentity
from carbon_trainer.power import guard


@pytest.fixture
def ended() -> ProcessIdentity:
    """A process that has ended, and was waited for."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = ProcessIdentity.of(process.pid)
        process.kill()
    return identity


@pytest.mark.parametrize("has_descriptors", [True, False])
def test_an_owner_that_has_ended_before_is_not_waited_for(
    ended: ProcessIdentity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_descriptors: bool
) -> None:
    if not has_descriptors:
        monkeypatch.delattr(os, "pidfd_open")
    journal = tmp_path / "limits.json"
    journal.write_text('{"entries": []}')
    # The guard ignores signals; this process goes on to need them.
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert guard.watch(ended, journal) == 0
    assert not journal.exists(), "what it says was not put back"


@pytest.mark.parametrize("has_descriptors", [True, False])
def test_an_owner_that_lives_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, has_descriptors: bool
) -> None:
    if not has_descriptors:
        monkeypatch.delattr(os, "pidfd_open")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner_exit = guard._ProcessExit(ProcessIdentity.of(process.pid))
        assert not owner_exit.wait(0.01)
        process.kill()
        assert owner_exit.wait(60)
