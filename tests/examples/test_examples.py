"""The example scripts run as they are, on a few steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples"


def _run(folder: Path, name: str, *args: str) -> str:
    environ = {
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200",
    }  # fmt: skip
    environ.pop("CARBON_TRAINER_LEDGER", None)
    ended = subprocess.run(
        [sys.executable, str(FOLDER / name), *args], cwd=folder, env=environ,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the budgeted run has run, and what it said."""
    folder = tmp_path_factory.mktemp("budgeted")
    return folder, _run(folder, "budgeted_run.py", "--steps", "3")


def test_a_lightning_script_leaves_a_record_and_a_report(tmp_path: Path) -> None:
    _run(tmp_path, "lightning_script.py", "--steps", "20")
    assert (tmp_path / "carbon_runs" / "ledger.sqlite").exists()
    (report,) = (tmp_path / "carbon_runs").glob("*/report.html")
    assert "examples" in report.read_text()


def test_any_loop_tells_the_energy_of_steps_and_phases(tmp_path: Path) -> None:
    out = _run(tmp_path, "any_loop.py", "--steps", "10")
    assert "10 steps" in out
    assert "validation:" in out
    assert not list(tmp_path.iterdir())


def test_a_budgeted_run_tells_how_it_ended_and_what_it_used(trained: tuple[Path, str]) -> None:
    folder, out = trained
    assert "finished after 3 steps" in out
    assert "J of 3600.0 J" in out
    assert list((folder / "carbon_runs").glob("*/report.html"))


def test_a_ledger_is_read_into_frames(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    out = _run(folder, "read_ledger.py")
    assert "project examples" in out
    assert "gCO2e/kWh" in out
    assert "power_w" in out


def test_a_plan_waits_for_the_sun(tmp_path: Path) -> None:
    out = _run(tmp_path, "plan_from_trace.py")
    assert "queue" in out.splitlines()[0]
    assert "less than at once" in out.splitlines()[-1]


def test_a_plan_can_be_made_from_a_trace_of_ones_own(tmp_path: Path) -> None:
    rows = [f"2026-01-{1 + h // 24:02}T{h % 24:02}:00Z,{100 + h}" for h in range(48)]
    (tmp_path / "own.csv").write_text("\n".join(["time_utc,gco2e_per_kwh", *rows]))
    out = _run(tmp_path, "plan_from_trace.py", "own.csv")
    assert "run" in out.splitlines()[0]  # it gets dirtier by the hour: it begins at once


def test_every_example_is_shown_in_the_documentation() -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    for path in FOLDER.glob("*.py"):
        assert f'--8<-- "examples/{path.name}"' in page
