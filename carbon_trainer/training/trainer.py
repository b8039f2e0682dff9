"""CarbonTrainer: a Lightning Trainer wired from a RunConfig."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console

from carbon_trainer.callbacks.carbon_aware import CarbonAware
from carbon_trainer.callbacks.checkpoint import PeriodicCheckpoint
from carbon_trainer.callbacks.profile import StopWhenMeasured
from carbon_trainer.callbacks.progress import CarbonProgress
from carbon_trainer.callbacks.signals import StopOnSignal
from carbon_trainer.config import ResolvedConfig, RunConfig, settings_of
from carbon_trainer.control.budget import Budget
from carbon_trainer.data.module import TextDataModule
from carbon_trainer.distributed.environment import check_split_ranks, is_elastic, launched

if TYPE_CHECKING:
    from carbon_trainer.data.tokenize import TokenizedData
    from carbon_trainer.models.module import TransformerModule
    from carbon_trainer.runs.outcome import ResumePoint
    from carbon_trainer.runs.session import RunSession
    from carbon_trainer.runs.signals import Interrupts


class CarbonTrainer(Trainer):
    """A Lightning Trainer that keeps a budget and leaves a record, as a RunConfig says.

    Args:
        config: settings; ``with_defaults`` gives those that are None the recipe's values.
        session: a run that the caller has opened and will close; None to open one in ``fit``.
        interrupts: where signals are noted; None leaves them to Lightning.
        is_worker: whether this is one of a run's further processes, which record nothing.
        remeasure: only measure power settings, even where a run before has.
        console: where progress is shown; None shows none.
        callbacks: further callbacks.
        trainer_options: any argument of Lightning's Trainer; overrides the config.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        session: RunSession | None = None,
        interrupts: Interrupts | None = None,
        is_worker: bool = False,
        remeasure: bool = False,
        console: Console | None = None,
        callbacks: Sequence[Callback] = (),
        **trainer_options: Any,
    ) -> None:
        run_callbacks = _run_callbacks(config, session, interrupts, is_worker, remeasure)
        if session is not None:
            if console is not None:
                budget = Budget.tightest(session.config, session.factor, session.accrued)
                live = _is_live(config, console)
                run_callbacks.append(CarbonProgress(session, budget, console, live=live))
            trainer_options.setdefault(
                "logger", CSVLogger(session.run_dir, name="", version="metrics")
            )
            trainer_options.setdefault("default_root_dir", session.run_dir)
        super().__init__(
            **{
                **_options(config),
                "enable_progress_bar": session is not None and console is not None,
                **trainer_options,
                "callbacks": [*run_callbacks, *callbacks],
            }
        )


def _run_callbacks(
    config: RunConfig, session: RunSession | None, interrupts: Interrupts | None, is_worker: bool,
    remeasure: bool,
) -> list[Callback]:  # fmt: skip
    """Return what meters, records and saves. Callbacks are called in this order."""
    callbacks: list[Callback] = [_carbon_aware(config, session, remeasure)]
    is_saved_here = session is not None or is_worker
    if is_saved_here and interrupts is not None:
        callbacks.append(StopOnSignal(session, interrupts))
    if remeasure:
        callbacks.append(StopWhenMeasured(session=session))
    if is_saved_here:
        callbacks.append(PeriodicCheckpoint(session, config.checkpoint_every or 1000))
    return callbacks


def train(
    trainer: CarbonTrainer, module: TransformerModule, data: TokenizedData, config: ResolvedConfig,
    interrupts: Interrupts, resume: ResumePoint | None,
) -> None:  # fmt: skip
    """Train a model on data, from the checkpoint where a run is resumed."""
    checkpoint = resume.checkpoint if resume else None
    with interrupts.holding():
        trainer.fit(
            module,
            datamodule=TextDataModule(
                data, batch_size=config.batch_size, seed=config.seed, workers=config.workers
            ),
            ckpt_path=checkpoint,
            weights_only=True if checkpoint else None,
        )


def trains_on_gpu(config: RunConfig) -> bool:
    """Say whether a run trains on NVIDIA or AMD GPUs here."""
    return config.accelerator != "cpu" and torch.cuda.is_available()


def precision_of(config: RunConfig) -> str:
    """Return the numeric precision: as configured, or the best that the hardware has."""
    if config.precision != "auto":
        return config.precision
    return "bf16-mixed" if trains_on_gpu(config) and torch.cuda.is_bf16_supported() else "32-true"


def _options(config: RunConfig) -> dict[str, Any]:
    every = config.validate_every
    return {
        "accelerator": config.accelerator,
        **_distribution(config),
        "precision": precision_of(config),
        "deterministic": config.deterministic or None,
        "max_steps": config.max_steps or -1,
        "max_epochs": -1,
        "accumulate_grad_batches": config.accumulate,
        "gradient_clip_val": config.clip_norm or None,
        # Lightning counts micro-batches here, over the borders of epochs.
        "val_check_interval": every * config.accumulate if every else 1.0,
        "check_val_every_n_epoch": None if every else 1,
        "limit_val_batches": config.validation_batches,
        "log_every_n_steps": config.log_every,
        "num_sanity_val_steps": 0,
        # Lightning's own sampler makes a resumed order differ; the data module brings one.
        "use_distributed_sampler": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
    }


def _distribution(config: RunConfig) -> dict[str, Any]:
    """Return on how many devices and machines to train, and how they share the work."""
    _join_after_restart()
    devices, nodes = launched() or (config.devices, config.nodes)
    strategy: Any = config.strategy
    check_split_ranks(devices * nodes, config.tensor_parallel)
    if strategy == "fsdp" or config.tensor_parallel > 1:
        from carbon_trainer.models.sharding import model_parallel_strategy

        strategy = model_parallel_strategy(devices * nodes, config.tensor_parallel)
    elif devices * nodes > 1:
        strategy = "ddp"
    return {"devices": devices, "num_nodes": nodes, "strategy": strategy}


def _join_after_restart() -> None:
    """Have processes that torchrun has restarted meet under a prefix of this start alone.

    Its store outlives them and still has the addresses of those that died, which a process that
    comes first may take for the others' (torch 2.13, one machine).
    """
    import torch.distributed as dist
    from torch._C._distributed_c10d import PrefixStore, TCPStore

    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    one_machine = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    if not is_elastic() or not restarts or not one_machine or dist.is_initialized():
        return
    ranks = int(os.environ["WORLD_SIZE"])
    store = TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), ranks, is_master=False
    )
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(
        backend,
        store=PrefixStore(f"restart-{restarts}", store),
        rank=int(os.environ["RANK"]),
        world_size=ranks,
    )


def _carbon_aware(config: RunConfig, session: RunSession | None, remeasure: bool) -> CarbonAware:
    throttle = config.throttle if config.deadline is not None else "off"
    if session is not None:
        return CarbonAware(session=session, throttle=throttle, remeasure=remeasure)
    settings = settings_of(config)
    settings["throttle"] = throttle
    return CarbonAware(remeasure=remeasure, **settings)


def _is_live(config: RunConfig, console: Console) -> bool:
    return config.progress == "bar" or (config.progress == "auto" and console.is_terminal)
