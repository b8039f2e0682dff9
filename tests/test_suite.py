"""The suite itself: collecting it imports nothing that takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "lightning", "transformers", "pytorch_lightning", "accelerate", "trl", "peft")

pytestmark = pytest.mark.slow

COLLECT = """
import json, sys, pytest
status = pytest.main(["--collect-only", "-qq", "-n", "0", "-m", "", "-p", "no:cacheprovider"])
print()
print(json.dumps([int(status), sorted(sys.modules)]))
"""


def test_collecting_every_test_imports_nothing_that_takes_seconds() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", COLLECT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    status, modules = json.loads(ended.stdout.splitlines()[-1])
    assert status == 0, ended.stdout[-3000:]
    assert [name for name in HEAVY if name in modules] == []
