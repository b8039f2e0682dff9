"""Gives a subprocess the simulated NVML that its environment describes."""

import os
import sys

if os.environ.get("SIMULATED_NVML"):
    sys.path.insert(0, os.environ["SIMULATED_NVML_ROOT"])
    from tests.simulation.nvml import from_environment

    from_environment(os.environ["SIMULATED_NVML"]).load()
    sys.path.pop(0)
