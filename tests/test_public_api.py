"""What docs/reference names is what packages export, and importing them costs nothing."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = [
    "carbon_trainer",
    "carbon_trainer.callbacks",
    "carbon_trainer.callbacks.huggingface",
    "carbon_trainer.energy",
    "carbon_trainer.grid",
    "carbon_trainer.ledger",
    "carbon_trainer.planning",
]
HEAVY = {"lightning", "numpy", "pandas", "pydantic", "sqlalchemy", "torch", "transformers"}


def documented() -> set[str]:
    """Return the paths of all objects that docs/reference shows."""
    pages = (ROOT / "docs" / "reference").glob("*.md")
    return {
        path
        for page in pages
        for path in re.findall(r"^::: (carbon_trainer\S*)$", page.read_text(), re.MULTILINE)
    }


def exported() -> set[str]:
    """Return the paths of all public names."""
    return {
        f"{package}.{name}"
        for package in PACKAGES
        for name in importlib.import_module(package).__all__
        if name != "__version__"
    }


def test_what_the_reference_names_is_exported_and_the_other_way_round() -> None:
    assert documented() == exported()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_lists_its_public_names(package: str) -> None:
    module = importlib.import_module(package)
    assert dir(module) == sorted(set(module.__all__) - {"__version__"})
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Nothing'"):
        _ = module.Nothing


@pytest.mark.parametrize("package", ["energy", "grid", "ledger", "planning"])
def test_every_public_name_is_there(package: str) -> None:
    module = importlib.import_module(f"carbon_trainer.{package}")
    for name in module.__all__:
        assert getattr(module, name) is not None, name


def test_a_public_module_and_an_alias_are_what_they_stand_for() -> None:
    from carbon_trainer import ledger
    from carbon_trainer.ledger import verify

    assert ledger.facts is importlib.import_module("carbon_trainer.ledger.facts")
    assert ledger.verify_run is verify.verify


def test_importing_the_packages_imports_nothing_heavy() -> None:
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code, *PACKAGES], capture_output=True, text=True, check=True
    ).stdout
    assert not HEAVY & set(output.split())


def test_planning_needs_no_torch() -> None:
    code = "import sys\nfrom carbon_trainer import grid, planning\n"
    code += "planning.solve, grid.read_csv\nprint(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert not {"lightning", "torch", "transformers"} & set(output.split())
