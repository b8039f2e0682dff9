"""Slurm: a job that releases its nodes until a cleaner hour and is requeued under the same id."""

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
RETRY_INTERVAL_S = 0.5
"""How often a request to the controller is tried, and at which interval, seconds."""

SIGNAL_LEAD_S = 120
"""How long before the time limit a job gets its signal, seconds: time for a last checkpoint."""


class SlurmError(CarbonTrainerError):
    """Slurm refused a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """The options of a job.

    Attributes:
        name: the job's name.
        ranks_per_node: processes on each node.
        nodes: the number of nodes.
        folder: the folder for its output.
        sbatch_lines: further lines for sbatch, without ``#SBATCH``.
    """

    name: str
    ranks_per_node: int
    nodes: int
    folder: Path
    sbatch_lines: tuple[str, ...] = ()


def script_of(options: JobOptions, fit_args: Sequence[str]) -> str:
    """Return the batch script of a run.

    It is the same for the first start and every later one: a job keeps its id when it is requeued,
    and the run's id is made from that.

    Args:
        options: the job's options.
        fit_args: what follows ``carbon-train fit``.
    """
    processes = options.ranks_per_node * options.nodes
    # By default Slurm signals a job's steps and not its batch shell (B:). With srun the ranks are a
    # step; with one process there is none, and exec turns the batch shell into the run.
    target = "" if processes > 1 else "B:"
    lines = [
        f"--job-name={options.name}",
        # Clusters may forbid requeueing by default (JobRequeue=0); the job needs it to return.
        "--requeue",
        # The log of an earlier start must not be truncated.
        "--open-mode=append",
        f"--output={options.folder / 'slurm-%j.log'}",
        f"--signal={target}USR1@{SIGNAL_LEAD_S}",
        f"--nodes={options.nodes}",
        f"--ntasks-per-node={options.ranks_per_node}",
        *options.sbatch_lines,
    ]
    fit = [sys.executable, "-m", "carbon_trainer", "fit", *fit_args]
    command = shlex.join(fit) + f' --run-id "{PREFIX}$SLURM_JOB_ID"'
    launcher = "exec srun " if processes > 1 else "exec "
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
        result = subprocess.run(
            ["sbatch", "--parsable"],  # noqa: S607 - its place differs from cluster to cluster
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
    if result.returncode != 0:
        raise InputError(f"Slurm refuses the job: {_line(result.stderr)}")
    # A federation's cluster follows the id after a semicolon.
    return int(result.stdout.strip().partition(";")[0])


def job_of(run_id: str) -> int | None:
    """Return the id of a run's job; None for a run that is not a job."""
    text = run_id.removeprefix(PREFIX)
    return int(text) if run_id.startswith(PREFIX) and text.isdigit() else None


def this_job(environ: Mapping[str, str] = os.environ) -> int | None:
    """Return the job that this process is and may requeue; None elsewhere.

    A run that is started by hand in an allocation is not the job: it must not requeue it.
    """
    job_id = environ.get("SLURM_JOB_ID")
    is_own = job_id is not None and environ.get(SUPERVISED) == f"{PREFIX}{job_id}"
    return int(job_id) if is_own and job_id else None


def requeue(job_id: int, start: datetime | None = None) -> None:
    """Requeue this process's own job, to be started at an instant or soon.

    The controller ends the job's processes with SIGTERM at once. This one ignores it and uses the
    half-minute that Slurm leaves before SIGKILL (KillWait) to set the start time.

    Args:
        job_id: the job.
        start: when to start it; None for as soon as the queue allows.

    Raises:
        SlurmError: if the controller refuses.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if start is None:
        _scontrol("requeue", str(job_id))
        return
    # Held, as a job that is requeued might start again before its start time is set. The
    # time can be set on a pending job only, so the update is retried until the job is one.
    _scontrol("requeuehold", str(job_id))
    # Slurm reads times in the zone of the cluster.
    local_time = start.astimezone().strftime("%Y-%m-%dT%H:%M:%S")
    _scontrol("update", f"JobId={job_id}", f"StartTime={local_time}")
    _scontrol("release", str(job_id))


def start_now(job_id: int) -> str:
    """Make a waiting job eligible at once; return a message."""
    try:
        _scontrol("update", f"JobId={job_id}", "StartTime=now", attempts=1)
    except SlurmError as error:
        return f"job {job_id} keeps its start: {error}"
    return f"job {job_id} may start now."


def _scontrol(*request: str, attempts: int = ATTEMPTS) -> None:
    reason = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(RETRY_INTERVAL_S)
        try:
            result = subprocess.run(  # noqa: S603 - our own arguments
                ["scontrol", *request],  # noqa: S607 - its place differs from cluster to cluster
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = str(error)
            continue
        if result.returncode == 0:
            return
        reason = _line(result.stderr)
    raise SlurmError(f"scontrol {request[0]}: {reason}")


def _line(text: str) -> str:
    return " ".join(text.split())[:300] or "no reason given"
