"""CodeCarbon's emissions.csv becomes runs of the ledger, with what it does not say unsaid."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.codecarbon import import_emissions
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from carbon_trainer.reports.build import render_run
from carbon_trainer.reports.exports.codecarbon import COLUMNS
from carbon_trainer.reports.figures.run_figures import run_figures
from tests.reports import ledgers

ROW = {
    "timestamp": "2026-03-01T12:00:00", "project_name": "nlp", "run_id": "abc", "duration": "3600",
    "emissions": "0.12", "cpu_energy": "0.1", "gpu_energy": "0.25", "ram_energy": "0.05",
    "energy_consumed": "0.4", "country_name": "Germany", "country_iso_code": "DEU", "pue": "1.25",
    "gpu_model": "2 x NVIDIA A100", "cpu_count": "64", "ram_total_size": "256",
}  # fmt: skip


def emissions(path: Path, *rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "l.sqlite")


def test_a_row_is_a_run_with_its_energy_emissions_and_pue(ledger: Ledger, tmp_path: Path) -> None:
    (run,) = import_emissions(ledger, emissions(tmp_path / "emissions.csv", ROW), "ada")
    figures = run_figures(ledger, run.run_id)
    assert figures.facility_energy.value == pytest.approx(0.4)
    assert figures.energy.value == pytest.approx(0.4 / 1.25)
    assert figures.emissions.value == pytest.approx(0.12)
    assert figures.energy.method == "estimated"
    assert figures.duration.value == pytest.approx(3600)
    assert figures.opened.user == "ada"
    assert verify(ledger, run.run_id).ok
    assert "names no time zone" in render_run(ledger, run.run_id, "html")


def test_taking_it_again_changes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    path = emissions(tmp_path / "emissions.csv", ROW, {**ROW, "run_id": "def"})
    first = import_emissions(ledger, path)
    again = import_emissions(ledger, path)
    assert [run.is_new for run in first + again] == [True, True, False, False]
    assert len(ledger.run_ids()) == 2


def test_what_we_export_can_be_taken_in_again(ledger: Ledger, tmp_path: Path) -> None:
    ours = ledgers.finished(tmp_path / "ours.sqlite")
    path = tmp_path / "emissions.csv"
    path.write_text(render_run(ours, ledgers.RUN, "codecarbon"))
    (run,) = import_emissions(ledger, path)
    before, after = run_figures(ours, ledgers.RUN), run_figures(ledger, run.run_id)
    assert after.facility_energy.value == pytest.approx(before.facility_energy.value, rel=1e-6)
    assert after.emissions.value == pytest.approx(before.emissions.value, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"energy_consumed": "much"}, "line 2: energy_consumed is 'much'"),
        ({"energy_consumed": "0.5"}, "add up to 0.4 kWh, but energy_consumed is 0.5"),
        ({"emissions": "120"}, "it may hold grams"),
        ({"timestamp": "yesterday"}, "timestamp is 'yesterday'"),
        ({"duration": "-1"}, "duration is '-1'"), ({"emissions": ""}, "emissions is ''"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_right_is_named_and_nothing_is_taken(
    ledger: Ledger, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    path = emissions(tmp_path / "emissions.csv", {**ROW, **change}, ROW)
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        import_emissions(ledger, path)
    assert ledger.run_ids() == []


def test_another_file_is_named(ledger: Ledger, tmp_path: Path) -> None:
    path = emissions(tmp_path / "x.csv", ROW, columns=("timestamp", "duration"))
    with pytest.raises(InputError, match="no column 'emissions'"):
        import_emissions(ledger, path)
    with pytest.raises(InputError, match="cannot read"):
        import_emissions(ledger, tmp_path / "none.csv")


def test_a_row_with_a_total_only_is_one_machine(ledger: Ledger, tmp_path: Path) -> None:
    row = {k: v for k, v in ROW.items() if not k.endswith("_energy")}
    (run,) = import_emissions(ledger, emissions(tmp_path / "e.csv", row))
    assert [t.name for t in run_figures(ledger, run.run_id).by_component] == ["machine"]
