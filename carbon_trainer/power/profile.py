"""The power profile: power and speed of each setting, measured in training and cached for later."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.files import write_atomic

log = logging.getLogger(__name__)

SETTLE_STEPS = 2
SETTLE_S = 1.0
"""How long a change of power takes to show: a limit acts within some 100 ms, and steps that were
launched before it are still in flight."""

LEAST_STEPS = 4
LEAST_S = 3.0
"""How long a setting is measured: a counter that refreshes each 100 ms is then true to 3 %."""

IDLE_SETTLE_S = 2.0
IDLE_S = 10.0
"""How long the idle power is measured, seconds, and how long it settles before: clocks fall some
seconds after the work has ended."""


@dataclass(frozen=True, slots=True)
class MeasuredSetting:
    """One power setting, as it was measured.

    Attributes:
        power_fraction: the setting, as a fraction of the limit before the run.
        power_w: mean power of the metered machines at it, watts.
        steps_per_s: optimizer steps a second.
        steps: steps that were measured.
        seconds: how long.
    """

    # Files have the names of the version that first wrote them: they are read for years.
    power_fraction: Annotated[float, Field(alias="share")]
    power_w: float
    steps_per_s: float
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PowerProfile:
    """The power settings of a model on a machine.

    Attributes:
        mechanism: how power is set.
        settings: each setting, the full one first.
        idle_w: power while training is paused, watts.
        measured_at_ns: when.
    """

    mechanism: Annotated[str, Field(alias="means")]
    settings: Annotated[tuple[MeasuredSetting, ...], Field(alias="levels")]
    idle_w: float
    measured_at_ns: int

    @property
    def full(self) -> MeasuredSetting:
        """The setting at full power."""
        return self.settings[0]


def key_of(**conditions: str | float | list[str] | None) -> str:
    """Return the key of what decides power and speed: model, batch, devices, mechanism."""
    text = json.dumps(conditions, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class PowerProfileCache:
    """Profiles on disk, by key.

    Args:
        folder: the folder of the profiles.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._adapter = TypeAdapter(PowerProfile)

    def get(self, key: str) -> PowerProfile | None:
        """Return the profile of a key; None where there is none that can be read."""
        try:
            return self._adapter.validate_json(self._path(key).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("the power profile in %s cannot be used: %s", self._path(key), error)
            return None

    def put(self, key: str, profile: PowerProfile) -> None:
        """Store a profile; a failure is only logged, as it can be measured again."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self._path(key), self._adapter.dump_json(profile, indent=1, by_alias=True))
        except OSError as error:
            log.warning("the power profile cannot be stored: %s", error)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


@dataclass(frozen=True, slots=True)
class _Mark:
    time_ns: int
    used_mj: int
    step: int


class PowerProfiler:
    """Measures one setting after the other while training goes on.

    It takes every step boundary, and `power_fraction` is the setting to train at next.

    Args:
        mechanism: how power is set.
        power_fractions: the settings, the full one first.
        round_steps: steps after which costs repeat, as where every fourth step generates: whole
            rounds are measured.
    """

    def __init__(
        self, mechanism: str, power_fractions: tuple[float, ...], round_steps: int = 1
    ) -> None:
        self._mechanism = mechanism
        self._power_fractions = power_fractions
        self._round_steps = round_steps
        self._settings: list[MeasuredSetting] = []
        self._settle_mark: _Mark | None = None
        self._begin_mark: _Mark | None = None
        self._idle_w: float | None = None

    @property
    def power_fraction(self) -> float:
        """The setting to train at now."""
        index = min(len(self._settings), len(self._power_fractions) - 1)
        return self._power_fractions[index]

    @property
    def wants_idle(self) -> bool:
        """Whether all settings are measured and idling is not."""
        return len(self._settings) == len(self._power_fractions) and self._idle_w is None

    @property
    def is_done(self) -> bool:
        """Whether everything is measured."""
        return len(self._settings) == len(self._power_fractions) and self._idle_w is not None

    def on_step_end(self, time_ns: int, used_mj: int, step: int) -> None:
        """Take note of a step boundary.

        Args:
            time_ns: when it was.
            used_mj: energy used until then, millijoules.
            step: optimizer steps done.
        """
        if len(self._settings) == len(self._power_fractions):
            return
        mark = _Mark(time_ns, used_mj, step)
        if self._settle_mark is None:
            self._settle_mark = mark
        elif self._begin_mark is None:
            if _is_long_enough(self._settle_mark, mark, SETTLE_STEPS, SETTLE_S):
                self._begin_mark = mark
        # A setting is measured over whole rounds, and only long enough for a true mean.
        elif (step - self._begin_mark.step) % self._round_steps == 0 and _is_long_enough(
            self._begin_mark, mark, LEAST_STEPS, LEAST_S
        ):
            self._settings.append(_setting_between(self.power_fraction, self._begin_mark, mark))
            self._begin_mark, self._settle_mark = None, mark

    def discard_current(self) -> None:
        """Measure the current setting again: something other than steps has taken place.

        While a setting settles it does no harm.
        """
        if self._begin_mark is not None:
            self._begin_mark = self._settle_mark = None

    def record_idle(self, seconds: float, used_mj: int) -> None:
        """Take the energy used while training was paused.

        Args:
            seconds: the length of the pause.
            used_mj: the energy, millijoules.
        """
        self._idle_w = used_mj / 1000 / seconds

    def profile(self, now_ns: int) -> PowerProfile:
        """Return what was measured; only when ``is_done``."""
        return PowerProfile(self._mechanism, tuple(self._settings), self._idle_w or 0.0, now_ns)


def _is_long_enough(first: _Mark, second: _Mark, steps: int, seconds: float) -> bool:
    interval_ns = second.time_ns - first.time_ns
    return interval_ns >= seconds * NS_PER_S and second.step - first.step >= steps


def _setting_between(power_fraction: float, first: _Mark, second: _Mark) -> MeasuredSetting:
    seconds = (second.time_ns - first.time_ns) / NS_PER_S
    steps = second.step - first.step
    power_w = (second.used_mj - first.used_mj) / 1000 / seconds
    return MeasuredSetting(power_fraction, power_w, steps / seconds, steps, seconds)
