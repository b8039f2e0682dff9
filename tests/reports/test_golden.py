"""Reports that were looked at once come out again to the byte.

After a change that is meant, `python -m tests.reports.test_golden` writes them anew; look at what
changed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from carbon_trainer.reports.build import render_run
from carbon_trainer.reports.portfolio.build import PORTFOLIO_RENDERERS
from carbon_trainer.reports.portfolio.figures import portfolio_of
from carbon_trainer.reports.portfolio.selection import Selection
from tests.reports import ledgers
from tests.reports.portfolio.many import many

GOLDEN = Path(__file__).parent / "golden"
FORMS = ("md", "json", "esrs", "ghg", "boamps", "aiact", "if")


def made(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of each golden report."""
    for name in ("amended", "resumed"):
        ledger = ledgers.ALL[name](folder / f"{name}.sqlite")
        for form in FORMS:
            yield f"{name}-{form}.txt", render_run(ledger, ledgers.RUN, form)
    portfolio = portfolio_of(many(folder / "many.sqlite"), Selection())
    for form in ("md", "json"):
        yield f"many-{form}.txt", str(PORTFOLIO_RENDERERS[form](portfolio))


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return dict(made(tmp_path_factory.mktemp("golden")))


@pytest.mark.slow
def test_every_golden_report_is_still_made(now: dict[str, str]) -> None:
    assert set(now) == {path.name for path in GOLDEN.glob("*.txt")}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("*.txt")))
def test_a_report_comes_out_again_to_the_byte(name: str, now: dict[str, str]) -> None:
    assert now[name].encode() == (GOLDEN / name).read_bytes()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for file, text in made(Path(scratch)):
            (GOLDEN / file).write_bytes(text.encode())
