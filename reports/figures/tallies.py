"""Adds up a run's intervals, with their uncertainties.

Correlation assumed: the gain error of sensors of one component is the same for all of the run
and for all devices of that component (fully correlated, so added up); it is independent between
components; timing errors of single intervals are independent (root sum of squares).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from carbon_trainer.ledger.facts import MachineDescribed
from carbon_trainer.reports.figures.figure import UNKNOWN, weakest
from carbon_trainer.reports.record.run_record import Ints, RunRecord
from carbon_trainer.reports.record.segments import Segment

NO_INTERVALS = "The ledger has no interval of this run."

CORRELATION = (
    "Gain errors are taken as fully correlated over the run and between devices of one component "
    "(they add up), as independent between components; timing errors as independent between "
    "intervals (root sum of squares)."
)

_COMPONENT_ORDER = {"gpu": 0, "cpu": 1, "ram": 2}
CONSIDERABLE = 0.01
"""Share of a sum's energy below which a part does not decide how the sum is called: a measured
run is always extrapolated by some milliseconds at both ends. The derivation states every share."""

_KEYS = ("component", "device", "phase", "method", "segment", "factor", "machine")


@dataclass(frozen=True, slots=True)
class Cell:
    """All intervals that agree in everything that a report distinguishes, added up.

    Attributes:
        segment: number of the segment, from 0; likewise ``factor``; -1 where there is none.
        uncertainty: relative one-sigma gain error of its source; None where none is described.
        energy_mj: exact.
        timing_var: sum of squares of the intervals' timing sigmas, mJ².
        seconds: sum of the intervals' lengths.
        covered_s: the part of them that lies within the segment.
    """

    component: str
    device: str
    phase: str
    method: str
    segment: int
    factor: int
    uncertainty: float | None
    energy_mj: int
    timing_var: float
    seconds: float
    covered_s: float


def energy_cells(record: RunRecord, segments: Sequence[Segment]) -> tuple[list[Cell], Ints]:
    """Add up a run's intervals into cells.

    Args:
        record: the run.
        segments: its segments, against which coverage is counted.

    Returns:
        The cells in the order of their first intervals, and for each interval its cell.
    """
    frame = record.intervals
    if frame.empty:
        return [], np.zeros(0, dtype=np.int64)
    cell_of = _cell_numbers(frame)
    sums = _sums(frame, cell_of, segments)
    first = frame.loc[~pd.Series(cell_of).duplicated().to_numpy(), list(_KEYS)]
    uncertainties = [source_uncertainties(item.fact) for item in record.facts_of(MachineDescribed)]
    cells = []
    for keys, row in zip(first.to_dict("records"), sums.to_dict("records"), strict=True):
        machine = int(keys["machine"])
        device_key = (str(keys["component"]), str(keys["device"]))
        cells.append(
            Cell(
                component=device_key[0],
                device=device_key[1],
                phase=str(keys["phase"]),
                method=str(keys["method"]),
                segment=int(keys["segment"]),
                factor=int(keys["factor"]),
                uncertainty=uncertainties[machine].get(device_key) if machine >= 0 else None,
                energy_mj=int(row["energy_mj"]),
                timing_var=float(row["timing_var"]),
                seconds=float(row["ns"]) / 1e9,
                covered_s=float(row["covered_ns"]) / 1e9,
            )
        )
    return cells, cell_of


def _cell_numbers(frame: pd.DataFrame) -> Ints:
    """Number the intervals' cells by first appearance: mixed-radix of the keys' own numbers."""
    mixed = np.zeros(len(frame), dtype=np.int64)
    for key in _KEYS:
        codes, uniques = pd.factorize(frame[key])
        mixed = mixed * len(uniques) + codes
        # Renumbered at each key, so that the product of radices cannot overflow.
        mixed = pd.factorize(mixed)[0].astype(np.int64)
    return mixed


def _sums(frame: pd.DataFrame, cell_of: Ints, segments: Sequence[Segment]) -> pd.DataFrame:
    start_ns = frame["start_ns"].to_numpy(np.int64)
    end_ns = frame["end_ns"].to_numpy(np.int64)
    segment = frame["segment"].to_numpy(np.int64)
    starts = np.array([s.start_ns for s in segments] or [0], dtype=np.int64)[segment]
    ends = np.array([s.end_ns for s in segments] or [0], dtype=np.int64)[segment]
    # An interval may reach over its segment's end, by the last reading; that part covers nothing.
    covered = np.minimum(end_ns, ends) - np.maximum(start_ns, starts)
    columns = {
        "energy_mj": frame["energy_mj"].to_numpy(np.int64),
        "timing_var": frame["sigma_mj"].to_numpy(np.float64) ** 2,
        "ns": end_ns - start_ns,
        "covered_ns": np.maximum(covered, 0),
    }
    return pd.DataFrame(columns).groupby(cell_of, sort=True).sum()


def source_uncertainties(machine: MachineDescribed) -> dict[tuple[str, str], float]:
    """Return the gain error of each (component, device); of several sources the largest."""
    uncertainties: dict[tuple[str, str], float] = {}
    for source in machine.sources:
        key = (str(source["component"]), str(source["device"]))
        uncertainties[key] = max(uncertainties.get(key, 0.0), float(source["uncertainty"]))
    return uncertainties


def energy_sigma_mj(
    cells: Iterable[Cell], weight: Callable[[Cell], float] = lambda _: 1.0
) -> float | None:
    """Return one sigma of the cells' weighted sum of energy, mJ times the weight's unit.

    Args:
        cells: what is added up.
        weight: what each cell's energy is multiplied with, e.g. PUE x intensity.

    Returns:
        None where a cell's source has no stated uncertainty.
    """
    gains: dict[str, float] = {}
    timing_var = 0.0
    for cell in cells:
        if cell.uncertainty is None:
            return None
        factor = weight(cell)
        # Linear within a component, squares between: one sensor type errs the same way everywhere.
        gain = cell.uncertainty * cell.energy_mj * factor
        gains[cell.component] = gains.get(cell.component, 0.0) + gain
        timing_var += cell.timing_var * factor * factor
    return math.sqrt(sum(gain * gain for gain in gains.values()) + timing_var)


@dataclass(frozen=True, slots=True)
class Tally:
    """Energy of one component, device, phase, segment or of all.

    Attributes:
        name: which one.
        component: its component, where it is one or a device of one.
        energy_mj: exact.
        sigma_mj: one sigma; None where not known.
        method: that of its weakest considerable part.
        energy_by_method_mj: exact parts of ``energy_mj``.
        seconds_by_method: how long the intervals of each method last; a device-second each.
        unrecorded_s: device-seconds within segments for which there is no interval.
    """

    name: str
    component: str
    energy_mj: int
    sigma_mj: float | None
    method: str
    energy_by_method_mj: dict[str, int]
    seconds_by_method: dict[str, float]
    unrecorded_s: float

    @property
    def recorded_s(self) -> float:
        """Device-seconds for which there are intervals of any method."""
        return sum(self.seconds_by_method.values())


def tally(
    name: str, cells: Sequence[Cell], *, component: str = "", unrecorded_s: float = 0.0
) -> Tally:
    """Add up cells."""
    energy_by_method: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for cell in cells:
        energy_by_method[cell.method] = energy_by_method.get(cell.method, 0) + cell.energy_mj
        seconds[cell.method] = seconds.get(cell.method, 0.0) + cell.seconds
    least_mj = CONSIDERABLE * sum(energy_by_method.values())
    methods = [m for m, mj in energy_by_method.items() if mj and mj >= least_mj]
    methods = methods or list(energy_by_method)
    return Tally(
        name=name,
        component=component,
        energy_mj=sum(cell.energy_mj for cell in cells),
        sigma_mj=energy_sigma_mj(cells),
        method=weakest(methods),
        energy_by_method_mj=dict(sorted(energy_by_method.items())),
        seconds_by_method=dict(sorted(seconds.items())),
        unrecorded_s=unrecorded_s,
    )


def tallies(
    cells: Sequence[Cell],
    key: Callable[[Cell], tuple[str, str]],
    unrecorded: Mapping[tuple[str, str], float] | None = None,
) -> tuple[Tally, ...]:
    """Add up cells by (component or nothing, name), in the order in which these first appear."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return tuple(
        tally(
            name_key[1],
            group,
            component=name_key[0],
            unrecorded_s=(unrecorded or {}).get(name_key, 0.0),
        )
        for name_key, group in groups.items()
    )


