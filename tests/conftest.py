"""What holds for all tests: a property is not false because a machine was busy."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Threads that wait for one another by spinning take a hundred times as long where others want the
# cores too; to models as small as these they bring nothing. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
