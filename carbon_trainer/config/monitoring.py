"""What is watched while a model is trained."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import field_validator

from carbon_trainer.config.base import Count, Section, setting


class MonitoringSettings(Section):
    """Metrics while training, and what happens where the meter fails."""

    title: ClassVar[str] = "Monitoring"

    log_every: Count = setting(10, "Steps between logged metrics.", "steps")
    communication_every: int = setting(
        250,
        "Where there are several ranks: steps between those that are profiled for the share of "
        "communication, at least 10; 0: none is.",
        "steps",
        ge=0,
    )
    on_meter_loss: Literal["estimate", "stop"] = setting(
        "estimate",
        "When a device's energy can no longer be read and there is a budget: go on with an "
        "estimate from its last power, or stop with a checkpoint.",
    )
    prometheus_port: int | None = setting(
        None,
        "Serve live metrics to Prometheus at this port of 127.0.0.1, 0 for a free one; needs "
        "carbon-trainer[prometheus].",
        ge=0,
        le=65535,
    )

    @field_validator("communication_every")
    @classmethod
    def _check_interval(cls, value: int) -> int:
        # A profiled step is slower, and forecasts are made from the others.
        if 0 < value < 10:
            raise ValueError("0 or at least 10")
        return value
