"""A plan's page in a real browser: it draws, it is quiet, it asks for nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from carbon_trainer.cli.actions.plan_page import page
from carbon_trainer.planning.policies import policy
from carbon_trainer.planning.problem import Idle
from tests.planning.problems import POWER_SETTINGS, day, problem
from tests.real.test_report_in_chromium import browser, opened

__all__ = ["browser"]
pytestmark = pytest.mark.real

DRAWN = """() => [...document.querySelectorAll('svg path')].filter(path => {
  const box = path.getBoundingClientRect();
  return box.width > 20 && box.height > 2;
}).length"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_draws_and_asks_for_nothing(tmp_path: Path, browser: object, scheme: str) -> None:
    job = problem(day(48), 24, power_settings=POWER_SETTINGS, release=Idle(0, 300, 0.05))
    file = tmp_path / "plan.html"
    file.write_text(page(job, policy("optimal")(job), policy("run-now")(job)))
    shown = opened(browser, file.as_uri(), color_scheme=scheme)
    assert shown.evaluate(DRAWN) > 5
    assert shown.said == []
    assert shown.asked == [file.as_uri()]
    assert "fewer emissions" in shown.inner_text("body")


def test_a_name_in_the_data_is_no_markup(tmp_path: Path, browser: object) -> None:
    job = problem(day(24), 12)
    info = dataclasses.replace(job.intensity.info, zone="<script>alert(1)</script>")
    named = dataclasses.replace(job, intensity=dataclasses.replace(job.intensity, info=info))
    file = tmp_path / "plan.html"
    file.write_text(page(named, policy("optimal")(named), policy("run-now")(named)))
    assert "<script>" in opened(browser, file.as_uri()).inner_text("body")
