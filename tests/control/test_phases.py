"""Phases nest, and the most that each has used is remembered."""

from __future__ import annotations

from collections.abc import Iterator

from carbon_trainer.control.phases import CHECKPOINT, TRAIN, VALIDATION, Phases


class Meter:
    """Counts up, and remembers the phases that it was set to."""

    def __init__(self, readings: Iterator[int]) -> None:
        self.names: list[str] = []
        self._readings = readings

    def used_mj(self) -> int:
        return next(self._readings)


def phases_of(*readings: int) -> tuple[Phases, Meter]:
    meter = Meter(iter(readings))
    return Phases(meter.names.append, meter.used_mj), meter


def test_a_phase_ends_in_the_one_before() -> None:
    phases, meter = phases_of(0, 1, 2, 5)
    phases.begin(VALIDATION)
    phases.begin("export")
    phases.end()
    phases.end()
    assert meter.names == [VALIDATION, "export", VALIDATION, TRAIN]
    assert phases.needs_mj == {"export": 1, VALIDATION: 5}


def test_the_largest_of_a_kind_is_what_it_needs() -> None:
    phases, _ = phases_of(10, 40, 50, 60)
    for _ in range(2):
        phases.begin(VALIDATION)
        phases.end()
    assert phases.needs_mj == {VALIDATION: 30}


def test_a_checkpoint_is_not_learned_from() -> None:
    phases, meter = phases_of(10)
    phases.begin(CHECKPOINT)
    phases.end()
    assert phases.needs_mj == {}
    assert meter.names == [CHECKPOINT, TRAIN]


def test_an_end_without_a_beginning_changes_nothing() -> None:
    phases, meter = phases_of()
    phases.end()
    assert (phases.name, meter.names) == (TRAIN, [])
