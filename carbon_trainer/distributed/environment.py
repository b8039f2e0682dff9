"""Which of a run's processes this one is, before torch is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping

from carbon_trainer.errors import InputError
from carbon_trainer.hardware.process import ProcessIdentity


def this_rank(environ: Mapping[str, str] = os.environ) -> int:
    """Return this process's rank: as torchrun says, or Lightning, or srun; 0 for one alone."""
    if "RANK" in environ:
        return int(environ["RANK"])
    if _is_srun(environ):
        return int(environ["SLURM_PROCID"])
    # Lightning starts the other processes of a machine itself, and numbers machines.
    node = int(environ.get("NODE_RANK", environ.get("GROUP_RANK", "0")))
    return max(int(environ.get("LOCAL_RANK", "0")), node)


def launched(environ: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Return the processes a machine and the machines that a launcher has started, or None."""
    if "LOCAL_WORLD_SIZE" in environ and "WORLD_SIZE" in environ:
        local = int(environ["LOCAL_WORLD_SIZE"])
        return local, int(environ["WORLD_SIZE"]) // local
    if _is_srun(environ):
        nodes = int(environ.get("SLURM_STEP_NUM_NODES", environ.get("SLURM_NNODES", "1")))
        return int(environ["SLURM_STEP_NUM_TASKS"]) // nodes, nodes
    return None


def check_split_ranks(ranks: int, tensor_parallel: int) -> None:
    """Check that ranks fall into groups which split layers between them.

    Args:
        ranks: processes of the run, all machines together.
        tensor_parallel: how many are in a group.

    Raises:
        InputError: if they do not.
    """
    if ranks % tensor_parallel:
        raise InputError(
            f"--tensor-parallel {tensor_parallel} needs a multiple of {tensor_parallel} devices, "
            f"and there {'is' if ranks == 1 else 'are'} {ranks}: see --devices and --nodes."
        )


def is_elastic(environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether torchrun's agent looks after this process."""
    return "TORCHELASTIC_RUN_ID" in environ


def elastic_run_id(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return a run's id that stays the same over torchrun's restarts; None without torchrun.

    Raises:
        InputError: if there are several machines and torchrun was given no id.
    """
    if not is_elastic(environ):
        return None
    run_id = environ["TORCHELASTIC_RUN_ID"]
    if run_id and run_id != "none":
        return f"torchrun-{run_id}"
    if environ.get("GROUP_WORLD_SIZE", "1") != "1":
        raise InputError(
            "with several machines torchrun must be given an id (--rdzv-id), or carbon-train one "
            "(--run-id), so that a restart finds its run"
        )
    # The agent outlives the processes that it starts again.
    agent = ProcessIdentity.of(os.getppid())
    return f"torchrun-{agent.pid}-{agent.started_s:.0f}-{agent.boot_id[:8]}"


def _is_srun(environ: Mapping[str, str]) -> bool:
    tasks = int(environ.get("SLURM_STEP_NUM_TASKS", "1"))
    return "SLURM_PROCID" in environ and tasks > 1
