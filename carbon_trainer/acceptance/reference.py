"""What each step of a wave used, from the counter over the whole wave.

No instrument tells the truth of one step on a real board. But a wave repeats: power is taken to be
a function of the kind of half (busy or idle) and of the time since it began, in one piece or a few;
the counter's changes over the whole wave then give each piece's power by least squares (as the load
patterns of arXiv 2312.02741, SC24, give a sensor's window). Uneven halves keep the counter's
refresh from falling in step with the wave. How many pieces there are, and how far the counter is
behind, is not known: choices are averaged by the Bayesian information criterion (Schwarz 1978;
weights as of Raftery 1995), so that the doubt is in sigma.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.acceptance.sensors import Floats, Int64, Watched
from carbon_trainer.clock import NS_PER_S

PIECES = ((0.0,), (0.0, 0.2, 0.5))
"""Where a half's pieces begin, as shares of the usual half; the last lasts until its end."""

LAGS_S = np.arange(0.0, 0.1501, 0.0005)
"""By how much the counter may be behind what the GPU does, seconds. So fine that no further pieces
are needed to make up for a step of it."""

NEGLIGIBLE = 1e-6
"""Choices of less weight do not count."""

LEAST_CHANGES = 24
"""Of the counter, for a fit."""


@dataclass(frozen=True, slots=True)
class Wave:
    """A load that was switched on and off.

    Attributes:
        edges_ns: where each half begins, and where the last ends, shape (halves + 1,).
        busy: which halves were busy, shape (halves,).
        half_s: how long one usually is, seconds.
        begins_ns: where each step begins, shape (steps,).
        ends_ns: where it ends.
    """

    edges_ns: Int64
    busy: NDArray[np.bool_]
    half_s: float
    begins_ns: Int64
    ends_ns: Int64


@dataclass(frozen=True, slots=True)
class Reference:
    """What each step used.

    Attributes:
        energy_j: joules, shape (steps,).
        sigma_j: one sigma of it, joules.
        lag_s: how far the counter is behind what the GPU does, seconds.
        busy_w: mean power of busy halves, watts.
        idle_w: of idle ones.
        residual_j: root mean square of what the pieces do not explain of a refresh, joules.
    """

    energy_j: Floats
    sigma_j: Floats
    lag_s: float
    busy_w: float
    idle_w: float
    residual_j: float


@dataclass(frozen=True, slots=True)
class _Fit:
    """Each piece's power, for one choice of pieces and lag."""

    pieces: tuple[float, ...]
    lag_s: float
    powers_w: Floats
    covariance: Floats
    residual_j: float
    criterion: float


def reference_of(wave: Wave, counter: Watched) -> Reference | None:
    """Return what each step used; None where the counter changed too seldom."""
    within = (counter.times_ns > wave.edges_ns[0]) & (counter.times_ns < wave.edges_ns[-1])
    times_ns, values = counter.times_ns[within], counter.values[within]
    if len(times_ns) <= LEAST_CHANGES:
        return None
    used_j = np.diff(values) / 1000
    fits = [
        _fit(wave, pieces, float(lag_s), times_ns, used_j) for pieces in PIECES for lag_s in LAGS_S
    ]
    best = min(fits, key=lambda fit: fit.criterion)
    # What speaks against a choice beside the best: half the difference of criteria.
    weights = np.exp([0.5 * (best.criterion - fit.criterion) for fit in fits])
    counting = [fit for fit, weight in zip(fits, weights, strict=True) if weight > NEGLIGIBLE]
    weights = weights[weights > NEGLIGIBLE]
    weights /= weights.sum()
    parts = [_energy(wave, fit) for fit in counting]
    energy_j = np.einsum("m,mi->i", weights, np.array([energy for energy, _ in parts]))
    spread = np.array([variance + (energy - energy_j) ** 2 for energy, variance in parts])
    whole_s = _pieces_s(wave, best.pieces, wave.edges_ns[[0, -1]])[0]
    half = len(best.pieces)
    return Reference(
        energy_j=energy_j,
        sigma_j=np.sqrt(np.einsum("m,mi->i", weights, spread)),
        lag_s=best.lag_s,
        busy_w=float(whole_s[:half] @ best.powers_w[:half] / whole_s[:half].sum()),
        idle_w=float(whole_s[half:] @ best.powers_w[half:] / whole_s[half:].sum()),
        residual_j=best.residual_j,
    )


def _energy(wave: Wave, fit: _Fit) -> tuple[Floats, Floats]:
    """Return what each step used by a fit, joules, and its variance."""
    edges_ns = np.stack([wave.begins_ns, wave.ends_ns], axis=1).ravel()
    # From a step's begin to its end, not from its end to the next one's begin.
    seconds = _pieces_s(wave, fit.pieces, edges_ns)[::2]
    variance = np.einsum("ij,jk,ik->i", seconds, fit.covariance, seconds)
    return seconds @ fit.powers_w, np.maximum(variance, 0.0)


def _fit(
    wave: Wave, pieces: tuple[float, ...], lag_s: float, times_ns: Int64, used_j: Floats
) -> _Fit:
    seconds = _pieces_s(wave, pieces, times_ns - round(lag_s * NS_PER_S))
    powers_w: Floats = np.linalg.lstsq(seconds, used_j, rcond=None)[0].astype(np.float64)
    squares = float(np.sum((used_j - seconds @ powers_w) ** 2))
    count, parameters = len(used_j), seconds.shape[1]
    noise = squares / max(1, count - parameters)
    covariance: Floats = noise * np.linalg.pinv(seconds.T @ seconds).astype(np.float64)
    criterion = count * np.log(squares / count + 1e-12) + parameters * np.log(count)
    return _Fit(
        pieces, lag_s, powers_w, covariance, float(np.sqrt(squares / count)), float(criterion)
    )


def _pieces_s(wave: Wave, pieces: tuple[float, ...], times_ns: Int64) -> Floats:
    """Return how much of each piece lies between each two instants.

    Args:
        wave: the halves.
        pieces: where a half's pieces begin.
        times_ns: instants, shape (n + 1,).

    Returns:
        Seconds, shape (n, 2 * pieces): busy halves' pieces first.
    """
    starts_ns = np.array(pieces) * wave.half_s * NS_PER_S
    begins = np.minimum(wave.edges_ns[:-1, None] + starts_ns, wave.edges_ns[1:, None])
    ends = np.concatenate([begins[:, 1:], wave.edges_ns[1:, None]], axis=1)
    columns = []
    for kind in (True, False):
        for piece in range(len(pieces)):
            chosen = wave.busy == kind
            until = _until(begins[chosen, piece], ends[chosen, piece], times_ns)
            columns.append(np.diff(until) / NS_PER_S)
    return np.stack(columns, axis=1)


def _until(begins_ns: Floats, ends_ns: Floats, times_ns: Int64) -> Floats:
    """Return how much of some spans, one after another, has passed by each instant, ns."""
    before = np.concatenate([[0.0], np.cumsum(ends_ns - begins_ns)])
    at = np.searchsorted(begins_ns, times_ns, "right")
    last = np.maximum(at - 1, 0)
    passed = np.clip(times_ns - begins_ns[last], 0.0, ends_ns[last] - begins_ns[last])
    return np.where(at == 0, 0.0, before[last] + passed)
