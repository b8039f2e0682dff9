"""The energy of all runs in one table, with emissions, cost and the parts of their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.figures.figure import UNKNOWN, weakest
from carbon_trainer.reports.figures.tallies import CONSIDERABLE
from carbon_trainer.reports.portfolio.runs import RunFacts
from carbon_trainer.units import MJ_PER_KWH

Floats = npt.NDArray[np.float64]

CORRELATION = (
    "Gain errors of one component are taken as fully correlated over all runs and devices (they "
    "add up), and as independent between components; a factor's error as fully correlated over "
    "all energy of one zone and accounting, and as independent between zones; timing errors as "
    "independent (root sum of squares)."
)


def cells_of(ledger: Ledger, runs: Sequence[RunFacts]) -> pd.DataFrame:
    """Return the ledger's sums with what is in force for each.

    Args:
        ledger: where the runs are.
        runs: those that count.

    Returns:
        A row each of the ledger's sums, with columns ``run`` (place in ``runs``), ``component``,
        ``method``, ``phase``, ``day``, ``energy_mj``, ``variance_mj2``, ``seconds``, ``gain``
        (relative), ``pue``, ``intensity``, ``price``, ``factor_sigma`` (relative), ``zone``
        (number of zone and accounting; -1 without a factor), ``kind``, ``facility_kwh``, ``kg``.
    """
    frame = ledger.sums()
    run_numbers = {run.run_id: index for index, run in enumerate(runs)}
    categories = frame["run_id"].cat.categories
    of_category = np.array([run_numbers.get(run_id, -1) for run_id in categories], dtype=np.int64)
    codes = of_category[frame["run_id"].cat.codes.to_numpy()] if len(frame) else np.zeros(0, int)
    frame = frame[codes >= 0].assign(run=codes[codes >= 0]).drop(columns=["run_id"])
    frame = frame.reset_index(drop=True).rename(columns={"factor": "factor_seq"})
    frame["seconds"] = frame["duration_ns"] / 1e9
    frame["gain"] = _gains(frame, runs)
    for name, values in _factors(frame, runs).items():
        frame[name] = values
    frame["kind"] = _kinds(frame, runs)
    frame["facility_kwh"] = frame["energy_mj"] / MJ_PER_KWH * frame["pue"]
    frame["kg"] = frame["facility_kwh"] * frame["intensity"] / 1000
    return frame


def _kinds(frame: pd.DataFrame, runs: Sequence[RunFacts]) -> list[str]:
    """Name the kind of intensity of each row, such as ``average lifecycle``."""
    accounting: dict[tuple[int, int], str] = {}
    for number, run in enumerate(runs):
        for position, (seq, fact) in enumerate(run.factors.items()):
            accounting[number, seq] = fact.accounting
            if position == 0:
                accounting[number, 0] = fact.accounting
    keys = zip(frame["run"].tolist(), frame["factor_seq"].tolist(), strict=True)
    return [accounting.get(key, "without a factor") for key in keys]


def _gains(frame: pd.DataFrame, runs: Sequence[RunFacts]) -> Floats:
    """Look up each row's gain error; NaN where no source is described."""
    uncertainties: dict[tuple[int, int, str, str], float] = {}
    gains = np.empty(len(frame))
    rows = zip(
        frame["run"].tolist(), frame["machine"].tolist(), frame["component"].tolist(),
        frame["device"].tolist(), strict=True,
    )  # fmt: skip
    for index, key in enumerate(rows):
        share = uncertainties.get(key)
        if share is None:
            number, machine, component, device = key
            run = runs[number]
            first = run.machines[0] if run.machines else 0
            share = run.uncertainties.get((machine or first, component, device), float("nan"))
            uncertainties[key] = share
        gains[index] = share
    return gains


