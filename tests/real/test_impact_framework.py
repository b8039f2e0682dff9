"""The exported manifest, run by the Impact Framework itself, gives our SCI."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from carbon_trainer.reports.exports.sci import sci_document
from carbon_trainer.reports.figures.run_figures import run_figures
from carbon_trainer.reports.renderers import RENDERERS
from tests.reports import ledgers
from tests.reports.ledgers import RUN

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def if_run() -> str:
    found = shutil.which("if-run")
    assert found, "if-run is not installed: npm install -g @grnsft/if"
    return found


@pytest.mark.parametrize("name", ["finished", "resumed", "planned"])
def test_it_computes_the_same_score(name, if_run, tmp_path: Path) -> None:
    ledger = ledgers.ALL[name](tmp_path / "l.sqlite")
    figures = run_figures(ledger, RUN)
    manifest, output = tmp_path / "sci.yaml", tmp_path / "out"
    manifest.write_text(str(RENDERERS["if"](ledger, figures)))
    done = subprocess.run(
        [if_run, "--manifest", str(manifest), "--output", str(output)],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    computed = yaml.safe_load(output.with_suffix(".yaml").read_text())
    (row,) = computed["tree"]["children"]["training"]["outputs"]
    score = sci_document(figures)["score"]["gCO2e_per_token"]
    assert row["sci"] == pytest.approx(score, rel=1e-6)
