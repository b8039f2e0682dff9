"""Effective utilization of accelerators in training, learnt from published runs.

The logarithm of effective utilisation is linear in the model's size, up to ten billion parameters
from where it no longer rises, and in the accelerator's generation: Hopper's peak grew by more than
training on it did. Ridge regression (Hoerl and Kennard 1970), as runs are few; how much it shrinks
is chosen by leaving each run out. The number of accelerators explains nothing more whose sign is
not contrary to what is known of communication, so it is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from carbon_trainer.estimate.published import PublishedRun, calibrating_runs, is_hopper

Array = NDArray[np.float64]

INTERVAL = 0.80
"""Probability that an interval covers the truth."""

SHRINKAGES = (0.03, 0.1, 0.3, 1.0, 3.0)
LARGE_PARAMETERS = 1e10


@dataclass(frozen=True, slots=True)
class Spread:
    """A positive figure that is known to a factor: log-normal.

    Attributes:
        value: its median.
        log_sigma: standard deviation of its logarithm.
        freedom: degrees of freedom of that; infinite where it is known.
    """

    value: float
    log_sigma: float
    freedom: float = math.inf

    def times(self, other: Spread) -> Spread:
        """Return the product of two that are independent."""
        sigma = math.hypot(self.log_sigma, other.log_sigma)
        return Spread(self.value * other.value, sigma, min(self.freedom, other.freedom))

    def over(self, other: Spread) -> Spread:
        """Return the quotient of two that are independent."""
        return self.times(Spread(1 / other.value, other.log_sigma, other.freedom))

    def scaled(self, factor: float) -> Spread:
        """Return it times an exact factor."""
        return Spread(self.value * factor, self.log_sigma, self.freedom)

    @property
    def interval(self) -> tuple[float, float]:
        """Its 80 % interval."""
        reach = math.exp(_quantile(0.5 + INTERVAL / 2, self.freedom) * self.log_sigma)
        return self.value / reach, self.value * reach


@dataclass(frozen=True, slots=True)
class Efficiency:
    """A calibrated model of effective utilisation.

    Attributes:
        weights: of a constant, size and generation.
        inverse: of the regularised normal matrix, for the error of the weights.
        residual: standard deviation of what the model does not explain.
        freedom: runs less the parameters that were fitted.
        shrinkage: the ridge's.
    """

    weights: Array
    inverse: Array
    residual: float
    freedom: float
    shrinkage: float

    def predict(self, active_parameters: float, accelerator: str) -> Spread:
        """Return effective utilisation, downtime within the run included.

        Args:
            active_parameters: those that a token passes through.
            accelerator: its name, as in the tables of published runs or of boards.
        """
        x = _features(active_parameters, accelerator)
        # A new run differs from the mean (1), and the mean itself is uncertain.
        error = self.residual * math.sqrt(1 + float(x @ self.inverse @ x))
        return Spread(math.exp(float(x @ self.weights)), error, self.freedom)


def calibrate(runs: Sequence[PublishedRun]) -> Efficiency:
    """Fit the model to runs, with the shrinkage of the least leave-one-out error."""
    best = min(SHRINKAGES, key=lambda shrinkage: _left_out_error(runs, shrinkage))
    return _fit(*_table(runs), best)


@cache
def calibrated() -> Efficiency:
    """Return the model that all usable published runs give."""
    return calibrate(calibrating_runs())


def goodput() -> Spread:
    """Return the share of a run's hours in which it trains: what is lost to downtime.

    From the runs whose authors reported the utilisation while training: effective over reported.
    """
    ratios = [
        run.effective_mfu / run.mfu_reported for run in calibrating_runs() if run.mfu_reported
    ]
    return spread_of(ratios)


def spread_of(values: Sequence[float]) -> Spread:
    """Return the predictive log-normal of one more such value."""
    logs = np.log(np.asarray(values))
    # The spread of one more value around a mean that is estimated from the others.
    sigma = float(logs.std(ddof=1)) * math.sqrt(1 + 1 / len(logs))
    return Spread(math.exp(float(logs.mean())), sigma, len(logs) - 1)


def _features(active_parameters: float, accelerator: str) -> Array:
    size = math.log10(min(active_parameters, LARGE_PARAMETERS) / 1e9)
    return np.array([1.0, size, float(is_hopper(accelerator))])


def _table(runs: Sequence[PublishedRun]) -> tuple[Array, Array]:
    x = np.array([_features(run.active_parameters, run.accelerator) for run in runs])
    return x, np.log([run.effective_mfu for run in runs])


def _fit(x: Array, y: Array, shrinkage: float) -> Efficiency:
    # The constant is not shrunk: only what size and generation add to the mean.
    penalty = np.diag([0.0, shrinkage, shrinkage])
    inverse: Array = np.linalg.inv(x.T @ x + penalty).astype(np.float64)
    weights: Array = (inverse @ x.T @ y).astype(np.float64)
    # A ridge regression uses fewer degrees of freedom than it has weights: the trace of its hat
    # matrix (Hastie, Tibshirani and Friedman 2009, section 3.4.1).
    freedom = len(y) - float(np.trace(x @ inverse @ x.T))
    residual = math.sqrt(float(np.sum((y - x @ weights) ** 2)) / freedom)
    return Efficiency(weights, inverse, residual, freedom, shrinkage)


def _left_out_error(runs: Sequence[PublishedRun], shrinkage: float) -> float:
    x, y = _table(runs)
    errors = []
    for omitted in range(len(y)):
        is_kept = np.arange(len(y)) != omitted
        predicted = float(x[omitted] @ _fit(x[is_kept], y[is_kept], shrinkage).weights)
        errors.append(abs(math.expm1(y[omitted] - predicted)))
    return float(np.mean(errors))


def _quantile(probability: float, freedom: float) -> float:
    """Return Student's t, by its expansion (Abramowitz and Stegun 1964, 26.7.5)."""
    z = NormalDist().inv_cdf(probability)
    if math.isinf(freedom):
        return z
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return z + first + second
