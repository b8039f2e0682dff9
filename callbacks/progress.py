"""Shows how training goes: loss, speed, power, what is left of the budget."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from carbon_trainer.units import emissions_text, energy_text

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from carbon_trainer.control.budget import Budget
    from carbon_trainer.runs.session import RunSession

LINE_S = 10.0
BAR_S = 0.5
FORECAST_AFTER_S = 5.0
"""How long steps are watched before their total is forecast, seconds."""


class CarbonProgress(ProgressBar):
    """A live bar on a terminal, plain lines elsewhere.

    Args:
        session: the run.
        budget: its budget, if it has one.
        console: where to write.
        live: a bar that redraws itself, else a line every ten seconds.
    """

    def __init__(
        self, session: RunSession, budget: Budget | None, console: Console, *, live: bool
    ) -> None:
        super().__init__()
        self._session = session
        self._budget = budget
        self._console = console
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._live = live
        self._enabled = True
        self._started_s = 0.0
        self._shown_s = 0.0
        self._started_step = 0
        self._started_tokens = 0
        self._started_mj = 0
        self._forecast_said = False
        session.listeners.append(self._say)

    def disable(self) -> None:
        """Show nothing, as on ranks other than 0."""
        self._enabled = False

    def enable(self) -> None:
        """Show again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to show."""
        super().on_train_start(trainer, pl_module)
        self._started_s = self._shown_s = time.monotonic()
        self._started_step = trainer.global_step
        self._started_tokens = self._session.tokens
        self._started_mj = self._session.used_mj()
        if self._live and self._enabled:
            self._bar = Progress(
                TextColumn("step {task.completed}/{task.total}"),
                BarColumn(bar_width=20),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(compact=True),
                console=self._console,
                refresh_per_second=4,
            )
            self._bar.start()
            self._task = self._bar.add_task(
                "train", total=trainer.max_steps, completed=trainer.global_step, figures=""
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show what is new, not more often than a person reads."""
        now_s = time.monotonic()
        if not self._enabled or now_s - self._shown_s < (BAR_S if self._bar else LINE_S):
            return
        self._shown_s = now_s
        figures = self._figures(trainer, now_s)
        if self._bar is not None:
            self._bar.update(self._task, completed=trainer.global_step, figures=figures)
        else:
            self._console.print(f"step {trainer.global_step}/{trainer.max_steps}  {figures}")
        if not self._forecast_said and now_s - self._started_s >= FORECAST_AFTER_S:
            self._say_forecast(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what a validation found."""
        super().on_validation_end(trainer, pl_module)
        loss = trainer.callback_metrics.get("validation/loss")
        if self._enabled and loss is not None and not trainer.sanity_checking:
            perplexity = trainer.callback_metrics.get("validation/perplexity")
            tail = f", perplexity {float(perplexity):,.1f}" if perplexity is not None else ""
            self._console.print(
                f"step {trainer.global_step}: validation loss {float(loss):.4f}{tail}"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar."""
        self._end_bar(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """End the bar, so that the terminal is whole again."""
        self._end_bar(trainer)

    def _say(self, sentence: str) -> None:
        """Show why the run waits or changes its power, when it does."""
        if self._enabled:
            self._console.print(f"{sentence}.", soft_wrap=True)

    def _end_bar(self, trainer: Trainer) -> None:
        if self._bar is not None:
            figures = self._figures(trainer, time.monotonic())
            self._bar.update(self._task, completed=trainer.global_step, figures=figures)
            self._bar.stop()
            self._bar = None

    def _figures(self, trainer: Trainer, now_s: float) -> str:
        now = self._session.snapshot()
        loss = trainer.callback_metrics.get("train/loss")
        parts = [] if loss is None else [f"loss {float(loss):.3f}"]
        seconds = now_s - self._started_s
        if seconds > 0 and self._session.tokens > self._started_tokens:
            speed = (self._session.tokens - self._started_tokens) / seconds
            parts.append(f"{speed:,.0f} tokens/s")
        parts.append(f"{now.power_w:,.0f} W")
        parts.append(self._energy(now.energy_kwh))
        parts.append(emissions_text(now.emissions_kgco2e))
        return "  ".join(parts)

    def _energy(self, energy_kwh: float) -> str:
        if self._budget is None:
            return energy_text(energy_kwh)
        limit_kwh = self._session.factor.facility_kwh(self._budget.limit_mj)
        return f"{energy_text(energy_kwh)} of {energy_text(limit_kwh)}"

    def _say_forecast(self, trainer: Trainer) -> None:
        steps = trainer.global_step - self._started_step
        if steps == 0 or trainer.max_steps <= 0:
            return
        self._forecast_said = True
        used_mj = self._session.used_mj()
        per_step_mj = (used_mj - self._started_mj) / steps
        total_mj = used_mj + per_step_mj * (trainer.max_steps - trainer.global_step)
        total_kwh = self._session.factor.facility_kwh(total_mj)
        text = f"forecast: all {trainer.max_steps} steps need about {energy_text(total_kwh)}"
        if self._budget is not None:
            limit_kwh = self._session.factor.facility_kwh(self._budget.limit_mj)
            text += f" of {energy_text(limit_kwh)}"
            if total_mj > self._budget.limit_mj:
                share = (self._budget.limit_mj - used_mj) / (total_mj - used_mj)
                steps_left = trainer.max_steps - trainer.global_step
                last = trainer.global_step + int(share * steps_left)
                text += f": the budget will stop it near step {last}"
        self._console.print(text + ".")
