"""On which hardware a model is trained, and how devices share the work."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from carbon_trainer.config.base import Count, Section, setting


class ParallelSettings(Section):
    """Devices, machines and the strategy."""

    title: ClassVar[str] = "Devices"

    accelerator: Literal["auto", "cpu", "gpu"] = setting("auto", "Hardware to train on.")
    devices: Count = setting(1, "Processes on this machine, one per device.", "devices")
    nodes: Count = setting(1, "Machines.", "machines")
    strategy: Literal["auto", "ddp", "fsdp"] = setting(
        "auto", "How several devices share the work: replicas (ddp) or shards (fsdp) of the model."
    )
    tensor_parallel: Count = setting(
        1,
        "Devices that split each layer between them and train on the same batches; further devices "
        "shard (fsdp).",
        "devices",
    )

    @model_validator(mode="after")
    def _check_strategy(self) -> Self:
        if self.tensor_parallel > 1 and self.strategy == "ddp":
            raise ValueError(
                "tensor_parallel does not go with strategy ddp: leave strategy out, or give fsdp"
            )
        return self
