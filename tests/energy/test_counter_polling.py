"""When a counter is polled: rarely, and yet each change is dated closely."""

from __future__ import annotations

import pytest

from tests.energy.metered_gpu import MeteredGpu
from tests.simulation.nvml import SimulatedGpu
from tests.simulation.power import Constant, SquareWave

MS = 1_000_000


@pytest.mark.parametrize("refresh_s", [0.02, 0.0333, 0.1])
def test_the_poller_keeps_a_real_counters_phase_for_long(refresh_s: float) -> None:
    metered = MeteredGpu(SimulatedGpu(power=Constant(300), refresh_s=refresh_s), step_s=1.0)
    metered.run(120)
    knots = metered.curve._knots.times[-50:] - metered.gpu.origin_ns
    period_ns = round(refresh_s * 1e9)
    error_ns = (knots + period_ns // 2) % period_ns - period_ns // 2
    assert abs(error_ns).max() < 2 * MS
    assert metered.poller.refresh_s == pytest.approx(refresh_s, rel=0.001)


def test_a_refresh_that_changes_is_learnt_again() -> None:
    metered = MeteredGpu(SimulatedGpu(power=Constant(300), refresh_s=0.1), step_s=0.2)
    metered.run(10)
    metered.gpu.refresh_s = 0.02
    metered.run(20)
    assert metered.poller.refresh_s == pytest.approx(0.02, rel=0.05)


def test_the_counters_refresh_is_learnt_and_not_polled_blindly() -> None:
    metered = MeteredGpu(SimulatedGpu(refresh_s=0.1))
    metered.run(20)
    assert metered.poller.refresh_s == pytest.approx(0.1, rel=0.05)
    assert metered.polls < 10 * 20 * 8


def test_where_steps_are_long_the_device_is_polled_less() -> None:
    short_steps, long_steps = (
        MeteredGpu(SimulatedGpu(power=SquareWave(), refresh_s=0.02), step_s=step_s)
        for step_s in (0.05, 2.0)
    )
    for metered in (short_steps, long_steps):
        metered.run(25)
    assert long_steps.polls < short_steps.polls / 2
    assert short_steps.polls < 1.4 * 25 / 0.02


def test_a_start_read_late_on_a_busy_machine_is_dated_by_the_refresh() -> None:
    gpu = SimulatedGpu(power=Constant(250), refresh_s=0.02)
    metered = MeteredGpu(gpu)
    metered.run(0.001)
    for _ in range(2):  # others have the processor
        metered.clock.advance(0.35)
        metered.run(0.001)
    metered.run(2)
    now_ns = metered.clock.now_ns()
    true_mj = metered.true_mj(metered.begin_ns, now_ns)
    assert metered.curve.total(now_ns).energy_mj == pytest.approx(true_mj, rel=0.01)
