"""Power settings are measured over settled, undisturbed steps, and kept by what decides them."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.power.levels import (
    LEAST_STEPS,
    MeasuredSetting,
    PowerProfile,
    PowerProfileCache,
    PowerProfiler,
    key_of,
)

POWER_FRACTIONS = (1.0, 0.5)


class Training:
    """Steps of a length and a power that follow from the setting at once."""

    def __init__(self, meter: PowerProfiler, step_s: float = 0.5) -> None:
        self.meter = meter
        self.now_ns, self.used_mj, self.step = 0, 0, 0
        self._step_s = step_s

    def do(self, *, seconds: float = 0.0, watts: float = 0.0) -> None:
        power_fraction = self.meter.power_fraction
        step_s = seconds or self._step_s / power_fraction
        self.now_ns += round(step_s * NS_PER_S)
        self.used_mj += round(1000 * (watts or 600 * power_fraction) * step_s)
        self.step += 1
        self.meter.on_step_end(self.now_ns, self.used_mj, self.step)


def test_each_setting_gets_its_power_and_speed() -> None:
    meter = PowerProfiler("power-limit", POWER_FRACTIONS)
    training = Training(meter)
    while not meter.wants_idle:
        training.do()
    assert not meter.is_done
    meter.record_idle(10.0, 700_000)
    assert meter.is_done
    table = meter.profile(5)
    assert [level.power_fraction for level in table.levels] == [1.0, 0.5]
    assert [level.power_w for level in table.levels] == pytest.approx([600, 300])
    assert [level.steps_per_s for level in table.levels] == pytest.approx([2, 1])
    assert all(level.steps >= LEAST_STEPS for level in table.levels)
    assert table.idle_w == pytest.approx(70)


def test_a_validation_in_between_does_not_count() -> None:
    meter = PowerProfiler("power-limit", (1.0,))
    training = Training(meter)
    for number in range(60):
        if number % 10 == 9:
            training.now_ns += 20 * NS_PER_S
            meter.discard_current()
        training.do()
    assert meter.profile(0).settings[0].steps_per_s == pytest.approx(2)


def test_steps_that_differ_in_turn_are_measured_in_whole_rounds() -> None:
    meter = PowerProfiler("none", (1.0,), round_steps=4)
    now_ns, used_mj, step = 0, 0, 0
    while not meter.wants_idle:
        # The first step of four generates: it takes ten seconds at 200 W, the others one at 500 W.
        seconds, power_w = (10, 200) if step % 4 == 0 else (1, 500)
        now_ns, used_mj, step = (
            now_ns + seconds * NS_PER_S, used_mj + 1000 * seconds * power_w, step + 1,
        )  # fmt: skip
        meter.on_step_end(now_ns, used_mj, step)
    meter.record_idle(10.0, 0)
    (level,) = meter.profile(0).settings
    assert level.steps_per_s == pytest.approx(4 / 13)
    assert level.power_w == pytest.approx(3500 / 13)


def test_a_table_is_found_again_by_what_decides_it(tmp_path: Path) -> None:
    cache = PowerProfileCache(tmp_path / "levels")
    table = PowerProfile("clocks", (MeasuredSetting(1.0, 500.0, 2.0, 10, 5.0),), 60.0, 7)
    cache.put(key_of(model="a", batch_size=8), table)
    assert cache.get(key_of(batch_size=8, model="a")) == table
    assert cache.get(key_of(model="a", batch_size=16)) is None


def test_a_damaged_table_is_measured_again(tmp_path: Path) -> None:
    cache = PowerProfileCache(tmp_path)
    (tmp_path / "k.json").write_text('{"mechanism": 3}')
    assert cache.get("k") is None


def test_a_folder_that_takes_no_file_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "levels").write_text("a file")
    table = PowerProfile("clocks", (MeasuredSetting(1.0, 500.0, 2.0, 10, 5.0),), 60.0, 7)
    PowerProfileCache(tmp_path / "levels").put("k", table)
