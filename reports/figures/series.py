"""Energy over time and loss over energy, down-sampled so that nothing is lost on the way.

Time is recorded time: hours in which the run neither ran nor was metered are cut out, and the
cuts are kept, so that a pause of a week does not squeeze an hour of training into a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from carbon_trainer.ledger.facts import IntensityUsed, Progress
from carbon_trainer.reports.figures.tallies import Cell
from carbon_trainer.reports.record.run_record import Ints, RunRecord
from carbon_trainer.reports.record.segments import Segment
from carbon_trainer.units import MJ_PER_KWH

Floats = npt.NDArray[np.float64]

MAX_BINS = 600
SHORTEST_CUT_NS = 1_000_000_000
_WIDTHS_S = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200,
)  # fmt: skip


@dataclass(frozen=True)
class Timeline:
    """Recorded time: spans of it, and how much of it lies before each.

    Attributes:
        begins_ns: where each span begins (ns, UTC), rising.
        ends_ns: where it ends.
        before_ns: recorded time before it.
    """

    begins_ns: Ints
    ends_ns: Ints
    before_ns: Ints

    @property
    def total_ns(self) -> int:
        """All recorded time."""
        return int(self.before_ns[-1] + self.ends_ns[-1] - self.begins_ns[-1]) if self.cut else 0

    @property
    def cut(self) -> int:
        """How many spans there are."""
        return len(self.begins_ns)

    def recorded(self, time_ns: Ints) -> Ints:
        """Turn instants into recorded time since the start, ns."""
        span = np.maximum(np.searchsorted(self.begins_ns, time_ns, side="right") - 1, 0)
        elapsed_ns = np.minimum(time_ns, self.ends_ns[span]) - self.begins_ns[span]
        return np.asarray(self.before_ns[span] + np.maximum(elapsed_ns, 0), dtype=np.int64)

    @property
    def pauses(self) -> list[tuple[float, float]]:
        """Each cut: recorded seconds at which it is, and the seconds that it lasted."""
        lengths = self.begins_ns[1:] - self.ends_ns[:-1]
        cuts = zip(self.before_ns[1:].tolist(), lengths.tolist(), strict=True)
        return [(before / 1e9, length / 1e9) for before, length in cuts]


def timeline_of(record: RunRecord, segments: Sequence[Segment]) -> Timeline:
    """Find the time in which a run ran or was metered."""
    starts = np.append(
        record.intervals["start_ns"].to_numpy(np.int64), [s.start_ns for s in segments]
    )
    ends = np.append(record.intervals["end_ns"].to_numpy(np.int64), [s.end_ns for s in segments])
    order = np.argsort(starts, kind="stable")
    # The latest end so far, not the previous one: intervals of several devices overlap.
    starts, latest_end = starts[order], np.maximum.accumulate(ends[order])
    if not len(starts):
        empty = np.zeros(0, dtype=np.int64)
        return Timeline(empty, empty, empty)
    first_of_span = np.flatnonzero(starts[1:] > latest_end[:-1] + SHORTEST_CUT_NS) + 1
    span_starts = starts[np.append(0, first_of_span)]
    span_ends = latest_end[np.append(first_of_span - 1, len(latest_end) - 1)]
    before = np.cumsum(np.append(0, (span_ends - span_starts)[:-1]))
    return Timeline(
        span_starts.astype(np.int64), span_ends.astype(np.int64), before.astype(np.int64)
    )


@dataclass(frozen=True)
class EnergySeries:
    """A run's energy in bins of recorded time.

    Attributes:
        width_s: a bin's length.
        components: names of the rows of ``energy_mj``.
        energy_mj: energy by component and bin; its sum is the run's.
        covered_s: seconds of each bin for which anything is recorded.
        energy_kwh: cumulative energy at each bin's edges, one more than there are bins.
        energy_sigma_kwh: one sigma of it; None where it is not known.
        emissions_kgco2e: cumulative emissions at the edges; None without an emission factor.
        emissions_sigma_kgco2e: one sigma of them; None where it is not known.
        timeline: recorded time.
    """

    width_s: float
    components: tuple[str, ...]
    energy_mj: Floats
    covered_s: Floats
    energy_kwh: Floats
    energy_sigma_kwh: Floats | None
    emissions_kgco2e: Floats | None
    emissions_sigma_kgco2e: Floats | None
    timeline: Timeline

    @property
    def edges_s(self) -> Floats:
        """The bins' edges, recorded seconds since the start."""
        return np.arange(len(self.covered_s) + 1, dtype=np.float64) * self.width_s

    @property
    def power_w(self) -> Floats:
        """Mean power by component and bin; NaN where nothing is recorded."""
        seconds = np.where(self.covered_s > 0, self.covered_s, np.nan)
        return np.asarray(self.energy_mj / 1000 / seconds, dtype=np.float64)

    @property
    def peak_w(self) -> float | None:
        """Highest mean power of all devices in a bin of which at least half is recorded."""
        # A bin of which little is recorded would make a short burst look like the peak.
        full = self.covered_s >= 0.5 * min(self.width_s, self.covered_s.max(initial=0.0))
        power = self.power_w.sum(axis=0)[full & (self.covered_s > 0)]
        return float(power.max()) if len(power) else None


