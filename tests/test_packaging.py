"""What is installed is what is here: the wheel, the import contract, the README's own words."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import carbon_trainer

ROOT = Path(__file__).parents[1]


def _module_files(folder: Path, prefix: str) -> set[str]:
    return {
        f"{prefix}/{path.relative_to(folder).as_posix()}"
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def clone(to: Path, *, links: bool) -> Path:
    """Copy what git knows or would add; without links as git leaves them where there are none:
    files that hold the target's name."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink() and not links:
            (to / name).write_text(str((ROOT / name).readlink()), encoding="utf-8")
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, to / name, follow_symlinks=False)
    return to


def built(project: Path, to: Path) -> dict[str, bytes]:
    """Build a wheel; return its files."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(to)]
    ended = subprocess.run([*command, str(project)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (wheel,) = to.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    project = clone(tmp_path_factory.mktemp("clone"), links=True)
    return built(project, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def wheel_names(wheel: dict[str, bytes]) -> set[str]:
    return {name for name in wheel if ".dist-info/" not in name}


@pytest.mark.slow
def test_a_clone_without_symbolic_links_builds_the_same_wheel(
    wheel: dict[str, bytes], tmp_path: Path
) -> None:
    project = clone(tmp_path / "clone", links=False)
    assert not (project / "carbon_trainer" / "callbacks").is_symlink()
    assert built(project, tmp_path / "wheel") == wheel


@pytest.mark.slow
def test_the_wheel_has_every_file_once_and_nothing_else(wheel_names: set[str]) -> None:
    package = ROOT / "carbon_trainer"
    own = {
        name
        for name in _module_files(package, "carbon_trainer")
        if not name.startswith(("carbon_trainer/callbacks", "carbon_trainer/reports"))
    }
    linked = _module_files(ROOT / "callbacks", "carbon_trainer/callbacks")
    linked |= _module_files(ROOT / "reports", "carbon_trainer/reports")
    assert wheel_names == own | linked
    assert "carbon_trainer/callbacks/carbon_aware.py" in wheel_names
    assert "carbon_trainer/reports/render/templates/run.html.j2" in wheel_names
    assert "carbon_trainer/py.typed" in wheel_names


@pytest.mark.slow
def test_no_bare_callbacks_or_reports_lands_in_site_packages(wheel_names: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel_names} == {"carbon_trainer"}


def test_linked_folders_import_as_parts_of_the_package() -> None:
    from carbon_trainer import callbacks, reports

    assert callbacks.__name__ == "carbon_trainer.callbacks"
    assert reports.__name__ == "carbon_trainer.reports"


@pytest.mark.parametrize("name", ["callbacks", "callbacks.budget", "reports", "reports.build"])
def test_the_folders_at_the_top_are_no_second_modules(name: str) -> None:
    code = f"import {name}"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"import carbon_trainer.{name.split('.')[0]}: " in ended.stderr.splitlines()[-1]


@pytest.mark.slow
def test_the_import_contract_is_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.slow
def test_public_names_are_those_that_are_documented() -> None:
    assert set(carbon_trainer.__all__) == {
        "CarbonTrainer", "CarbonTrainerError", "EnergyMeter", "InputError", "LedgerError",
        "RunConfig", "RunRecorder", "TransformerModule", "__version__",
    }  # fmt: skip
    for name in carbon_trainer.__all__:
        assert getattr(carbon_trainer, name) is not None
    with pytest.raises(AttributeError):
        carbon_trainer.Nothing  # noqa: B018


def test_the_version_stands_in_one_place_only() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == carbon_trainer.__version__


def test_every_core_dependency_is_pinned_as_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *extras["test"]]:
        name = re.split(r"[<>=\[ ]", requirement)[0].lower()
        assert name in pinned, name
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text()


def test_nothing_in_the_project_names_a_place_of_one_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    for name in listed:
        path = ROOT / name
        if path.is_file() and not path.is_symlink() and path.suffix != ".png":
            # Records of earlier versions are no text, and may name one all the same.
            content = path.read_bytes()
            assert not re.search(rb"(?<![\w.])/(work|root|opt(?!/rocm\b))/[a-z]", content), name
