"""Labels of the search: which partial paths are worth keeping."""

from __future__ import annotations

import numpy as np
import pytest

from carbon_trainer.planning.labels import Labels, pareto_front
from carbon_trainer.planning.timeline import PAUSE, RESTART, RUN


def labels(*rows: tuple[int, float, float, float, float]) -> Labels:
    """Labels of (mode, work, cost, slack, saved)."""
    mode, work, cost, slack, saved = (np.array(column) for column in zip(*rows, strict=True))
    zeros = np.zeros(len(rows), np.int64)
    return Labels(mode.astype(np.int8), work, cost, slack, saved, zeros, zeros, zeros.astype(float))


def front(*rows: tuple[int, float, float, float, float]) -> list[int]:
    return sorted(pareto_front(labels(*rows)).tolist())


def test_a_label_of_less_work_for_more_cost_is_dropped() -> None:
    assert front((RUN, 2.0, 10.0, 0.0, 0.0), (RUN, 1.0, 12.0, 0.0, 0.0)) == [0]
    assert front((RUN, 2.0, 10.0, 0.0, 0.0), (RUN, 1.0, 8.0, 0.0, 0.0)) == [0, 1]


def test_labels_of_other_modes_do_not_compete() -> None:
    assert front((RUN, 2.0, 10.0, 0.0, 0.0), (PAUSE, 1.0, 12.0, 0.0, 0.0)) == [0, 1]


def test_restarts_are_all_kept() -> None:
    assert front((RESTART, 2.0, 10.0, 0.0, 0.0), (RESTART, 1.0, 12.0, 0.0, 0.0)) == [0, 1]


@pytest.mark.parametrize(("saved", "indices"), [(1.0, [0]), (5.0, [0, 1])])
def test_a_shared_slot_counts_by_what_it_saves(saved: float, indices: list[int]) -> None:
    whole, shared = (RUN, 2.0, 10.0, 0.0, 0.0), (RUN, 2.0, 12.0, 1.0, saved)
    assert front(whole, shared) == indices


def test_a_step_adds_work_and_cost_and_names_the_parent() -> None:
    start = Labels.first(PAUSE)
    run = start.advance(RUN, work=1.0, cost=300.0)
    assert (run.mode.tolist(), run.work.tolist(), run.cost.tolist()) == ([RUN], [1.0], [300.0])
    both = Labels.concatenate([run, start.advance(PAUSE, cost=10.0)])
    assert both.select(both.mode == PAUSE).cost.tolist() == [10.0]
