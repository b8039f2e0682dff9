"""Start time of ``--help`` of every command, compared with Python, click and CodeCarbon.

``python -m benchmarks.starts``: the median of five starts each, interleaved, so that a busy machine
slows all of them alike.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from carbon_trainer.cli.main import command_paths

TIMES = 5
BIN = Path(sys.executable).parent
PEERS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    'python -c "import click"': [sys.executable, "-c", "import click"],
    "codecarbon --help": [str(BIN / "codecarbon"), "--help"],
}


def start_ms(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    program = str(BIN / "carbon-train")
    own = {f"carbon-train {' '.join((*path, '--help'))}": [program, *path, "--help"]
           for path in command_paths()}  # fmt: skip
    commands = PEERS | own
    times_ms: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(TIMES):
        for name, command in commands.items():
            times_ms[name].append(start_ms(command))
    medians = {name: statistics.median(times) for name, times in times_ms.items()}
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    print(f"{'':38}{'ms':>8}{'/ python':>10}{'/ click':>10}{'/ codecarbon':>14}")
    for name, median in medians.items():
        ratios = [median / medians[peer] for peer in PEERS]
        print(f"{name:38}{median:8.0f}{ratios[0]:10.2f}{ratios[1]:10.2f}{ratios[2]:14.2f}")


if __name__ == "__main__":
    main()
