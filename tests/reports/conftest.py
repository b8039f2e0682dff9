from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.build import render_run
from carbon_trainer.reports.figures.run_figures import RunFigures, run_figures
from tests.reports import ledgers
from tests.reports.portfolio.many import many


def written_into(folder: Path) -> Callable[[str], Path]:
    @cache
    def path_of(name: str) -> Path:
        ledgers.ALL[name](folder / f"{name}.sqlite").close()
        return folder / f"{name}.sqlite"

    return path_of


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """One of the known ledgers by name, as a file that every test may read and none may change."""
    return written_into(tmp_path_factory.mktemp("ledgers"))


@pytest.fixture(scope="session")
def written_many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of several runs, as a file that every test may read and none may change."""
    path = tmp_path_factory.mktemp("many") / "many.sqlite"
    many(path).close()
    return path


@pytest.fixture
def several(written_many: Path, tmp_path: Path) -> Ledger:
    """The ledger of several runs, of the test's own."""
    return Ledger.open(shutil.copy(written_many, tmp_path / "many.sqlite"), create=False)


@pytest.fixture(scope="session")
def written_again(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """As ``written``, of the same facts in another file, written at another time."""
    return written_into(tmp_path_factory.mktemp("again"))


@pytest.fixture
def make(written: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Ledger]:
    """One of the known ledgers by name, of the test's own."""

    def own(name: str) -> Ledger:
        return Ledger.open(shutil.copy(written(name), tmp_path / f"{name}.sqlite"), create=False)

    return own


@pytest.fixture
def figures(make: Callable[[str], Ledger]) -> Callable[[str], RunFigures]:
    """Figures of one of the known runs by name."""
    return lambda name: run_figures(make(name), ledgers.RUN)


@pytest.fixture(scope="session")
def rendered(written: Callable[[str], Path]) -> Callable[[str, str], str]:
    """The report of one of the known runs by name and form, rendered once for all tests."""

    @cache
    def text(name: str, form: str) -> str:
        ledger = Ledger.open(written(name), create=False)
        try:
            return render_run(ledger, ledgers.RUN, form)
        finally:
            ledger.close()

    return text
