"""What holds for all tests: a property is not false because a machine was busy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from carbon_trainer.hardware.process import ProcessIdentity

# Threads that wait for one another by spinning take a hundred times as long where others want the
# cores too; to models as small as these they bring nothing. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


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
