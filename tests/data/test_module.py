"""Batches under Lightning; a run that stops and resumes anywhere is the same run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from carbon_trainer.errors import InputError
from tests.data.texts import tokenized
from tests.models.tiny import tiny_model

if TYPE_CHECKING:
    from carbon_trainer.data.tokenize import TokenizedData

pytestmark = pytest.mark.slow

BATCHES = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TokenizedData:
    data = tokenized(tmp_path_factory.mktemp("data"), lines=50)
    assert len(data.train) // 4 == BATCHES
    assert len(data.train) % 4
    return data


def _fit(
    data: TokenizedData,
    folder: Path,
    *,
    stop: int | None = None,
    resume: Path | None = None,
    steps: int,
    accumulate: int = 1,
    workers: int = 0,
    dropout: float = 0.1,
) -> tuple[list[float], Path]:
    import lightning

    from carbon_trainer.callbacks.resume import ExactResume
    from carbon_trainer.data.module import TextDataModule
    from carbon_trainer.models.module import TransformerModule
    from tests.data.module_helpers import Stop

    path = folder / f"step-{stop}.ckpt"
    callback = Stop(stop, path)
    lightning.seed_everything(3, verbose=False)
    model = tiny_model(hidden_dropout=dropout, attention_dropout=dropout)
    module = TransformerModule(model, learning_rate=0.01, warmup_steps=2, max_steps=steps)
    trainer = lightning.Trainer(
        max_steps=steps, max_epochs=-1, accumulate_grad_batches=accumulate, accelerator="cpu",
        val_check_interval=3 * accumulate, check_val_every_n_epoch=None, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, use_distributed_sampler=False, callbacks=[ExactResume(), callback],
    )  # fmt: skip
    trainer.fit(
        module,
        datamodule=TextDataModule(data, batch_size=4, seed=5, workers=workers),
        ckpt_path=resume,
        weights_only=True if resume else None,
    )
    return callback.losses, path


def _in_parts(data: TokenizedData, folder: Path, *stops: int, **settings: Any) -> list[float]:
    losses: list[float] = []
    resume = None
    for stop in (*stops, None):
        part, path = _fit(data, folder, stop=stop, resume=resume, **settings)
        losses += part
        resume = path
    return losses


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_a_run_that_stops_at_any_step_and_resumes_is_the_same_run(
    data: TokenizedData, tmp_path: Path, accumulate: int
) -> None:
    steps = 10 // accumulate
    whole, _ = _fit(data, tmp_path, steps=steps, accumulate=accumulate)
    for stop in range(1, steps):
        parts = _in_parts(data, tmp_path, stop, steps=steps, accumulate=accumulate)
        assert parts == whole, f"stopped after step {stop}"


@pytest.mark.parametrize(
    ("accumulate", "stops"),
    [(1, (4, 8)), (1, (3, 4)), (1, (4, 5)), (1, (2, 3, 6)), (2, (2, 4)), (3, (2, 4))],
)
def test_a_run_may_stop_several_times_also_at_the_ends_of_epochs(
    data: TokenizedData, tmp_path: Path, accumulate: int, stops: tuple[int, ...]
) -> None:
    steps = 12 // accumulate
    whole, _ = _fit(data, tmp_path, steps=steps, accumulate=accumulate)
    assert _in_parts(data, tmp_path, *stops, steps=steps, accumulate=accumulate) == whole


@pytest.mark.parametrize(("accumulate", "stops"), [(1, (2, 4, 7)), (2, (2, 3))])
def test_a_run_with_worker_processes_resumes_the_same(
    data: TokenizedData, tmp_path: Path, accumulate: int, stops: tuple[int, ...]
) -> None:
    settings = {"steps": 10 // accumulate, "accumulate": accumulate}
    whole, _ = _fit(data, tmp_path, workers=0, **settings)
    assert _in_parts(data, tmp_path, *stops, workers=2, **settings) == whole


def test_workers_may_be_added_when_a_run_is_resumed(data: TokenizedData, tmp_path: Path) -> None:
    whole, _ = _fit(data, tmp_path, steps=8)
    first, path = _fit(data, tmp_path, steps=8, stop=5)
    second, _ = _fit(data, tmp_path, steps=8, resume=path, workers=2)
    assert first + second == whole


def test_without_dropout_a_run_resumes_the_same(data: TokenizedData, tmp_path: Path) -> None:
    whole, _ = _fit(data, tmp_path, steps=8, dropout=0)
    assert _in_parts(data, tmp_path, 4, 6, steps=8, dropout=0) == whole


def _rows(batches: Any) -> list[tuple[int, ...]]:
    return [tuple(row.tolist()) for batch in batches for row in batch["input_ids"]]


def test_an_epoch_serves_each_block_once_in_an_order_of_its_own(
    data: TokenizedData,
) -> None:
    from carbon_trainer.data.module import TextDataModule

    loader = TextDataModule(data, batch_size=4, drop_last=False).train_dataloader()
    first, second = _rows(loader), _rows(loader)
    every = sorted(tuple(data.train[i]["input_ids"].tolist()) for i in range(len(data.train)))
    assert sorted(first) == sorted(second) == every
    assert first != second


def test_the_seed_decides_the_order(data: TokenizedData) -> None:
    from carbon_trainer.data.module import TextDataModule

    orders = [
        _rows(TextDataModule(data, batch_size=4, seed=seed).train_dataloader())
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]


def test_incomplete_batches_are_left_out_unless_asked_for(data: TokenizedData) -> None:
    from carbon_trainer.data.module import TextDataModule

    full = TextDataModule(data, batch_size=4)
    assert len(list(full.train_dataloader())) == BATCHES
    rest = TextDataModule(data, batch_size=4, drop_last=False)
    assert len(list(rest.train_dataloader())) == BATCHES + 1


def test_ranks_share_the_blocks(data: TokenizedData) -> None:
    from carbon_trainer.data.module import TextDataModule

    rows: list[tuple[int, ...]] = []
    for rank in range(2):
        module = TextDataModule(data, batch_size=4, drop_last=False)
        kwargs = {"num_replicas": 2, "rank": rank}
        module.trainer = SimpleNamespace(
            strategy=SimpleNamespace(distributed_sampler_kwargs=kwargs)
        )
        rows += _rows(module.train_dataloader())
    assert len(set(rows)) == len(data.train)
    assert len(rows) <= len(data.train) + 1


@pytest.mark.parametrize("batch_count", range(BATCHES + 1))
def test_a_plain_loop_resumes_too(data: TokenizedData, batch_count: int) -> None:
    from carbon_trainer.data.module import TextDataModule

    loader = TextDataModule(data, batch_size=4).train_dataloader()
    epochs = _rows(loader) + _rows(loader)
    first = TextDataModule(data, batch_size=4).train_dataloader()
    batches = iter(first)
    rows_before = _rows(next(batches) for _ in range(batch_count))
    second = TextDataModule(data, batch_size=4).train_dataloader()
    second.load_state_dict(first.state_dict())
    rest = _rows(second) + (_rows(second) if batch_count < BATCHES else [])
    assert rows_before + rest == epochs


def test_loaders_do_not_move_the_models_random_state(data: TokenizedData) -> None:
    import torch

    from carbon_trainer.data.module import TextDataModule

    module = TextDataModule(data, batch_size=4)
    before = torch.get_rng_state()
    list(module.train_dataloader())
    list(module.val_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_has_every_held_out_block_in_order(data: TokenizedData) -> None:
    from carbon_trainer.data.module import TextDataModule

    rows = _rows(TextDataModule(data, batch_size=4).val_dataloader())
    every = [data.validation[i]["input_ids"] for i in range(len(data.validation))]
    assert rows == [tuple(ids.tolist()) for ids in every]


def test_a_batch_larger_than_the_corpus_is_refused(data: TokenizedData) -> None:
    from carbon_trainer.data.module import TextDataModule

    with pytest.raises(InputError, match=f"has {len(data.train)} blocks to train on, too few"):
        TextDataModule(data, batch_size=len(data.train) + 1)
