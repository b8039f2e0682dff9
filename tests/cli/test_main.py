"""The command line as a whole: quick help, clear refusals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from carbon_trainer.config import RunConfig
from tests.cli.commands import CommandResult

HEAVY = ("torch", "lightning", "transformers", "pandas", "sqlalchemy", "pydantic", "codecarbon")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, carbon_trainer, carbon_trainer.callbacks\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


def test_every_setting_is_a_flag_with_help_and_default(
    carbon_train: Callable[..., CommandResult],
) -> None:
    shown = " ".join(carbon_train("fit", "--help").out.split())
    for name, field in RunConfig.model_fields.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert str(field.description).split(".")[0] in shown
    assert "[kWh]" in shown
    assert "[default: 1.0" in shown


def test_a_mistyped_command_or_flag_suggests_the_nearest(
    carbon_train: Callable[..., CommandResult],
) -> None:
    assert "Did you mean fit?" in carbon_train("fitt").err
    result = carbon_train("fit", "--budget-kw", "3")
    assert result.status == 2
    assert "--budget-kwh" in result.err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--budget-kwh", "-5"], "--budget-kwh is '-5', but should be greater than 0 (kWh)"),
        (["--budget-kwh", "lots"], "--budget-kwh is 'lots', but should be a valid number"),
        (["--zone", "UK"], "Did you mean GB"),
        (["--model", "gpt-neox-tinny"], "Did you mean gpt-neox-tiny"),
        (["--model", "EleutherAI/pythia-70m"], "nothing is downloaded"),
        (["--data", "nowhere.txt"], "there is no file or folder nowhere.txt"),
        (["nowhere.yaml"], "there is no run file nowhere.yaml"),
        (["--resume", "last"], "there is no ledger at"),
        (["--budget-cost", "5"], "needs price_per_kwh"),
        (["--runs-dir", "corpus.txt"], "corpus.txt"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    carbon_train: Callable[..., CommandResult], args: list[str], message: str
) -> None:
    result = carbon_train("fit", *args)
    assert result.status == 2
    assert message in result.err
    assert result.err.startswith("carbon-train: ")
    assert result.err.count("\n") == 1
    assert "Traceback" not in result.out + result.err


def test_print_config_shows_resolved_settings_that_can_be_read_back(
    carbon_train: Callable[..., CommandResult], shell: object
) -> None:
    from pathlib import Path

    Path("run.yaml").write_text("budget_kwh: 3\nseed: 4\n")
    shown = carbon_train("fit", "run.yaml", "--seed", "9", "--print-config").out
    assert "budget_kwh: 3.0" in shown
    assert "seed: 9" in shown
    assert "max_steps: 400" in shown
    Path("again.yaml").write_text(shown)
    assert carbon_train("fit", "again.yaml", "--print-config").out == shown
