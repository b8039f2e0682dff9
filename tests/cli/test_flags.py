"""Flags are the settings': the file that the command line reads is what the settings make now."""

from __future__ import annotations

import typing

from carbon_trainer.cli.flags import flags_json
from carbon_trainer.cli.options import FLAGS_FILE
from carbon_trainer.config import RunConfig
from carbon_trainer.ledger.location import RUNS_DIR
from carbon_trainer.ledger.terms import OPERATIONS


def test_flags_json_matches_the_settings() -> None:
    written = FLAGS_FILE.read_text(encoding="utf-8")
    assert written == flags_json(), "settings changed: run `python -m carbon_trainer.cli.flags`"


def test_the_default_runs_folder_is_the_same_everywhere() -> None:
    assert RunConfig().runs_dir == RUNS_DIR


def test_operations_are_the_same_before_and_after_a_run() -> None:
    stated, _not_stated = typing.get_args(RunConfig.model_fields["operation"].annotation)
    assert typing.get_args(stated) == OPERATIONS
