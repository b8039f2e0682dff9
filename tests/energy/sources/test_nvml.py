"""The real nvidia-ml-py on a simulated library: devices, figures, whole-run energy, faults."""

from __future__ import annotations

import pytest

from carbon_trainer.energy.sources.base import Method, SourceLostError
from carbon_trainer.energy.sources.nvml import describe_nvml, discover_gpus
from carbon_trainer.energy.sources.visible_devices import visible_gpus
from tests.energy.drive import Driven
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant, Power, Ramp, SquareWave

A = "GPU-aaaa1111-0000-0000-0000-000000000000"
B = "GPU-bbbb2222-0000-0000-0000-000000000000"
M = "MIG-cccc3333-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("listed", "seen"),
    [
        (None, [A, B]), ("", []), ("-1", []), ("0", [A]), ("1,0", [B, A]), ("0,0", [A]),
        ("7", []), ("1,7,0", [B]), ("GPU-bbbb", [B]), (f"{A},{B}", [A, B]), ("GPU-", []),
        ("GPU-none", []), (M, [B]), ("MIG-nope", []), (f"MIG-{B}/1/0", [B]),
        (" 1 , 0 ", [B, A]), ("0,x,1", [A]),
    ],
)  # fmt: skip
def test_visible_devices_are_those_that_cuda_would_see(listed: str | None, seen: list[str]) -> None:
    environ = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
    assert [v.uuid for v in visible_gpus(environ, [A, B], {M: B})] == seen


def test_a_mig_slice_says_that_its_figure_is_the_whole_cards() -> None:
    with SimulatedNvml(SimulatedGpu(uuid=A), SimulatedGpu(uuid=B, mig_uuids=(M,))).install():
        (source,) = discover_gpus({"CUDA_VISIBLE_DEVICES": M})
    assert source.describe().device == B
    assert "whole card" in source.describe().note


def test_without_the_library_there_are_no_gpus_and_a_reason() -> None:
    assert discover_gpus({}) == []
    assert "Not Found" in str(describe_nvml({}).problem)


def test_a_machine_is_described_by_asking_only() -> None:
    gpus = SimulatedGpu(uuid=A), SimulatedGpu(uuid=B)
    with SimulatedNvml(*gpus).install():
        described = describe_nvml({"CUDA_VISIBLE_DEVICES": "1"})
    assert described.driver == "610.12"
    assert [(gpu.uuid, gpu.visible) for gpu in described.gpus] == [(A, False), (B, True)]
    assert described.gpus[0].limit_range_w == (200, 700)


@pytest.mark.parametrize("refresh_s", [0.02, 0.1])
@pytest.mark.parametrize("power", [SquareWave(), Constant(300), Ramp()])
def test_whole_run_energy_is_true_within_a_percent(power: Power, refresh_s: float) -> None:
    driven = Driven(SimulatedGpu(power=power, refresh_s=refresh_s))
    driven.run(20)
    end_ns = driven.clock.now_ns()
    metered = driven.curve.energy(driven.begin_ns, end_ns)
    assert metered.energy_mj == pytest.approx(driven.true_mj(driven.begin_ns, end_ns), rel=0.01)


def test_the_counters_refresh_is_learnt_and_not_polled_blindly() -> None:
    driven = Driven(SimulatedGpu(refresh_s=0.1))
    driven.run(20)
    assert driven.poller.refresh_s == pytest.approx(0.1, rel=0.05)
    assert driven.polls < 10 * 20 * 8


def test_a_gpu_without_a_counter_is_metered_by_power() -> None:
    driven = Driven(SimulatedGpu(power=SquareWave(), has_counter=False))
    driven.run(20)
    end_ns = driven.clock.now_ns()
    metered = driven.curve.energy(driven.begin_ns, end_ns)
    assert driven.poller.source.describe().name == "NVML power, integrated"
    assert metered.energy_mj == pytest.approx(driven.true_mj(driven.begin_ns, end_ns), rel=0.01)


def test_a_gpu_that_tells_nothing_is_lost_from_the_start() -> None:
    gpu = SimulatedGpu(uuid=A, has_counter=False, has_power=False)
    with SimulatedNvml(gpu).install():
        (source,) = discover_gpus({})
        with pytest.raises(SourceLostError, match="neither energy nor power"):
            source.open()


def test_a_reset_in_mid_run_costs_no_more_than_one_refresh() -> None:
    driven = Driven(SimulatedGpu(power=SquareWave(), refresh_s=0.1))
    driven.run(5)
    driven.gpu.reset(driven.clock.now_ns())
    driven.run(5)
    end_ns = driven.clock.now_ns()
    metered = driven.curve.energy(driven.begin_ns, end_ns)
    assert metered.energy_mj == pytest.approx(driven.true_mj(driven.begin_ns, end_ns), rel=0.02)
    assert 0 < metered.estimated_s < 0.5


def test_a_gpu_that_vanishes_is_unknown_from_then_on_and_told_once() -> None:
    driven = Driven(SimulatedGpu(power=Constant(500)))
    driven.run(3)
    lost_ns = driven.clock.now_ns()
    driven.gpu.lost = True
    driven.run(30)
    end_ns = driven.clock.now_ns()
    metered = driven.curve.energy(driven.begin_ns, end_ns)
    known_mj = driven.true_mj(driven.begin_ns, lost_ns)
    assert metered.energy_mj == pytest.approx(known_mj, rel=0.02)
    assert metered.unknown_s == pytest.approx((end_ns - lost_ns) / 1e9, abs=0.2)
    assert [event.kind for event in driven.events] == ["lost"]
    assert "lost" in driven.events[0].reason


def test_a_gpu_that_comes_back_with_its_counter_kept_is_whole_again() -> None:
    driven = Driven(SimulatedGpu(power=Constant(500)))
    driven.run(3)
    driven.gpu.lost = True
    driven.run(5)
    driven.gpu.lost = False
    driven.run(10)
    end_ns = driven.clock.now_ns()
    metered = driven.curve.energy(driven.begin_ns, end_ns)
    assert metered.energy_mj == pytest.approx(driven.true_mj(driven.begin_ns, end_ns), rel=0.01)
    assert [event.kind for event in driven.events] == ["lost", "back"]


def test_a_figure_that_is_measured_says_so() -> None:
    driven = Driven(SimulatedGpu())
    assert driven.poller.describe().method is Method.MEASURED
