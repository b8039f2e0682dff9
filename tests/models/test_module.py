"""TransformerModule: losses, validation, optimizer and files, with the real Trainer."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.models.build import build_model
from tests.data.questions import tokenized_questions
from tests.data.texts import tokenized
from tests.models.tiny import tiny_model

if TYPE_CHECKING:
    import lightning

    from carbon_trainer.data.tokenize import TokenizedData
    from carbon_trainer.models.module import TransformerModule

pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path: Path) -> TokenizedData:
    return tokenized(tmp_path)


def _module(model: Any = None, **settings: Any) -> TransformerModule:
    from carbon_trainer.models.module import TransformerModule

    settings = {"learning_rate": 0.02, "warmup_steps": 2, "max_steps": 30, **settings}
    return TransformerModule(model or tiny_model(), **settings)


def _trainer(**options: Any) -> lightning.Trainer:
    import lightning

    return lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0,
        **options,
    )  # fmt: skip


def _train(data: TokenizedData, module: TransformerModule, steps: int = 30) -> list[float]:
    import lightning

    from carbon_trainer.data.module import TextDataModule
    from tests.models.module_helpers import Losses

    lightning.seed_everything(1, verbose=False)
    losses = Losses()
    trainer = _trainer(max_steps=steps, max_epochs=-1, callbacks=[losses])
    trainer.fit(module, datamodule=TextDataModule(data, batch_size=4, seed=1))
    return losses.losses


def test_the_loss_falls(data: TokenizedData) -> None:
    losses = _train(data, _module())
    assert losses[0] == pytest.approx(math.log(300), rel=0.05)
    assert sum(losses[-5:]) / 5 < 0.75 * losses[0]


@pytest.mark.parametrize("family", ["gpt-neox", "gpt2", "llama", "opt", "palm"])
def test_the_loss_of_each_recipe_falls_on_text_and_on_from_its_own_folder(
    family: str, data: TokenizedData, tmp_path: Path
) -> None:
    import torch

    from carbon_trainer.models.module import TransformerModule

    torch.manual_seed(1)
    module = TransformerModule.from_recipe(
        f"{family}-tiny", vocab_size=data.tokenizer.vocab_size, block_size=data.block_size,
        max_steps=20, warmup_steps=2,
    )  # fmt: skip
    losses = _train(data, module, 20)
    assert losses[0] == pytest.approx(math.log(300), rel=0.1)
    assert sum(losses[-5:]) / 5 < 0.75 * losses[0]
    module.save_pretrained(tmp_path / "saved")
    model, origin = build_model(
        str(tmp_path / "saved"), vocab_size=data.tokenizer.vocab_size, block_size=data.block_size
    )
    assert origin.pretrained
    onward = _train(data, _module(model, learning_rate=1e-4), 5)
    assert sum(onward) / 5 < 0.75 * losses[0]


def test_macaws_loss_falls_on_questions_and_on_from_its_own_folder(tmp_path: Path) -> None:
    import torch

    from carbon_trainer.models.module import TransformerModule

    questions = tokenized_questions(tmp_path)
    torch.manual_seed(1)
    module = TransformerModule.from_recipe("macaw-tiny", vocab_size=400, max_steps=20)
    losses = _train(questions, module, 20)
    # T5's embeddings are wide at first, so it begins with opinions instead of none.
    assert losses[0] == pytest.approx(math.log(400), rel=0.3)
    assert sum(losses[-5:]) / 5 < 0.75 * losses[0]
    module.save_pretrained(tmp_path / "saved")
    model, origin = build_model(str(tmp_path / "saved"), vocab_size=400, block_size=64)
    assert origin.pretrained
    onward = _train(questions, _module(model, learning_rate=1e-4), 5)
    assert sum(onward) / 5 < 0.75 * losses[0]


def test_padding_changes_neither_loss_nor_perplexity(tmp_path: Path) -> None:
    import torch
    from torch.utils.data import DataLoader

    from carbon_trainer.data.pairs import pad_batch
    from carbon_trainer.models.module import TransformerModule

    questions = tokenized_questions(tmp_path)
    module = TransformerModule.from_recipe("macaw-tiny", vocab_size=400)
    module.model.eval()
    items = [questions.train[i] for i in range(5)]
    tokens = [len(item["labels"]) for item in items]
    with torch.no_grad():
        alone = [float(module._loss(pad_batch([item]))) for item in items]
        together = float(module._loss(pad_batch(items)))
    mean = sum(a * b for a, b in zip(alone, tokens, strict=True)) / sum(tokens)
    assert together == pytest.approx(mean, rel=1e-5)
    trainer = _trainer()
    trainer.validate(module, DataLoader(items, batch_size=2, collate_fn=pad_batch), verbose=False)
    assert float(trainer.callback_metrics["validation/loss"]) == pytest.approx(mean, rel=1e-5)


def test_the_same_seed_gives_the_same_losses(data: TokenizedData) -> None:
    first, second = (_train(data, _module(tiny_model(hidden_dropout=0.1)), 8) for _ in range(2))
    assert first == second


def test_the_loss_is_the_mean_cross_entropy_of_each_next_token() -> None:
    import torch

    module = _module()
    ids = torch.randint(0, 300, (2, 16))
    logits = module(ids)
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert torch.allclose(module._loss({"input_ids": ids}), expected)


def test_labels_of_a_batch_can_exclude_tokens_from_the_loss() -> None:
    import torch

    module = _module()
    ids = torch.randint(0, 300, (1, 16))
    labels = ids.clone()
    labels[:, :8] = -100
    logits = module(ids)[0, 7:-1]
    expected = torch.nn.functional.cross_entropy(logits, ids[0, 8:])
    assert torch.allclose(module._loss({"input_ids": ids, "labels": labels}), expected)


def test_perplexity_is_the_exponential_of_the_mean_loss_over_all_tokens() -> None:
    import torch
    from torch.utils.data import DataLoader

    module = _module()
    ids = torch.randint(0, 300, (5, 16))
    loader = DataLoader([{"input_ids": row} for row in ids], batch_size=2)
    trainer = _trainer()
    trainer.validate(module, loader, verbose=False)
    with torch.no_grad():
        mean = float(module._loss({"input_ids": ids}))  # 5 rows as one: batches are 2, 2 and 1
    assert float(trainer.callback_metrics["validation/loss"]) == pytest.approx(mean, rel=1e-5)
    perplexity = float(trainer.callback_metrics["validation/perplexity"])
    assert perplexity == pytest.approx(math.exp(mean), rel=1e-5)


def test_a_loss_that_is_not_a_number_is_shown_as_such() -> None:
    import torch
    from torch.utils.data import DataLoader

    module = _module()
    torch.nn.init.constant_(module.model.get_input_embeddings().weight, math.nan)
    trainer = _trainer()
    trainer.validate(module, DataLoader([{"input_ids": torch.ones(16).long()}]), verbose=False)
    assert math.isnan(float(trainer.callback_metrics["validation/loss"]))


def test_training_and_validation_losses_are_logged(data: TokenizedData) -> None:
    from carbon_trainer.data.module import TextDataModule

    trainer = _trainer(max_steps=2, max_epochs=-1, val_check_interval=2)
    trainer.fit(_module(), datamodule=TextDataModule(data, batch_size=4))
    assert {"train/loss", "validation/loss", "validation/perplexity"} <= set(
        trainer.callback_metrics
    )


def test_only_matrices_decay() -> None:
    module = _module(weight_decay=0.3)
    decayed, others = module.configure_optimizers()["optimizer"].param_groups
    assert decayed["weight_decay"] == 0.3
    assert others["weight_decay"] == 0
    assert all(p.dim() >= 2 for p in decayed["params"])
    assert all(p.dim() < 2 for p in others["params"])
    count = len(decayed["params"]) + len(others["params"])
    assert count == len(list(module.parameters()))


def test_the_learning_rate_warms_up_then_falls_to_its_floor() -> None:
    module = _module(warmup_steps=4, max_steps=20, min_lr_ratio=0.1)
    ratios = [module.learning_rate_ratio(step) for step in range(30)]
    assert ratios[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert ratios[12] == pytest.approx(0.55)
    assert ratios[20:] == pytest.approx([0.1] * 10)
    assert all(a >= b for a, b in itertools.pairwise(ratios[4:]))


def test_without_warm_up_the_first_step_is_at_the_peak() -> None:
    assert _module(warmup_steps=0).learning_rate_ratio(0) == 1


def test_the_schedule_goes_by_optimizer_steps_not_by_batches(data: TokenizedData) -> None:
    from carbon_trainer.data.module import TextDataModule

    module = _module(warmup_steps=1, max_steps=4)
    trainer = _trainer(max_steps=4, max_epochs=-1, accumulate_grad_batches=2)
    trainer.fit(module, datamodule=TextDataModule(data, batch_size=4))
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.02 * 0.1)


def test_a_pretrained_model_in_evaluation_mode_is_trained_with_dropout() -> None:
    assert _module(tiny_model().eval()).model.training


def test_a_recipe_makes_a_module_with_the_recipes_settings() -> None:
    from carbon_trainer.models.module import TransformerModule

    module = TransformerModule.from_recipe("gpt-neox-tiny", vocab_size=300, max_steps=100)
    assert module.model.get_input_embeddings().weight.shape == (300, 160)
    assert module.configure_optimizers()["optimizer"].defaults["lr"] == 3e-3
    assert module.learning_rate_ratio(4) == module.learning_rate_ratio(5) == 1


def test_an_unknown_recipe_is_refused() -> None:
    from carbon_trainer.models.module import TransformerModule

    with pytest.raises(InputError, match="Did you mean gpt-neox-tiny"):
        TransformerModule.from_recipe("gpt-neox-tinny")


def test_tokens_in_counts_a_batch() -> None:
    import torch

    assert _module().tokens_in({"input_ids": torch.zeros(3, 16)}) == 48
    assert _module().tokens_in({"input_ids": torch.zeros(3, 16), "tokens": 17}) == 17


def test_what_is_saved_is_loaded_by_transformers(data: TokenizedData, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    module = _module(tokenizer=data.tokenizer)
    module.save_pretrained(tmp_path / "saved")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved", local_files_only=True)
    assert all(
        torch.equal(value, module.model.state_dict()[name])
        for name, value in model.state_dict().items()
    )
    assert tokenizer("line 5").input_ids == data.tokenizer.encode_batch(["line 5"])[0]
    assert tokenizer.eos_token == "<|endoftext|>"
