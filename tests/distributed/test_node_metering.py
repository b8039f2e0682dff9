"""Who meters what, and how machines agree on when to tell."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from carbon_trainer.distributed.node_metering import (
    ExchangeInterval,
    NodeReport,
    RankInfo,
    RemoteNodes,
    assign_metering,
)

members = st.lists(
    st.tuples(st.sampled_from("abc"), st.sets(st.sampled_from("1234"), max_size=4)),
    min_size=1, max_size=8,
).map(
    lambda rows: [
        RankInfo(rank, node, tuple(f"GPU-{node}{gpu}" for gpu in sorted(gpus)))
        for rank, (node, gpus) in enumerate(rows)
    ]
)  # fmt: skip


@given(members)
def test_each_device_is_metered_by_exactly_one_process(run: list[RankInfo]) -> None:
    duties = [duty for duty in (assign_metering(one.rank, run) for one in run) if duty is not None]
    metered = [gpu for duty in duties for gpu in duty.gpus]
    assert sorted(metered) == sorted({gpu for one in run for gpu in one.gpus})
    assert len({duty.node for duty in duties}) == len(duties) == len({one.node for one in run})
    assert all(duty.meters == duties[0].meters for duty in duties)


@given(members)
def test_the_process_that_keeps_the_record_meters_too(run: list[RankInfo]) -> None:
    duty = assign_metering(0, run)
    assert duty is not None
    assert duty.meters[0] == 0


def test_machines_exchange_about_each_second_at_the_same_steps() -> None:
    keeper, other = ExchangeInterval(), ExchangeInterval()
    exchanged = []
    for step in range(1, 501):
        assert keeper.is_due(step) == other.is_due(step)
        if keeper.is_due(step):
            exchanged.append(step)
            wait_steps = keeper.propose(step, step * 20_000_000)
            for one in (keeper, other):
                one.accept(step, wait_steps)
    assert exchanged[:2] == [1, 2]
    assert {b - a for a, b in pairwise(exchanged[2:])} == {50}


def report(**given: object) -> NodeReport:
    usual: dict[str, object] = {
        "node": "node1", "host": "h", "sources": (), "intervals": (), "events": (),
        "used_mj": 1000, "upper_mj": 1200, "power_w": 100.0, "peak_w": 150.0,
    }  # fmt: skip
    return NodeReport(**{**usual, **given})  # type: ignore[arg-type]


def test_other_machines_go_on_at_their_power_until_they_tell_again() -> None:
    elsewhere = RemoteNodes()
    assert elsewhere.update(report(), 0)
    assert not elsewhere.update(report(), 0)
    assert elsewhere.used_mj(2 * 10**9, upper=False) == 1000 + 200_000
    assert elsewhere.used_mj(2 * 10**9, upper=True) == 1200 + 300_000
    assert elsewhere.power_w() == 100
    elsewhere.end()
    assert elsewhere.used_mj(9 * 10**9, upper=False) == 1000
