from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.figures import RunFigures, run_figures
from tests.reports import ledgers


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Ledger]:
    """Builds one of the known ledgers by name."""
    return lambda name: ledgers.ALL[name](tmp_path / f"{name}.sqlite")


@pytest.fixture
def figures(make: Callable[[str], Ledger]) -> Callable[[str], RunFigures]:
    """Figures of one of the known runs by name."""
    return lambda name: run_figures(make(name), ledgers.RUN)