def _factors(frame: pd.DataFrame, runs: Sequence[RunFacts]) -> dict[str, Floats]:
    """Look up each row's emission factor; the first also holds before itself."""
    factors: dict[tuple[int, int], tuple[float, float, float, float, int]] = {}
    zones: dict[tuple[str, str], int] = {}
    for number, run in enumerate(runs):
        for position, (seq, fact) in enumerate(run.factors.items()):
            zone = zones.setdefault((fact.zone, fact.accounting), len(zones))
            price = float("nan") if fact.price_per_kwh is None else fact.price_per_kwh
            factor = fact.pue, fact.intensity_gco2e_per_kwh, price, fact.uncertainty, zone
            factors[number, seq] = factor
            if position == 0:
                factors[number, 0] = factor
    nan = float("nan")
    no_factor = (nan, nan, nan, nan, -1)
    keys = zip(frame["run"].tolist(), frame["factor_seq"].tolist(), strict=True)
    values = [factors.get(key, no_factor) for key in keys]
    columns = np.array(values, dtype=np.float64).reshape(len(values), 5)
    return {
        "pue": columns[:, 0], "intensity": columns[:, 1], "price": columns[:, 2],
        "factor_sigma": columns[:, 3], "zone": columns[:, 4],
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sum:
    """Some of the cells, added up; None where a part is not known.

    Attributes:
        energy_mj: the machines' energy, exact.
        energy_sigma_mj: one sigma.
        facility_kwh: what the buildings drew.
        facility_sigma_kwh: one sigma, the energy's.
        kg: emissions, kgCO2e.
        kg_sigma: one sigma, the energy's and the factors'.
        cost: None where a part has no price.
        method: of the weakest considerable part.
        measured_share: of the energy.
    """

    energy_mj: int
    energy_sigma_mj: float | None
    facility_kwh: float | None
    facility_sigma_kwh: float | None
    kg: float | None
    kg_sigma: float | None
    cost: float | None
    method: str
    measured_share: float
    unknown_seconds: float


def add_up(cells: pd.DataFrame) -> Sum:
    """Add up cells, with the correlations of ``CORRELATION``."""
    energy_mj = int(cells["energy_mj"].sum())
    has_factor = len(cells) > 0 and not bool((cells["zone"] < 0).any())
    has_gain = not bool(cells["gain"].isna().any())
    per_mj = cells["pue"] / MJ_PER_KWH
    methods = cells.groupby("method", observed=True)["energy_mj"].sum()
    considerable = [str(m) for m, mj in methods.items() if mj and mj >= CONSIDERABLE * energy_mj]
    is_unknown = cells["method"] == UNKNOWN
    from_factor = cells["kg"] * cells["factor_sigma"]
    by_zone = from_factor.groupby(cells["zone"]).sum() if has_factor else None
    kg_sigma = (
        _sigma(cells, per_mj * cells["intensity"] / 1000) if has_gain and has_factor else None
    )
    if kg_sigma is not None and by_zone is not None:
        kg_sigma = float(np.sqrt(kg_sigma**2 + np.sum(np.square(by_zone))))
    cost = cells["facility_kwh"] * cells["price"]
    return Sum(
        energy_mj=energy_mj,
        energy_sigma_mj=_sigma(cells, 1.0) if has_gain else None,
        facility_kwh=float(cells["facility_kwh"].sum()) if has_factor else None,
        facility_sigma_kwh=_sigma(cells, per_mj) if has_gain and has_factor else None,
        kg=float(cells["kg"].sum()) if has_factor else None,
        kg_sigma=kg_sigma,
        cost=float(cost.sum()) if len(cost) and not bool(cost.isna().any()) else None,
        method=weakest(considerable or [str(method) for method in methods.index]),
        measured_share=float(methods.get("measured", 0)) / energy_mj if energy_mj else 0.0,
        unknown_seconds=float(cells.loc[is_unknown, "seconds"].sum()),
    )


def _sigma(cells: pd.DataFrame, weight: pd.Series[float] | float) -> float:
    """One sigma of the weighted energy: gains by component, timing apart."""
    # By the same correlations as one run's energy_sigma_mj, over columns of all runs at once.
    gains = (cells["energy_mj"] * cells["gain"] * weight).groupby(cells["component"], observed=True)
    timing = (cells["variance_mj2"] * np.square(weight)).sum()
    return float(np.sqrt(np.sum(np.square(gains.sum())) + timing))
