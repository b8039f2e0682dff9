"""The page on the architecture shows the import contract, and what it names exists."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PICTURE = ROOT / "docs" / "assets" / "layers.svg"
FOLDERS = ("carbon_trainer", "callbacks", "reports", "tests", "docs")


def test_the_picture_of_the_layers_is_that_of_the_import_contract() -> None:
    layers = runpy.run_path(str(PICTURE.with_suffix(".py")))
    assert PICTURE.read_text(encoding="utf-8") == layers["picture"](), (
        "draw it again: python docs/assets/layers.py"
    )


def test_the_picture_has_every_package() -> None:
    drawn = set(re.findall(r">(\w+)</text>", PICTURE.read_text(encoding="utf-8")))
    packages = {path.parent.name for path in (ROOT / "carbon_trainer").glob("*/__init__.py")}
    assert packages <= drawn


def test_files_and_folders_that_it_names_exist() -> None:
    named = re.findall(r"`([\w./]+)`", PAGE.read_text(encoding="utf-8"))
    paths = [Path(name) for name in named if name.partition("/")[0] in FOLDERS and "/" in name]
    assert len(paths) > 15
    modules = {path: path.with_name(f"{path.name}.py") for path in paths}
    assert [p for p in paths if not (ROOT / p).exists() and not (ROOT / modules[p]).exists()] == []
