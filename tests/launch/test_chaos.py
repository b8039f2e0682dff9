"""A hundred faults over short runs: none changes a result, breaks a record or loses a joule."""

from __future__ import annotations

import json
import math
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from carbon_trainer.ledger.facts import Incomplete, RunClosed
from carbon_trainer.runs.recovery import HEARTBEAT_S, NEVER_READ
from carbon_trainer.units import kwh_from_mj
from tests.cli.commands import Shell
from tests.launch.chaos import BEARABLE, FATAL, WARM_NS, WATTS, run
from tests.launch.runs import HANG_S, assert_same_weights, assert_verified, ledger
from tests.warm import context

pytestmark = pytest.mark.slow

RUNS, STARTS = 27, 2
STEPS = ["--max-steps", "180", "--validate-every", "80", "--checkpoint-every", "25"]
BUDGET_KWH = WATTS * 4 / 3.6e6
"""Four seconds of the GPU: less than a run needs, more than a start."""


@dataclass
class World:
    """The folder of all runs, and how long their processes have lived."""

    shell: Shell
    spans: list[tuple[int, int]] = field(default_factory=list)
    metered_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    struck: int = 0

    def start(self, run_id: str, *more: str, faults: list[str], choose: random.Random) -> int:
        """Run one start to its end; return its exit status, negative for a signal."""
        args = [*self.shell.tiny, *STEPS, "--run-id", run_id, *more]
        step_s = choose.uniform(-1800, 1800)
        # The bearable one comes first: after the fatal one there is nothing that it could strike.
        times_s = sorted(choose.uniform(0.7, 2) for _ in faults)
        timed = list(zip(faults, times_s, strict=True))
        child = context().Process(target=run, args=(str(self.shell.folder), args, timed, step_s))
        marks = self.shell.folder / "metered.txt"
        marks.write_text("")
        begun_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        child.start()
        child.join(HANG_S)
        ended_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        assert child.exitcode is not None, f"{run_id} hangs after {faults}:\n{self.output()}"
        # Of several ends the first counts.
        marked = dict(line.split() for line in reversed(marks.read_text().splitlines()))
        if "start" in marked:
            end_ns = int(marked.get("stop", ended_ns))
            lived_s = (ended_ns - begun_ns) / 1e9
            self.struck += sum(after_s <= lived_s for _, after_s in timed)
            self.spans.append((int(marked["start"]) - WARM_NS, end_ns))
            (self.shell.folder / "spans.json").write_text(json.dumps(self.spans))
            self.metered_s[run_id] += (end_ns - int(marked["start"])) / 1e9
        return child.exitcode

    def output(self) -> str:
        """Return the last that the runs have printed; a full disk may have cut a letter in two."""
        return (self.shell.folder / "output.txt").read_text(errors="replace")[-3000:]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(Shell(tmp_path_factory.mktemp("chaos")))
    status = world.start("whole", faults=[], choose=random.Random(0))
    assert status == 0, world.output()
    return world


def assert_limits_are_put_back(world: World) -> None:
    settings = world.shell.folder / "settings.json"
    deadline = time.monotonic() + 60
    while settings.exists() and json.loads(settings.read_text())["limit_mw"] != 700_000:
        assert time.monotonic() < deadline, "the power limit was not put back"
        time.sleep(0.05)


def assert_books_are_true(world: World, run_id: str, metered_s: float, doubt_s: float) -> None:
    """Every second in which a process metered is booked once, at the GPU's power.

    What is recorded as estimated may be off by three times its sigma.

    Args:
        world: where the run is.
        run_id: the run.
        metered_s: how long its processes have metered, until they ended or were killed.
        doubt_s: for how long nothing could tell.
    """
    rows = ledger(world.shell).intervals(run_id)
    booked_j = rows["energy_mj"].sum() / 1000
    # How much was estimated depends on how long a busy machine let nobody look at the counter.
    sigmas_j = rows.loc[rows["method"] == "estimated", "sigma_mj"] / 1000
    estimated_j = 3 * math.sqrt((sigmas_j**2).sum())
    true_j = WATTS * metered_s
    doubt_j = 0.005 * true_j + WATTS * doubt_s + estimated_j
    assert booked_j == pytest.approx(true_j, rel=0, abs=doubt_j), run_id


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", range(RUNS))
def test_faults_do_not_show(world: World, number: int) -> None:
    choose = random.Random(number)
    run_id = f"chaos-{number}"
    more = ["--deadline", "2h", "--zone", "FR"] if number % 2 else []
    faults: list[str] = []
    doubt_s = 0.0
    for _ in range(STARTS):
        pair = [choose.choice(BEARABLE), choose.choice(FATAL)]
        faults += pair
        # A counter that begins anew in the last second before a kill leaves that to an estimate.
        doubt_s += pair == ["reset", "kill"]
        world.start(run_id, *more, faults=pair, choose=choose)
        assert_limits_are_put_back(world)
    status = 1
    for _ in range(3):
        status = world.start(run_id, *more, faults=[], choose=choose)
        if status == 0:
            break
    assert status == 0, world.output()
    assert_same_weights(world.shell, "whole", run_id)
    assert_verified(world.shell, run_id)
    assert_limits_are_put_back(world)
    # What a GPU uses that does not answer nobody knows: then the record says so.
    gaps = [fact.body["what"] for fact in ledger(world.shell).facts(run_id, Incomplete)]
    # Nor what it used before it was first read, which a heartbeat ends.
    doubt_s += HEARTBEAT_S * sum(NEVER_READ in reason for reason in gaps)
    if not ("lost" in faults and any("GPU-chaos" in reason for reason in gaps)):
        assert_books_are_true(world, run_id, world.metered_s[run_id], doubt_s)


@pytest.mark.timeout(1800)
def test_a_hundred_faults_struck_living_runs(world: World) -> None:
    # A busy machine takes long to start a run, so that some faults strike before it is metered.
    for number in range(RUNS, 3 * RUNS):
        if world.struck >= 100:
            break
        test_faults_do_not_show(world, number)
    assert world.struck >= 100


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", range(3))
def test_a_budget_holds_through_faults(world: World, number: int) -> None:
    choose = random.Random(100 + number)
    run_id = f"budget-{number}"
    more = ["--budget-kwh", f"{BUDGET_KWH:.9f}"]
    status = 0
    for faults in (["kill"], [choose.choice(BEARABLE), choose.choice(FATAL)], [], []):
        status = world.start(run_id, *more, faults=faults, choose=choose)
        if status in (0, 3):
            break
    closed = ledger(world.shell).facts(run_id, RunClosed)
    assert closed[-1].body["status"] in ("budget", "finished"), status
    used_kwh = kwh_from_mj(int(ledger(world.shell).intervals(run_id)["energy_mj"].sum()))
    assert used_kwh <= BUDGET_KWH
    assert_verified(world.shell, run_id)
