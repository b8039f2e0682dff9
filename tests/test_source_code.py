"""What is asked of the package's source as a whole: nothing is written that nothing reads."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path

import pytest

import carbon_trainer.energy

ROOT = Path(__file__).parents[1]
CODE = ("carbon_trainer", "callbacks", "reports")
USERS = (*CODE, "tests", "benchmarks", "examples", "docs")


@cache
def modules() -> dict[Path, ast.Module]:
    """The package's modules, parsed."""
    paths = [path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def attributes(source: ast.Module) -> Iterator[ast.Attribute]:
    return (node for node in ast.walk(source) if isinstance(node, ast.Attribute))


def is_own(attribute: ast.Attribute) -> bool:
    return isinstance(attribute.value, ast.Name) and attribute.value.id == "self"


def never_read(sources: dict[Path, ast.Module]) -> list[str]:
    """Attributes that objects write into themselves and that are read nowhere."""
    every = [(path, node) for path, source in sources.items() for node in attributes(source)]
    read = {node.attr for _, node in every if isinstance(node.ctx, ast.Load)}
    return [
        f"{path}:{node.lineno} {node.attr}"
        for path, node in every
        if isinstance(node.ctx, ast.Store) and is_own(node) and node.attr not in read
    ]


def test_every_attribute_that_is_written_is_read() -> None:
    assert never_read(modules()) == []


def test_a_misspelt_attribute_would_be_found() -> None:
    misspelt = (
        "class A:\n def a(self):\n  self._slack_s = 1\n def b(self):\n  return self.slack_s\n"
    )
    assert never_read({Path("a.py"): ast.parse(misspelt)}) == ["a.py:3 _slack_s"]


def test_every_function_and_class_of_a_module_is_used() -> None:
    texts = [path.read_text(encoding="utf-8") for folder in USERS for path in _texts(ROOT / folder)]
    texts.append((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    words = Counter(word for text in texts for word in re.findall(r"\w+", text))
    unused = [
        f"{path}:{node.lineno} {node.name}"
        for path, source in modules().items()
        for node in source.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.decorator_list  # which takes it, as click does a command
        and words[node.name] == 1
    ]
    assert unused == []


@pytest.mark.parametrize(
    ("module", "what"),
    [
        ("carbon_trainer/files.py", ("fsync", "file_digest", "mkstemp", "NamedTemporaryFile")),
        ("carbon_trainer/hardware/process.py", ("create_time", "pid_exists")),
    ],
)
def test_what_is_easily_done_wrong_is_done_in_one_place(module: str, what: tuple[str, ...]) -> None:
    elsewhere = [
        f"{path}:{node.lineno} {ast.unparse(node)}"
        for path, source in modules().items()
        for node in attributes(source)
        if node.attr in what and path != Path(module)
    ]
    assert elsewhere == []


def _texts(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix in {".py", ".md", ".j2", ".json"})


def classes_of_energy() -> list[type]:
    package = carbon_trainer.energy
    names = [m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    classes = [
        value
        for name in names
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, type) and value.__module__ == name
    ]
    without_state = (Enum, BaseException)
    return [
        cls
        for cls in classes
        if not issubclass(cls, without_state) and not getattr(cls, "_is_protocol", False)
    ]


@pytest.mark.parametrize("cls", classes_of_energy(), ids=lambda cls: cls.__name__)
def test_a_misspelt_state_of_the_meter_raises(cls: type) -> None:
    assert cls.__dictoffset__ == 0, f"{cls.__name__} has no __slots__"
