"""What a training is made of: the settings completed, its data, its model."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from carbon_trainer.config import ResolvedConfig, RunConfig
from carbon_trainer.data.tokenizer import SMALLEST_VOCABULARY, has_tokenizer
from carbon_trainer.distributed.environment import launched
from carbon_trainer.errors import InputError
from carbon_trainer.models.build import build_model, is_encoder_decoder, silence_transformers
from carbon_trainer.models.lora import LEARNING_RATE as LORA_LEARNING_RATE
from carbon_trainer.models.lora import LoraSettings, with_lora
from carbon_trainer.models.memory import TrainingSetup, check_training, free_bytes, gpu_bytes
from carbon_trainer.models.recipes import recipes

if TYPE_CHECKING:
    from carbon_trainer.data.tokenize import TokenizedData
    from carbon_trainer.models.module import TransformerModule

T = TypeVar("T")

CHECK_INTERVAL_S = 0.2
"""How often signals and the budget are checked while data is prepared, seconds."""

DEFAULTS = {
    "max_steps": 1000,
    "batch_size": 8,
    "block_size": 512,
    "learning_rate": 1e-4,
    "vocab_size": 8192,
}
"""Settings for a model that is not a recipe, where the user gives none."""


def with_defaults(config: RunConfig) -> ResolvedConfig:
    """Return the config with every None that training needs a value for filled in.

    A recipe has its own values; steps between events follow from the number of steps.
    """
    recipe = recipes().get(config.model)
    defaults = {
        name: getattr(recipe, name) if recipe else value for name, value in DEFAULTS.items()
    }
    if config.lora_rank is not None:
        defaults["learning_rate"] = LORA_LEARNING_RATE
    steps = config.max_steps or int(defaults["max_steps"])
    fifth = max(1, steps // 5)
    defaults |= {
        "warmup_steps": max(1, steps // 20), "validate_every": fifth, "checkpoint_every": fifth,
    }  # fmt: skip
    missing = {name: value for name, value in defaults.items() if getattr(config, name) is None}
    return ResolvedConfig.model_validate(config.model_dump() | missing)


def devices_and_nodes(config: RunConfig) -> tuple[int, int]:
    """Return devices per machine and machines: as launched, else as the config says."""
    return launched() or (config.devices, config.nodes)


def prepare_data(
    config: ResolvedConfig, progress: Callable[[str], None], check: Callable[[], None]
) -> TokenizedData:
    """Read and tokenize the data.

    Args:
        config: the settings.
        progress: takes messages for people.
        check: called all the while; what it raises ends the preparation.
    """
    model = Path(config.model)
    own_tokenizer = model if model.is_dir() and has_tokenizer(model) else None
    if model.is_dir() and own_tokenizer is None:
        progress(
            f"warning: {model} has no tokenizer, so one is trained on the data; what the weights "
            "have learnt is of other tokens."
        )
    work = partial(
        _reader(config),
        config.data,
        licence=config.data_licence,
        tokenizer_source=own_tokenizer,
        vocab_size=config.vocab_size,
        block_size=config.block_size,
        validation_fraction=config.validation_fraction,
        cache_dir=config.runs_dir / "cache",
        progress=progress,
    )
    return _in_thread(work, check)


def _reader(config: RunConfig) -> Callable[..., TokenizedData]:
    """Return what reads the data: texts, or for an encoder-decoder rows with slots."""
    if is_encoder_decoder(config.model):
        from carbon_trainer.data.tokenize_pairs import tokenize_pairs

        return partial(
            tokenize_pairs, model=config.model, angles=config.angles, slots=config.slots,
            seed=config.seed,
        )  # fmt: skip
    from carbon_trainer.data.tokenize import tokenize

    return partial(tokenize, text_field=config.text_field)


def _in_thread(work: Callable[[], T], check: Callable[[], None]) -> T:
    """Do work in a thread, so that signals and the budget are answered in the midst of it.

    A tokenizer's training, for one, does not come back to Python for minutes.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            future.set_exception(error)

    threading.Thread(target=run, name="prepare", daemon=True).start()
    while not future.done():
        wait([future], timeout=CHECK_INTERVAL_S)
        check()
    return future.result()


def check_memory_early(config: ResolvedConfig) -> None:
    """Refuse before the data are read what will not fit, however small their vocabulary is.

    Raises:
        InputError: if it will not fit.
    """
    try:
        check_memory(config, SMALLEST_VOCABULARY)
    except InputError:
        # The message should speak of the vocabulary that the user has asked for.
        check_memory(config, config.vocab_size)
        raise


def check_memory(config: ResolvedConfig, vocab_size: int) -> str:
    """Refuse a recipe whose training will not fit; return a warning where it is too close to say.

    Where a device's memory is not known, or layers are split, nothing is said.

    Raises:
        InputError: if it will not fit.
    """
    from carbon_trainer.training.trainer import precision_of, trains_on_gpu

    if config.model not in recipes() or config.tensor_parallel > 1:
        return ""
    devices, nodes = devices_and_nodes(config)
    on_gpu = trains_on_gpu(config)
    available = gpu_bytes() if on_gpu else free_bytes() // devices
    if available is None:
        return ""
    setup = TrainingSetup(
        vocab_size=vocab_size,
        block_size=config.block_size,
        batch_size=config.batch_size,
        precision=precision_of(config),
        ranks=devices * nodes,
        sharded=config.strategy == "fsdp",
        on_gpu=on_gpu,
    )
    return check_training(config.model, setup, available)


def build_module(config: ResolvedConfig, data: TokenizedData) -> tuple[TransformerModule, bool]:
    """Return the model, the same on every rank, and whether it was pretrained."""
    import lightning

    from carbon_trainer.models.module import TransformerModule

    silence_third_party()
    # Ranks must begin with the same weights: each draws them from the same seed.
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    model, origin = build_model(
        config.model, vocab_size=data.tokenizer.vocab_size, block_size=data.block_size
    )
    if config.tensor_parallel > 1:
        from carbon_trainer.models.tensor_parallel import check_split

        check_split(model, config.tensor_parallel)
    if config.lora_rank is not None:
        model = with_lora(
            model,
            LoraSettings(
                rank=config.lora_rank,
                alpha=config.lora_alpha or 2.0 * config.lora_rank,
                dropout=config.lora_dropout,
                targets=config.lora_targets,
            ),
        )
    module = TransformerModule(
        model,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        warmup_steps=config.warmup_steps,
        max_steps=config.max_steps,
        min_lr_ratio=config.min_learning_rate_ratio,
        tokenizer=data.tokenizer,
    )
    return module, origin.pretrained


def silence_third_party() -> None:
    """Keep hints that are not for users of carbon-train off the terminal."""
    silence_transformers()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*isinstance.*LeafSpec.*",
        ".*set_vital.*",
        ".*srun. command is available.*",
        ".*Checkpoint directory.*exists and is not empty.*",
        ".*Experiment logs directory.*exists and is not empty.*",
    ):
        warnings.filterwarnings("ignore", message=message)
