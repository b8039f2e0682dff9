"""AMD cards on a simulated AMD SMI: figures, the trial of the counter, faults."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.energy.curve import EnergyCurve
from carbon_trainer.energy.poller import MeterEvent, Poller
from carbon_trainer.energy.sources.amd import discover_amd_gpus
from carbon_trainer.energy.sources.base import SourceLostError
from tests.simulation.amdsmi import SimulatedAmd, SimulatedAmdSmi
from tests.simulation.power import Constant, Power, Ramp, SquareWave


class Run:
    """One card read into a curve in virtual time."""

    def __init__(self, gpu: SimulatedAmd, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.gpu = VirtualClock(), gpu
        SimulatedAmdSmi(gpu, clock=self.clock).install(monkeypatch)
        self.origin_ns = self.clock.now_ns()
        (source,) = discover_amd_gpus({}, self.clock)
        source.open()
        self.curve = EnergyCurve(self.clock.now_ns(), stepped=source.describe().stepped)
        self.events: list[MeterEvent] = []
        self.poller = Poller(source, self.curve, self.clock, self.events.append)
        self._random = random.Random(1)
        # The poller opens by itself: what is used during the trial is extrapolated.
        self.run(0.001)
        self.begin_ns = self.clock.now_ns()

    def run(self, seconds: float) -> None:
        end_ns = self.clock.now_ns() + round(1e9 * seconds)
        while self.clock.now_ns() < end_ns:
            self.clock.advance(self.poller.poll() + self._random.expovariate(1 / 0.0003))

    @property
    def metered_mj(self) -> int:
        return self.curve.energy(self.begin_ns, self.clock.now_ns()).energy_mj

    @property
    def true_mj(self) -> float:
        power = self.gpu.power
        end, begin = self.clock.now_ns() - self.origin_ns, self.begin_ns - self.origin_ns
        return 1000 * (power.energy_j(end) - power.energy_j(begin))


@pytest.mark.slow
@pytest.mark.parametrize("refresh_s", [0.001, 0.02, 0.06])
@pytest.mark.parametrize("power", [SquareWave(), Constant(300), Ramp()])
def test_whole_run_energy_is_true_within_a_percent(
    power: Power, refresh_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(SimulatedAmd(power=power, refresh_s=refresh_s), monkeypatch)
    run.run(20)
    assert run.poller.describe().name == "AMD SMI energy counter"
    assert run.metered_mj == pytest.approx(run.true_mj, rel=0.01)
    assert run.events == []


@pytest.mark.parametrize("bits", [32, 64])
def test_an_accumulator_that_wraps_counts_on(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimulatedAmd(bits=bits, first_ticks=2**bits - 100_000_000)
    library = SimulatedAmdSmi(gpu).install(monkeypatch)
    (source,) = discover_amd_gpus({}, library.clock)
    source.open()
    read_mj = []
    for _ in range(5):
        read_mj.append(source.read().energy_mj)
        library.clock.advance(3)
    assert gpu.ticks(library.clock.now_ns() - library.begin_ns) < 2**30, "it has wrapped"
    assert [b - a for a, b in pairwise(read_mj)] == pytest.approx([900_000] * 4, abs=2)


def test_an_accumulator_that_is_reset_has_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(SimulatedAmd(), monkeypatch)
    run.run(5)
    run.gpu.first_ticks = -run.gpu.ticks(run.clock.now_ns() - run.origin_ns) + 123_456_789
    run.run(5)
    assert run.metered_mj == pytest.approx(run.true_mj, rel=0.02)


@pytest.mark.parametrize("pace", [0.0, 0.1, 0.4, 2.5, 16.0])
def test_a_counter_that_is_not_plausible_gives_way_to_power_and_says_so(
    pace: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(SimulatedAmd(power=SquareWave(), pace=pace), monkeypatch)
    run.run(20)
    info = run.poller.describe()
    assert info.name == "AMD SMI power, integrated"
    assert "its energy counter" in info.note
    assert "power is used" in info.note
    assert run.metered_mj == pytest.approx(run.true_mj, rel=0.01)


def test_the_trial_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimulatedAmdSmi(SimulatedAmd()).install(monkeypatch)
    (source,) = discover_amd_gpus({}, library.clock)
    source.open()
    assert library.clock.now_ns() - library.begin_ns <= 210_000_000


@pytest.mark.parametrize("key", ["current_socket_power", "average_socket_power", "socket_power"])
def test_a_card_without_a_counter_is_metered_by_the_power_that_it_reports(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(SimulatedAmd(has_counter=False, power_key=key), monkeypatch)
    run.run(5)
    assert run.poller.describe().name == "AMD SMI power, integrated"
    assert run.metered_mj == pytest.approx(run.true_mj, rel=0.01)


def test_a_counter_without_any_power_to_compare_is_used_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(SimulatedAmd(power_key=None), monkeypatch)
    run.run(5)
    assert "could not be compared" in run.poller.describe().note
    assert run.metered_mj == pytest.approx(run.true_mj, rel=0.01)


@pytest.mark.parametrize(
    "gpu", [SimulatedAmd(has_counter=False, power_key=None), SimulatedAmd(silent=True),
            SimulatedAmd(pace=0.0, power_key=None)],
)  # fmt: skip
def test_a_card_that_reports_nothing_is_lost_and_not_zero(
    gpu: SimulatedAmd, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceLostError, match="power"):
        Run(gpu, monkeypatch)


def test_a_card_that_vanishes_is_unknown_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(SimulatedAmd(), monkeypatch)
    run.run(3)
    run.gpu.lost = True
    run.run(5)
    assert run.curve.energy(run.begin_ns, run.clock.now_ns()).unknown_s > 3
    assert [event.kind for event in run.events] == ["lost"]
    assert "AMD SMI" in run.events[0].reason
    run.gpu.lost = False
    run.run(10)
    assert [event.kind for event in run.events] == ["lost", "back"]
    assert run.metered_mj == pytest.approx(run.true_mj, rel=0.01)
