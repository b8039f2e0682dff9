"""Communication's time in a step: never more than the step, and exposed only where nothing runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon_trainer.distributed.communication_time import (
    STEP,
    CommunicationTime,
    Role,
    Shares,
    Span,
    communication_time,
    merged,
    role_of,
    without,
)

Events = list[tuple[int, int, Role]]

instants = st.integers(0, 60)
spans = st.tuples(instants, instants).map(lambda pair: (min(pair), max(pair)))
others = st.sampled_from([Role.COMMUNICATION, Role.CALL, Role.WORK])
events = st.lists(st.tuples(spans, others).map(lambda one: (*one[0], one[1])), max_size=12)
steps = st.tuples(st.integers(0, 30), st.integers(1, 30)).map(lambda one: (one[0], sum(one)))


def time_of(step: Span, *more: tuple[int, int, Role]) -> CommunicationTime:
    return communication_time([(*step, Role.STEP), *more])


def instants_in(found: Events, step: Span, *roles: Role) -> set[int]:
    """The same by counting instants one by one."""
    inside = set(range(*step))
    return inside & {at for start, end, role in found if role in roles for at in range(start, end)}


@given(steps, events)
def test_exposed_is_at_most_all_and_all_at_most_the_step(step: Span, found: Events) -> None:
    time = time_of(step, *found)
    assert 0 <= time.exposed_ns <= time.communication_ns <= time.step_ns == step[1] - step[0]


@given(steps, events)
def test_times_are_those_that_counting_each_instant_gives(step: Span, found: Events) -> None:
    time = time_of(step, *found)
    calls = instants_in(found, step, Role.CALL)
    communicating = instants_in(found, step, Role.COMMUNICATION) | calls
    working = instants_in(found, step, Role.WORK) - calls
    assert time.communication_ns == len(communicating)
    assert time.exposed_ns == len(communicating - working)


@pytest.mark.slow
@given(st.lists(spans), st.lists(spans))
def test_what_is_taken_out_and_what_is_left_make_the_whole(a: list[Span], b: list[Span]) -> None:
    whole, taken = merged(a, within=(0, 60)), merged(b, within=(0, 60))
    left = without(whole, taken)
    assert merged(left, within=(0, 60)) == left
    again = without(whole, left)
    assert merged([*left, *again], within=(0, 60)) == whole


def test_communication_that_work_hides_is_not_exposed() -> None:
    time = time_of((0, 100), (10, 50, Role.COMMUNICATION), (0, 40, Role.WORK))
    assert time == CommunicationTime(step_ns=100, communication_ns=40, exposed_ns=10)


def test_an_operator_that_waits_for_others_does_no_work_meanwhile() -> None:
    time = time_of((0, 100), (0, 80, Role.WORK), (20, 60, Role.CALL))
    assert time == CommunicationTime(step_ns=100, communication_ns=40, exposed_ns=40)


@pytest.mark.parametrize("count", [0, 2])
def test_a_profile_without_its_one_step_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"has {count} steps"):
        communication_time([(0, 1, Role.STEP)] * count)


@pytest.mark.parametrize(
    ("name", "activity", "on_gpu", "role"),
    [
        (STEP, "user_annotation", False, Role.STEP),
        (STEP, "gpu_user_annotation", True, None),
        ("gloo:all_reduce", "cpu_op", False, Role.COMMUNICATION),
        ("c10d::allreduce_", "cpu_op", False, Role.CALL),
        ("_c10d_functional::wait_tensor", "cpu_op", False, Role.CALL),
        ("aten::mm", "cpu_op", False, Role.WORK),
        ("FSDP::pre_forward (0)", "user_annotation", False, None),
        ("autograd::engine::evaluate_function: AddmmBackward0", "cpu_op", False, None),
        ("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", "kernel", True, Role.COMMUNICATION),
        ("ampere_bf16_s16816gemm_bf16_128x128", "kernel", True, Role.WORK),
        ("Memcpy DtoD (Device -> Device)", "gpu_memcpy", True, Role.WORK),
        ("nccl:all_reduce", "gpu_user_annotation", True, None),
        ("c10d::allreduce_", "cpu_op", True, None),
        ("aten::mm", "cpu_op", True, None),
    ],
)
def test_an_event_is_known_by_its_name_and_kind(
    name: str, activity: str, on_gpu: bool, role: Role | None
) -> None:
    assert role_of(name, activity, on_gpu=on_gpu) is role


def test_shares_are_means_over_steps_however_long_each_was() -> None:
    shares = Shares()
    assert shares.communication is shares.exposed is None
    shares.add(CommunicationTime(100, 50, 10))
    shares.add(CommunicationTime(1000, 100, 0))
    assert shares.communication == pytest.approx(0.3)
    assert shares.exposed == pytest.approx(0.05)
