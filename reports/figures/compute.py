"""Arithmetic of training, from parameters and tokens."""

from __future__ import annotations

from dataclasses import replace

from carbon_trainer.ledger.facts import (
    ModelDescribed,
)
from carbon_trainer.reports.figures.figure import (
    ESTIMATED,
    MEASURED,
    Figure,
    Input,
)


def compute_figure(model: ModelDescribed | None, tokens: Figure) -> Figure:
    """Arithmetic of training: 6 operations a parameter and token (Kaplan et al. 2020, table 1).

    Where weights are frozen, the third of it that makes their gradients is not done; where a token
    goes through a part of the model, only that part counts.
    """
    key, label, unit = "training-compute", "Training compute", "FLOP"
    if model is None or not tokens.value:
        reason = "There is no model or no tokens on record."
        return Figure.missing(key, label, unit, reason)
    if model.trained_parameters is not None or model.parameters_per_token is not None:
        return _partial_compute(model, tokens, Figure.missing(key, label, unit, ""))
    return Figure(
        key=key, label=label, value=6.0 * model.parameters * tokens.value, unit=unit,
        method=ESTIMATED, sigma=None,
        basis="6 x parameters x tokens (Kaplan et al. 2020, arXiv:2001.08361): forward and "
        "backward pass without attention's part over the context, validation and repeated steps.",
        formula="6 x parameters x tokens",
        inputs=(
            Input(name="parameters", value=float(model.parameters), method=MEASURED),
            Input.from_figure(tokens),
        ),
    )  # fmt: skip


def _partial_compute(model: ModelDescribed, tokens: Figure, template: Figure) -> Figure:
    """As ``compute_figure``, where weights are frozen or a token goes through some of them."""
    active_parameters = model.parameters_per_token or model.parameters
    # Which adapters a token goes through is not on record: as many as of all parameters.
    trained_parameters = (
        (model.trained_parameters or model.parameters) * active_parameters / model.parameters
    )
    clauses = ["2 operations a parameter and token forward, 2 to carry gradients back"]
    clauses.append("2 for gradients of trained weights (Kaplan et al. 2020, arXiv:2001.08361)")
    if model.trained_parameters is not None:
        clauses.append(
            "frozen weights have none of their own (LoRA, Hu et al. 2021, arXiv:2106.09685)"
        )
    if model.parameters_per_token is not None:
        clauses.append(
            "parameters are those that a token goes through, the encoder's for a source and the "
            "decoder's for a target, by their shares of the corpus (Raffel et al. 2020, "
            "arXiv:1910.10683, section 3.2.2)"
        )
    clauses.append("without attention's part over the context, validation and repeated steps")
    return replace(
        template, method=ESTIMATED,
        value=(4.0 * active_parameters + 2.0 * trained_parameters) * (tokens.value or 0.0),
        basis="; ".join(clauses) + ".",
        formula="(4 x parameters + 2 x trained parameters) x tokens",
        inputs=(
            Input(name="parameters", value=float(active_parameters), method=MEASURED),
            Input(name="trained parameters", value=float(trained_parameters), method=MEASURED),
            Input.from_figure(tokens),
        ),
    )  # fmt: skip