def by_component_first(cells: Iterable[Cell]) -> list[Cell]:
    """Order cells as people expect components: GPU, CPU, RAM, then others by name."""
    return sorted(
        cells, key=lambda c: (_COMPONENT_ORDER.get(c.component, 9), c.component, c.device)
    )


def unrecorded_seconds(
    record: RunRecord, cells: Sequence[Cell], segments: Sequence[Segment]
) -> dict[tuple[str, str], float]:
    """Return for each (component, device) the seconds of its segments that no interval covers.

    A device belongs to a segment if it has intervals there, or a source that is described there.
    """
    covered: dict[tuple[int, str, str], float] = {}
    for cell in cells:
        key = (cell.segment, cell.component, cell.device)
        covered[key] = covered.get(key, 0.0) + cell.covered_s
    starts = [start.seq for start in record.starts]
    for item in record.facts_of(MachineDescribed):
        segment = max(0, int(np.searchsorted(starts, item.seq, side="right")) - 1)
        for component, device in source_uncertainties(item.fact):
            covered.setdefault((segment, component, device), 0.0)
    missing: dict[tuple[str, str], float] = {}
    for (segment, component, device), seconds in sorted(covered.items()):
        if 0 <= segment < len(segments):
            gap = max(0.0, segments[segment].seconds - seconds)
            missing[component, device] = missing.get((component, device), 0.0) + gap
    return missing


def unknown_seconds(total: Tally) -> float:
    """Device-seconds of which the energy is not known, so that its sum is a lower bound."""
    return total.seconds_by_method.get(UNKNOWN, 0.0)
