"""A run's figures for Prometheus, computed at each scrape.

Names follow Prometheus's conventions: base units in the name, ``_total`` on what only grows. How
each figure was made and how far it can be trusted is in series of its own (``figure_info``,
``figure_uncertainty_ratio``, ``device_info``), so that a figure's series does not break off when
its method changes.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy.meter import DeviceEnergy, EnergySummary
from carbon_trainer.hardware import machine
from carbon_trainer.live.quality import energy_by_method_mj, energy_uncertainty, weakest_method
from carbon_trainer.units import J_PER_KWH

if TYPE_CHECKING:
    from carbon_trainer.runs.session import RunSession

log = logging.getLogger(__name__)

PREFIX = "carbon_trainer_"


class RunCollector(Collector):
    """Collects one run's figures. It never raises: a failed scrape has ``scrape_ok`` 0."""

    def __init__(self) -> None:
        self._session: RunSession | None = None
        self._version = machine.software_versions()["carbon-trainer"]
        # Counters may not fall between scrapes: the highest value of each.
        self._highest: dict[tuple[str, ...], float] = {}
        self._earlier_mj: Mapping[str, int] | None = None
        self._lock = threading.Lock()

    def watch(self, session: RunSession) -> None:
        """Collect this run's figures from now on."""
        with self._lock:
            self._session = session
            self._highest.clear()
            self._earlier_mj = None

    def collect(self) -> Iterator[Metric]:
        """Yield the families of a scrape; called in the server's threads."""
        families: list[Metric] = []
        ok = 1
        with self._lock:
            try:
                if self._session is not None:
                    families = self._families(self._session)
            except Exception:
                # One figure that fails must not look like a run that is down.
                log.debug("scrape", exc_info=True)
                ok = 0
        yield GaugeMetricFamily(
            PREFIX + "scrape_ok", "Whether the run's figures could be computed.", value=ok
        )
        yield from families

    def _families(self, session: RunSession) -> list[Metric]:
        summary = session.meter.summary()
        metrics = _Families(session.run_id, self._highest)
        _put_run(metrics, session, summary, self._version)
        _put_devices(metrics, summary, session.meter.powers_w())
        _put_totals(metrics, session)
        _put_quality(metrics, session, summary, self._earlier(session))
        _put_budgets(metrics, session)
        return metrics.families

    def _earlier(self, session: RunSession) -> Mapping[str, int]:
        """Return the energy of the run's earlier segments by method; read from the ledger once."""
        if self._earlier_mj is None:
            resumed = session.energy_before_mj > 0
            self._earlier_mj = session.ledger.energy_by_method_mj(session.run_id) if resumed else {}
        return self._earlier_mj


class _Families:
    """The metric families of one scrape, all with the label ``run``."""

    def __init__(self, run_id: str, highest: dict[tuple[str, ...], float]) -> None:
        self._run_id = run_id
        self._highest = highest
        self._family_by_name: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}

    @property
    def families(self) -> list[Metric]:
        return list(self._family_by_name.values())

    def gauge(self, name: str, help_text: str, value: float | None, /, **labels: str) -> None:
        """Add a sample; none where there is no value."""
        if value is None:
            return
        family = self._family_by_name.get(name)
        if family is None:
            family = GaugeMetricFamily(PREFIX + name, help_text, labels=["run", *labels])
            self._family_by_name[name] = family
        family.add_metric([self._run_id, *labels.values()], value)

    def counter(self, name: str, help_text: str, value: float | None, /, **labels: str) -> None:
        """Add a sample that never falls; none where there is no value.

        Energy that is not read yet is extrapolated, and may turn out smaller. Prometheus would take
        a fall for a restart of the counter, and count all of it again.
        """
        if value is None:
            return
        family = self._family_by_name.get(name)
        if family is None:
            family = CounterMetricFamily(PREFIX + name, help_text, labels=["run", *labels])
            self._family_by_name[name] = family
        key = (name, *labels.values())
        self._highest[key] = max(value, self._highest.get(key, 0.0))
        family.add_metric([self._run_id, *labels.values()], self._highest[key])


def _put_run(metrics: _Families, session: RunSession, summary: EnergySummary, version: str) -> None:
    config = session.config
    metrics.gauge(
        "run_info", "The run.", 1,
        name=config.name, project=config.project, zone=session.factor.intensity.zone,
        zone_name=session.factor.intensity.zone_name, version=version,
    )  # fmt: skip
    metrics.gauge(
        "metering_start_time_seconds", "When this segment began to be metered, Unix time.",
        summary.begin_ns / NS_PER_S,
    )  # fmt: skip
    metrics.counter("steps_total", "Optimizer steps done, all segments.", session.step)
    metrics.counter("tokens_total", "Tokens trained on, all segments.", session.tokens)
    metrics.gauge("steps_planned", "Optimizer steps to be done.", config.max_steps)
    loss = "Mean loss since the log point before."
    metrics.gauge("loss", loss, session.loss, split="train")
    metrics.gauge("loss", loss, session.validation_loss, split="validation")
    metrics.gauge(
        "meter_ok", "1 while every device answers; 0 while one's energy is unknown.",
        float(session.meter_loss is None),
    )  # fmt: skip


