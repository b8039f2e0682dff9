"""What the README shows is run, so that it stays true."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from carbon_trainer.cli.fit import command as fit_command
from carbon_trainer.cli.main import VERBS
from tests.cli.commands import CommandResult, call

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def carbon_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., CommandResult]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CARBON_TRAINER_LEDGER", raising=False)
    return lambda *args: call(list(args), monkeypatch, capsys)


def test_two_commands_stand_at_the_top_and_are_what_ci_runs() -> None:
    run, test = _blocks("sh")
    assert run.strip() == "pip install -c constraints.txt . && carbon-train fit --budget-kwh 500"
    assert test.strip() == "pip install -c constraints.txt -e '.[test]' && pytest"
    ci = (ROOT / ".ci" / "run").read_text()
    assert "readme_command 1" in ci
    assert "readme_command 2" in ci


@pytest.mark.slow
def test_the_main_job_runs_on_the_standard_library_with_a_budget(
    carbon_train: Callable[..., CommandResult],
) -> None:
    job = shlex.split(_blocks("sh")[0].split("&&")[1])[1:]
    result = carbon_train(*job, "--max-steps", "3", "--validation-batches", "1")
    assert result.status == 0, result.err
    assert "of 500 kWh" in result.out or "finished" in result.out
    assert "report: carbon_runs" in result.out


def test_every_command_shown_has_verbs_and_flags_that_exist() -> None:
    flags = {option for param in fit_command.params for option in param.opts}
    for line in _blocks("bash")[0].splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "carbon-train"
        assert words[1] in VERBS
        if words[1] == "fit":
            assert {word for word in words if word.startswith("--")} <= flags, line


@pytest.mark.slow
def test_the_lightning_example_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.callbacks.training import TinyModule, loader

    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(_blocks("python")[0], names)
    trainer = names["trainer"]
    trainer.fit_loop.epoch_loop.max_steps = 4  # type: ignore[attr-defined]
    module = TinyModule()
    trainer.fit(module, loader())  # type: ignore[attr-defined]
    assert len(module.losses) == 4
    assert list((tmp_path / "carbon_runs").glob("*/report.html"))


def test_the_meter_example_prints_what_a_loop_used(capsys: pytest.CaptureFixture[str]) -> None:
    exec(_blocks("python")[1], {})
    assert "3 steps" in capsys.readouterr().out


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_plan_it_shows_is_found(carbon_train: Callable[..., CommandResult]) -> None:
    (block,) = [block for block in _blocks("bash") if "carbon-train plan" in block]
    result = carbon_train(*shlex.split(block)[1:])
    assert result.status == 0, result.err
    assert "less than run now" in result.out
