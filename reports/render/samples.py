"""A run's raw intervals as Parquet, to recompute figures with other tools."""

from __future__ import annotations

import io

from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.figures.run_figures import RunFigures


def samples(ledger: Ledger, figures: RunFigures) -> bytes:
    """Write a run's intervals up to the report's head, with run, head and units as metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = ledger.intervals(figures.run_id)
    frame = frame[frame["seq"] <= figures.head.seq]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    metadata = {
        "carbon-trainer run": figures.run_id,
        "ledger record": str(figures.head.seq),
        "ledger sha256": figures.head.sha256,
        "units": "start_ns, end_ns: nanoseconds since 1970-01-01 UTC; energy_mj, sigma_mj: "
        "millijoules before PUE",
    }
    target = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), target, compression="zstd")
    return target.getvalue()