def _put_devices(metrics: _Families, summary: EnergySummary, powers_w: Mapping[str, float]) -> None:
    for row in summary.devices:
        info = row.info
        labels = {
            "device": info.device, "component": str(info.component), "label": info.label,
        }  # fmt: skip
        metrics.gauge(
            "device_info", "How a device is metered.", 1,
            **labels, method=str(info.method), source=info.name, note=info.note,
        )  # fmt: skip
        metrics.counter(
            "energy_joules_total", "Energy of a device in this segment, before PUE.",
            row.energy_mj / 1000, **labels, method=str(info.method),
        )  # fmt: skip
        metrics.gauge(
            "power_watts", "Mean power of the last seconds; absent while a device does not answer.",
            powers_w.get(info.device), **labels, method=str(info.method),
        )  # fmt: skip
        _put_device_quality(metrics, row)


def _put_device_quality(metrics: _Families, row: DeviceEnergy) -> None:
    device = row.info.device
    sigma = "One sigma of a device's energy: the sensor's gain, and the readings' timing."
    metrics.gauge(
        "energy_uncertainty_joules", sigma, row.gain_sigma_mj / 1000, device=device, part="gain"
    )
    metrics.gauge(
        "energy_uncertainty_joules", sigma, row.sigma_mj / 1000, device=device, part="timing"
    )
    metrics.gauge(
        "gain_uncertainty_ratio", "One sigma of a sensor's or model's gain, relative.",
        row.info.uncertainty, device=device,
    )  # fmt: skip
    metrics.gauge(
        "refresh_seconds", "How often a device's figure changes, as learnt.", row.info.refresh_s,
        device=device,
    )  # fmt: skip
    for state, seconds in (
        ("measured", row.measured_s), ("estimated", row.estimated_s), ("unknown", row.unknown_s),
    ):  # fmt: skip
        metrics.gauge(
            "meter_seconds",
            "Seconds of this segment that a device's source covers (measured), that are "
            "extrapolated or bridged (estimated), without any data (unknown).",
            seconds, device=device, state=state,
        )  # fmt: skip


def _put_totals(metrics: _Families, session: RunSession) -> None:
    used, factor, intensity = session.snapshot(), session.factor, session.factor.intensity
    used_mj = used.energy_mj
    metrics.counter(
        "run_energy_joules_total", "Energy of all devices, all segments, before PUE.",
        used_mj / 1000,
    )  # fmt: skip
    metrics.counter(
        "facility_energy_joules_total", "What the building drew: the run's energy times PUE.",
        factor.facility_kwh(used_mj) * J_PER_KWH,
    )  # fmt: skip
    metrics.counter(
        "emissions_kgco2e_total", "Emissions: facility energy times the zone's intensity.",
        used.emissions_kgco2e,
    )  # fmt: skip
    metrics.counter(
        "cost_total", "Price of the facility energy.", used.cost,
        currency=session.config.currency,
    )  # fmt: skip
    metrics.gauge(
        "intensity_gco2e_per_kwh", "The grid's carbon intensity that is used.",
        intensity.intensity_gco2e_per_kwh, zone=intensity.zone, method=intensity.method,
        accounting=intensity.accounting, source=intensity.source, vintage=intensity.vintage,
    )  # fmt: skip
    pue_method = "assumed" if factor.pue == 1.0 else "as given"
    metrics.gauge("pue_ratio", "The building's energy over the machines'.", factor.pue,
              method=pue_method)  # fmt: skip


def _put_quality(
    metrics: _Families, session: RunSession, summary: EnergySummary, earlier_mj: Mapping[str, int]
) -> None:
    intensity = session.factor.intensity
    energy_method = weakest_method(energy_by_method_mj(summary, earlier_mj))
    energy_sigma = energy_uncertainty(summary)
    emissions_sigma = energy_sigma and math.hypot(energy_sigma, intensity.uncertainty)
    figures = {
        "run_energy_joules_total": (energy_method, energy_sigma),
        "facility_energy_joules_total": (energy_method, energy_sigma),
        "emissions_kgco2e_total": (
            weakest_method({energy_method: 1, intensity.method: 1}), emissions_sigma,
        ),
    }  # fmt: skip
    if session.factor.price_per_kwh is not None:
        figures["cost_total"] = (energy_method, energy_sigma)
    for name, (method, sigma) in figures.items():
        metrics.gauge("figure_info", "How a figure was made: its weakest considerable part.", 1,
                  figure=PREFIX + name, method=method)  # fmt: skip
        metrics.gauge("figure_uncertainty_ratio", "One sigma of a figure, relative.", sigma,
                  figure=PREFIX + name)  # fmt: skip


def _put_budgets(metrics: _Families, session: RunSession) -> None:
    config, used_now = session.config, session.snapshot()
    for budget, unit, limit, used in (
        ("energy", "kWh", config.budget_kwh, used_now.energy_kwh),
        ("emissions", "kgCO2e", config.budget_kgco2e, used_now.emissions_kgco2e),
        ("cost", config.currency, config.budget_cost, used_now.cost),
    ):
        if limit is None or used is None:
            continue
        labels = {"budget": budget, "unit": unit}
        metrics.gauge("budget_limit", "A budget, in its unit.", limit, **labels)
        metrics.gauge("budget_used", "What counts against a budget, in its unit.", used, **labels)
        metrics.gauge("budget_remaining", "What is left of a budget, in its unit.", limit - used,
                  **labels)  # fmt: skip
        metrics.gauge("budget_used_ratio", "The used share of a budget.", used / limit, **labels)
