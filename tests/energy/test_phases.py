"""Phases over time, and their totals."""

from __future__ import annotations

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy.phases import Phases, PhaseTotals
from carbon_trainer.energy.results import PhaseEnergy


def phases() -> Phases:
    timeline = Phases(100)
    timeline.set(200, "train")
    timeline.set(300, "validation")
    return timeline


def test_a_phase_lasts_from_its_start_to_the_next() -> None:
    names = [phases().at(time_ns) for time_ns in (0, 100, 199, 200, 299, 300, 10**18)]
    assert names == ["run", "run", "run", "train", "train", "validation", "validation"]
    assert phases().current == "validation"


def test_changes_are_those_strictly_within_a_span() -> None:
    assert phases().changes_ns(100, 300) == [200]
    assert phases().changes_ns(199, 301) == [200, 300]


def test_what_was_before_can_be_dropped_without_changing_what_is_after() -> None:
    timeline = phases()
    timeline.forget_before(250)
    assert len(timeline) == 2
    assert [timeline.at(time_ns) for time_ns in (250, 300)] == ["train", "validation"]
    timeline.forget_before(10**18)
    assert (len(timeline), timeline.current) == (1, "validation")


def test_totals_add_up_in_order_of_first_use_and_a_copy_is_apart() -> None:
    totals = PhaseTotals()
    totals.add("train", 5, NS_PER_S)
    totals.add("validation", 1, NS_PER_S)
    copy = totals.copy()
    copy.add("train", 7, NS_PER_S // 2)
    assert copy.rows() == (PhaseEnergy("train", 12, 1.5), PhaseEnergy("validation", 1, 1.0))
    assert totals.rows() == (PhaseEnergy("train", 5, 1.0), PhaseEnergy("validation", 1, 1.0))
