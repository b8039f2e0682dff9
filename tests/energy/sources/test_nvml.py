"""The real nvidia-ml-py on a simulated library: devices, figures, whole-run energy, faults."""

from __future__ import annotations

import pytest

from carbon_trainer.energy.sources.base import Method, SourceLostError
from carbon_trainer.energy.sources.nvml import describe_nvml, discover_gpus
from tests.energy.metered_gpu import MeteredGpu
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant, Power, Ramp, SquareWave

A = "GPU-aaaa1111-0000-0000-0000-000000000000"
B = "GPU-bbbb2222-0000-0000-0000-000000000000"
M = "MIG-cccc3333-0000-0000-0000-000000000000"


def test_a_mig_slice_says_that_its_figure_is_the_whole_cards() -> None:
    with SimulatedNvml(SimulatedGpu(uuid=A), SimulatedGpu(uuid=B, mig_uuids=(M,))).install():
        (source,) = discover_gpus({"CUDA_VISIBLE_DEVICES": M})
    assert source.describe().device == B
    assert "whole card" in source.describe().note


def test_without_the_library_there_are_no_gpus_and_a_reason() -> None:
    assert discover_gpus({}) == []
    assert "Not Found" in str(describe_nvml({}).problem)


def test_a_machine_is_described_by_queries_alone() -> None:
    gpus = SimulatedGpu(uuid=A), SimulatedGpu(uuid=B)
    with SimulatedNvml(*gpus).install():
        description = describe_nvml({"CUDA_VISIBLE_DEVICES": "1"})
    assert description.driver == "610.12"
    assert [(gpu.uuid, gpu.visible) for gpu in description.gpus] == [(A, False), (B, True)]
    assert description.gpus[0].limit_range_w == (200, 700)


@pytest.mark.parametrize("refresh_s", [0.02, 0.1])
@pytest.mark.parametrize("power", [SquareWave(), Constant(300), Ramp()])
def test_whole_run_energy_is_true_within_a_percent(power: Power, refresh_s: float) -> None:
    metered = MeteredGpu(SimulatedGpu(power=power, refresh_s=refresh_s))
    metered.run(20)
    end_ns = metered.clock.now_ns()
    estimate = metered.curve.energy(metered.begin_ns, end_ns)
    assert estimate.energy_mj == pytest.approx(metered.true_mj(metered.begin_ns, end_ns), rel=0.01)


def test_a_gpu_without_a_counter_is_metered_by_power() -> None:
    metered = MeteredGpu(SimulatedGpu(power=SquareWave(), has_counter=False))
    metered.run(20)
    end_ns = metered.clock.now_ns()
    estimate = metered.curve.energy(metered.begin_ns, end_ns)
    assert metered.poller.source.describe().name == "NVML power, integrated"
    assert estimate.energy_mj == pytest.approx(metered.true_mj(metered.begin_ns, end_ns), rel=0.01)


def test_a_gpu_that_reports_nothing_is_lost_from_the_start() -> None:
    gpu = SimulatedGpu(uuid=A, has_counter=False, has_power=False)
    with SimulatedNvml(gpu).install():
        (source,) = discover_gpus({})
        with pytest.raises(SourceLostError, match="neither energy nor power"):
            source.open()


def test_a_reset_during_a_run_costs_no_more_than_one_refresh() -> None:
    metered = MeteredGpu(SimulatedGpu(power=SquareWave(), refresh_s=0.1))
    metered.run(5)
    metered.gpu.reset(metered.clock.now_ns())
    metered.run(5)
    end_ns = metered.clock.now_ns()
    estimate = metered.curve.energy(metered.begin_ns, end_ns)
    assert estimate.energy_mj == pytest.approx(metered.true_mj(metered.begin_ns, end_ns), rel=0.02)
    assert 0 < estimate.estimated_s < 0.5


def test_a_gpu_that_vanishes_is_unknown_from_then_on_and_reported_once() -> None:
    metered = MeteredGpu(SimulatedGpu(power=Constant(500)))
    metered.run(3)
    lost_ns = metered.clock.now_ns()
    metered.gpu.lost = True
    metered.run(30)
    end_ns = metered.clock.now_ns()
    estimate = metered.curve.energy(metered.begin_ns, end_ns)
    lost_mj = metered.true_mj(metered.begin_ns, lost_ns)
    assert estimate.energy_mj == pytest.approx(lost_mj, rel=0.02)
    assert estimate.unknown_s == pytest.approx((end_ns - lost_ns) / 1e9, abs=0.2)
    assert metered.event_kinds == ["lost"]
    assert "lost" in metered.events[0].reason


def test_a_gpu_that_comes_back_with_its_counter_kept_is_whole_again() -> None:
    metered = MeteredGpu(SimulatedGpu(power=Constant(500)))
    metered.run(3)
    metered.gpu.lost = True
    metered.run(5)
    metered.gpu.lost = False
    metered.run(10)
    end_ns = metered.clock.now_ns()
    estimate = metered.curve.energy(metered.begin_ns, end_ns)
    assert estimate.energy_mj == pytest.approx(metered.true_mj(metered.begin_ns, end_ns), rel=0.01)
    assert metered.event_kinds == ["lost", "back"]


def test_a_figure_that_is_measured_says_so() -> None:
    metered = MeteredGpu(SimulatedGpu())
    assert metered.poller.describe().method is Method.MEASURED
