"""When a run trains, and at which power."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from carbon_trainer.config.base import Positive, Section, setting
from carbon_trainer.durations import duration_of, time_of
from carbon_trainer.errors import InputError


class ScheduleSettings(Section):
    """The deadline, the objective, the forecast, and what the run may do to follow its plan."""

    title: ClassVar[str] = "Schedule"

    deadline: str | None = setting(
        None,
        "Time by which the run must be done: 48h, 3d or an instant such as 2026-11-30T12:00Z. With "
        "it the run is shifted and throttled for the objective.",
    )
    objective: Literal["carbon", "cost", "blend"] = setting(
        "carbon", "What the schedule minimizes; blend: cost with a price on carbon."
    )
    carbon_price: Positive | None = setting(None, "Price of carbon, for blend.", "money/tCO2e")
    provider: str | None = setting(
        None, "Provider of the zone's forecast: see `carbon-train grid list`."
    )
    trace: Path | None = setting(
        None, "CSV of the grid's intensity (time_utc, gco2e_per_kwh), instead of a provider."
    )
    max_wait: str | None = setting(
        None, "Longest total wait for a cleaner grid: 6h, 2d. None: no limit."
    )
    release: Literal["auto", "yes", "no"] = setting(
        "auto",
        "Whether the run may exit with a checkpoint and status 75 to be started again later; "
        "auto: where --supervise or Slurm restarts it.",
    )
    throttle: Literal["auto", "power-limit", "clocks", "duty-cycle", "off"] = setting(
        "auto",
        "How power is reduced; auto: with a deadline, by the first of these that is permitted.",
    )

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        for name, text in (("max_wait", self.max_wait), ("deadline", self.deadline)):
            if text is not None:
                _check_time(name, text)
        return self


def _check_time(name: str, text: str) -> None:
    """Refuse what is not a time, as pydantic expects it to be refused."""
    flag = f"--{name.replace('_', '-')}"
    try:
        if name == "deadline" and "T" in text:
            time_of(text, flag)
        else:
            duration_of(text, flag)
    except InputError as error:
        raise ValueError(str(error)) from None
