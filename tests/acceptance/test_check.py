"""Parts that break, hang, or are started too late; the document and the page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from carbon_trainer.acceptance.charts import charts_of
from carbon_trainer.acceptance.check import (
    LOG,
    Document,
    Plan,
    document_header,
    document_of,
    run_check,
)
from carbon_trainer.acceptance.findings import Check, Figure, PartResult, Rows
from carbon_trainer.acceptance.page import page
from carbon_trainer.acceptance.parts import PARTS
from carbon_trainer.clock import to_datetime
from carbon_trainer.energy.sources.base import Method
from carbon_trainer.errors import InputError
from tests.acceptance.simulated import short_plan

RESULTS = [
    PartResult(
        "board", "Driver, board and sensors", "passed", 3.21,
        figures=(Figure("counter's refresh", 99.8, "ms", 0.4), Figure("lag", None, "ms")),
        checks=(Check("it changes", True, "it does"),),
        tables=(Rows("Driver and board", ("what", "value"), (("board", "<b>H100</b>"),)),),
    ),
    PartResult("limits", "Power limit", "not possible", 0.1, "run as root"),
]  # fmt: skip


def _document(plan: Plan, results: list[PartResult]) -> Document:
    return document_of(document_header(plan, to_datetime(0)), results)


@pytest.mark.slow
def test_a_part_that_breaks_takes_no_other_with_it(tmp_path: Path) -> None:
    plan = short_plan(tmp_path, "loads", "board", lost=True)
    results: list[PartResult] = []
    document = run_check(plan, lambda result, _: results.append(result))
    assert [result.status for result in results] == ["error", "error"]
    assert all("GPU is lost" in result.reason for result in results)
    assert not document["passed"]
    assert "Traceback" in (plan.folder / LOG).read_text()


@pytest.mark.slow
def test_a_part_that_takes_too_long_is_ended_and_later_ones_are_not_run(tmp_path: Path) -> None:
    plan = dataclasses.replace(short_plan(tmp_path, "idle", "board"), max_s=16.0)
    assert plan.environ is not None
    (gpu,) = json.loads(plan.environ["SIMULATED_NVML"])
    plan.environ["SIMULATED_NVML"] = json.dumps([{**gpu, "hang_s": 60}])
    results: list[PartResult] = []
    run_check(plan, lambda result, _: results.append(result))
    ended, late = results
    assert ended.status == "error"
    assert "it was killed after 16 s" in ended.reason
    assert (late.status, late.reason) == ("not run", "no time was left")


@pytest.mark.slow
def test_a_part_may_be_started_while_the_one_before_it_measures(tmp_path: Path) -> None:
    plan = dataclasses.replace(short_plan(tmp_path, "board", "marks"), starts_ahead=True)
    results: list[PartResult] = []
    document = run_check(plan, lambda result, _: results.append(result))
    assert [result.name for result in results] == ["board", "marks"]
    assert [result.status for result in results] == ["passed", "passed"]
    assert document["passed"]


def test_an_unknown_part_is_answered_with_those_there_are(tmp_path: Path) -> None:
    plan = Plan(folder=tmp_path, parts=("bord",))
    with pytest.raises(InputError, match="there is no part 'bord': there are board, idle"):
        run_check(plan, lambda *_: None)


def test_results_survive_their_document() -> None:
    read = [PartResult.from_json(json.loads(json.dumps(result.to_json()))) for result in RESULTS]
    assert read == RESULTS
    assert read[0].figures[0].method is Method.MEASURED


def test_what_is_not_possible_fails_nothing(tmp_path: Path) -> None:
    document = _document(Plan(folder=tmp_path), RESULTS)
    assert document["passed"]
    late = PartResult("idle", "Power of an idle GPU", "not run", 0.0, "no time was left")
    assert not _document(Plan(folder=tmp_path), [*RESULTS, late])["passed"]


def test_the_page_shows_all_of_it_and_no_markup_of_others(tmp_path: Path) -> None:
    document = _document(Plan(folder=tmp_path), RESULTS)
    text = page(json.loads(json.dumps(document)))
    assert "&lt;b&gt;H100&lt;/b&gt;" in text
    assert "<b>H100</b>" not in text
    assert "99.8 ± 0.4 ms" in text
    assert "not possible: run as root" in text
    assert "The GPU is simulated" not in text
    simulated = _document(Plan(folder=tmp_path, accelerator="x:y"), RESULTS)
    assert "The GPU is simulated" in page(simulated)


def test_speed_over_power_is_drawn_with_its_data() -> None:
    rows = ((700, 640.0, 1.0, 640.0, "yes"), (300, 300.0, 0.6, 500.0, "yes"))
    levels = PartResult("levels", "Speed", "passed", 1.0, tables=(Rows("x", ("limit",), rows),))
    (chart,) = charts_of(levels)
    assert chart.desc == (
        "At 300 W the work goes at 60% of the speed at 640 W, for 78% of the energy."
    )
    assert chart.svg is not None
    assert len(chart.rows) == 2
    assert charts_of(RESULTS[0]) == []


def test_parts_have_names_of_their_own() -> None:
    assert len({part.name for part in PARTS}) == len(PARTS)
