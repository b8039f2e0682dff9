"""The NVIDIA GPUs that a process may use are those that CUDA would see."""

from __future__ import annotations

import pytest

from carbon_trainer.energy.sources.visible_devices import VisibleGpu, visible_gpus

A = "GPU-aaaa1111-0000-0000-0000-000000000000"
B = "GPU-bbbb2222-0000-0000-0000-000000000000"
M = "MIG-cccc3333-0000-0000-0000-000000000000"


def test_a_slice_of_a_gpu_is_marked_as_one_and_two_of_them_are_one_gpu() -> None:
    environ = {"CUDA_VISIBLE_DEVICES": f"{M},{M[:-1]}1"}
    parents = {M: B, f"{M[:-1]}1": B}
    assert visible_gpus(environ, [A, B], parents) == [VisibleGpu(B, mig=True)]


@pytest.mark.parametrize(
    ("variable", "uuids"),
    [
        (None, [A, B]), ("", []), ("-1", []), ("0", [A]), ("1,0", [B, A]), ("0,0", [A]),
        ("7", []), ("1,7,0", [B]), ("GPU-bbbb", [B]), (f"{A},{B}", [A, B]), ("GPU-", []),
        ("GPU-none", []), (M, [B]), ("MIG-nope", []), (f"MIG-{B}/1/0", [B]),
        (" 1 , 0 ", [B, A]), ("0,x,1", [A]),
    ],
)  # fmt: skip
def test_visible_gpus_are_those_that_cuda_would_see(variable: str | None, uuids: list[str]) -> None:
    environ = {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}
    assert [gpu.uuid for gpu in visible_gpus(environ, [A, B], {M: B})] == uuids
