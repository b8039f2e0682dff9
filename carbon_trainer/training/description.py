"""What the record says of a training before it begins: its data, its model, an estimate."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from carbon_trainer.config import ResolvedConfig
from carbon_trainer.energy.sources.nvml import describe_nvml
from carbon_trainer.errors import InputError
from carbon_trainer.estimate.prediction import predict_training
from carbon_trainer.ledger.facts import CorpusDescribed, ModelDescribed
from carbon_trainer.runs.session import RunSession

if TYPE_CHECKING:
    from carbon_trainer.data.tokenize import TokenizedData
    from carbon_trainer.models.count import Parameters
    from carbon_trainer.models.module import TransformerModule

log = logging.getLogger(__name__)


def describe_data(session: RunSession[ResolvedConfig], data: TokenizedData) -> None:
    """Record what is trained on."""
    session.record(
        CorpusDescribed(
            origin=data.origin,
            licence=data.licence,
            files=data.files,
            bytes=data.bytes,
            sha256=data.sha256,
            manifest=str(data.manifest),
            tokenizer=data.tokenizer.name,
            vocab_size=data.tokenizer.vocab_size,
            train_tokens=data.train_tokens,
            validation_tokens=data.validation_tokens,
            block_size=data.block_size,
            prepared=[dataset.citation() for dataset in data.datasets] or None,
            rows=data.pairs.rows if data.pairs else None,
            cut_rows=data.pairs.cut_rows if data.pairs else None,
            angles=data.pairs.angles if data.pairs else None,
        )
    )


def describe_model(
    session: RunSession[ResolvedConfig], module: TransformerModule, data: TokenizedData,
    pretrained: bool, tokens_per_step: int,
) -> Parameters:  # fmt: skip
    """Record what is trained; return how many parameters it has."""
    from carbon_trainer.models.count import count_parameters
    from carbon_trainer.training.trainer import precision_of

    config = session.config
    counts = count_parameters(module.model, data.pairs.source_share if data.pairs else None)
    session.record(
        ModelDescribed(
            name=config.model,
            architecture=counts.architecture,
            parameters=counts.all,
            pretrained=pretrained,
            precision=precision_of(config),
            total_steps=config.max_steps,
            tokens_per_step=tokens_per_step,
            trained_parameters=counts.trained,
            parameters_per_token=counts.per_token,
        )
    )
    return counts


def record_estimate(
    session: RunSession[ResolvedConfig], parameters: int, accelerators: int, tokens_per_step: int
) -> None:
    """Record what the run is estimated to take, where its GPUs are known boards.

    Published runs, which estimates are made from, computed in 16 bits; others are not estimated.
    """
    from carbon_trainer.training.trainer import precision_of, trains_on_gpu

    config = session.config
    if not trains_on_gpu(config) or precision_of(config) == "32-true":
        return
    names = {gpu.name for gpu in describe_nvml().gpus if gpu.visible and not gpu.mig}
    if len(names) != 1:
        return
    tokens = config.max_steps * tokens_per_step
    try:
        estimate = predict_training(
            names.pop(), accelerators=accelerators, parameters=parameters, tokens=tokens,
            pue=config.pue,
        )  # fmt: skip
    except InputError as error:
        log.info("no estimate is made: %s", error)
        return
    if estimate is not None:
        session.record(estimate)
