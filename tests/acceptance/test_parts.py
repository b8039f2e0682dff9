"""Each part of the acceptance check, on a simulated GPU, and on a real one where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbon_trainer.acceptance.check import Plan, run_check
from carbon_trainer.acceptance.findings import PartResult
from carbon_trainer.acceptance.parts import PARTS
from tests.acceptance.simulated import short_plan

NAMES = [part.name for part in PARTS]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(plan: Plan) -> list[PartResult]:
    results: list[PartResult] = []
    run_check(plan, lambda result, _: results.append(result))
    return results


def figure(result: PartResult, name: str) -> float:
    (value,) = [figure.value for figure in result.figures if figure.name == name]
    assert value is not None
    return value


def broken(result: PartResult) -> list[str]:
    return [f"{check.promise}: {check.found}" for check in result.checks if not check.holds]


@pytest.mark.parametrize("name", ["board", "loads", "training", "memory", "front_doors"])
def test_on_a_simulated_gpu_every_promise_holds(tmp_path: Path, name: str) -> None:
    (result,) = run(short_plan(tmp_path, name))
    assert result.status == "passed", (result.reason, broken(result))
    assert result.checks
    assert result.tables or result.figures


def test_the_loop_is_timed_alone_with_us_and_with_others(tmp_path: Path) -> None:
    (result,) = run(short_plan(tmp_path, "overhead"))
    assert not result.reason
    variants = [row[1] for row in result.tables[0].rows]
    assert variants[:3] == ["Lightning alone", "CarbonAware", "CodeCarbon around fit"]
    assert all(row[2] >= 4900 for row in result.tables[0].rows)


def test_marks_by_events_are_nearer_than_those_of_the_thread(tmp_path: Path) -> None:
    (result,) = run(short_plan(tmp_path, "marks"))
    assert not result.reason
    events, thread = (row[2] for row in result.tables[0].rows)
    assert events < thread / 4


def test_steps_of_a_wave_are_compared_with_a_reference(tmp_path: Path) -> None:
    (result,) = run(short_plan(tmp_path, "waves", refresh_s=0.02))
    assert not result.reason
    assert figure(result, "steps of 200 ms, busy and idle in turn: mean power, busy") == (
        pytest.approx(675, rel=0.1)
    )
    assert figure(result, "steps of 200 ms, busy and idle in turn: mean power, idle") == (
        pytest.approx(115, rel=0.2)
    )
    assert not [promise for promise in broken(result) if "counter" in promise]


def test_idle_power_is_reported_with_and_without_a_context(tmp_path: Path) -> None:
    (result,) = run(short_plan(tmp_path, "idle"))
    assert result.status == "passed", (result.reason, broken(result))
    assert figure(result, "idle, no context") == pytest.approx(70, abs=1)
    assert figure(result, "idle, context held") == pytest.approx(115, abs=3)
    assert figure(result, "idle, context released") == pytest.approx(70, abs=1)


def test_limits_are_set_and_restored_also_after_a_kill(tmp_path: Path) -> None:
    limits, levels = run(short_plan(tmp_path, "limits", "levels"))
    assert limits.status == "passed", (limits.reason, broken(limits))
    assert figure(limits, "limit as set") == 420
    assert figure(limits, "power at the limit") == pytest.approx(420, rel=0.02)
    assert not levels.reason
    speeds = [row[2] for row in levels.tables[0].rows]
    # The simulated board's: the square root of the share of power.
    shares = [min(limit_w, 675) / 675 for limit_w in (700, 600, 500, 400, 300, 200)]
    assert [row[0] for row in levels.tables[1].rows] == ["100%", "85%", "70%", "55%", "40%"]
    assert speeds == pytest.approx([share**0.5 for share in shares], rel=0.15)


def test_without_permission_limits_are_not_possible_and_nothing_is_set(tmp_path: Path) -> None:
    results = run(short_plan(tmp_path, "limits", "levels", permits=[]))
    for result in results:
        assert result.status == "not possible"
        assert "run as root" in result.reason
    assert not (tmp_path / "power" / "settings.json").exists()


def test_a_board_without_a_counter_fails_the_check_of_it(tmp_path: Path) -> None:
    (result,) = run(short_plan(tmp_path, "board", has_counter=False))
    assert result.status == "failed"
    assert broken(result) == [
        "the GPU has an energy counter that changes: it has none, or it does not change"
    ]


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_on_a_gpu_every_part_runs(tmp_path: Path, name: str) -> None:
    (result,) = run(Plan(folder=tmp_path, parts=(name,)))
    assert result.status in ("passed", "failed", "not possible"), result.reason
    assert not broken(result)
