"""What the environment asks for, for any Lightning script: ``CARBON_TRAINER=1``.

Lightning calls ``from_environment`` in every Trainer that is made where carbon-trainer is
installed, so it costs nothing without the variable and never raises.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback

log = logging.getLogger(__name__)

SWITCH = "CARBON_TRAINER"
PREFIX = "CARBON_TRAINER_"

ON = ("1", "true", "yes", "on")
OFF = ("", "0", "false", "no", "off")


def from_environment() -> list[Callback]:
    """Return what puts CarbonAware into a trainer, if ``CARBON_TRAINER`` is set; else nothing.

    Whatever is wrong is logged in one sentence, and training goes on without.
    """
    if os.environ.get(SWITCH, "").strip().lower() in OFF:
        return []
    try:
        settings = settings_of(os.environ)
        from carbon_trainer.callbacks.automatic import AutoCarbonAware, AutoRegister

        AutoCarbonAware(**settings)
        return [AutoRegister(settings)]
    except Exception as error:
        from carbon_trainer.distributed.environment import this_rank

        if this_rank() == 0:
            log.warning("trainings are neither metered nor under a budget: %s", error)
        log.debug("reading the environment", exc_info=True)
        return []


def settings_of(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments for CarbonAware that ``CARBON_TRAINER_...`` variables give.

    Args:
        environ: the environment's variables.

    Raises:
        InputError: naming the variable that is unknown or does not fit.
    """
    from carbon_trainer.config import RunConfig, RunSettings
    from carbon_trainer.errors import InputError, nearest
    from carbon_trainer.runs.outcome import SUPERVISED

    if environ.get(SWITCH, "").strip().lower() not in ON:
        raise InputError(f"{SWITCH} is {environ.get(SWITCH)!r}, but should be 1 or 0.")
    accepted = RunSettings.__annotations__
    variables = {PREFIX + name.upper(): name for name in sorted(accepted)}
    settings: dict[str, str] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable == SUPERVISED:
            continue
        if variable not in variables:
            near = nearest(variable.removeprefix(PREFIX), accepted)
            names = [PREFIX + name.upper() for name in near] or list(variables)
            hint = (
                f"Did you mean {' or '.join(names)}?" if near else f"There are {', '.join(names)}."
            )
            raise InputError(f"there is no setting {variable}. {hint}")
        if text.strip():
            settings[variables[variable]] = text
    config = RunConfig.from_sources(("the environment", settings))
    return {name: getattr(config, name) for name in settings}
