"""What a killed run used is booked by the next start: once, no more than its counter says."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbon_trainer.clock import NS_PER_S, VirtualClock
from carbon_trainer.energy.heartbeat import (
    FILE_NAME,
    DeviceSnapshot,
    Heartbeat,
    read_heartbeat,
    write_heartbeat,
)
from carbon_trainer.hardware import machine
from carbon_trainer.hardware.process import ProcessIdentity, boot_id, pid_space
from carbon_trainer.ledger.facts import Decision, Incomplete, Interval, Resumed, RunOpened
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from carbon_trainer.runs.recovery import TAIL_S, recover_killed
from tests.cli.commands import Shell

S = NS_PER_S
T0 = 1_700_000_000 * S
DEAD_PID = 2**22 + 1


def position(**given: object) -> DeviceSnapshot:
    usual = DeviceSnapshot(
        device="GPU-1", component="gpu", method="measured", start_ns=T0, known_ns=T0 + 10 * S,
        energy_mj=1_000_000, power_mw=100_000, peak_mw=200_000, counter_mj=5_000_000,
    )  # fmt: skip
    return dataclasses.replace(usual, **given)  # type: ignore[arg-type]


class Scene:
    """A ledger with a run of which the first 4 s are booked, and its heartbeat at 10 s."""

    def __init__(self, folder: Path) -> None:
        self.runs_dir = folder
        self.clock = VirtualClock(T0 + 11 * S)
        self.ledger = Ledger.open(folder / "ledger.sqlite")
        opened = RunOpened(name="n", project="p", config={}, software={}, entry="cli")
        booked = Interval(
            device="GPU-1", component="gpu", start_ns=T0, end_ns=T0 + 4 * S, energy_mj=400_000,
            method="measured", sigma_mj=1, phase="train",
        )  # fmt: skip
        self.ledger.append("run", [(T0, opened), (T0, booked)], self.ledger.head("run"))
        (folder / "run").mkdir()

    def leave(self, *positions: DeviceSnapshot, **given: object) -> None:
        usual = Heartbeat(
            "run", machine.host_name(), boot_id(), pid_space(), DEAD_PID, 1.0,
            T0 + 10 * S, positions or (position(),),
        )  # fmt: skip
        beat = dataclasses.replace(usual, **given)  # type: ignore[arg-type]
        write_heartbeat(self.runs_dir / "run" / FILE_NAME, beat)

    def recover(self, **counters: int) -> int:
        told = {name.replace("_", "-"): value for name, value in counters.items()}
        booked = recover_killed(self.runs_dir, self.ledger, self.clock, lambda: told)
        return sum(one.energy_mj for one in booked)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_what_the_meter_knew_and_what_the_counter_says_are_booked(scene: Scene) -> None:
    scene.leave()
    assert scene.recover(GPU_1=5_000_000 + 120_000) == 600_000 + 120_000
    assert scene.ledger.energy_mj("run") == 1_120_000
    rows = scene.ledger.intervals("run")
    assert list(rows["phase"]) == ["train", "recovered", "recovered"]
    assert list(rows["method"]) == ["measured"] * 3
    assert list(rows["start_ns"][1:]) == [T0 + 4 * S, T0 + 10 * S]
    assert verify(scene.ledger, "run").ok
    (said,) = scene.ledger.facts("run", Decision)
    assert said.body["decision"] == "recovered"


def test_a_device_that_was_never_read_leaves_a_gap_and_no_figure(scene: Scene) -> None:
    scene.leave(
        position(
            device="GPU-2", start_ns=T0 + 10 * S, known_ns=T0 + 10 * S, energy_mj=0, power_mw=0,
            peak_mw=0, counter_mj=None,
        )
    )  # fmt: skip
    assert scene.recover(GPU_2=7_000_000) == 0
    assert list(scene.ledger.intervals("run")["device"]) == ["GPU-1"]
    (gap,) = scene.ledger.facts("run", Incomplete)
    assert gap.body["what"] == "GPU-2: start of a killed segment"
    assert "killed before the device was first read" in gap.body["why"]


def test_it_is_booked_once(scene: Scene) -> None:
    scene.leave()
    scene.recover(GPU_1=5_100_000)
    assert scene.recover(GPU_1=5_900_000) == 0
    assert scene.ledger.energy_mj("run") == 1_100_000


def test_two_starts_at_once_book_it_once(scene: Scene) -> None:
    scene.leave()
    booked: list[int] = []
    threads = [
        threading.Thread(target=lambda: booked.append(scene.recover(GPU_1=5_100_000)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(booked) == 700_000
    assert scene.ledger.energy_mj("run") == 1_100_000


def test_a_start_that_was_killed_while_recovering_leaves_it_to_the_next(scene: Scene) -> None:
    scene.leave()
    path = scene.runs_dir / "run" / FILE_NAME
    path.rename(path.with_name(f"{FILE_NAME}.claimed-{DEAD_PID}"))
    assert scene.recover(GPU_1=5_100_000) == 700_000


def test_what_others_used_for_hours_since_is_not_booked_but_said(scene: Scene) -> None:
    scene.leave()
    scene.clock.advance(7200)
    most_mj = round(200_000 * TAIL_S)
    assert scene.recover(GPU_1=5_000_000 + 900_000_000) == 600_000 + most_mj
    (left,) = scene.ledger.facts("run", Incomplete)
    assert "by whom is not known" in str(left.body["why"])
    assert scene.ledger.intervals("run")["method"].iloc[-1] == "estimated"


@pytest.mark.parametrize("case", ["rebooted", "reset", "gone", "no counter"])
def test_without_its_counter_the_end_is_estimated_by_its_power(scene: Scene, case: str) -> None:
    if case == "rebooted":
        scene.leave(boot_id="another")
    elif case == "no counter":
        scene.leave(position(counter_mj=None))
    else:
        scene.leave()
    counters = {"reset": {"GPU_1": 17}, "gone": {}}.get(case, {"GPU_1": 9_000_000})
    assert scene.recover(**counters) == 600_000 + 100_000
    assert scene.ledger.intervals("run")["method"].iloc[-1] == "estimated"


def test_a_run_that_lives_is_left_alone(scene: Scene) -> None:
    own = ProcessIdentity.current()
    scene.leave(pid=own.pid, process_started=own.started_s)
    assert scene.recover(GPU_1=5_100_000) == 0
    assert (scene.runs_dir / "run" / FILE_NAME).exists()


def test_a_run_that_has_ended_but_was_not_waited_for_is_dead(
    scene: Scene, zombie: ProcessIdentity
) -> None:
    scene.leave(pid=zombie.pid, process_started=zombie.started_s)
    assert scene.recover(GPU_1=5_100_000) == 700_000


def test_a_claim_whose_claimants_id_is_anothers_by_now_is_claimed_again(scene: Scene) -> None:
    scene.leave()
    earlier = dataclasses.replace(ProcessIdentity.current(), started_s=0.0)
    beat = scene.runs_dir / "run" / FILE_NAME
    beat.rename(beat.with_name(f"{FILE_NAME}.claimed-{earlier}"))
    assert scene.recover(GPU_1=5_100_000) == 700_000


def test_what_a_living_start_has_claimed_is_left_to_it(scene: Scene) -> None:
    scene.leave()
    beat = scene.runs_dir / "run" / FILE_NAME
    beat.rename(beat.with_name(f"{FILE_NAME}.claimed-{ProcessIdentity.current()}"))
    assert scene.recover(GPU_1=5_100_000) == 0


def test_a_run_of_another_ledger_is_left_to_it(scene: Scene) -> None:
    scene.leave()
    other = Ledger.open(scene.runs_dir / "other.sqlite")
    assert recover_killed(scene.runs_dir, other, scene.clock, dict) == []
    assert scene.recover(GPU_1=5_100_000) == 700_000


def test_another_hosts_run_is_left_alone(scene: Scene) -> None:
    scene.leave(host="elsewhere")
    assert scene.recover(GPU_1=5_100_000) == 0


def test_another_containers_run_is_left_alone_while_it_writes(scene: Scene) -> None:
    scene.leave(pid_space="pid:[1]")
    assert scene.recover(GPU_1=5_100_000) == 0
    scene.clock.advance(60)
    assert scene.recover(GPU_1=5_100_000) == 700_000


def test_a_heartbeat_that_cannot_be_read_is_set_aside(scene: Scene) -> None:
    path = scene.runs_dir / "run" / FILE_NAME
    path.write_text('{"version": 1, "positions": 3}')
    assert scene.recover() == 0
    assert not path.exists()
    assert (scene.runs_dir / "run" / "meter.unreadable.json").exists()


def test_a_driver_that_hangs_does_not_hold_the_start_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carbon_trainer.runs.recovery.COUNTERS_WITHIN_S", 0.1)
    scene.leave()
    released = threading.Event()

    def hang() -> dict[str, int]:
        released.wait(60)
        return {}

    booked = recover_killed(scene.runs_dir, scene.ledger, scene.clock, hang)
    released.set()
    assert booked[0].energy_mj == 700_000


@pytest.mark.slow
@given(
    counted_mj=st.integers(-(10**9), 10**9),
    after_s=st.floats(0, 10**5),
    power_mw=st.integers(0, 700_000),
)
@settings(deadline=None, max_examples=60)
def test_never_negative_and_never_more_than_the_counter(
    tmp_path_factory: pytest.TempPathFactory, counted_mj: int, after_s: float, power_mw: int
) -> None:
    scene = Scene(tmp_path_factory.mktemp("scene"))
    scene.leave(position(power_mw=power_mw, peak_mw=2 * power_mw))
    scene.clock.advance(after_s)
    tail_mj = scene.recover(GPU_1=5_000_000 + counted_mj) - 600_000
    scene.ledger.close()
    assert 0 <= tail_mj <= (counted_mj if counted_mj >= 0 else power_mw)


@pytest.mark.slow
def test_a_killed_training_is_booked_when_it_goes_on(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    gpu: dict[str, object] = {
        "power_w": 300.0, "uuid": "GPU-1", "origin_ns": time.time_ns() - 100 * S,
    }  # fmt: skip
    fit = ["fit", *shell.tiny, "--max-steps", "100000", "--checkpoint-every", "20"]
    process = shell.start(*fit, gpu=gpu)
    runs = tmp_path / "carbon_runs"
    for _ in range(1200):
        if list(runs.glob("*/checkpoints/*")) or process.poll() is not None:
            break
        time.sleep(0.1)
    time.sleep(2.5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (beat,) = runs.glob(f"*/{FILE_NAME}")
    killed_ns = time.time_ns()
    (position,) = read_heartbeat(beat).positions
    run_id = beat.parent.name
    before_mj = Ledger.open(runs / "ledger.sqlite").energy_mj(run_id)
    budget = ["--budget-kwh", "0.0000001"]
    ended = shell.run("fit", "--resume", run_id, *budget, gpu=gpu)
    assert ended.status == 3, ended.err
    ledger = Ledger.open(runs / "ledger.sqlite")
    rows = ledger.intervals(run_id)
    recovered = rows[rows["phase"] == "recovered"]
    (resumed,) = ledger.facts(run_id, Resumed)
    first = rows[rows["seq"] < resumed.seq]
    assert ledger.energy_mj(run_id) > before_mj
    truth_mj = 300 * (killed_ns - int(rows["start_ns"].min())) / 1e6
    # How soon it died after its last heartbeat is not known, nor who used the GPU since.
    most_mj = TAIL_S * max(position.peak_mw, position.power_mw)
    assert int(first["energy_mj"].sum()) == pytest.approx(truth_mj, abs=most_mj)
    assert len(recovered) >= 1
    assert verify(ledger, run_id).ok
