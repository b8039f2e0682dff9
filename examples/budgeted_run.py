"""A budgeted run from Python: a RunConfig, and a CarbonTrainer that uses it."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from carbon_trainer import CarbonTrainer, RunConfig, TransformerModule
from carbon_trainer.ledger import Ledger
from carbon_trainer.ledger.facts import RunClosed

BLOCK = 128


class Counting(Dataset[dict[str, torch.Tensor]]):
    """Blocks of consecutive tokens."""

    def __len__(self) -> int:
        return 10_000

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": (torch.arange(BLOCK) + index) % 2048}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--budget-kwh", type=float, default=0.001)
    parser.add_argument("--runs-dir", type=Path, default=Path("carbon_runs"))
    args = parser.parse_args()

    # Settings have the names of the flags and of a run file, and are validated in the same way.
    config = RunConfig(
        budget_kwh=args.budget_kwh,
        zone="FR",
        max_steps=args.steps,
        project="examples",
        runs_dir=args.runs_dir,
    )
    module = TransformerModule.from_recipe("gpt-neox-tiny", block_size=BLOCK, max_steps=args.steps)
    trainer = CarbonTrainer(config, logger=False, default_root_dir=args.runs_dir)
    trainer.fit(module, DataLoader(Counting(), batch_size=8))

    # The status is "finished", or "budget" with a checkpoint to resume from.
    ledger = Ledger.open(args.runs_dir / "ledger.sqlite", create=False)
    run_id = ledger.resolve("last")
    for closed in ledger.facts(run_id, RunClosed):
        print(f"{run_id}: {closed.body['status']} after {closed.body['step']} steps")
    print(f"{ledger.energy_mj(run_id) / 1000:.1f} J of {args.budget_kwh * 3.6e6:.1f} J")


if __name__ == "__main__":
    main()
