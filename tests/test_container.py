"""The Dockerfile fits the project: what it copies, installs and starts is there.

It is not built here. What is checked is what a change of the project could break.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


INSTRUCTIONS = _instructions()


def _all(name: str) -> list[str]:
    return [rest for found, rest in INSTRUCTIONS if found == name]


def _copied() -> list[str]:
    return [source for rest in _all("COPY") for source in shlex.split(rest)[:-1]]


def _reaches_docker(path: str) -> bool:
    """Say whether .dockerignore lets a path through; its last fitting line decides."""
    lets = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if line and line[0] != "#" and fnmatch.fnmatch(path, pattern):
            lets = line.startswith("!")
    return lets


def test_only_known_instructions_are_used_in_their_order() -> None:
    known = {
        "FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "ENTRYPOINT", "CMD",
    }  # fmt: skip
    names = [name for name, _ in INSTRUCTIONS]
    assert set(names) == known
    assert names[0] == "FROM"
    assert names[-2:] == ["ENTRYPOINT", "CMD"]


def test_python_is_one_that_the_project_takes() -> None:
    (base,) = _all("FROM")
    version = re.fullmatch(r"python:3\.(\d+)-slim-\w+", base)
    assert version is not None, base
    least = re.fullmatch(r">=3\.(\d+)", PROJECT["project"]["requires-python"])
    assert least is not None
    assert int(version[1]) >= int(least[1])


@pytest.mark.parametrize("source", _copied())
def test_what_is_copied_exists_and_is_not_ignored(source: str) -> None:
    assert (ROOT / source).exists()
    assert _reaches_docker(source)


def test_runs_and_the_history_stay_out_of_the_image() -> None:
    for name in (".git", "carbon_runs", "tests", "docs", ".venv"):
        assert not _reaches_docker(name), name


def test_all_that_a_wheel_is_made_of_is_copied() -> None:
    copied = set(_copied())
    project = PROJECT["project"]
    assert {project["readme"], *project["license-files"], "pyproject.toml"} <= copied
    for link in (ROOT / "carbon_trainer").iterdir():
        if link.is_symlink():
            assert link.resolve().relative_to(ROOT).as_posix() in copied, link


def test_pytorch_is_pinned_as_tested_and_its_build_can_be_chosen() -> None:
    (first, second) = _all("RUN")
    assert _all("ARG") == ["TORCH_INDEX="]
    chosen = re.search(r"pip install (\$\{.*?\}\"\})", first)
    found = re.search(r"\$\((.*)\)", first)
    assert chosen is not None
    assert found is not None
    for index, flags in (
        ("", "\n"),
        ("https://wheels.example", "--index-url https://wheels.example\n"),
    ):
        said = subprocess.run(
            ["sh", "-c", f"echo {chosen[1]}"], env={"TORCH_INDEX": index}, capture_output=True,
            text=True, check=True,
        ).stdout  # fmt: skip
        assert said == flags
    pin = subprocess.run(
        ["sh", "-c", found[1]], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.fullmatch(r"torch==[\d.]+\n", pin)
    assert "-c constraints.txt" in second


@pytest.mark.parametrize("command", _all("RUN"))
def test_what_is_run_is_good_shell(command: str) -> None:
    subprocess.run(["sh", "-n"], input=command, text=True, check=True)


def test_extras_that_are_installed_exist() -> None:
    named = re.search(r"\.\[([\w,]+)\]", " ".join(_all("RUN")))
    assert named is not None
    assert set(named[1].split(",")) <= set(PROJECT["project"]["optional-dependencies"])


def test_it_starts_our_command_as_a_user_who_is_not_root() -> None:
    (entry,) = _all("ENTRYPOINT")
    assert json.loads(entry) == ["carbon-train"]
    assert "carbon-train" in PROJECT["project"]["scripts"]
    (user,) = _all("USER")
    assert user not in ("root", "0")
    assert f"useradd --create-home --uid 1000 {user}" in " ".join(_all("RUN"))


def test_the_working_folder_is_the_volume_and_belongs_to_the_user() -> None:
    assert _all("WORKDIR")[-1] == _all("VOLUME")[0] == "/data"
    assert f"chown -R {_all('USER')[0]}:{_all('USER')[0]} /data" in " ".join(_all("RUN"))


def test_nvml_is_asked_of_the_driver() -> None:
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in _all("ENV")[0]
