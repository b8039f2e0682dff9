"""Reaches into a transformers Trainer where its callbacks are not called: phases and exceptions.

No hook says when an evaluation or a save begins, nor that training has failed, nor what
trainer it is in. So the trainer is found on the stack, and a few of its methods are wrapped while
it trains. What another version of a trainer does not have is left alone.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carbon_trainer.control.failures import shielded

if TYPE_CHECKING:
    from types import FrameType

    from transformers import Trainer, TrainerState

    from carbon_trainer.callbacks.huggingface.driver import HuggingFaceDriver

Around = Callable[..., Any]
"""Called with the original method and its arguments; calls it and returns what it returned."""

_MISSING = object()

ROLLOUTS = {"_generate": "generation", "_calculate_rewards": "scoring"}
"""Methods of TRL's trainers that learn from their own answers, and the phases they are."""

LEARN_FROM_ANSWERS = {"GRPOTrainer", "RLOOTrainer"}

UPDATE = "update"


def running_trainer(state: TrainerState) -> tuple[Trainer | None, str | None]:
    """Return the trainer whose hook is being called, and the checkpoint that it goes on from.

    Args:
        state: the trainer's, as hooks are given it.
    """
    from transformers import Trainer

    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Trainer) and owner.state is state:
            checkpoint = frame.f_locals.get("resume_from_checkpoint")
            return owner, None if checkpoint is None else str(checkpoint)
        frame = frame.f_back
    return None, None


class WrappedMethods:
    """Methods of one trainer, wrapped from here on until ``restore``."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._undo: list[tuple[str, Any, Any]] = []

    def wrap(self, name: str, around: Around) -> bool:
        """Wrap a method; return whether the trainer has it.

        Args:
            name: the method's name.
            around: what is called instead, with the method before the arguments.
        """
        method = getattr(self._trainer, name, None)
        if not callable(method):
            return False

        @functools.wraps(method)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return around(method, *args, **kwargs)

        own = vars(self._trainer)
        self._undo.append((name, own.get(name, _MISSING), wrapper))
        own[name] = wrapper
        return True

    def restore(self) -> None:
        """Put back what was there; a wrapper that somebody has wrapped since stays, and passes."""
        own = vars(self._trainer)
        for name, before, wrapper in reversed(self._undo):
            if own.get(name) is not wrapper:
                continue
            if before is _MISSING:
                del own[name]
            else:
                own[name] = before
        self._undo = []


class TrainerHooks:
    """Reports to a run what no hook of a trainer's callbacks does, until ``release``.

    Args:
        trainer: which is about to train.
        run: takes the reports.
        failed: is given the exception that ends training.
    """

    def __init__(
        self, trainer: Trainer, run: HuggingFaceDriver, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._trainer = trainer
        self._run = run
        self._failed = on_failure
        self._guarding = 0
        self._released = False
        self._methods = WrappedMethods(trainer)
        self._wrap()
        self._wrap_rollouts()

    def release(self) -> None:
        """Put the trainer's methods back."""
        self._released = True
        self._methods.restore()

    def _wrap(self) -> None:
        wrap, run = self._methods.wrap, self._run
        are_wrapped = [wrap("_run_epoch", self._epoch), wrap("_finalize_training", self._guard)]
        wrap("_evaluate", self._guard)
        if not all(are_wrapped):
            why = "this version of transformers does not report exceptions in training"
            run.note("exceptions", f"{why}: a run that one ends is closed when the process ends")
        run.sees_evaluations = wrap("evaluate", self._through(run.validating))
        wrap("compute_loss", self._count)
        wrap("log", self._log)
        if hasattr(self._trainer, "_get_output_dir"):
            wrap("_save_checkpoint", self._save)

    def _wrap_rollouts(self) -> None:
        kinds = {kind.__name__ for kind in type(self._trainer).__mro__}
        if not kinds & LEARN_FROM_ANSWERS:
            return
        all_seen = True
        for name, phase in ROLLOUTS.items():
            around = self._through(functools.partial(self._run.within_step, phase))
            if not self._methods.wrap(name, around):
                all_seen = False
                why = f"this version of TRL does not report when {phase} begins and ends"
                self._run.note(
                    "phases", f"{why}: it is recorded as {self._run.driver.training_phase}"
                )
        if all_seen:
            self._run.driver.training_phase = UPDATE

    def _through(self, around: Around) -> Around:
        def passing(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if self._released:
                return original(*args, **kwargs)
            return around(original, *args, **kwargs)

        return passing

    def _pass_on(self, event: str, *args: Any) -> None:
        if not self._released:
            run = self._run
            shielded(event, lambda: getattr(run, event)(*args), run.fail)

    def _epoch(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Train an epoch, unless the budget was used up before the first step."""
        if self._run.has_nothing_left and not self._released:
            return None
        return self._guard(original, *args, **kwargs)

    def _guard(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Report an exception that ends training: no hook does."""
        self._guarding += 1
        try:
            return original(*args, **kwargs)
        except BaseException as error:
            # What is raised deeper may still be caught.
            if self._guarding == 1 and not self._released:
                self._failed(error)
            raise
        finally:
            self._guarding -= 1

    def _count(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._pass_on("count", kwargs.get("inputs", args[1] if len(args) > 1 else None))
        return original(*args, **kwargs)

    def _log(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        logs = kwargs.get("logs", args[0] if args else None)
        if isinstance(logs, dict):
            self._pass_on("add_metrics", logs)
        return original(*args, **kwargs)

    def _save(self, original: Callable[..., Any], model: Any, trial: Any, *args: Any) -> Any:
        if self._released:
            return original(model, trial, *args)
        trainer = self._trainer
        folder = Path(trainer._get_output_dir(trial)) / f"checkpoint-{trainer.state.global_step}"
        return self._run.saving(folder, original, model, trial, *args)