def energy_series(
    record: RunRecord, segments: Sequence[Segment], cells: Sequence[Cell], cell_of: Ints
) -> EnergySeries | None:
    """Spread a run's intervals over at most 600 bins, each interval's energy evenly.

    Returns:
        None where there is no interval.
    """
    frame = record.intervals
    timeline = timeline_of(record, segments)
    if frame.empty or not timeline.total_ns:
        return None
    width_ns = _width_ns(timeline.total_ns)
    bins = -(-timeline.total_ns // width_ns)
    row, bin_of, share, covered_ns = _pieces(frame, timeline, width_ns, bins)
    spread = _BinnedEnergy(
        bins, bin_of, cell_of[row], share * frame["energy_mj"].to_numpy(np.float64)[row]
    )
    variance = share * frame["sigma_mj"].to_numpy(np.float64)[row] ** 2
    components = tuple(dict.fromkeys(cell.component for cell in cells))
    factors = [item.fact for item in record.facts_of(IntensityUsed)]
    to_kwh = np.full(len(cells), 1 / MJ_PER_KWH)
    energy = np.array([spread.sum(_is_component(cells, name)) for name in components])
    emissions = sigma_e = None
    if factors:
        to_kg = np.array([kg_per_mj(factors[cell.factor]) for cell in cells])
        emissions = _cumulative(spread.sum(to_kg))
        by_factor = [
            _cumulative(spread.sum(to_kg * _has_factor(cells, n))) * f.uncertainty
            for n, f in enumerate(factors)
        ]
        sigma_e = spread.sigma(cells, components, to_kg, variance, sum(by_factor))
    return EnergySeries(
        width_s=width_ns / 1e9,
        components=components,
        energy_mj=energy,
        covered_s=_covered_s(frame, row, bin_of, covered_ns, bins),
        energy_kwh=_cumulative(spread.sum(to_kwh)),
        energy_sigma_kwh=spread.sigma(cells, components, to_kwh, variance, 0.0),
        emissions_kgco2e=emissions,
        emissions_sigma_kgco2e=sigma_e,
        timeline=timeline,
    )


def kg_per_mj(factor: IntensityUsed) -> float:
    """Emissions (kgCO2e) for a millijoule of the machines: PUE x intensity."""
    return factor.pue * factor.intensity_gco2e_per_kwh / 1000 / MJ_PER_KWH


@dataclass(frozen=True)
class _BinnedEnergy:
    """Pieces of intervals, each within one bin."""

    bins: int
    bin_of: Ints
    cell_of: Ints
    energy_mj: Floats

    def sum(self, weight: Floats) -> Floats:
        """Add up energy in each bin, weighted by cell."""
        weighted = self.energy_mj * weight[self.cell_of]
        return _per_bin(self.bin_of, weighted, self.bins)

    def sigma(
        self, cells: Sequence[Cell], components: Sequence[str], weight: Floats, variance: Floats,
        common: Floats | float,
    ) -> Floats | None:  # fmt: skip
        """Return one sigma of the cumulative weighted energy at the edges."""
        if any(cell.uncertainty is None for cell in cells):
            return None
        gain = weight * np.array([cell.uncertainty for cell in cells], dtype=np.float64)
        squares = weight[self.cell_of] ** 2 * variance
        total = _cumulative(_per_bin(self.bin_of, squares, self.bins))
        for name in components:
            # Summed before squared: a gain error is the same in all bins, so that the last edge has
            # the sigma of the whole run.
            total = total + _cumulative(self.sum(gain * _is_component(cells, name))) ** 2
        return np.asarray(np.sqrt(total + np.square(common)), dtype=np.float64)


def _pieces(
    frame: pd.DataFrame, timeline: Timeline, width_ns: int, bins: int
) -> tuple[Ints, Ints, Floats, Ints]:
    """Cut intervals at the bins' edges: (interval, bin, share of the interval, length ns)."""
    begin = timeline.recorded(frame["start_ns"].to_numpy(np.int64))
    end = timeline.recorded(frame["end_ns"].to_numpy(np.int64))
    first = np.minimum(begin // width_ns, bins - 1)
    last = np.clip((end - 1) // width_ns, first, bins - 1)
    count = last - first + 1
    row = np.repeat(np.arange(len(frame)), count)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    bin_of = first[row] + nth
    low = np.maximum(begin[row], bin_of * width_ns)
    piece = np.maximum(np.minimum(end[row], (bin_of + 1) * width_ns) - low, 0)
    length = (end - begin)[row]
    # An interval without length has one piece, which takes all of its energy.
    share = np.divide(piece, length, out=np.ones(len(row)), where=length > 0)
    return row, bin_of, share, piece


def _covered_s(frame: pd.DataFrame, row: Ints, bin_of: Ints, piece_ns: Ints, bins: int) -> Floats:
    """Seconds of each bin that the best covered device has intervals for."""
    codes, devices = pd.factorize(frame["device"])
    device_bin = codes[row] * bins + bin_of
    seconds = _per_bin(device_bin, piece_ns / 1e9, bins * len(devices))
    return np.asarray(seconds.reshape(len(devices), bins).max(axis=0), dtype=np.float64)


def _per_bin(bin_of: Ints, weights: Floats, bins: int) -> Floats:
    return np.bincount(bin_of, weights=weights, minlength=bins).astype(np.float64)


def _width_ns(total_ns: int) -> int:
    for width_s in _WIDTHS_S:
        if total_ns <= MAX_BINS * width_s * 1e9:
            return round(width_s * 1e9)
    days = -(-total_ns // (MAX_BINS * 86_400 * 10**9))
    return int(days * 86_400 * 10**9)


def _cumulative(per_bin: Floats) -> Floats:
    return np.concatenate(([0.0], np.cumsum(per_bin)))


def _is_component(cells: Sequence[Cell], component: str) -> Floats:
    return np.array([cell.component == component for cell in cells], dtype=np.float64)


def _has_factor(cells: Sequence[Cell], number: int) -> Floats:
    return np.array([cell.factor == number for cell in cells], dtype=np.float64)


@dataclass(frozen=True)
class LossSeries:
    """Loss against the energy used until then, of all devices, before PUE.

    Attributes:
        energy_kwh: of each point of ``loss``.
        loss: training loss, nats per token.
        validation_energy_kwh: of each point of ``validation_loss``.
        validation_loss: nats per token.
    """

    energy_kwh: Floats
    loss: Floats
    validation_energy_kwh: Floats
    validation_loss: Floats


def loss_series(record: RunRecord, energy: EnergySeries | None) -> LossSeries | None:
    """Place a run's losses on its energy; None where it has neither."""
    progress = [item.fact for item in record.facts_of(Progress)]
    if energy is None or all(p.loss is None and p.validation_loss is None for p in progress):
        return None
    times = np.array([p.time_ns for p in progress], dtype=np.int64)
    at_s = energy.timeline.recorded(times) / 1e9
    energy_kwh = np.interp(at_s, energy.edges_s, energy.energy_kwh)
    loss = np.array([np.nan if p.loss is None else p.loss for p in progress])
    validation = np.array(
        [np.nan if p.validation_loss is None else p.validation_loss for p in progress]
    )
    has_loss, has_validation = ~np.isnan(loss), ~np.isnan(validation)
    return LossSeries(
        energy_kwh[has_loss], loss[has_loss], energy_kwh[has_validation], validation[has_validation]
    )
