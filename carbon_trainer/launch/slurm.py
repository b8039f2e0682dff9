"""Slurm: a job that releases its nodes until a cleaner hour, and is started again as itself."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from carbon_trainer.errors import CarbonTrainerError, InputError
from carbon_trainer.runs.outcome import SUPERVISED

PREFIX = "slurm-"
ATTEMPTS = 20
APART_S = 0.5
"""How often a request to the controller is tried, and how far apart, seconds."""

LEAD_S = 120
"""How long before the time limit a job is told, seconds: room for its last checkpoint."""


class SlurmError(CarbonTrainerError):
    """Slurm did not do what was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What a job asks of Slurm.

    Attributes:
        name: the job's name.
        ranks_a_node: processes on each machine.
        nodes: machines.
        folder: where its output goes.
        more: further lines for sbatch, without ``#SBATCH``.
    """

    name: str
    ranks_a_node: int
    nodes: int
    folder: Path
    more: tuple[str, ...] = ()


def script_of(options: JobOptions, fit_args: Sequence[str]) -> str:
    """Return the batch script of a run.

    It is the same for the first start and every later one: the run's id is the job's.

    Args:
        options: what is asked of Slurm.
        fit_args: what follows ``carbon-train fit``.
    """
    ranks = options.ranks_a_node * options.nodes
    # With steps the signal goes to them; without, to the batch process, which the run becomes.
    target = "" if ranks > 1 else "B:"
    lines = [
        f"--job-name={options.name}",
        "--requeue",
        "--open-mode=append",
        f"--output={options.folder / 'slurm-%j.log'}",
        f"--signal={target}USR1@{LEAD_S}",
        f"--nodes={options.nodes}",
        f"--ntasks-per-node={options.ranks_a_node}",
        *options.more,
    ]
    fit = [sys.executable, "-m", "carbon_trainer", "fit", *fit_args]
    command = shlex.join(fit) + f' --run-id "{PREFIX}$SLURM_JOB_ID"'
    launcher = "exec srun " if ranks > 1 else "exec "
    return "\n".join([
        "#!/bin/bash",
        *(f"#SBATCH {line}" for line in lines),
        f'export {SUPERVISED}="{PREFIX}$SLURM_JOB_ID"',
        launcher + command,
        "",
    ])  # fmt: skip


def submit(script: str) -> int:
    """Send a batch script; return the job's id.

    Raises:
        InputError: if there is no Slurm here, or it refuses the job.
    """
    try:
        sent = subprocess.run(
            ["sbatch", "--parsable"],  # noqa: S607 - where it lies is the cluster's to say
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise InputError(
            "there is no sbatch here: run this on a machine of the cluster, or give --dry-run and "
            "submit what it prints"
        ) from None
    if sent.returncode != 0:
        raise InputError(f"Slurm refuses the job: {_line(sent.stderr)}")
    return int(sent.stdout.strip().partition(";")[0])


def job_of(run_id: str) -> int | None:
    """Return the job that a run is; None for one that is none."""
    text = run_id.removeprefix(PREFIX)
    return int(text) if run_id.startswith(PREFIX) and text.isdigit() else None


def this_job(environ: Mapping[str, str] = os.environ) -> int | None:
    """Return the job that this process is and may put back into the queue; None elsewhere."""
    job_id = environ.get("SLURM_JOB_ID")
    ours = job_id is not None and environ.get(SUPERVISED) == f"{PREFIX}{job_id}"
    return int(job_id) if ours and job_id else None


def requeue(job_id: int, at: datetime | None = None) -> None:
    """Put this process's own job back into the queue, to be started at an instant or soon.

    The controller ends the job's processes with SIGTERM at once. This one goes on through that,
    for the half-minute that Slurm gives, until the time is set.

    Args:
        job_id: the job.
        at: when to start it; None for as soon as it has its turn.

    Raises:
        SlurmError: if the controller refuses.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if at is None:
        _ask("requeue", str(job_id))
        return
    _ask("requeuehold", str(job_id))
    # Slurm takes the time of its own zone.
    local = at.astimezone().strftime("%Y-%m-%dT%H:%M:%S")
    _ask("update", f"JobId={job_id}", f"StartTime={local}")
    _ask("release", str(job_id))


def start_now(job_id: int) -> str:
    """Make a waiting job eligible at once; say how that went."""
    try:
        _ask("update", f"JobId={job_id}", "StartTime=now", attempts=1)
    except SlurmError as error:
        return f"job {job_id} keeps its start: {error}"
    return f"job {job_id} may start now."


def _ask(*request: str, attempts: int = ATTEMPTS) -> None:
    why = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(APART_S)
        try:
            answer = subprocess.run(  # noqa: S603 - our own words
                ["scontrol", *request],  # noqa: S607 - where it lies is the cluster's to say
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            why = str(error)
            continue
        if answer.returncode == 0:
            return
        why = _line(answer.stderr)
    raise SlurmError(f"scontrol {request[0]}: {why}")


def _line(text: str) -> str:
    return " ".join(text.split())[:300] or "it gives no reason"
