"""A heartbeat is read as it was written, replaced atomically, and anything else is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from carbon_trainer.energy.heartbeat import (
    DeviceSnapshot,
    Heartbeat,
    read_heartbeat,
    write_heartbeat,
)

GPU = DeviceSnapshot("GPU-a", "gpu", "measured", 10, 20, 300, 400, 500, 600)
CPU = DeviceSnapshot("cpu", "cpu", "estimated", 10, 20, 30, 40, 50, None)
HEARTBEAT = Heartbeat("a b", "node7", "boot", "pid:[1]", 42, 17.25, 99, (GPU, CPU), since_seq=3)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "meter.json"
    write_heartbeat(path, HEARTBEAT)
    assert read_heartbeat(path) == HEARTBEAT


def test_a_newer_one_takes_its_place_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "meter.json"
    write_heartbeat(path, HEARTBEAT)
    closed = dataclasses.replace(HEARTBEAT, time_ns=100, closed=True)
    write_heartbeat(path, closed)
    assert read_heartbeat(path) == closed
    assert list(tmp_path.iterdir()) == [path]


def test_the_keys_of_the_file_are_those_of_earlier_versions(tmp_path: Path) -> None:
    path = tmp_path / "meter.json"
    write_heartbeat(path, HEARTBEAT)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert list(document) == [
        "version", "run_id", "host", "boot_id", "pid_space", "pid", "process_started", "time_ns",
        "positions", "since_seq", "closed",
    ]  # fmt: skip
    assert list(document["positions"][0]) == [
        "device", "component", "method", "start_ns", "known_ns", "energy_mj", "power_mw",
        "peak_mw", "counter_mj",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"version": 2}', '{"version": 1, "positions": 3}',
     '{"version": 1, "positions": [{"device": "GPU-a"}]}', '{"version": 1, "positions": []}'],
)  # fmt: skip
def test_what_is_not_a_heartbeat_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "meter.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r".+"):
        read_heartbeat(path)
