"""Two ranks pause for longer than any process group would wait, and go on together."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from carbon_trainer.ledger.facts import Decision
from carbon_trainer.ledger.store import Ledger
from tests.distributed.test_exchange import ROOT, free_port
from tests.warm import WarmProcess

pytestmark = pytest.mark.slow

RANK = """
import json, sys, time, warnings
from datetime import timedelta
from pathlib import Path
warnings.filterwarnings("ignore")
import lightning, torch
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader, TensorDataset
from carbon_trainer.callbacks import EnergyMetering
from carbon_trainer.control.actions import Pause, Train
from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.clock import NS_PER_S
from tests.callbacks.training import TinyModule

torch.set_num_threads(1)
folder, pause_s, timeout_s = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])


class PauseOnce(CarbonCallback):
    until_ns = None

    def propose(self, driver):
        now_ns = driver.session.clock.now_ns()
        if driver.pause.is_paused:
            return Train("the time is over") if now_ns >= self.until_ns else None
        if self.until_ns is None and driver.step >= 5:
            self.until_ns = now_ns + round(pause_s * NS_PER_S)
            return Pause(self.until_ns, "a test")


class Slow(TinyModule):
    def training_step(self, batch, index):
        time.sleep(0.02)  # Ranks agree about four times a second: there must be time for some.
        return super().training_step(batch, index)


data = DataLoader(TensorDataset(torch.ones(400, 4)), batch_size=2)
strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=timeout_s))
metering = EnergyMetering(runs_dir=folder / "runs", host_metering=False)
trainer = lightning.Trainer(
    max_steps=60, max_epochs=-1, accelerator="cpu", strategy=strategy, devices=2, logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    callbacks=[metering, PauseOnce()],
)
trainer.fit(Slow(), data)
(folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(trainer.global_step))
"""


def test_a_pause_longer_than_the_process_groups_timeout(tmp_path: Path) -> None:
    pause_s, timeout_s = 14.0, 5.0
    port, processes = free_port(), []
    for rank in range(2):
        environ = {
            **os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
            "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "NODE_RANK": "0",
            "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1",
            "SIMULATED_NVML": json.dumps([{"uuid": "GPU-0", "power_w": 200.0}]),
            "SIMULATED_NVML_ROOT": str(ROOT),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "simulation" / "site"), str(ROOT)]),
        }  # fmt: skip
        command = ["-c", RANK, str(tmp_path), str(pause_s), str(timeout_s)]
        processes.append(WarmProcess(command, env=environ, cwd=ROOT))
    for process in processes:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err[-3000:]
    steps = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert steps == [60, 60]
    ledger = Ledger.open(tmp_path / "runs" / "ledger.sqlite")
    (run_id,) = ledger.run_ids()
    ended = [fact.body for fact in ledger.facts(run_id, Decision)][-1]
    assert ended["figures"]["waited_s"] == pytest.approx(pause_s, abs=1.5)
    rows = ledger.intervals(run_id)
    paused = rows[rows["phase"] == "pause"]
    assert paused["energy_mj"].sum() == pytest.approx(200_000 * pause_s, rel=0.1)
