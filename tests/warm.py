"""Processes that are forked from one that has imported torch, Lightning and transformers already.

To start Python and import them takes seconds of a core; forked, the same command starts at once.
What a process does on being started or torn down by Python itself is not tested so: that takes a
process of its own.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PRELOADED = [
    "lightning", "transformers", "carbon_trainer.training.fit", "carbon_trainer.training.trainer",
    "carbon_trainer.callbacks.carbon_aware", "carbon_trainer.callbacks.huggingface.callback",
    "carbon_trainer.cli.actions.fit", "carbon_trainer.cli.actions.closing",
    "carbon_trainer.models.module",
    "torch.distributed.run",
    "tests.callbacks.training", "tests.simulation.nvml", "accelerate", "lightning.fabric",
    "tests.frozen",
]  # fmt: skip


def context() -> Any:
    """Return what forks from the process that has imported everything."""
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(PRELOADED)
    return forking


class _Started:
    """A process of multiprocessing's with the interface of ``subprocess.Popen``."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self._process.start()
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        status: int | None = self._process.exitcode
        return status

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


class WarmProcess(_Started):
    """A command of Python's, ``-m MODULE`` or ``-c CODE`` with arguments.

    The ranks that ``-m torch.distributed.run`` starts are forked in turn.

    Args:
        arguments: what follows ``python``.
        cwd: its folder.
        env: its environment.
        stderr: ``subprocess.STDOUT`` to have both outputs in one.
        start_new_session: whether it leads a session of its own.
    """

    def __init__(
        self, arguments: Sequence[str], *, cwd: str | Path, env: Mapping[str, str],
        stderr: int | None = None, start_new_session: bool = False,
    ) -> None:  # fmt: skip
        self.cwd = Path(cwd)
        self._folder = tempfile.TemporaryDirectory(prefix="warm-", ignore_cleanup_errors=True)
        out = Path(self._folder.name, "out")
        self._outputs = [out, out if stderr == subprocess.STDOUT else out.with_name("err")]
        for path in self._outputs:
            path.touch()
        asked = (list(arguments), str(cwd), dict(env), self._outputs, start_new_session)
        super().__init__(context().Process(target=_run, args=asked, daemon=False))

    @property
    def printed(self) -> str:
        """What it has printed until now."""
        return self._outputs[0].read_text(encoding="utf-8", errors="replace")

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; return what it has printed, and its errors where they are apart."""
        self.wait(timeout)
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in self._outputs)
        self._folder.cleanup()
        return out, "" if self._outputs[0] == self._outputs[1] else err


def rank_file(folder: Path, rank: str) -> Path:
    """Return where a rank that was forked notes its process, in its run's folder."""
    return folder / f"rank-{rank}.pid"


def _run(
    arguments: list[str], cwd: str, environ: dict[str, str], outputs: list[Path], leads: bool
) -> None:
    """Be that command, with outputs and a folder of its own."""
    for descriptor, path in zip((1, 2), outputs, strict=True):
        # Appended, so that two that are one file do not overwrite each other.
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), descriptor)
    os.chdir(cwd)
    if arguments[:2] == ["-m", "torch.distributed.run"]:
        _fork_ranks()
    _be(arguments, environ, leads)


def _be(arguments: list[str], environ: dict[str, str], leads: bool) -> None:
    """Be a command: what Python does on its own start is done here."""
    if leads:
        os.setsid()
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:0] = ["", *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))]
    if environ.get("SIMULATED_NVML"):
        from tests.simulation.nvml import from_environment

        from_environment(environ["SIMULATED_NVML"]).load()
    import torch

    torch.set_num_threads(int(environ.get("OMP_NUM_THREADS", "1")))
    kind, what, *rest = arguments
    try:
        if kind == "-m":
            sys.argv = [what, *rest]
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *rest]
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    finally:
        # multiprocessing ends a process without them.
        atexit._run_exitfuncs()


def _fork_ranks() -> None:
    """Have torchrun's agent, which this process will be, fork its ranks from itself."""
    from torch.distributed.elastic.multiprocessing.subprocess_handler import SubprocessHandler

    def forked(_: SubprocessHandler, command: Sequence[str], env: dict[str, str]) -> _Started:
        arguments = [word for word in command[1:] if word != "-u"]
        forking = multiprocessing.get_context("fork")
        return _Started(forking.Process(target=_be_rank, args=(arguments, env), daemon=False))

    SubprocessHandler._popen = forked


def _be_rank(arguments: list[str], environ: dict[str, str]) -> None:
    # The agent's own, which would have the agent's ranks end.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rank_file(Path.cwd(), environ["RANK"]).write_text(str(os.getpid()))
    _be(arguments, environ, leads=True)
