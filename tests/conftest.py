"""What holds for all tests: a property is not false because a machine was busy."""

from __future__ import annotations

import functools
import gc
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from carbon_trainer.acceptance.accelerator import check_torch, first_gpu
from carbon_trainer.errors import InputError
from carbon_trainer.hardware.process import ProcessIdentity

# Threads that wait for one another by spinning take a hundred times as long where others want the
# cores too; to models as small as these they bring nothing. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ledgers and checkpoints are forced onto the disk, which takes no time where that is memory.
MEMORY = Path("/dev/shm")
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 * 2**30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
# Processes under test would compile the package at each start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A whole suite takes every core; what was named runs in pytest's own process.

    Runs that are killed, paused or released are waited for more than they compute: with them there
    are half as many processes again, each of which has to import and collect.
    """
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    cores = os.cpu_count() or 1
    return cores if "not slow" in config.option.markexpr else cores + (cores + 1) // 2


@functools.cache
def _no_gpu() -> str:
    """Say why no test can use a GPU here; empty where one can."""
    try:
        first_gpu()
        check_torch()
    except InputError as error:
        return str(error)
    return ""


LONGEST_FIRST = [
    "tests/acceptance/test_parts.py", "tests/launch/test_chaos.py", "tests/real/test_slurm.py",
    "tests/launch/test_supervisor.py", "tests/launch/test_torchrun.py",
    "tests/callbacks/huggingface/test_callback.py", "tests/cli/test_data.py", "tests/launch/",
    "tests/callbacks/huggingface/test_schedule.py",
    "tests/callbacks/test_schedule.py", "tests/cli/test_fit.py", "tests/examples/",
    "tests/curation/test_disk.py", "tests/planning/test_solver.py", "tests/callbacks/",
]  # fmt: skip
"""Modules that take minutes: begun last, one core would wait for them."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("real"):
            item.add_marker(pytest.mark.slow)
    items.sort(key=_turn)  # keeps the order of those that take a turn together


def _turn(item: pytest.Item) -> int:
    beginnings = (i for i, path in enumerate(LONGEST_FIRST) if item.nodeid.startswith(path))
    return next(beginnings, len(LONGEST_FIRST))


FROZEN = pytest.StashKey[int]()
"""How many modules were imported when what they hold was last set aside."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Set aside what was imported: Lightning collects garbage after each training."""
    if len(sys.modules) > item.config.stash.get(FROZEN, 1500) + 500:
        gc.collect()
        gc.freeze()
        item.config.stash[FROZEN] = len(sys.modules)
    if item.get_closest_marker("gpu") and (reason := _no_gpu()):
        pytest.skip(reason)


settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def lightning_speaks() -> None:
    """A command that was run in this process has quietened Lightning for good."""
    for part in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{part}").setLevel(logging.NOTSET)


@pytest.fixture
def zombie() -> Iterator[ProcessIdentity]:
    """A process that was killed and that nobody has waited for."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = ProcessIdentity.of(process.pid)
        process.send_signal(signal.SIGKILL)
        status = Path(f"/proc/{process.pid}/stat")
        while ") Z " not in status.read_text(encoding="utf-8"):
            time.sleep(0.01)
        yield identity
