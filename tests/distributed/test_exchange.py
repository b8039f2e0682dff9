"""Several ranks and machines: each watt once, the same total as the devices' truth."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from carbon_trainer.ledger.facts import Incomplete, RunClosed
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from tests.warm import WarmProcess

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """Return a port that is free, and that no connection is given before the ranks meet there."""
    while True:
        # The kernel gives connections ports from 32768 on.
        port = 15_000 + secrets.randbelow(15_000)
        with socket.socket() as taken, contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", port))
            return port


def start(
    folder: Path, nodes: list[list[float]], ranks_a_node: int, **options: Any
) -> list[WarmProcess]:
    """Start each rank as a launcher does; a node's GPUs have these constant powers, watts."""
    usual = {"pause_s": 0.02, "steps": 100, "nodes": len(nodes), "settings": {}}
    settings = {"host_metering": False, "zone": "FR", **options.pop("settings", {})}
    asked = json.dumps({**usual, **options, "settings": settings})
    port, origin_ns, processes = free_port(), time.time_ns() - 10**10, []
    for node, powers in enumerate(nodes):
        gpus = [
            {"uuid": f"GPU-{node}{n}", "power_w": watts, "refresh_s": 0.02, "origin_ns": origin_ns}
            for n, watts in enumerate(powers)
        ]
        for local in range(ranks_a_node):
            environ = {
                **os.environ,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "WORLD_SIZE": str(len(nodes) * ranks_a_node),
                "RANK": str(node * ranks_a_node + local),
                "LOCAL_RANK": str(local),
                "GROUP_RANK": str(node),
                "NODE_RANK": str(node),
                "LOCAL_WORLD_SIZE": str(ranks_a_node),
                "TORCHELASTIC_RUN_ID": "test",
                "OMP_NUM_THREADS": "1",
                "SIMULATED_NVML": json.dumps(gpus),
                "SIMULATED_NVML_ROOT": str(ROOT),
                "PYTHONPATH": os.pathsep.join(
                    [str(ROOT / "tests" / "simulation" / "site"), str(ROOT)]
                ),
            }
            script = ["-m", "tests.callbacks.rank", str(folder), asked]
            processes.append(WarmProcess(script, env=environ, cwd=ROOT))
    return processes


def train(folder: Path, nodes: list[list[float]], ranks_a_node: int, **options: Any) -> Ledger:
    """Start all ranks and wait until they have ended well."""
    for process in start(folder, nodes, ranks_a_node, **options):
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err[-3000:]
    return Ledger.open(folder / "runs" / "ledger.sqlite")


def intervals(ledger: Ledger) -> tuple[str, pd.DataFrame]:
    (run_id,) = ledger.run_ids()
    assert verify(ledger, run_id).ok
    return run_id, ledger.intervals(run_id)


def assert_true(rows: pd.DataFrame, watts: dict[str, float]) -> None:
    """Each device is there, without gap or overlap, and has used its power times its time."""
    assert set(rows["device"]) == set(watts)
    for device, its in rows.groupby("device"):
        its = its.sort_values("start_ns")
        assert list(its["start_ns"][1:]) == list(its["end_ns"][:-1])
        seconds = (its["end_ns"].max() - its["start_ns"].min()) / 1e9
        assert its["energy_mj"].sum() == pytest.approx(
            1000 * watts[str(device)] * seconds, rel=0.01
        )


def test_two_ranks_of_one_machine_meter_each_gpu_once(tmp_path: Path) -> None:
    _, rows = intervals(train(tmp_path, [[200.0, 300.0]], 2))
    assert_true(rows, {"GPU-00": 200.0, "GPU-01": 300.0})


def test_two_machines_of_two_ranks_report_their_devices_truth(tmp_path: Path) -> None:
    ledger = train(tmp_path, [[200.0, 300.0], [400.0, 500.0]], 2)
    run_id, rows = intervals(ledger)
    watts = {"GPU-00": 200.0, "GPU-01": 300.0, "GPU-10": 400.0, "GPU-11": 500.0}
    assert_true(rows, watts)
    spans = rows.groupby("device").agg({"start_ns": "min", "end_ns": "max"})
    assert (spans["start_ns"].max() - spans["start_ns"].min()) / 1e9 < 2
    assert ledger.facts(run_id, Incomplete) == []
    assert set(rows["phase"]) >= {"train"}
    steps = rows[rows["device"] == "GPU-11"]["steps"].sum()
    assert steps == 100


def test_a_budget_counts_all_machines_and_stops_all_ranks_at_one_step(tmp_path: Path) -> None:
    # A kilowatt in all, four fifths of it on the machine that keeps no record.
    budget_kwh = 8000.0 / 3.6e6
    ledger = train(tmp_path, [[200.0], [800.0]], 1, steps=5000, settings={"budget_kwh": budget_kwh})
    run_id, rows = intervals(ledger)
    (closed,) = ledger.facts(run_id, RunClosed)
    assert closed.body["status"] == "budget"
    used_kwh = rows["energy_mj"].sum() / 3.6e9
    assert 0.5 * budget_kwh < used_kwh <= budget_kwh
    told = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert told[0]["step"] == told[1]["step"] < 5000


def test_all_ranks_end_with_one_sentence_where_the_first_cannot_open_the_run(
    tmp_path: Path,
) -> None:
    for process in start(tmp_path, [[200.0]], 2, settings={"zone": "UK"}):
        _, err = process.communicate(timeout=240)
        assert process.returncode == 1
        assert re.search("InputError: .*Did you mean GB", err)


def test_and_all_train_without_us_where_the_script_has_not_asked_for_it(tmp_path: Path) -> None:
    settings = {"zone": "UK"}
    for process in start(tmp_path, [[200.0]], 2, steps=20, settings=settings, unasked=True):
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    told = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert [one["step"] for one in told] == [20, 20]


def test_each_machines_host_is_counted_once(tmp_path: Path) -> None:
    settings = {"host_metering": True}
    _, rows = intervals(train(tmp_path, [[100.0], [100.0]], 2, steps=200, settings=settings))
    assert set(rows["device"]) == {"GPU-00", "GPU-10", "cpu", "ram", "node1/cpu", "node1/ram"}
