"""Processes that share a simulated GPU measure one another's load."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.shared_power import CONTEXT_W, IDLE_W, SETTLES_NS, SharedPower

S = 1_000_000_000


def power(path: Path) -> SharedPower:
    return SharedPower(path, origin_ns=0)


def test_the_load_of_one_process_is_measured_by_another(tmp_path: Path) -> None:
    first, second = power(tmp_path / "power"), power(tmp_path / "power")
    assert second.power_w(S) == IDLE_W
    first.set_context("1", 2 * S, held=True)
    assert second.power_w(3 * S) == IDLE_W + CONTEXT_W
    second.add_work("2", 4 * S, 5 * S, 300)
    assert first.power_w(4 * S) == IDLE_W + CONTEXT_W + 300
    assert first.power_w(5 * S) == IDLE_W + CONTEXT_W
    assert first.energy_j(6 * S) == pytest.approx(6 * IDLE_W + 4 * CONTEXT_W + 300)
    first.set_context("1", 6 * S, held=False)
    assert second.power_w(7 * S) == IDLE_W


def test_a_limit_acts_in_the_middle_of_what_was_queued(tmp_path: Path) -> None:
    shared = power(tmp_path / "power")
    shared.add_work("1", S, 3 * S, 500)
    assert shared.power_w(2 * S) == IDLE_W + 500
    shared.set_limit(2 * S - SETTLES_NS, 200)
    assert shared.power_w(2 * S) == 200
    assert shared.energy_j(3 * S) == pytest.approx(IDLE_W + (IDLE_W + 500) + 200)


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(1, 5), st.integers(1, 400)), max_size=8))
def test_the_order_of_writing_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[int, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("power")
    there, back = power(folder / "there"), power(folder / "back")
    for shared, order in ((there, spans), (back, spans[::-1])):
        for index, (begin, length, watts) in enumerate(order):
            number = index if shared is there else len(spans) - 1 - index
            shared.add_work(str(number), begin * S, (begin + length) * S, watts)
            shared.power_w(0)
    assert there.energy_j(20 * S) == pytest.approx(back.energy_j(20 * S))
