"""The child's side of the chaos test: one start of a run, with faults at random moments.

It is forked from a process that has imported everything, so that a start takes a second.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WATTS = 300.0
FATAL = ("kill", "term", "usr1", "int")
BEARABLE = ("reset", "clock", "disk", "lost")
FULL_S = 0.8
"""How long a disk stays full, seconds."""

STEP_S = 0.0125
"""The least that a step takes, seconds: on no machine is a start over before its faults strike.
Most of it is waited for, so that another process of the suite has the core."""

WARM_NS = 1_000_000_000
"""For how long the GPU has drawn its power when metering begins: what was used before a busy
machine's first look is told by the power then, which is no jump between two refreshes."""


@dataclass
class WhileMetered:
    """A power that is drawn while one of the run's processes works, by a file of their spans.

    Each span begins somewhat before it is metered.
    """

    file: Path
    begun_ns: int = 2**62
    ended_ns: int = 2**62

    def power_w(self, since_ns: int) -> float:
        return WATTS if self.begun_ns <= since_ns < self.ended_ns else 0.0

    def energy_j(self, since_ns: int) -> float:
        spans = json.loads(self.file.read_text()) if self.file.exists() else []
        before = sum(min(end, since_ns) - min(begin, since_ns) for begin, end in spans)
        return WATTS * (before + max(0, min(since_ns, self.ended_ns) - self.begun_ns)) / 1e9


class BootClock:
    """Nanoseconds since the machine was started: no step of the wall clock moves it."""

    def now_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wait(self, seconds: float, until: threading.Event | None = None) -> bool:
        time.sleep(seconds)
        return False


def run(folder: str, args: list[str], faults: list[tuple[str, float]], step_s: float) -> None:
    """Start the command line in a folder, and have things go wrong after some seconds each."""
    os.setpgid(0, 0)
    os.chdir(folder)
    # Imported before the fork; this finds them again.
    import torch

    from carbon_trainer.cli.main import main
    from tests.simulation.nvml import SimulatedGpu, SimulatedNvml

    torch.set_num_threads(1)
    os.environ["XDG_STATE_HOME"] = f"{folder}/state"
    clock = BootClock()
    power = WhileMetered(Path(folder, "spans.json"))
    gpu = SimulatedGpu(
        power=power, refresh_s=0.02, uuid="GPU-chaos", origin_ns=1, settings_file="settings.json"
    )  # fmt: skip
    if Path("reset.txt").exists():
        gpu.reset(int(Path("reset.txt").read_text()))
    SimulatedNvml(gpu, clock=clock).load()
    # The guard is a process of its own, and finds the same GPU by its environment.
    root = str(Path(__file__).parents[2])
    described = {"power_w": 1, "uuid": "GPU-chaos", "settings_file": f"{folder}/settings.json"}
    os.environ |= {
        "SIMULATED_NVML": json.dumps([described]), "SIMULATED_NVML_ROOT": root,
        "PYTHONPATH": f"{root}/tests/simulation/site",
    }  # fmt: skip
    for fault, after_s in faults:
        if fault == "clock":
            _step_clock(step_s)
            continue
        happen = (fault, after_s, gpu, clock, power)
        threading.Thread(target=_happen, args=happen, daemon=True).start()
    _note_metering(Path("metered.txt"), power)
    _pace_steps()
    output = Path("output.txt").open("a", encoding="utf-8")  # noqa: SIM115 - until the end
    sys.stdout = sys.stderr = output
    sys.argv = ["carbon-train", "fit", *args]
    try:
        main()
    finally:
        output.flush()


def _happen(fault: str, after_s: float, gpu: Any, clock: BootClock, power: WhileMetered) -> None:
    time.sleep(after_s)
    signals = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "usr1": signal.SIGUSR1,
               "int": signal.SIGINT}  # fmt: skip
    if fault == "kill":
        # The truth ends here, however late it dies on a busy machine, and that is noticed.
        power.ended_ns = clock.now_ns()
        with Path("metered.txt").open("a") as out:
            out.write(f"stop {power.ended_ns}\n")
    if fault in signals:
        os.kill(os.getpid(), signals[fault])
    elif fault == "reset":
        reset_ns = clock.now_ns()
        gpu.reset(reset_ns)
        # The counter has begun anew for the processes that come after, too.
        Path("reset.new").write_text(str(reset_ns))
        Path("reset.new").replace("reset.txt")
    elif fault == "lost":
        gpu.lost = True
    elif fault == "disk":
        # No file may grow beyond a few kilobytes: what is written then fails as on a full disk.
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        time.sleep(FULL_S)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _note_metering(file: Path, power: WhileMetered) -> None:
    """Have the GPU work while it is metered, and write down from when to when.

    These are the very instants that the meter takes for its start and its stop: on a busy machine
    a process may wait for long between two looks at a clock.
    """
    from carbon_trainer.energy.meter import EnergyMeter

    start, stop = EnergyMeter.start, EnergyMeter.stop
    noted: dict[str, int] = {}

    def note(name: str, meter: EnergyMeter, work: Callable[[EnergyMeter], Any]) -> Any:
        caller, now_ns = threading.get_ident(), meter._now_ns

        def look() -> int:
            at_ns = now_ns()
            if threading.get_ident() == caller and name not in noted:
                noted[name] = at_ns - meter._clock._offset_ns  # type: ignore[attr-defined]
                power.begun_ns = noted["start"] - WARM_NS
                with file.open("a") as out:
                    out.write(f"{name} {noted[name]}\n")
            return at_ns

        meter._now_ns = look
        try:
            return work(meter)
        finally:
            meter._now_ns = now_ns

    def started(meter: EnergyMeter) -> None:
        note("start", meter, start)

    def ended(meter: EnergyMeter) -> Any:
        return note("stop", meter, stop)

    EnergyMeter.start, EnergyMeter.stop = started, ended  # type: ignore[method-assign]


def _pace_steps() -> None:
    from carbon_trainer.models.module import TransformerModule

    step, last_s = TransformerModule.training_step, time.monotonic()

    def paced(*args: Any) -> Any:
        nonlocal last_s
        time.sleep(max(0.0, last_s + STEP_S - time.monotonic()))
        last_s = time.monotonic()
        return step(*args)

    TransformerModule.training_step = paced  # type: ignore[method-assign]


def _step_clock(step_s: float) -> None:
    """Have the wall clock be wrong, as after a machine's start without a network."""
    seconds, nanoseconds = time.time, time.time_ns
    time.time = lambda: seconds() + step_s
    time.time_ns = lambda: nanoseconds() + round(step_s * 1e9)
