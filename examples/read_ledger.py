"""A ledger as pandas data frames: energy by run and device, power over time."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from carbon_trainer.ledger import Ledger
from carbon_trainer.ledger.facts import IntensityUsed, RunOpened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ledger", nargs="?", type=Path, default=Path("carbon_runs/ledger.sqlite"))
    args = parser.parse_args()
    ledger = Ledger.open(args.ledger, create=False)

    # Sums of the intervals of all runs, by the columns that reports use. Energy is in millijoules.
    sums = ledger.sums()
    kwh = sums.assign(kwh=sums.energy_mj / 3.6e9).pivot_table(
        index="run_id", columns=["component", "method"], values="kwh", aggfunc="sum", fill_value=0
    )
    print(kwh.to_string(float_format="{:.6f}".format), end="\n\n")

    # Facts have a kind and a body; these two are the run's settings and its emission factor.
    run_id = ledger.resolve("last")
    (opened, *_) = ledger.facts(run_id, RunOpened)
    factor = ledger.last(run_id, IntensityUsed)
    print(f"{run_id}: project {opened.body['project']}")
    if factor is not None:
        print(f"{factor.body['intensity_gco2e_per_kwh']} gCO2e/kWh, {factor.body['source']}")

    # The intervals themselves: energy of each device over time, with the phase.
    rows = ledger.intervals(run_id)
    rows["time"] = pd.to_datetime(rows.start_ns, utc=True)
    rows["power_w"] = rows.energy_mj / 1e3 / ((rows.end_ns - rows.start_ns) / 1e9)
    columns = ["time", "device", "phase", "power_w", "method"]
    print(rows[columns].tail(5).to_string(index=False))


if __name__ == "__main__":
    main()
