"""Results as text, and the method of a figure of which parts were obtained differently."""

from __future__ import annotations

import pytest

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy.curve import EnergyEstimate
from carbon_trainer.energy.results import DeviceEnergy, EnergySummary, PhaseEnergy, method_of
from carbon_trainer.energy.sources.base import Method
from tests.simulation.source import ConstantSource

INFO = ConstantSource().describe()


@pytest.mark.parametrize(
    ("estimated_s", "unknown_s", "method"),
    [
        (0.0, 0.0, Method.MEASURED),
        (1.0, 0.0, Method.ESTIMATED),
        (0.0, 1.0, Method.UNKNOWN),
        (1.0, 1.0, Method.UNKNOWN),
    ],
)
def test_the_weakest_part_decides_the_method(
    estimated_s: float, unknown_s: float, method: Method
) -> None:
    assert method_of(EnergyEstimate(1, 0.0, 1.0, estimated_s, unknown_s), INFO) is method


def test_a_summary_names_each_device_with_its_uncertainty_and_gaps() -> None:
    device = DeviceEnergy(INFO, 12_345_678, 1500.0, 90.0, 7.0, 3.0)
    summary = EnergySummary(0, 100 * NS_PER_S, (device,), 1234)
    total, line = str(summary).splitlines()
    assert total == "12,345.7 J in 100.00 s, 1,234 steps"
    assert line.startswith("Simulated GPU: 12,345.7 J, measured (simulated counter), gain ± 5%, ")
    assert line.endswith("timing ± 1.5 J, 7.0 s estimated, 3.0 s unknown")
    assert device.gain_sigma_mj == pytest.approx(0.05 * 12_345_678)


def test_phases_are_listed_where_there_is_more_than_one() -> None:
    phases = PhaseEnergy("train", 9000, 8.0), PhaseEnergy("validation", 1000, 2.0)
    lines = str(EnergySummary(0, 10 * NS_PER_S, (), 0, phases)).splitlines()
    assert lines[1:] == [
        "nothing could be metered",
        "train: 9.0 J in 8.00 s",
        "validation: 1.0 J in 2.00 s",
    ]
    assert "train" not in str(EnergySummary(0, 10 * NS_PER_S, (), 0, phases[:1]))
