"""Flags are the settings': the file that the command line reads is what the settings make now."""

from __future__ import annotations

import typing

from carbon_trainer.cli.flags import flags_json
from carbon_trainer.cli.options import FLAGS_FILE
from carbon_trainer.config import RunConfig
from carbon_trainer.ledger.location import RUNS_DIR
from carbon_trainer.ledger.terms import OPERATIONS


def test_the_flags_that_are_read_are_those_that_the_settings_make() -> None:
    kept = FLAGS_FILE.read_text(encoding="utf-8")
    assert kept == flags_json(), "a setting has changed: run `python -m carbon_trainer.cli.flags`"


def test_runs_are_looked_for_where_they_are_put_by_default() -> None:
    assert RunConfig().runs_dir == RUNS_DIR


def test_what_may_be_stated_of_a_run_afterwards_may_be_set_before() -> None:
    stated, _not_stated = typing.get_args(RunConfig.model_fields["operation"].annotation)
    assert typing.get_args(stated) == OPERATIONS
