"""The machine and the software that a run uses, for its record."""

from __future__ import annotations

import getpass
import platform
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

RECORDED_PACKAGES = (
    "carbon-trainer", "torch", "lightning", "transformers", "tokenizers", "torchdata",
    "codecarbon", "nvidia-ml-py", "numpy",
)  # fmt: skip


def software_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect a run's figures."""
    versions = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def cpu_name() -> str:
    """Return the processor's name for people, as far as the system reports it."""
    # ``platform.processor`` is empty, or only the architecture, on Linux.
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_cores() -> int:
    """Return the number of logical processors."""
    return psutil.cpu_count() or 1


def memory_bytes() -> int:
    """Return the size of the main memory, bytes."""
    return int(psutil.virtual_memory().total)


def host_name() -> str:
    """Return this machine's name."""
    return socket.gethostname()


def user_name() -> str:
    """Return the login name of the current user; empty where the system has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def operating_system() -> str:
    """Return the system's name and release."""
    return f"{platform.system()} {platform.release()} ({sys.platform})"
