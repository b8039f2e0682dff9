"""The power limit: set, read back, settled, restored; also after the process is killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np

from carbon_trainer.acceptance.accelerator import keep_busy
from carbon_trainer.acceptance.command import first_line
from carbon_trainer.acceptance.findings import Findings, NotPossibleError
from carbon_trainer.acceptance.parts import PartContext
from carbon_trainer.acceptance.sensors import Recorder, Sensors, SensorTrace
from carbon_trainer.clock import NS_PER_S
from carbon_trainer.power.knobs import POWER_LIMIT, KnobError, PowerLimitKnob
from carbon_trainer.power.throttle import REMEDY, Throttle

POWER_FRACTION = 0.6
SETTLED_WITHIN = 0.05
"""Power has settled once it stays within this share of its final value."""

MEDIAN_OF = 5
RESTORED_WITHIN_S = 5.0
CHILD_WITHIN_S = 60.0


def measure(context: PartContext, findings: Findings) -> None:
    """Throttle under load, restore, then kill a process that has throttled."""
    uuid = context.accelerator.uuid
    knob = PowerLimitKnob(uuid)
    initial_mw = allowed_limit(knob)
    power_fraction = max(POWER_FRACTION, knob.range()[0] / initial_mw)
    try:
        _throttle(context, findings, knob, initial_mw, power_fraction)
        _kill(findings, knob, initial_mw, power_fraction)
    finally:
        if knob.now() != initial_mw:
            knob.set(initial_mw)


def allowed_limit(knob: PowerLimitKnob) -> int:
    """Return the present limit, milliwatts.

    Raises:
        NotPossibleError: if this process may not set it.
    """
    try:
        limit_mw = int(knob.now() or 0)
        # Setting it to what it is shows whether it may be set, and changes nothing.
        knob.set(limit_mw)
    except KnobError as error:
        raise NotPossibleError(
            f"the power limit cannot be set ({error}): {REMEDY[POWER_LIMIT]}"
        ) from error
    return limit_mw


def _throttle(
    context: PartContext,
    findings: Findings,
    knob: PowerLimitKnob,
    initial_mw: int,
    power_fraction: float,
) -> None:
    accelerator, settle_s = context.accelerator, context.scale.settle_s
    problems: list[str] = []
    throttle = Throttle([accelerator.uuid], mechanism=POWER_LIMIT, say=problems.append)
    accelerator.open()
    recorder = Recorder(Sensors(accelerator.uuid))
    with recorder:
        load = threading.Thread(target=keep_busy, args=(accelerator, 2 * settle_s, 1.0))
        load.start()
        time.sleep(settle_s)
        started_ns = time.time_ns()
        throttle.apply(power_fraction)
        set_s = (time.time_ns() - started_ns) / NS_PER_S
        limit_mw = knob.now()
        load.join()
        ended_ns = time.time_ns()
    throttle.restore()
    accelerator.close()
    findings.figure("initial limit", initial_mw / 1000, "W")
    findings.figure("limit as set", None if limit_mw is None else limit_mw / 1000, "W")
    findings.figure("setting the limit, journal and guard included", set_s * 1000, "ms")
    recorder.save(context.folder, "limit", set_ns=np.array([started_ns]))
    has_instant = len(recorder.instant.values) > 0
    power = recorder.instant if has_instant else recorder.power
    settled_s, settled_w = _settled(power, started_ns, ended_ns)
    findings.figure(
        f"power settles to {SETTLED_WITHIN:.0%}", None if settled_s is None else settled_s * 1000,
        "ms", note="field 186" if has_instant else "power usage, a mean over 1 s",
    )  # fmt: skip
    findings.figure("power at the limit", settled_w, "W")
    findings.check(
        f"the limit is set to {power_fraction:.0%} of the initial one",
        not problems
        and limit_mw is not None
        and abs(limit_mw / initial_mw - power_fraction) < 0.01,
        "; ".join(problems) or f"{(limit_mw or 0) / 1000:g} W of {initial_mw / 1000:g} W",
    )
    findings.check(
        "the limit is restored at the end",
        knob.now() == initial_mw,
        f"{(knob.now() or 0) / 1000:g} W",
    )


def _settled(
    power: SensorTrace, started_ns: int, ended_ns: int
) -> tuple[float | None, float | None]:
    """Return how long power took to reach its final value, seconds, and that value, watts."""
    selected = (power.times_ns >= started_ns) & (power.times_ns < ended_ns)
    times_ns, powers_w = power.times_ns[selected], power.values[selected] / 1000
    if not len(powers_w):
        return None, None
    final_w = float(np.median(powers_w[len(powers_w) // 2 :]))
    # A median, so that a single outlier does not count as unsettled.
    padded = np.pad(powers_w, MEDIAN_OF // 2, mode="edge")
    powers_w = np.median(np.lib.stride_tricks.sliding_window_view(padded, MEDIAN_OF), axis=1)
    unsettled = np.flatnonzero(np.abs(powers_w / final_w - 1) > SETTLED_WITHIN)
    first = int(unsettled[-1]) + 1 if len(unsettled) else 0
    if first == len(times_ns):
        return None, final_w
    return float(times_ns[first] - started_ns) / NS_PER_S, final_w


def _kill(findings: Findings, knob: PowerLimitKnob, initial_mw: int, power_fraction: float) -> None:
    """Kill a process that has throttled; its guard has to restore the limit."""
    child = subprocess.Popen(  # noqa: S603 - this interpreter, this module
        [sys.executable, "-m", __name__, knob.device, str(power_fraction)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        was_set = first_line(child) == "set" and knob.now() != initial_mw
    finally:
        child.kill()
        child.wait()
    killed_s = time.monotonic()
    while knob.now() != initial_mw and time.monotonic() - killed_s < RESTORED_WITHIN_S:
        time.sleep(0.01)
    elapsed_s = time.monotonic() - killed_s
    restored = knob.now() == initial_mw
    findings.figure(
        "limit is restored after kill -9", elapsed_s * 1000 if was_set and restored else None, "ms"
    )
    findings.check(
        f"the limit is restored within {RESTORED_WITHIN_S:g} s of a kill -9",
        was_set and restored,
        f"after {elapsed_s:.2f} s" if was_set else "the process that was to be killed set nothing",
    )


def _throttle_and_wait(uuid: str, power_fraction: float) -> None:
    """Run as the process that is killed."""
    throttle = Throttle([uuid], mechanism=POWER_LIMIT, say=print)
    throttle.apply(power_fraction)
    print("set", flush=True)  # noqa: T201 - read by the parent
    time.sleep(CHILD_WITHIN_S)
    throttle.restore()


if __name__ == "__main__":
    _throttle_and_wait(sys.argv[1], float(sys.argv[2]))
