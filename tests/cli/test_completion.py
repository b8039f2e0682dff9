"""What a shell is told when somebody presses Tab, asked as the shell's script asks it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from carbon_trainer.cli.main import VERBS
from carbon_trainer.ledger.facts import RunOpened
from carbon_trainer.ledger.store import Ledger
from tests.cli.commands import CommandResult

Ask = Callable[[str], list[str]]


@pytest.fixture
def completions(carbon_train: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Return what is offered for the last word of a line, as bash gets it."""

    def complete(line: str) -> list[str]:
        monkeypatch.setenv("_CARBON_TRAIN_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", f"carbon-train {line}")
        monkeypatch.setenv("COMP_CWORD", str(line.count(" ") + 1))
        result = carbon_train()
        assert result.err == ""
        return [item.partition(",")[2] for item in result.out.split()]

    return complete


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Two runs in the ledger of this folder, the newest first."""
    (tmp_path / "carbon_runs").mkdir()
    ledger = Ledger.open(tmp_path / "carbon_runs" / "ledger.sqlite")
    for number, run_id in enumerate(("20260101-a", "20260202-b")):
        opened = RunOpened(name="", project="p", config={}, software={})
        ledger.append(run_id, [(number, opened)], ledger.head(run_id))
    ledger.close()
    return ["20260202-b", "20260101-a"]


def test_commands_are_completed(completions: Ask) -> None:
    assert completions("") == list(VERBS)
    assert completions("re") == ["recipes", "report"]
    assert completions("runs v") == ["verify"]


@pytest.mark.parametrize("line", ["runs show ", "report ", "export ", "fit --resume "])
def test_runs_are_completed_wherever_one_is_named(
    completions: Ask, runs: list[str], line: str
) -> None:
    assert completions(line) == ["last", *runs]
    assert completions(f"{line}202601") == ["20260101-a"]


def test_runs_are_those_of_the_ledger_that_the_line_names(
    completions: Ask, runs: list[str], tmp_path: Path
) -> None:
    (tmp_path / "carbon_runs").rename(tmp_path / "elsewhere")
    assert completions("runs show ") == []
    assert completions("runs show --runs-dir elsewhere ") == ["last", *runs]
    assert completions("runs show --ledger elsewhere/ledger.sqlite ") == ["last", *runs]


def test_no_database_server_is_queried_for_runs(completions: Ask) -> None:
    assert completions("runs show --ledger postgresql://nowhere.invalid/ledger ") == []


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fit --recipe gpt-neox-t", ["gpt-neox-tiny"]),
        ("fit --zone US-CA", ["US-CA"]),
        ("fit --zone us-ca", ["US-CA"]),
        ("grid show FR", ["FR"]),
        ("fit --provider gb", ["gb-neso"]),
        ("fit --release n", ["no"]),
        ("report last --format html,boa", ["html,boamps"]),
        ("report --all --format boa", []),
        ("report --all --format html,x", ["html,xlsx"]),
        ("estimate --gpu a100-p", ["A100-PCIE-40GB", "A100-PCIE-80GB"]),
    ],
)
def test_values_are_completed_as_they_are_accepted(
    completions: Ask, line: str, offered: list[str]
) -> None:
    assert completions(line) == offered


def test_a_model_that_is_not_a_recipe_is_a_path(completions: Ask) -> None:
    assert completions("fit --model ./mod") == ["./mod"]


def test_a_format_is_not_offered_twice(completions: Ask) -> None:
    assert "html,md,html" not in completions("report last --format html,md,")


@pytest.mark.slow
@pytest.mark.parametrize("line", ["fit --zone F", "runs show 2", "fit --recipe g", "re"])
def test_completing_imports_no_torch(line: str, tmp_path: Path) -> None:
    code = (
        "import sys, json\n"
        "sys.argv = ['carbon-train']\n"
        "from carbon_trainer.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'lightning', 'transformers', 'matplotlib', 'requests')\n"
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    environ = {
        **os.environ,
        "_CARBON_TRAIN_COMPLETE": "bash_complete",
        "COMP_WORDS": f"carbon-train {line}",
        "COMP_CWORD": str(line.count(" ") + 1),
    }
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    assert json.loads(out.splitlines()[-1]) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_calls_the_installed_program(
    carbon_train: Callable[..., CommandResult], shell: str
) -> None:
    script = carbon_train("completion", shell).out
    assert f"_CARBON_TRAIN_COMPLETE={shell}_complete" in script
    assert "carbon-train" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.slow
def test_bash_completes_with_the_script(
    carbon_train: Callable[..., CommandResult], runs: list[str], tmp_path: Path
) -> None:
    (tmp_path / "script").write_text(carbon_train("completion", "bash").out)
    program = tmp_path / "carbon-train"
    program.write_text(f"#!{sys.executable}\nfrom carbon_trainer.cli.main import main\nmain()\n")
    program.chmod(0o755)
    pressed = (
        f"source {tmp_path / 'script'}; COMP_WORDS=(carbon-train runs show 2026); COMP_CWORD=3; "
        f"_carbon_train_completion {program}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    result = subprocess.run(
        ["bash", "-c", pressed], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == runs


def test_an_unknown_shell_is_bad_input(carbon_train: Callable[..., CommandResult]) -> None:
    result = carbon_train("completion", "tcsh")
    assert result.status == 2
    assert "'bash', 'zsh', 'fish'" in result.err
