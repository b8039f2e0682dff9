"""Figures reach a trainer's own loggers, with their units in their names."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.simulation.source import ConstantSource

pytestmark = pytest.mark.slow

FIGURES = {
    "energy/machines_kwh", "energy/facility_kwh", "energy/power_w", "energy/cost_eur",
    "energy/j_per_step", "energy/j_per_token", "emissions/total_kgco2e", "budget/left_kwh",
    "budget/left_share",
}  # fmt: skip


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, float]]:
    """What a run of eight steps left in a CSVLogger's file, a row each log point."""
    from lightning.pytorch.loggers import CSVLogger

    from carbon_trainer.callbacks import EmissionsTracking, EnergyBudget, EnergyMetering
    from tests.callbacks.loggers_helpers import Counting
    from tests.callbacks.training import loader, session, trainer

    run = session(
        tmp_path, source=ConstantSource(500), zone="GB", pue=1.5, price_per_kwh=0.5, budget_kwh=0.01
    )
    parts = EnergyMetering(session=run), EmissionsTracking(), EnergyBudget()
    logger = CSVLogger(tmp_path, name="", version="log")
    fitted = trainer(tmp_path, *parts, steps=8, logger=logger, log_every_n_steps=1)
    fitted.fit(Counting(), loader())
    logger.save()
    run.close()
    with (tmp_path / "log" / "metrics.csv").open() as file:
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def test_every_figure_reaches_a_csv_logger_under_its_name(rows: list[dict[str, float]]) -> None:
    assert set(rows[-1]) == FIGURES | {"step"}
    assert [row["step"] for row in rows] == list(range(1, 9))


def test_logged_figures_agree_with_one_another(rows: list[dict[str, float]]) -> None:
    last = rows[-1]
    # The building's energy is looked at a moment after the machines'.
    assert last["energy/facility_kwh"] >= 1.499 * last["energy/machines_kwh"] > 0
    assert last["energy/cost_eur"] == pytest.approx(0.5 * last["energy/facility_kwh"])
    assert last["budget/left_share"] == pytest.approx(last["budget/left_kwh"] / 0.01)
    assert 0 < last["budget/left_share"] < 1
    assert last["energy/j_per_step"] == pytest.approx(8 * last["energy/j_per_token"])


def test_energy_per_step_sums_to_the_energy_between_the_log_points(
    rows: list[dict[str, float]],
) -> None:
    assert "energy/j_per_step" not in rows[0]
    between_j = (rows[-1]["energy/machines_kwh"] - rows[0]["energy/machines_kwh"]) * 3.6e6
    assert sum(row["energy/j_per_step"] for row in rows[1:]) == pytest.approx(between_j)
