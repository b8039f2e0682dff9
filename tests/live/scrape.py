"""Ask an endpoint as Prometheus does, and read its answer with Prometheus's own parser."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Scrape:
    samples: dict[str, list[tuple[dict[str, str], float]]]

    def value(self, name: str, **labels: str) -> float:
        """Return the value of the only sample with a name and these labels."""
        (value,) = self.all(name, **labels)
        return value

    def all(self, name: str, **labels: str) -> list[float]:
        """Return all samples with a name and these labels."""
        samples = self.samples.get(f"carbon_trainer_{name}", [])
        return [value for its_labels, value in samples if labels.items() <= its_labels.items()]

    def labels(self, name: str) -> dict[str, str]:
        """Return the labels of the one sample with a name."""
        ((labels, _),) = self.samples[f"carbon_trainer_{name}"]
        return labels


def scrape(url: str) -> Scrape:
    """Ask once."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    samples: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return Scrape(samples)
