"""The main job: open a run, prepare its data and model, train, close, report."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from carbon_trainer.config import RunConfig
from carbon_trainer.control.budget import Budget
from carbon_trainer.errors import CarbonTrainerError, InputError
from carbon_trainer.ledger.facts import CorpusDescribed, ModelDescribed
from carbon_trainer.models.build import quieten_transformers
from carbon_trainer.models.export import FOLDER as MODEL_FOLDER
from carbon_trainer.models.lora import LEARNING_RATE as LORA_LEARNING_RATE
from carbon_trainer.models.recipes import recipes
from carbon_trainer.runs.failure import failure
from carbon_trainer.runs.outcome import Outcome, ResumePoint
from carbon_trainer.runs.session import RunSession
from carbon_trainer.runs.signals import Interrupted, Interrupts, exit_status_of, signal_name

if TYPE_CHECKING:
    from carbon_trainer.data.prepare import PreparedData
    from carbon_trainer.live.server import LiveServer
    from carbon_trainer.models.module import TransformerModule
    from carbon_trainer.training.trainer import CarbonTrainer

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_S = 0.2
"""How often signals and the budget are looked at while data is prepared, seconds."""

MIXED_DEFAULTS = {
    "max_steps": 1000,
    "batch_size": 8,
    "block_size": 512,
    "learning_rate": 1e-4,
    "vocab_size": 8192,
}
"""Settings for a model that is no recipe, where the user gives none."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """How the job ended and what it left.

    Attributes:
        run_id: the run.
        outcome: how its last segment ended.
        run_dir: its folder.
        session: the closed session, for reading its ledger.
    """

    run_id: str
    outcome: Outcome
    run_dir: Path
    session: RunSession


class BudgetReachedError(CarbonTrainerError):
    """The budget does not suffice for what comes before training."""

    exit_status = 3


def resolved(config: RunConfig) -> RunConfig:
    """Return the config with every None that a recipe has a value for filled in."""
    recipe = recipes().get(config.model)
    defaults = {
        name: getattr(recipe, name) if recipe else value for name, value in MIXED_DEFAULTS.items()
    }
    if config.lora_rank is not None:
        defaults["learning_rate"] = LORA_LEARNING_RATE
    filled = {name: v for name, v in defaults.items() if getattr(config, name) is None}
    steps = config.max_steps or int(defaults["max_steps"])
    fifth = max(1, steps // 5)
    by_steps = {
        "warmup_steps": max(1, steps // 20), "validate_every": fifth, "checkpoint_every": fifth,
    }  # fmt: skip
    filled |= {name: v for name, v in by_steps.items() if getattr(config, name) is None}
    return config.model_copy(update=filled)


def fit(
    config: RunConfig,
    *,
    console: Console,
    interrupts: Interrupts,
    resume: ResumePoint | None = None,
    run_id: str | None = None,
    profiling: bool = False,
) -> FitResult:
    """Train as the config says, meter it, keep its budget and write its report.

    Args:
        config: a resolved config.
        console: where progress is shown.
        interrupts: where signals are noted.
        resume: where to go on; None for a new run.
        run_id: the id of a new run; a new one by default.
        profiling: only measure power settings.

    Raises:
        InputError: if something that the user gave cannot be used.
    """
    with _live_server(config) as server:
        # Within it nobody could close what is open already.
        interrupts.hold()
        session = RunSession.open(config, resume=resume, run_id=run_id)
        if server is not None:
            server.watch(session)
            console.print(f"live figures: {server.url}", soft_wrap=True)
        return _fit(session, console, interrupts, resume, profiling)


def _live_server(config: RunConfig) -> AbstractContextManager[LiveServer | None]:
    """Take the port before anything is recorded, so that a taken one is bad input."""
    if config.prometheus_port is None:
        return nullcontext()
    from carbon_trainer.live.server import LiveServer

    return LiveServer(config.prometheus_port)


def _fit(
    session: RunSession, console: Console, interrupts: Interrupts, resume: ResumePoint | None,
    profiling: bool,
) -> FitResult:  # fmt: skip
    outcome: Outcome | None = None
    try:
        interrupts.raise_pending()
        console.print(f"run {session.run_id} in {session.run_dir}")
        _prepare_and_train(session, console, interrupts, resume, profiling)
    except Interrupted as signal:
        number = signal.signal_number
        reason = f"{signal_name(number)} {'in training' if session.step else 'before training'}"
        outcome = Outcome("interrupted", exit_status_of(number), reason)
    except BudgetReachedError as error:
        outcome = Outcome("budget", error.exit_status, str(error))
    except CarbonTrainerError as error:
        outcome = Outcome("failed", error.exit_status, str(error))
        raise
    except Exception as error:  # noqa: BLE001 - told in one sentence; the traceback goes to a file
        outcome = failure(session, error)
    finally:
        # A signal that comes now has its answer already.
        interrupts.hold()
        session.close(outcome)
    return FitResult(
        session.run_id, session.outcome or outcome or _UNKNOWN, session.run_dir, session
    )


_UNKNOWN = Outcome("failed", 1, "it ended without saying why")


def _prepare_and_train(
    session: RunSession, console: Console, interrupts: Interrupts, resume: ResumePoint | None,
    profiling: bool,
) -> None:  # fmt: skip
    check = _budget_check(session)
    with session.phase("prepare"):
        check("starting")
        _check_memory_at_least(session.config)
        data = _prepare_data(session.config, console.print, lambda: check("preparing the data"))
        _describe_data(session, data)
        _train(session, data, console, interrupts, resume, profiling)


def _budget_check(session: RunSession) -> Callable[[str], None]:
    """Return a check for use before training, where stopping needs no checkpoint."""
    budget = Budget.tightest(session.config, session.factor, session.accrued)

    def check(doing: str) -> None:
        if budget is not None and session.used_mj(upper=True) >= budget.limit_mj:
            raise BudgetReachedError(
                f"the budget of {budget.text} is used up while {doing}: give a larger one."
            )

    return check


def _prepare_data(
    config: RunConfig, progress: Callable[[str], None], check: Callable[[], None]
) -> PreparedData:
    from carbon_trainer.data.tokenizer import has_tokenizer

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
        vocab_size=_given(config.vocab_size),
        block_size=_given(config.block_size),
        validation_fraction=config.validation_fraction,
        cache_dir=config.runs_dir / "cache",
        progress=progress,
    )
    return _interruptibly(work, check)


def _reader(config: RunConfig) -> Callable[..., PreparedData]:
    """Return what reads the data: texts, or for an encoder-decoder rows with slots."""
    from carbon_trainer.models.build import is_encoder_decoder

    if is_encoder_decoder(config.model):
        from carbon_trainer.data.prepare_pairs import prepare_pairs

        return partial(
            prepare_pairs, model=config.model, angles=config.angles, slots=config.slots,
            seed=config.seed,
        )  # fmt: skip
    from carbon_trainer.data.prepare import prepare

    return partial(prepare, text_field=config.text_field)


def _describe_data(session: RunSession, data: PreparedData) -> None:
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
            prepared=[dataset.cited() for dataset in data.datasets] or None,
            rows=data.pairs.rows if data.pairs else None,
            cut_rows=data.pairs.cut_rows if data.pairs else None,
            angles=data.pairs.angles if data.pairs else None,
        )
    )


def _interruptibly(work: Callable[[], T], check: Callable[[], None]) -> T:
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
        wait([future], timeout=LOOK_S)
        check()
    return future.result()


def follow(config: RunConfig, interrupts: Interrupts, resume: ResumePoint | None) -> None:
    """Train as one of a run's further processes: it records nothing and decides nothing.

    Args:
        config: a resolved config, the same as the first process has.
        interrupts: where signals are noted.
        resume: where to go on; None for a new run.
    """
    from carbon_trainer.training.trainer import CarbonTrainer

    data = _prepare_data(config, log.debug, lambda: None)
    module = _seeded_module(config, data)[0]
    trainer = CarbonTrainer(config, interrupts=interrupts, is_follower=True, logger=False)
    _run(trainer, module, data, config, interrupts, resume)


def _train(
    session: RunSession, data: PreparedData, console: Console, interrupts: Interrupts,
    resume: ResumePoint | None, profiling: bool,
) -> None:  # fmt: skip
    from carbon_trainer.distributed.environment import launched
    from carbon_trainer.models.build import end_warning
    from carbon_trainer.models.count import count_parameters
    from carbon_trainer.training.trainer import CarbonTrainer, precision_of

    config = session.config
    devices, nodes = launched() or (config.devices, config.nodes)
    if warning := _check_memory(config, data.tokenizer.vocab_size, devices, nodes):
        console.print(f"warning: {warning}", soft_wrap=True)
    module, pretrained = _seeded_module(config, data)
    if pretrained and (
        warning := end_warning(module.model, config.model, data.tokenizer.end_of_text)
    ):
        console.print(f"warning: {warning}", soft_wrap=True)
    shares = devices * nodes // config.tensor_parallel
    batch = _given(config.batch_size) * config.accumulate * shares
    tokens_per_step = round(batch * data.tokens_per_item)
    counted = count_parameters(module.model, data.pairs.source_share if data.pairs else None)
    session.record(
        ModelDescribed(
            name=config.model,
            architecture=counted.architecture,
            parameters=counted.all,
            pretrained=pretrained,
            precision=precision_of(config),
            total_steps=config.max_steps,
            tokens_per_step=tokens_per_step,
            trained_parameters=counted.trained,
            parameters_per_token=counted.per_token,
        )
    )
    # Published runs, which estimates are made from, changed all of the parameters of one stack.
    if resume is None and not profiling and counted.trained is None and not data.pairs:
        _foretell(session, counted.all, devices * nodes, tokens_per_step)
    trained = "" if counted.trained is None else f" ({counted.trained:,} of them trained)"
    about = "about " if data.pairs else ""
    console.print(
        f"{config.model}: {counted.all:,} parameters{trained}, {data.train_tokens:,} training "
        f"tokens, {_given(config.max_steps):,} steps of {about}{tokens_per_step:,} tokens",
        soft_wrap=True,
    )
    trainer = CarbonTrainer(
        config,
        session=session,
        interrupts=interrupts,
        profiling=profiling,
        console=None if config.progress == "off" else console,
    )
    _keep_settings(module, session.run_dir / MODEL_FOLDER)
    _run(trainer, module, data, config, interrupts, resume)


def _foretell(
    session: RunSession, parameters: int, accelerators: int, tokens_per_step: int
) -> None:
    """Write down what the run would be estimated to take, where its GPUs are known boards.

    Published runs, which estimates are made from, computed in 16 bits; others are not estimated.
    """
    from carbon_trainer.energy.sources.nvml import describe_nvml
    from carbon_trainer.estimate.foretell import foretell
    from carbon_trainer.training.trainer import precision_of, trains_on_gpu

    config = session.config
    if not trains_on_gpu(config) or precision_of(config) == "32-true":
        return
    names = {gpu.name for gpu in describe_nvml().gpus if gpu.visible and not gpu.mig}
    if len(names) != 1:
        return
    tokens = _given(config.max_steps) * tokens_per_step
    try:
        made = foretell(
            names.pop(), accelerators=accelerators, parameters=parameters, tokens=tokens,
            pue=config.pue,
        )  # fmt: skip
    except InputError as error:
        log.info("no estimate is made: %s", error)
        return
    if made is not None:
        session.record(made)


def _check_memory_at_least(config: RunConfig) -> None:
    """Refuse before the data are read what will not fit, however small their vocabulary is."""
    from carbon_trainer.data.tokenizer import SMALLEST_VOCABULARY
    from carbon_trainer.distributed.environment import launched

    devices, nodes = launched() or (config.devices, config.nodes)
    try:
        _check_memory(config, SMALLEST_VOCABULARY, devices, nodes)
    except InputError:
        # What is told is that of the vocabulary that is asked for.
        _check_memory(config, _given(config.vocab_size), devices, nodes)
        raise


def _check_memory(config: RunConfig, vocab_size: int, devices: int, nodes: int) -> str:
    """Refuse a recipe whose training will not fit; return a warning where it is too close to say.

    Where a device's memory is not known, or layers are split, nothing is said.
    """
    from carbon_trainer.models.memory import Setup, check_training, free_bytes, gpu_bytes
    from carbon_trainer.training.trainer import precision_of, trains_on_gpu

    if config.model not in recipes() or config.tensor_parallel > 1:
        return ""
    on_gpu = trains_on_gpu(config)
    there = gpu_bytes() if on_gpu else free_bytes() // devices
    if there is None:
        return ""
    setup = Setup(
        vocab_size=vocab_size,
        block_size=_given(config.block_size),
        batch_size=_given(config.batch_size),
        precision=precision_of(config),
        ranks=devices * nodes,
        sharded=config.strategy == "fsdp",
        on_gpu=on_gpu,
    )
    return check_training(config.model, setup, there)


def _keep_settings(module: TransformerModule, folder: Path) -> None:
    """Keep what a checkpoint does not tell of its model; training never fails by our disk."""
    try:
        module.save_settings(folder)
    except OSError as error:
        log.warning("config and tokenizer cannot be kept in %s: %s", folder, error)


def _seeded_module(config: RunConfig, data: PreparedData) -> tuple[TransformerModule, bool]:
    """Return the model, the same on every rank, and whether it was pretrained."""
    import lightning

    from carbon_trainer.models.build import build_model
    from carbon_trainer.models.lora import LoraSettings, with_lora
    from carbon_trainer.models.module import TransformerModule

    silence_third_party()
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
        learning_rate=_given(config.learning_rate),
        weight_decay=config.weight_decay,
        warmup_steps=config.warmup_steps or 0,
        max_steps=_given(config.max_steps),
        min_lr_ratio=config.min_learning_rate_ratio,
        tokenizer=data.tokenizer,
    )
    return module, origin.pretrained


def _run(
    trainer: CarbonTrainer, module: TransformerModule, data: PreparedData, config: RunConfig,
    interrupts: Interrupts, resume: ResumePoint | None,
) -> None:  # fmt: skip
    from carbon_trainer.data.module import TextDataModule

    checkpoint = resume.checkpoint if resume else None
    with interrupts.holding():
        trainer.fit(
            module,
            datamodule=TextDataModule(
                data,
                batch_size=_given(config.batch_size),
                seed=config.seed,
                workers=config.workers,
            ),
            ckpt_path=checkpoint,
            weights_only=True if checkpoint else None,
        )


def silence_third_party() -> None:
    """Keep hints that are not for users of carbon-train off the terminal."""
    quieten_transformers()
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


def _given(value: T | None) -> T:
    if value is None:
        raise InputError("the config was not resolved: pass it through job.resolved first.")
    return value
