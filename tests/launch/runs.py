"""Whole runs in processes of their own, and what they leave."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from carbon_trainer.runs.checkpoints import latest_valid
from tests.cli.commands import ROOT, Process, Shell
from tests.warm import WarmProcess, rank_file

if TYPE_CHECKING:
    import torch

HANG_S = 240
"""What has not happened after so long never will, however busy the machine, seconds."""

GPU = {"power_w": 300.0, "uuid": "GPU-a", "refresh_s": 0.02}


def environment(gpus: list[dict[str, object]] | None = None, **more: str) -> dict[str, str]:
    """Return the environment of a run with simulated GPUs."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "SIMULATED_NVML": json.dumps(gpus or [GPU]),
        "SIMULATED_NVML_ROOT": str(ROOT),
        "PYTHONPATH": str(ROOT / "tests" / "simulation" / "site"),
        **more,
    }


def start(
    shell: Shell, *args: str, ranks: int | None = None, restarts: int = 0, warm: bool = True,
    **more: str,
) -> Process:  # fmt: skip
    """Start ``carbon-train fit``, under torchrun where ranks are given.

    Args:
        shell: where.
        args: what follows the flags that make a job of seconds.
        ranks: how many processes torchrun starts.
        restarts: how often it may start them again.
        warm: whether they are forked from a process that has imported everything; a supervisor,
            which starts the run itself, never is.
        more: what else is in the environment.
    """
    command = ["-m"]
    if ranks is not None:
        command += [
            "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}",
            f"--max-restarts={restarts}", "-m",
        ]  # fmt: skip
    command += ["carbon_trainer", "fit", *shell.tiny, *args]
    environ = environment(**more)
    if warm and "--supervise" not in args:
        return WarmProcess(
            command, cwd=shell.folder, env=environ, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    return subprocess.Popen(
        [sys.executable, *command], cwd=shell.folder, env=environ, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def finish(process: Process) -> tuple[int, str]:
    """Wait for its end; return its status and what it printed."""
    try:
        out, _ = process.communicate(timeout=HANG_S)
    except subprocess.TimeoutExpired:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        out, _ = process.communicate()
        raise AssertionError(f"it did not end within {HANG_S} s:\n{out[-4000:]}") from None
    return process.returncode, out


def run_dir(shell: Shell, run_id: str) -> Path:
    return shell.folder / "carbon_runs" / run_id


def wait_until(condition: Callable[[], object], process: Process) -> None:
    """Wait for something that a running process does."""
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert process.poll() is None, _printed(process)[-4000:]
        assert time.monotonic() < deadline, "it did not happen"
        # A ledger that is asked, or a checkpoint that is checked, takes the run's time.
        time.sleep(0.1)


def _printed(process: Process) -> str:
    if isinstance(process, WarmProcess):
        return process.printed
    return process.stdout.read() if process.stdout else ""


def saved(shell: Shell, run_id: str, step: int) -> bool:
    """Say whether a run has saved a checkpoint of a step or a later one."""
    path = latest_valid(run_dir(shell, run_id) / "checkpoints")
    return path is not None and path.name >= f"step-{step:08d}.ckpt"


def ranks_of(process: Process, ranks: Iterable[str]) -> list[psutil.Process]:
    """Return the processes of some ranks, by their environment or by what they have noted."""
    children = psutil.Process(process.pid).children(recursive=True)
    if isinstance(process, WarmProcess):
        noted = {rank_file(process.cwd, rank).read_text() for rank in ranks}
        return [child for child in children if str(child.pid) in noted]
    names = set(ranks)
    return [
        child
        for child in children
        if child.environ().get("RANK") in names and "carbon_trainer" in " ".join(child.cmdline())
    ]


def weights(shell: Shell, run_id: str) -> dict[str, torch.Tensor]:
    """Return the weights of a run's newest checkpoint."""
    import torch

    path = latest_valid(run_dir(shell, run_id) / "checkpoints")
    assert path is not None
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def assert_same_weights(shell: Shell, first: str, second: str) -> None:
    """Two runs have come to the same model, bit for bit."""
    import torch

    left, right = weights(shell, first), weights(shell, second)
    assert left.keys() == right.keys()
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different


def ledger(shell: Shell) -> Ledger:
    """Return the ledger of the shell's runs."""
    return Ledger.open(shell.folder / "carbon_runs" / "ledger.sqlite", create=False)


def assert_verified(shell: Shell, run_id: str) -> None:
    """The run's chain of records is whole."""
    assert verify(ledger(shell), run_id).ok


def loaded_libraries(pid: int) -> set[str]:
    """Return which installed packages a process has native code of in its memory.

    What the tests' own coverage is measured with does not count.
    """
    maps = Path(f"/proc/{pid}/maps").read_text()
    return set(re.findall(r"/site-packages/(\w+)/\S*\.so", maps)) - {"coverage"}
