"""What is installed is what is here: the wheel, the import contract, the README's own words."""

from __future__ import annotations

import re
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


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


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
    assert "carbon_trainer/reports/templates/run.html.j2" in wheel_names
    assert "carbon_trainer/py.typed" in wheel_names


def test_no_bare_callbacks_or_reports_lands_in_site_packages(wheel_names: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel_names} == {"carbon_trainer"}


def test_linked_folders_import_as_parts_of_the_package() -> None:
    from carbon_trainer import callbacks, reports

    assert callbacks.__name__ == "carbon_trainer.callbacks"
    assert reports.__name__ == "carbon_trainer.reports"


def test_the_import_contract_is_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_public_names_are_those_that_are_documented() -> None:
    assert set(carbon_trainer.__all__) == {
        "CarbonTrainer", "EnergyMeter", "RunConfig", "RunRecorder", "TransformerModule",
        "__version__",
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
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(?<![\w.])/(work|root|opt(?!/rocm\b))/[a-z]", text), name
