from __future__ import annotations

import numpy as np
import pytest

from carbon_trainer.ledger.facts import Interval
from carbon_trainer.reports.figures.run_figures import run_figures
from tests.reports import ledgers
from tests.reports.ledgers import RUN, T0_NS, S


@pytest.mark.parametrize("name", ["finished", "resumed", "still_open", "lost_gpu"])
def test_bins_conserve_energy_emissions_and_their_uncertainty(name, figures):
    found = figures(name)
    series = found.series
    assert series.energy_mj.sum() == pytest.approx(found.total.energy_mj, rel=1e-12)
    assert series.energy_kwh[-1] == pytest.approx(found.energy.value, rel=1e-12)
    assert series.energy_sigma_kwh[-1] == pytest.approx(found.energy.sigma, rel=1e-9)
    assert series.emissions_kgco2e[-1] == pytest.approx(found.emissions.value, rel=1e-12)
    assert series.emissions_sigma_kgco2e[-1] == pytest.approx(found.emissions.sigma, rel=1e-9)


def test_a_pause_is_cut_out_and_remembered(figures):
    series = figures("resumed").series
    assert series.timeline.pauses == [(60.0, 7200.0)]
    assert series.timeline.total_ns == round(140.5 * S)


def test_power_is_that_of_the_recorded_seconds(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite")
    chain.put(Interval(
        device="cpu", component="cpu", start_ns=T0_NS, end_ns=T0_NS + 3 * S, energy_mj=300_000,
        method="measured", sigma_mj=0, phase="train",
    ))  # fmt: skip
    chain.now_ns += 9 * S
    chain.close()
    series = run_figures(chain.ledger, RUN).series
    recorded = series.power_w[0][~np.isnan(series.power_w[0])]
    assert recorded == pytest.approx(np.full(len(recorded), 100.0))
    assert series.covered_s.sum() == pytest.approx(3.0)
    assert series.peak_w == pytest.approx(100.0)


def test_energy_booked_for_a_pause_counts_in_it(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite")
    chain.train(10)
    chain.now_ns += 100 * S
    chain.put(Interval(
        device="cpu", component="cpu", start_ns=T0_NS + 10 * S, end_ns=chain.now_ns,
        energy_mj=9_000_000, method="measured", sigma_mj=0, phase="recovered",
    ))  # fmt: skip
    series = run_figures(chain.ledger, RUN).series
    assert series.timeline.pauses == []
    assert series.energy_mj.sum() == pytest.approx(chain.ledger.energy_mj(RUN))


def test_losses_stand_where_their_energy_was_used(figures):
    found = figures("finished")
    losses = found.losses
    assert losses.energy_kwh[-1] == pytest.approx(found.energy.value, rel=0.01)
    assert np.all(np.diff(losses.energy_kwh) > 0)
    assert len(losses.validation_loss) == 3
