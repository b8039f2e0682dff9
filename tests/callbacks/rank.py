"""One rank of a small distributed training; started by test_ranks with a launcher's environment."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path


def main(folder: Path, options: dict[str, object]) -> None:
    warnings.filterwarnings("ignore")
    import lightning
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from carbon_trainer.callbacks import CarbonAware
    from carbon_trainer.callbacks.automatic import AutoCarbonAware
    from tests.callbacks.training import TinyModule

    torch.set_num_threads(1)
    torch.manual_seed(1)
    pause_s = float(str(options["pause_s"]))

    class Slow(TinyModule):
        def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
            time.sleep(pause_s)
            return super().training_step(batch, index)

    settings = dict(options["settings"])  # type: ignore[call-overload]
    kind = AutoCarbonAware if options.get("unasked") else CarbonAware
    callback = kind(runs_dir=folder / "runs", **settings)
    data = DataLoader(TensorDataset(torch.ones(64, 4)), batch_size=2)
    nodes = int(str(options["nodes"]))
    trainer = lightning.Trainer(
        max_steps=int(str(options["steps"])), max_epochs=-1, accelerator="cpu", strategy="ddp",
        devices=int(os.environ["WORLD_SIZE"]) // nodes, num_nodes=nodes, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.callbacks.append(callback)
    trainer.fit(Slow(), data)
    told = {"rank": trainer.global_rank, "step": trainer.global_step}
    (folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
