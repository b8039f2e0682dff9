"""GPUs are turned down by the best mechanism that is permitted, and always put back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from carbon_trainer.power.journal import Journal, orphans, put_back
from carbon_trainer.power.throttle import Throttle
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml

ROOT = Path(__file__).parents[2]
FULL_MW = 700_000


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def gpu() -> Iterator[SimulatedGpu]:
    gpu = SimulatedGpu()
    with SimulatedNvml(gpu).install():
        yield gpu


def make_throttle(
    gpu: SimulatedGpu, notices: list[str], tmp_path: Path, **options: object
) -> Throttle:
    journal = Journal(tmp_path / "limits" / "own.json")
    return Throttle([gpu.uuid], say=notices.append, journal=journal, **options)  # type: ignore[arg-type]


def test_the_power_limit_is_set_and_put_back(
    gpu: SimulatedGpu, notices: list[str], tmp_path: Path
) -> None:
    gpu.limit_mw = 650_000
    throttle = make_throttle(gpu, notices, tmp_path)
    assert throttle.mechanism == "power-limit"
    throttle.apply(0.5)
    assert gpu.limit_mw == 325_000
    assert throttle.text(0.5) == "325 W"
    throttle.apply(0.7)
    assert gpu.limit_mw == 455_000
    throttle.restore()
    assert gpu.limit_mw == 650_000
    assert not list((tmp_path / "limits").iterdir())
    assert not notices


def test_a_share_below_the_least_limit_takes_the_least(
    gpu: SimulatedGpu, notices: list[str], tmp_path: Path
) -> None:
    throttle = make_throttle(gpu, notices, tmp_path)
    throttle.apply(0.1)
    assert gpu.limit_mw == 200_000
    throttle.restore()


def test_without_permission_the_next_means_is_taken_and_the_remedy_said(
    gpu: SimulatedGpu, notices: list[str], tmp_path: Path
) -> None:
    gpu.permits = ("clocks",)
    throttle = make_throttle(gpu, notices, tmp_path)
    assert throttle.mechanism == "clocks"
    assert len(notices) == 1
    assert "run as root" in notices[0]
    throttle.apply(0.5)
    assert gpu.clock_mhz == 990
    assert gpu.limit_mw == FULL_MW
    throttle.restore()
    assert gpu.clock_mhz is None


def test_where_nothing_may_be_set_steps_are_spaced_out(
    gpu: SimulatedGpu, notices: list[str], tmp_path: Path
) -> None:
    gpu.permits = ()
    throttle = make_throttle(gpu, notices, tmp_path)
    assert throttle.mechanism == "duty-cycle"
    assert len(notices) == 2
    assert throttle.pause_between_steps_s(0.3) == 0
    throttle.apply(0.75)
    assert throttle.pause_between_steps_s(0.3) == pytest.approx(0.1)
    throttle.restore()
    assert gpu.limit_mw == FULL_MW


def test_what_somebody_else_has_set_meanwhile_is_left(
    gpu: SimulatedGpu, notices: list[str], tmp_path: Path
) -> None:
    throttle = make_throttle(gpu, notices, tmp_path)
    throttle.apply(0.5)
    gpu.limit_mw = 500_000
    throttle.apply(0.7)
    assert gpu.limit_mw == 500_000
    throttle.restore()
    assert gpu.limit_mw == 500_000
    assert "somebody else has set the power-limit to 500" in notices[0]


def test_somebody_elses_limit_is_left_at_the_end_too(
    gpu: SimulatedGpu, notices: list[str], tmp_path: Path
) -> None:
    throttle = make_throttle(gpu, notices, tmp_path)
    throttle.apply(0.5)
    gpu.limit_mw = 500_000
    throttle.restore()
    assert gpu.limit_mw == 500_000


def test_nothing_is_set_where_the_journal_cannot_be_written(
    gpu: SimulatedGpu, notices: list[str], tmp_path: Path
) -> None:
    (tmp_path / "limits").write_text("a file where the folder should be")
    throttle = make_throttle(gpu, notices, tmp_path)
    throttle.apply(0.5)
    assert gpu.limit_mw == FULL_MW
    assert "could not be stored" in notices[0]


def test_a_lost_gpu_is_said_and_does_not_end_training(
    gpu: SimulatedGpu, notices: list[str], tmp_path: Path
) -> None:
    throttle = make_throttle(gpu, notices, tmp_path)
    throttle.apply(0.5)
    gpu.lost = True
    throttle.apply(0.7)
    throttle.restore()
    assert any("cannot be" in sentence for sentence in notices)
    # What is not put back stays in the journal, for the doctor.
    assert (tmp_path / "limits" / "own.json").exists()


def test_a_run_that_was_killed_between_writing_and_setting_is_put_back(
    gpu: SimulatedGpu, notices: list[str], tmp_path: Path
) -> None:
    throttle = make_throttle(gpu, notices, tmp_path)
    throttle.apply(0.5)
    throttle._write_journal({gpu.uuid: 490_000})
    messages, failures = put_back(tmp_path / "limits" / "own.json")
    assert gpu.limit_mw == FULL_MW
    assert messages
    assert not failures


KILLED = """
import sys, time
from pathlib import Path
from carbon_trainer.power.journal import Journal
from carbon_trainer.power.throttle import Throttle
throttle = Throttle([sys.argv[2]], say=print, journal=Journal(Path(sys.argv[1])))
throttle.apply(0.5)
print("set", flush=True)
time.sleep(60)
"""


def killed_run(tmp_path: Path, uuid: str, *, guard: bool) -> Path:
    settings = tmp_path / "settings.json"
    device = {"power_w": 300, "uuid": uuid, "settings_file": str(settings)}
    environ = {
        **os.environ,
        "SIMULATED_NVML": json.dumps([device]),
        "SIMULATED_NVML_ROOT": str(ROOT),
        "PYTHONPATH": str(ROOT / "tests" / "simulation" / "site"),
    }
    code = KILLED if guard else KILLED.replace(
        "throttle.apply", "import carbon_trainer.power.throttle as t\n"
        "t.start_guard = lambda path: None\nthrottle.apply"
    )  # fmt: skip
    journal = tmp_path / "limits" / "killed.json"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(journal), uuid], env=environ, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"set\n"
        assert json.loads(settings.read_text())["limit_mw"] == 350_000
        process.send_signal(signal.SIGKILL)
    return settings


@pytest.mark.slow
def test_the_guard_puts_limits_back_after_kill_9(tmp_path: Path) -> None:
    settings = killed_run(tmp_path, "GPU-a", guard=True)
    deadline = time.monotonic() + 120
    while json.loads(settings.read_text())["limit_mw"] != FULL_MW:
        assert time.monotonic() < deadline, "the guard did not put the limit back"
        time.sleep(0.02)


def test_the_doctor_finds_what_no_guard_was_left_to_put_back(tmp_path: Path) -> None:
    settings = killed_run(tmp_path, "GPU-a", guard=False)
    (orphan,) = orphans(tmp_path / "limits")
    gpu = SimulatedGpu(uuid="GPU-a", settings_file=str(settings))
    with SimulatedNvml(gpu).install():
        messages, failures = put_back(orphan)
    assert json.loads(settings.read_text())["limit_mw"] == FULL_MW
    assert messages == ["GPU-a: the power-limit is 700 W again"]
    assert not failures
    assert not list(orphans(tmp_path / "limits"))


def test_a_journal_of_a_living_process_is_left_alone(
    gpu: SimulatedGpu, notices: list[str], tmp_path: Path
) -> None:
    throttle = make_throttle(gpu, notices, tmp_path)
    throttle.apply(0.5)
    assert not list(orphans(tmp_path / "limits"))
    throttle.restore()
