"""`carbon-train plan` and `simulate` as their user sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.cli.commands import CommandResult, Shell
from tests.planning.problems import day

pytestmark = pytest.mark.slow

JOB = [
    "--work-hours", "24", "--levels", "950:1.0,850:0.975,750:0.92,650:0.81,550:0.64",
    "--pause-w", "190", "--restart-s", "10", "--restart-kwh", "0.003", "--queue-w", "0",
]  # fmt: skip
Train = Callable[..., CommandResult]


@pytest.fixture
def trace(shell: Shell) -> Path:
    path = shell.folder / "XX.csv"
    times = (f"2026-06-{1 + hour // 24:02}T{hour % 24:02}:00Z" for hour in range(240))
    rows = (f"{time},{value:.3f}" for time, value in zip(times, day(240), strict=True))
    path.write_text("\n".join(["time_utc,gco2e_per_kwh", *rows]) + "\n")
    return path


def test_a_plan_prints_its_schedule_and_saving(trace: Path, carbon_train: Train) -> None:
    result = carbon_train(
        "plan", "--trace", str(trace), "--start", "2026-06-02T00:00Z", "--deadline", "48h", *JOB,
        "--compare",
    )  # fmt: skip
    assert result.status == 0, result.err
    assert "less than run now" in result.out
    assert "above the optimum (proved); solved in" in result.out
    assert "wait-awhile" in result.out
    assert "h before the deadline" in result.out


def test_its_json_adds_up(trace: Path, carbon_train: Train) -> None:
    result = carbon_train("plan", "--trace", str(trace), "--deadline", "48h", *JOB, "--json")
    plan = json.loads(result.out)
    assert plan["lower_bound_gco2e"] <= plan["emissions_gco2e"] < plan["run_now_gco2e"]
    assert sum(slot["work_hours"] for slot in plan["slots"]) == pytest.approx(24)
    drawn = [slot for slot in plan["slots"] if slot["mode"] == "run"]
    for slot in drawn:
        length = datetime.fromisoformat(slot["end"]) - datetime.fromisoformat(slot["start"])
        hours = length.total_seconds() / 3600
        assert slot["energy_kwh"] == pytest.approx(slot["power_w"] / 1000 * hours, 1e-3)
    assert plan["energy_kwh"] == pytest.approx(sum(slot["energy_kwh"] for slot in plan["slots"]))
    assert {slot["level"] for slot in drawn} <= {0, 1, 2, 3, 4}


def test_a_run_file_gives_zone_price_and_budget(shell: Shell, carbon_train: Train) -> None:
    (shell.folder / "run.yaml").write_text("zone: DE\nprice_per_kwh: 0.3\nbudget_kwh: 500\n")
    result = carbon_train("plan", "run.yaml", "--deadline", "3d", "--work-hours", "24")
    assert result.status == 0, result.err
    assert "DE" in result.out
    assert "stands for every hour" in result.out
    assert "Cost" in result.out


def test_the_page_is_self_contained(trace: Path, shell: Shell, carbon_train: Train) -> None:
    result = carbon_train(
        "plan", "--trace", str(trace), "--deadline", "48h", *JOB, "--html", "plan.html"
    )
    assert result.status == 0, result.err
    page = (shell.folder / "plan.html").read_text()
    assert page.count("<svg") == 1
    assert "fewer emissions than running at once" in page
    assert not re.search(r"(?:src|href)=\"https?:", page)


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["--deadline", "48h"], 2, "missing --work-hours"),
        (["--deadline", "soon", *JOB], 2, "--deadline: invalid time 'soon'"),
        (["--deadline", "48", *JOB], 2, "--deadline: invalid duration '48'"),
        (["--deadline", "2026-05-01T00:00Z", *JOB], 2, "is at or before the start"),
        (["--deadline", "2026-06-03T00:00", *JOB], 2, "has no time zone"),
        (["--deadline", "60d", *JOB], 2, "does not cover"),
        (["--deadline", "48h", *JOB, "--levels", "fast"], 2, "invalid power level 'fast'"),
        (["--deadline", "48h", *JOB, "--policy", "optimum"], 2, "Did you mean optimal"),
        (["--deadline", "48h", *JOB, "--blackout", "noon"], 2, "invalid span 'noon'"),
        (["--deadline", "48h", *JOB, "--cap", "noon=5"], 2, "invalid span 'noon'"),
        (["--deadline", "48h", *JOB, "--cap", "noon"], 2, "invalid power cap 'noon'"),
        (["--deadline", "12h", *JOB], 4, "would do"),
        (
            ["--deadline", "48h", *JOB, "--budget-kwh", "1"],
            4,
            "energy budget of 1 kWh is too small",
        ),
    ],
)
def test_an_impossible_plan_is_one_sentence(
    trace: Path, carbon_train: Train, args: list[str], status: int, message: str
) -> None:
    result = carbon_train("plan", "--trace", str(trace), *args)
    assert result.status == status, result.out + result.err
    assert message in result.err
    assert "Traceback" not in result.err


def test_a_simulation_compares_policies(trace: Path, shell: Shell, carbon_train: Train) -> None:
    result = carbon_train(
        "simulate", "--trace", str(trace), "--slack", "2", *JOB, "--every", "48h",
        "--policy", "run-now", "--policy", "wait-awhile", "--policy", "optimal",
        "--csv", "starts.csv", "--jobs", "1",
    )  # fmt: skip
    assert result.status == 0, result.err
    assert "5 starts" in result.out
    assert "100.0 %" in result.out
    rows = (shell.folder / "starts.csv").read_text().splitlines()
    assert len(rows) == 1 + 5 * 3
    assert rows[1].startswith("2026-06-01T00:00:00Z,run-now,")


def test_a_trace_that_is_too_short_is_bad_input(trace: Path, carbon_train: Train) -> None:
    result = carbon_train("simulate", "--trace", str(trace), "--slack", "20", *JOB)
    assert result.status == 2
    assert "which is shorter than the 480 hours" in result.err
