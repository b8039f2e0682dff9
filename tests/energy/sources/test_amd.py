"""AMD cards on a simulated AMD SMI: figures, faults, dies, partitions, visibility."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.energy.curve import EnergyCurve
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.poller import MeterEvent, Poller
from carbon_trainer.energy.sources.amd import discover_amd_gpus
from carbon_trainer.energy.sources.amd_devices import visible_indices
from carbon_trainer.energy.sources.base import SourceLostError
from tests.simulation.amdsmi import SimulatedAmd, SimulatedAmdSmi
from tests.simulation.power import Constant, Power, Ramp, SquareWave

A, B, C = "GPU-aaaa000000000001", "GPU-bbbb000000000002", "GPU-cccc000000000003"


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


def _only(monkeypatch: pytest.MonkeyPatch, *gpus: SimulatedAmd) -> list[str]:
    SimulatedAmdSmi(*gpus).install(monkeypatch)
    return [source.describe().device for source in discover_amd_gpus({})]


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


def test_an_accumulator_that_begins_anew_is_no_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_card_without_a_counter_is_metered_by_the_power_that_it_tells(
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
def test_a_card_that_tells_nothing_is_lost_and_not_zero(
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


def _module(*, second_tells: bool = False) -> list[SimulatedAmd]:
    dies = [
        SimulatedAmd(serial=uuid[4:], bdf=bdf, device_id="0x7408", name="AMD Instinct MI250X")
        for uuid, bdf in ((A, "0000:c1:00.0"), (B, "0000:c6:00.0"))
    ]
    dies[0 if second_tells else 1].silent = True
    return dies


@pytest.mark.parametrize("second_tells", [False, True])
@pytest.mark.parametrize("listed", [None, "0", "1", "1,0"])
def test_a_module_of_two_dies_is_counted_once_whichever_die_is_used(
    second_tells: bool, listed: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = SimulatedAmdSmi(*_module(second_tells=second_tells)).install(monkeypatch)
    environ = {} if listed is None else {"ROCR_VISIBLE_DEVICES": listed}
    (source,) = discover_amd_gpus(environ, library.clock)
    source.open()
    assert source.read() is not None
    assert source.describe().device == (B if second_tells else A)
    assert "both dies" in source.describe().note


def test_a_silent_card_of_another_kind_is_not_taken_for_a_die(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = SimulatedAmd(serial=B[4:], bdf="0000:c6:00.0", silent=True)
    assert _only(monkeypatch, SimulatedAmd(), silent) == [A, B]


def test_a_card_in_partitions_is_counted_once_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [
        SimulatedAmd(bdf=f"0000:c1:00.{part}", power_key="socket_power" if part == 0 else None,
                     has_counter=part == 0)
        for part in range(4)
    ]  # fmt: skip
    SimulatedAmdSmi(*parts).install(monkeypatch)
    (source,) = discover_amd_gpus({"HIP_VISIBLE_DEVICES": "2,3"})
    assert source.describe().device == A
    assert "whole card" in source.describe().note


@pytest.mark.parametrize(
    ("rocr", "hip", "cuda", "seen"),
    [
        (None, None, None, [0, 1, 2]), ("", None, None, []), ("2,0", None, None, [2, 0]),
        ("2,1", "1", None, [1]), ("2,1", None, "0", [2]), (None, "1", "0", [1]),
        (None, "", "2", [2]), (None, None, "", [0, 1, 2]), (None, "-1", None, []),
        ("0,7,1", None, None, [0]), (B, None, None, [1]), (B.upper(), "0", None, [1]),
        ("1,2", C, None, [2]), ("1,2", A, None, []), ("0,0", None, None, [0]),
        ("GPU-", None, None, []), (f" {C} , 0", None, None, [2, 0]),
    ],
)  # fmt: skip
def test_visible_cards_are_those_that_hip_would_see(
    rocr: str | None, hip: str | None, cuda: str | None, seen: list[int]
) -> None:
    names = "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"
    pairs = zip(names, (rocr, hip, cuda), strict=True)
    environ = {name: value for name, value in pairs if value is not None}
    assert visible_indices(environ, [A, B, C]) == seen


def test_cards_are_in_the_kernels_order(monkeypatch: pytest.MonkeyPatch) -> None:
    late = SimulatedAmd(node_id=3)
    early = SimulatedAmd(node_id=2, serial=B[4:], bdf="0000:c6:00.0")
    assert _only(monkeypatch, late, early) == [B, A]


def test_the_meter_finds_amd_cards_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    SimulatedAmdSmi(SimulatedAmd()).install(monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    meter = EnergyMeter(host=False)
    meter.start()
    meter._discovery.join(30)
    rows = meter.stop().devices
    assert [row.info.device for row in rows] == [A]


def test_without_the_library_there_are_no_cards_and_no_noise(tmp_path: Path) -> None:
    package = tmp_path / "amdsmi"
    package.mkdir()
    noisy = "print('Unable to find libamd_smi.so')\n{}['libamd_smi.so']\n"
    (package / "__init__.py").write_text(noisy)
    code = (
        "from carbon_trainer.energy.sources.amd import discover_amd_gpus as d\nassert d({}) == []"
    )
    for path in (tmp_path, tmp_path / "nothing"):
        program = f"import sys; sys.path.insert(0, {str(path)!r}); {code}"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_library_of_another_version_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "amdsmi.py").write_text("raise AttributeError('undefined symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("carbon_trainer.energy.sources.amd_devices._library_loads", lambda _: True)
    assert discover_amd_gpus({}) == []
