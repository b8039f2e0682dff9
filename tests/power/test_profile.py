"""Power settings are measured over settled, undisturbed steps, and cached by what decides them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.power.profile import (
    LEAST_STEPS,
    MeasuredSetting,
    PowerProfile,
    PowerProfileCache,
    PowerProfiler,
    key_of,
)

POWER_FRACTIONS = (1.0, 0.5)


class Training:
    """Steps whose length and power follow the setting at once."""

    def __init__(self, profiler: PowerProfiler, step_s: float = 0.5) -> None:
        self.profiler = profiler
        self.now_ns, self.used_mj, self.step = 0, 0, 0
        self._step_s = step_s

    def step_once(self, *, seconds: float = 0.0, watts: float = 0.0) -> None:
        power_fraction = self.profiler.power_fraction
        step_s = seconds or self._step_s / power_fraction
        self.now_ns += round(step_s * NS_PER_S)
        self.used_mj += round(1000 * (watts or 600 * power_fraction) * step_s)
        self.step += 1
        self.profiler.on_step_end(self.now_ns, self.used_mj, self.step)


def test_each_setting_gets_its_power_and_speed() -> None:
    profiler = PowerProfiler("power-limit", POWER_FRACTIONS)
    training = Training(profiler)
    while not profiler.wants_idle:
        training.step_once()
    assert not profiler.is_done
    profiler.record_idle(10.0, 700_000)
    assert profiler.is_done
    profile = profiler.profile(5)
    assert [setting.power_fraction for setting in profile.settings] == [1.0, 0.5]
    assert [setting.power_w for setting in profile.settings] == pytest.approx([600, 300])
    assert [setting.steps_per_s for setting in profile.settings] == pytest.approx([2, 1])
    assert all(setting.steps >= LEAST_STEPS for setting in profile.settings)
    assert profile.idle_w == pytest.approx(70)


def test_a_validation_in_between_does_not_count() -> None:
    profiler = PowerProfiler("power-limit", (1.0,))
    training = Training(profiler)
    for number in range(60):
        if number % 10 == 9:
            training.now_ns += 20 * NS_PER_S
            profiler.discard_current()
        training.step_once()
    assert profiler.profile(0).settings[0].steps_per_s == pytest.approx(2)


def test_steps_that_differ_in_turn_are_measured_in_whole_rounds() -> None:
    profiler = PowerProfiler("none", (1.0,), round_steps=4)
    now_ns, used_mj, step = 0, 0, 0
    while not profiler.wants_idle:
        # The first step of four generates: it takes ten seconds at 200 W, the others one at 500 W.
        seconds, power_w = (10, 200) if step % 4 == 0 else (1, 500)
        now_ns, used_mj, step = (
            now_ns + seconds * NS_PER_S, used_mj + 1000 * seconds * power_w, step + 1,
        )  # fmt: skip
        profiler.on_step_end(now_ns, used_mj, step)
    profiler.record_idle(10.0, 0)
    (setting,) = profiler.profile(0).settings
    assert setting.steps_per_s == pytest.approx(4 / 13)
    assert setting.power_w == pytest.approx(3500 / 13)


def test_a_profile_is_read_back_by_its_key(tmp_path: Path) -> None:
    cache = PowerProfileCache(tmp_path / "profiles")
    profile = PowerProfile("clocks", (MeasuredSetting(1.0, 500.0, 2.0, 10, 5.0),), 60.0, 7)
    cache.put(key_of(model="a", batch_size=8), profile)
    assert cache.get(key_of(batch_size=8, model="a")) == profile
    assert cache.get(key_of(model="a", batch_size=16)) is None


def test_a_profile_on_disk_keeps_the_names_that_version_0_1_0_reads(tmp_path: Path) -> None:
    profile = PowerProfile("clocks", (MeasuredSetting(1.0, 500.0, 2.0, 10, 5.0),), 60.0, 7)
    PowerProfileCache(tmp_path).put("k", profile)
    document = json.loads((tmp_path / "k.json").read_text())
    assert document["means"] == "clocks"
    assert [setting["share"] for setting in document["levels"]] == [1.0]


def test_a_profile_that_version_0_1_0_cached_is_read(tmp_path: Path) -> None:
    (tmp_path / "k.json").write_text(
        '{"means": "power-limit", "levels": [{"share": 1.0, "power_w": 640.0, "steps_per_s": 2.0, '
        '"steps": 10, "seconds": 5.0}, {"share": 0.55, "power_w": 385.0, "steps_per_s": 1.5, '
        '"steps": 8, "seconds": 5.3}], "idle_w": 70.0, "measured_at_ns": 7}'
    )
    profile = PowerProfileCache(tmp_path).get("k")
    assert profile is not None
    assert (profile.mechanism, profile.idle_w, profile.measured_at_ns) == ("power-limit", 70.0, 7)
    assert profile.settings == (
        MeasuredSetting(1.0, 640.0, 2.0, 10, 5.0), MeasuredSetting(0.55, 385.0, 1.5, 8, 5.3)
    )  # fmt: skip


def test_a_damaged_profile_is_measured_again(tmp_path: Path) -> None:
    cache = PowerProfileCache(tmp_path)
    for text in ('{"mechanism": 3}', '{"mechanism": "clo', "[]"):
        (tmp_path / "k.json").write_text(text)
        assert cache.get("k") is None


def test_a_folder_that_takes_no_file_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "profiles").write_text("a file")
    profile = PowerProfile("clocks", (MeasuredSetting(1.0, 500.0, 2.0, 10, 5.0),), 60.0, 7)
    PowerProfileCache(tmp_path / "profiles").put("k", profile)
