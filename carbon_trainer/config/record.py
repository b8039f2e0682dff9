"""Where a run is remembered, and as whose."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from carbon_trainer.config.base import Section, setting
from carbon_trainer.ledger.location import RUNS_DIR


class RecordSettings(Section):
    """Names, attribution and places of a run's record."""

    title: ClassVar[str] = "Record"

    name: str = setting("", "Name of the run, for people.")
    project: str = setting("default", "Project that the run belongs to.")
    user: str | None = setting(
        None, "User the run is attributed to. None: the login name; '' for nobody."
    )
    organisation: str = setting("", "Organisation that reports the run.")
    purpose: Literal["final", "development", "evaluation"] | None = setting(
        None, "Purpose of the run; a portfolio adds up final and other runs separately."
    )
    operation: Literal["own", "cloud", "colocation"] | None = setting(
        None,
        "Who operates the machines: own (scope 2), cloud (scope 3 category 1) or colocation "
        "(category 8). None: not stated; no GHG scope is assigned.",
    )
    runs_dir: Path = setting(RUNS_DIR, "Folder of runs, their reports and checkpoints.")
    ledger: str | None = setting(
        None,
        "Ledger: a file's path or a database URL. None: CARBON_TRAINER_LEDGER, else "
        "ledger.sqlite in runs_dir.",
    )
    host_metering: bool = setting(True, "Meter CPU and memory too, through CodeCarbon.")
    progress: Literal["auto", "bar", "lines", "off"] = setting(
        "auto", "Progress display; auto: a bar on a terminal, else lines."
    )
