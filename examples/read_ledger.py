"""What a ledger knows, as pandas frames: energy by run and device, power over time."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from carbon_trainer.ledger.facts import IntensityUsed, RunOpened
from carbon_trainer.ledger.store import Ledger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ledger", nargs="?", type=Path, default=Path("carbon_runs/ledger.sqlite"))
    args = parser.parse_args()
    ledger = Ledger.open(args.ledger, create=False)  # reading; nothing is ever changed in it

    # Intervals of all runs added up by what reports tell apart. Energy is whole millijoules.
    sums = ledger.sums()
    kwh = sums.assign(kwh=sums.energy_mj / 3.6e9).pivot_table(
        index="run_id", columns=["component", "method"], values="kwh", aggfunc="sum", fill_value=0
    )
    print(kwh.to_string(float_format="{:.6f}".format), end="\n\n")

    # Facts are read as they were written; what a run was and which factor it used:
    run_id = ledger.resolve("last")
    (opened, *_) = ledger.facts(run_id, RunOpened)
    factor = ledger.last(run_id, IntensityUsed)
    print(f"{run_id}: project {opened.body['project']}")
    if factor is not None:
        print(f"{factor.body['intensity_gco2e_per_kwh']} gCO2e/kWh, {factor.body['source']}")

    # The intervals themselves: when each device used how much, in which phase.
    rows = ledger.intervals(run_id)
    rows["time"] = pd.to_datetime(rows.start_ns, utc=True)
    rows["power_w"] = rows.energy_mj / 1e3 / ((rows.end_ns - rows.start_ns) / 1e9)
    columns = ["time", "device", "phase", "power_w", "method"]
    print(rows[columns].tail(5).to_string(index=False))


if __name__ == "__main__":
    main()
