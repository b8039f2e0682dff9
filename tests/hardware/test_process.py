"""A process is known by its id and its start: not by the id alone, nor by the wall clock."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import psutil
import pytest

from carbon_trainer.hardware.process import ProcessIdentity, age_s


def test_this_process_lives() -> None:
    assert ProcessIdentity.current().is_alive()


def test_it_outlives_being_written_down() -> None:
    own = ProcessIdentity.current()
    assert ProcessIdentity.parse(str(own)) == own


@pytest.mark.parametrize("text", ["", "17", "17-0.5", "x-0.5-boot"])
def test_what_is_no_identity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ProcessIdentity.parse(text)


def test_a_later_process_of_the_same_id_is_another() -> None:
    own = ProcessIdentity.current()
    assert not dataclasses.replace(own, started_s=own.started_s - 60).is_alive()


def test_a_process_of_another_boot_is_another() -> None:
    assert not dataclasses.replace(ProcessIdentity.current(), boot_id="another").is_alive()


def test_one_that_has_ended_is_dead_before_and_after_it_was_waited_for(
    zombie: ProcessIdentity,
) -> None:
    assert not zombie.is_alive()
    with pytest.raises(ProcessLookupError, match="has ended"):
        ProcessIdentity.of(zombie.pid)


def test_one_that_is_gone_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = ProcessIdentity.of(process.pid)
        assert identity.is_alive()
    assert not identity.is_alive()
    with pytest.raises(ProcessLookupError):
        ProcessIdentity.of(identity.pid)


def test_a_step_of_the_machines_clock_makes_nobody_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = ProcessIdentity.current()
    booted_s = psutil.boot_time()
    # The kernel derives the boot's time from the wall clock's, so a step moves both.
    monkeypatch.setattr("psutil.boot_time", lambda: booted_s + 3600)
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: booted_s + 3600)
    assert psutil.Process().create_time() > own.started_s + booted_s + 3000
    assert own.is_alive()


def test_a_process_knows_how_long_it_has_been_running() -> None:
    code = "from carbon_trainer.hardware.process import age_s; print(age_s())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The boot's time is a whole number of seconds.
    assert -1 < float(done.stdout) < age_s() + 1
