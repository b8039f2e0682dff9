"""Steps timed on the GPU: the right times, no waiting, nothing that grows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.energy.cuda_steps import MAX_PENDING, CudaStepTimes
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.energy.steps import StepTimes
from tests.simulation.source import ConstantSource

MS = 1_000_000


@dataclass
class Stream:
    """A GPU that works off what is launched, in order; its clock runs a little fast."""

    clock: VirtualClock
    drift: float = 5e-5
    free_ns: int = 0
    event_count: int = 0

    def launch(self, milliseconds: float) -> None:
        self.free_ns = max(self.free_ns, self.clock.now_ns()) + round(milliseconds * MS)


@dataclass
class Event:
    """As torch.cuda.Event: single precision, and an error before both have happened."""

    stream: Stream
    at_ns: int | None = field(default=None)

    def __post_init__(self) -> None:
        self.stream.event_count += 1

    def record(self) -> None:
        self.at_ns = max(self.stream.free_ns, self.stream.clock.now_ns())

    def query(self) -> bool:
        return self.at_ns is not None and self.at_ns <= self.stream.clock.now_ns()

    def elapsed_time(self, end_event: object) -> float:
        assert isinstance(end_event, Event)
        assert self.query()
        assert end_event.query()
        assert self.at_ns is not None
        assert end_event.at_ns is not None
        return float(np.float32((end_event.at_ns - self.at_ns) * (1 + self.stream.drift) / MS))


def timed(steps: int, launch_ms: float, python_ms: float) -> tuple[StepTimes, list[int], Stream]:
    """Launch steps from a thread that is quicker, or slower, than the GPU."""
    clock = VirtualClock()
    stream, times = Stream(clock), StepTimes()
    gpu, ends = CudaStepTimes(times, lambda: Event(stream), clock.now_ns), []
    for _ in range(steps):
        gpu.begin()
        clock.advance(python_ms / 1000)
        stream.launch(launch_ms)
        gpu.end()
        ends.append(max(stream.free_ns, clock.now_ns()))
        # The thread runs ahead by two steps at most, as with a bounded queue.
        behind_ns = stream.free_ns - clock.now_ns() - 2 * round(launch_ms * MS)
        clock.advance(max(0, behind_ns) / 1e9)
    clock.advance(1)
    gpu.finish()
    return times, ends, stream


def test_a_steps_times_are_the_gpus_not_the_threads() -> None:
    times, ends, _ = timed(500, launch_ms=30, python_ms=1)
    _, measured = times.recent()
    assert len(measured) == 500
    assert max(abs(measured - ends)) < 2 * MS


def test_where_the_gpu_waits_for_the_thread_both_agree() -> None:
    times, ends, _ = timed(500, launch_ms=1, python_ms=10)
    _, measured = times.recent()
    assert max(abs(measured - ends)) < 2 * MS


def test_events_are_reused() -> None:
    _, _, stream = timed(2000, launch_ms=5, python_ms=1)
    assert stream.event_count < 20


def test_a_gpu_that_never_gets_there_is_not_waited_for() -> None:
    clock = VirtualClock()
    stream, times = Stream(clock), StepTimes()
    gpu = CudaStepTimes(times, lambda: Event(stream), clock.now_ns)
    stream.launch(1e9)
    for _ in range(MAX_PENDING + 10):
        gpu.begin()
        clock.advance(0.001)
        gpu.end()
    assert times.count == 10
    gpu.finish()
    assert times.count == MAX_PENDING + 10


def test_the_meter_takes_its_steps_from_events() -> None:
    clock = VirtualClock()
    stream = Stream(clock)
    meter = EnergyMeter([ConstantSource()], clock=clock, gpu_event=lambda: Event(stream))
    meter.start()
    with meter.step():
        stream.launch(50)
    clock.advance(0.1)
    meter.stop()
    begins, ends = meter._step_times.recent()
    assert (ends - begins).tolist() == pytest.approx([50 * MS], rel=0.02)


def test_a_gpu_that_cannot_record_leaves_steps_to_the_threads_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> Event:
        raise RuntimeError("no device")

    meter = EnergyMeter([ConstantSource()], gpu_event=broken)
    meter.start()
    for _ in range(3):
        with meter.step():
            pass
    assert meter.stop().steps == 3
    assert [record.message for record in caplog.records] == [
        "steps are timed on the CPU, not the GPU: RuntimeError: no device"
    ]
