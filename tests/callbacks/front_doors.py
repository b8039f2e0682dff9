"""The front doors by which a training gets a run, each with the same training behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carbon_trainer.runs.outcome import Outcome
from carbon_trainer.runs.session import RunSession
from tests.simulation.world import Inline


@dataclass
class Training:
    """What is trained.

    Attributes:
        folder: where files go.
        session: the run.
        steps: optimizer steps to do.
        work: called in each step, with its number.
    """

    folder: Path
    session: RunSession
    steps: int
    work: Callable[[int], None]
    done: int = field(default=0, init=False)

    def step(self) -> None:
        self.done += 1
        self.work(self.done)


Door = Callable[[Training], Outcome | None]


def lightning(training: Training) -> Outcome | None:
    """Train a Lightning module with CarbonAware, and with what answers signals in ``fit``."""
    from carbon_trainer.callbacks import CarbonAware
    from carbon_trainer.callbacks.signals import StopOnSignal
    from carbon_trainer.runs.signals import Interrupts
    from tests.callbacks.training import TinyModule, loader, trainer

    class Module(TinyModule):
        def training_step(self, batch: Any, index: int) -> Any:
            training.step()
            return super().training_step(batch, index)

    session = training.session
    aware = CarbonAware(session=session, executor=Inline())
    with Interrupts() as interrupts, interrupts.holding():
        signals = StopOnSignal(session, interrupts)
        trainer(training.folder, aware, signals, steps=training.steps).fit(Module(), loader())
    return session.outcome


def transformers(training: Training) -> Outcome | None:
    """Train with a transformers Trainer."""
    from transformers import TrainerCallback

    from carbon_trainer.callbacks.huggingface import CarbonAwareCallback
    from tests.callbacks.huggingface import trainings as tiny

    class Work(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            training.step()

    callback = CarbonAwareCallback(session=training.session, executor=Inline())
    trainer = tiny.plain(training.folder, callback, max_steps=training.steps)
    trainer.add_callback(Work())
    trainer.train()
    return callback.outcome


def loop(training: Training) -> Outcome | None:
    """Train in a loop of one's own, which saves a checkpoint when it has to stop."""
    from carbon_trainer import RunRecorder

    recorder = RunRecorder(
        session=training.session, max_steps=training.steps, executor=Inline(), formats=()
    )
    with recorder as run:
        for _ in run.steps(range(training.steps)):
            training.step()
        if run.should_stop:
            path = training.folder / "loop.ckpt"
            with run.checkpoint(path):
                path.write_text("weights")
        return run.outcome


DOORS: dict[str, Door] = {"lightning": lightning, "transformers": transformers, "loop": loop}
