"""Modules and callbacks of test_prometheus.py, apart because they take seconds to import."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import Callback

from carbon_trainer.callbacks import PrometheusExporter
from tests.live.scrape import Scrape, scrape


class ScrapeAt(Callback):
    """Asks once, after a step, as Prometheus does meanwhile."""

    def __init__(self, exporter: PrometheusExporter, step: int) -> None:
        self.exporter, self.step = exporter, step
        self.url = ""
        self.seen: Scrape | None = None

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step and self.exporter.url:
            self.url = self.exporter.url
            self.seen = scrape(self.url)
