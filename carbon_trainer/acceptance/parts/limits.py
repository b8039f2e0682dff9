"""The power limit: set, read back, settled, restored; also when the process is killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np

from carbon_trainer.acceptance.accelerator import hold
from carbon_trainer.acceptance.command import first_line
from carbon_trainer.acceptance.findings import Findings, NotPossibleError
from carbon_trainer.acceptance.parts import Setting
from carbon_trainer.acceptance.sensors import Recorder, Sensors, Watched
from carbon_trainer.clock import NS_PER_S
from carbon_trainer.power.knobs import POWER_LIMIT, KnobError, PowerLimitKnob
from carbon_trainer.power.throttle import REMEDY, Throttle

SHARE = 0.6
SETTLED_WITHIN = 0.05
"""Power has settled once it stays within this share of where it ends."""

MEDIAN_OF = 5
RESTORED_WITHIN_S = 5.0
CHILD_WITHIN_S = 60.0


def measure(setting: Setting, findings: Findings) -> None:
    """Throttle under load, restore, then have a process killed that has throttled."""
    uuid = setting.accelerator.uuid
    knob = PowerLimitKnob(uuid)
    before = allowed_limit(knob)
    share = max(SHARE, knob.range()[0] / before)
    try:
        _throttle(setting, findings, knob, before, share)
        _kill(findings, knob, before, share)
    finally:
        if knob.now() != before:
            knob.set(before)


def allowed_limit(knob: PowerLimitKnob) -> int:
    """Return the limit as it stands, milliwatts.

    Raises:
        NotPossibleError: if this process may not set it.
    """
    try:
        stands = int(knob.now() or 0)
        knob.set(stands)
    except KnobError as error:
        raise NotPossibleError(
            f"the power limit cannot be set ({error}): {REMEDY[POWER_LIMIT]}"
        ) from error
    return stands


def _throttle(
    setting: Setting, findings: Findings, knob: PowerLimitKnob, before: int, share: float
) -> None:
    accelerator, settle_s = setting.accelerator, setting.scale.settle_s
    said: list[str] = []
    throttle = Throttle([accelerator.uuid], mechanism=POWER_LIMIT, say=said.append)
    accelerator.open()
    recorder = Recorder(Sensors(accelerator.uuid))
    with recorder:
        load = threading.Thread(target=hold, args=(accelerator, 2 * settle_s, 1.0))
        load.start()
        time.sleep(settle_s)
        began_ns = time.time_ns()
        throttle.apply(share)
        set_s = (time.time_ns() - began_ns) / NS_PER_S
        stands = knob.now()
        load.join()
        ended_ns = time.time_ns()
    throttle.restore()
    accelerator.close()
    findings.figure("limit as found", before / 1000, "W")
    findings.figure("limit as set", None if stands is None else stands / 1000, "W")
    findings.figure("setting the limit, journal and guard included", set_s * 1000, "ms")
    recorder.save(setting.folder, "limit", set_ns=np.array([began_ns]))
    has_instant = len(recorder.instant.values) > 0
    power = recorder.instant if has_instant else recorder.power
    settled_s, settled_w = _settled(power, began_ns, ended_ns)
    findings.figure(
        f"power settles to {SETTLED_WITHIN:.0%}", None if settled_s is None else settled_s * 1000,
        "ms", note="field 186" if has_instant else "power usage, a mean over 1 s",
    )  # fmt: skip
    findings.figure("power at the limit", settled_w, "W")
    findings.check(
        f"the limit is set to {share:.0%} of what was found",
        not said and stands is not None and abs(stands / before - share) < 0.01,
        "; ".join(said) or f"{(stands or 0) / 1000:g} W of {before / 1000:g} W",
    )
    findings.check(
        "the limit is restored at the end", knob.now() == before, f"{(knob.now() or 0) / 1000:g} W"
    )


def _settled(power: Watched, began_ns: int, ended_ns: int) -> tuple[float | None, float | None]:
    """Return how long power took to come to where it ends, and that power, seconds and watts."""
    chosen = (power.times_ns >= began_ns) & (power.times_ns < ended_ns)
    times_ns, powers_w = power.times_ns[chosen], power.values[chosen] / 1000
    if not len(powers_w):
        return None, None
    last_w = float(np.median(powers_w[len(powers_w) // 2 :]))
    # A single look that is off does not count as unsettled.
    padded = np.pad(powers_w, MEDIAN_OF // 2, mode="edge")
    powers_w = np.median(np.lib.stride_tricks.sliding_window_view(padded, MEDIAN_OF), axis=1)
    off = np.flatnonzero(np.abs(powers_w / last_w - 1) > SETTLED_WITHIN)
    first = int(off[-1]) + 1 if len(off) else 0
    if first == len(times_ns):
        return None, last_w
    return float(times_ns[first] - began_ns) / NS_PER_S, last_w


def _kill(findings: Findings, knob: PowerLimitKnob, before: int, share: float) -> None:
    """Kill a process that has throttled; its guard has to put the limit back."""
    child = subprocess.Popen(  # noqa: S603 - this interpreter, this module
        [sys.executable, "-m", __name__, knob.device, str(share)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        was_set = first_line(child) == "set" and knob.now() != before
    finally:
        child.kill()
        child.wait()
    killed_s = time.monotonic()
    while knob.now() != before and time.monotonic() - killed_s < RESTORED_WITHIN_S:
        time.sleep(0.01)
    taken_s = time.monotonic() - killed_s
    restored = knob.now() == before
    findings.figure(
        "limit is restored after kill -9", taken_s * 1000 if was_set and restored else None, "ms"
    )
    findings.check(
        f"the limit is restored within {RESTORED_WITHIN_S:g} s of a kill -9",
        was_set and restored,
        f"after {taken_s:.2f} s" if was_set else "the process that was to be killed set nothing",
    )


def _throttle_and_wait(uuid: str, share: float) -> None:
    """Be the process that is killed."""
    throttle = Throttle([uuid], mechanism=POWER_LIMIT, say=print)
    throttle.apply(share)
    print("set", flush=True)  # noqa: T201 - read by the parent
    time.sleep(CHILD_WITHIN_S)
    throttle.restore()


if __name__ == "__main__":
    _throttle_and_wait(sys.argv[1], float(sys.argv[2]))
