"""The energy of each step of a wave, from the counter over the whole wave.

No instrument measures the true energy of one step on a real board. But a wave repeats: power is
modelled as a function of the kind of half (busy or idle) and of the time since it began, in one
piece or a few; the counter's changes over the whole wave then give each piece's power by least
squares (as the load patterns of arXiv 2312.02741, SC24, give a sensor's window). Halves of random
length keep the counter's refresh from synchronizing with the wave. The number of pieces and the lag
of the counter are unknown: models are averaged by the Bayesian information criterion (Schwarz 1978;
weights as of Raftery 1995), so that sigma includes this uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.acceptance.sensors import Floats, Int64, SensorTrace
from carbon_trainer.clock import NS_PER_S

PIECES = ((0.0,), (0.0, 0.2, 0.5))
"""Starts of a half's pieces, as shares of the nominal half; the last one lasts until its end."""

LAGS_S = np.arange(0.0, 0.1501, 0.0005)
"""Possible lags of the counter behind the GPU, seconds; so fine that their spacing does not need
further pieces to compensate for it."""

NEGLIGIBLE = 1e-6
"""Models of less weight are ignored."""

MIN_CHANGES = 24
"""Changes of the counter that a fit needs."""


@dataclass(frozen=True, slots=True)
class Wave:
    """A load that is switched on and off.

    Attributes:
        edges_ns: start of each half, and end of the last, shape (halves + 1,).
        busy: whether each half is busy, shape (halves,).
        half_s: nominal length of a half, seconds.
        begins_ns: start of each step, shape (steps,).
        ends_ns: end of each step.
    """

    edges_ns: Int64
    busy: NDArray[np.bool_]
    half_s: float
    begins_ns: Int64
    ends_ns: Int64


@dataclass(frozen=True, slots=True)
class Reference:
    """The energy of each step.

    Attributes:
        energy_j: energy of each step, joules, shape (steps,).
        sigma_j: its standard deviation, joules.
        lag_s: lag of the counter behind the GPU, seconds.
        busy_w: mean power of busy halves, watts.
        idle_w: mean power of idle halves, watts.
        residual_j: root mean square of the residuals of a refresh, joules.
    """

    energy_j: Floats
    sigma_j: Floats
    lag_s: float
    busy_w: float
    idle_w: float
    residual_j: float


@dataclass(frozen=True, slots=True)
class _Fit:
    """Each piece's power, for one model: a choice of pieces and lag."""

    pieces: tuple[float, ...]
    lag_s: float
    powers_w: Floats
    covariance: Floats
    residual_j: float
    criterion: float


def reference_of(wave: Wave, counter: SensorTrace) -> Reference | None:
    """Return the energy of each step; None where the counter changed too seldom."""
    within = (counter.times_ns > wave.edges_ns[0]) & (counter.times_ns < wave.edges_ns[-1])
    times_ns, values = counter.times_ns[within], counter.values[within]
    if len(times_ns) <= MIN_CHANGES:
        return None
    used_j = np.diff(values) / 1000
    fits = [
        _fit(wave, pieces, float(lag_s), times_ns, used_j) for pieces in PIECES for lag_s in LAGS_S
    ]
    best = min(fits, key=lambda fit: fit.criterion)
    # The approximate posterior probability of a model falls with half the difference of criteria.
    weights = np.exp([0.5 * (best.criterion - fit.criterion) for fit in fits])
    models = [fit for fit, weight in zip(fits, weights, strict=True) if weight > NEGLIGIBLE]
    weights = weights[weights > NEGLIGIBLE]
    weights /= weights.sum()
    parts = [_energy(wave, fit) for fit in models]
    energy_j = np.einsum("m,mi->i", weights, np.array([energy for energy, _ in parts]))
    # Within a model, and between models.
    variances = np.array([variance + (energy - energy_j) ** 2 for energy, variance in parts])
    whole_s = _pieces_s(wave, best.pieces, wave.edges_ns[[0, -1]])[0]
    half = len(best.pieces)
    return Reference(
        energy_j=energy_j,
        sigma_j=np.sqrt(np.einsum("m,mi->i", weights, variances)),
        lag_s=best.lag_s,
        busy_w=float(whole_s[:half] @ best.powers_w[:half] / whole_s[:half].sum()),
        idle_w=float(whole_s[half:] @ best.powers_w[half:] / whole_s[half:].sum()),
        residual_j=best.residual_j,
    )


def _energy(wave: Wave, fit: _Fit) -> tuple[Floats, Floats]:
    """Return each step's energy by a fit, joules, and its variance."""
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
    """Return how long each piece lasts between each two instants.

    Args:
        wave: the halves.
        pieces: starts of a half's pieces.
        times_ns: instants, shape (n + 1,).

    Returns:
        Seconds, shape (n, 2 * pieces): busy halves' pieces first.
    """
    starts_ns = np.array(pieces) * wave.half_s * NS_PER_S
    starts_s = np.minimum(wave.edges_ns[:-1, None] + starts_ns, wave.edges_ns[1:, None])
    ends = np.concatenate([starts_s[:, 1:], wave.edges_ns[1:, None]], axis=1)
    columns = []
    for kind in (True, False):
        for piece in range(len(pieces)):
            halves = wave.busy == kind
            elapsed_ns = _elapsed_ns(starts_s[halves, piece], ends[halves, piece], times_ns)
            columns.append(np.diff(elapsed_ns) / NS_PER_S)
    return np.stack(columns, axis=1)


def _elapsed_ns(begins_ns: Floats, ends_ns: Floats, times_ns: Int64) -> Floats:
    """Return how much of some consecutive spans has passed by each instant, ns."""
    before = np.concatenate([[0.0], np.cumsum(ends_ns - begins_ns)])
    index = np.searchsorted(begins_ns, times_ns, "right")
    last = np.maximum(index - 1, 0)
    passed = np.clip(times_ns - begins_ns[last], 0.0, ends_ns[last] - begins_ns[last])
    return np.where(index == 0, 0.0, before[last] + passed)
