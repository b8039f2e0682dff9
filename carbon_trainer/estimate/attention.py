"""What attention over the sequence adds to 6 operations a parameter and token.

12 x layers x width x sequence operations a token, forward and backward: scores and their product
with the values, 4 each way and twice that backward, as model FLOPs are counted (Chowdhery et al.
2022, arXiv 2204.02311, appendix B); causal masks are not taken off, as there. Width is that of all
heads together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from carbon_trainer.errors import InputError
from carbon_trainer.estimate.efficiency import Spread
from carbon_trainer.estimate.published import FLOPS_PER_PARAMETER_AND_TOKEN
from carbon_trainer.models.recipes import recipes

FLOPS_PER_LAYER_WIDTH_AND_TOKEN = 12

REFERENCE_TOKENS = 2048
"""The sequence of most published runs (LLaMA, Pythia, OPT, PaLM, GPT-3); their hours include its
attention. Those with longer ones (Llama 2: 4,096, Llama 3: 8,192) are not distinguished."""

SHAPE_TOLERANCE = 10.0
"""Layers x width² x 12 may differ from the parameters by this factor: embeddings, experts."""


@dataclass(frozen=True, slots=True)
class Size:
    """A model's layers times the width of its attention, known or assumed.

    Attributes:
        layers_x_width: the product.
        basis: how it is known, for people.
    """

    layers_x_width: Spread
    basis: str

    def over_parameters(self, parameters: float, tokens: int) -> Spread:
        """Return attention's operations over those of the parameters.

        Args:
            parameters: the model's.
            tokens: length of a sequence.
        """
        attention_flops = FLOPS_PER_LAYER_WIDTH_AND_TOKEN * tokens
        parameter_flops = FLOPS_PER_PARAMETER_AND_TOKEN * parameters
        return self.layers_x_width.scaled(attention_flops / parameter_flops)


def size_of(parameters: float, layers: int | None, width: int | None) -> Size:
    """Return layers times width, assumed from the parameters where they are not given.

    Raises:
        InputError: if only one of the two is given, or they do not match the parameters.
    """
    if (layers is None) != (width is None):
        raise InputError("give --layers and --hidden together, or neither.")
    if layers is None or width is None:
        return Size(
            _product_from_recipes(parameters),
            "layers x width assumed from the parameters, as in the recipes here",
        )
    if layers < 1 or width < 1:
        raise InputError("--layers and --hidden should be 1 or more.")
    implied_parameters = 12 * layers * width**2
    if not 1 / SHAPE_TOLERANCE < implied_parameters / parameters < SHAPE_TOLERANCE:
        raise InputError(
            f"--layers {layers} and --hidden {width} make about {implied_parameters:.2g} "
            f"parameters, but --params is {parameters:.2g}: they do not match."
        )
    return Size(Spread(float(layers * width), 0.0), f"{layers} layers of width {width:,}")


def share_of_all(over_parameters: Spread) -> Spread:
    """Return attention's share of all operations, from its ratio to the parameters'."""
    total = 1 + over_parameters.value
    # By propagation of errors: d ln(r / (1 + r)) = d ln(r) / (1 + r).
    sigma = over_parameters.log_sigma / total
    return Spread(over_parameters.value / total, sigma, over_parameters.freedom)


def growth(size: Size, parameters: float, tokens: int, usual_tokens: int) -> Spread:
    """Return all operations with one length of sequence over those with another.

    Args:
        size: the model's layers and width.
        parameters: the model's.
        tokens: length of a sequence.
        usual_tokens: the other; 0 for no attention at all.
    """
    ratios = [size.over_parameters(parameters, length) for length in (tokens, usual_tokens)]
    total = [1 + ratio.value for ratio in ratios]
    # The same layers and width are in both, so only the difference of their weights counts.
    weight = abs(ratios[0].value / total[0] - ratios[1].value / total[1])
    sigma = weight * size.layers_x_width.log_sigma
    return Spread(total[0] / total[1], sigma, size.layers_x_width.freedom if sigma else math.inf)


def _product_from_recipes(parameters: float) -> Spread:
    """Read layers x width off a line through the recipes, in logarithms."""
    slope, constant, sigma, freedom = _line()
    return Spread(math.exp(constant + slope * math.log(parameters)), sigma, freedom)


@cache
def _line() -> tuple[float, float, float, int]:
    """Fit log(layers x width) to log(parameters) over the recipes of published sizes."""
    recipe_shapes = [
        (recipe.parameters(), recipe.shape.layers * recipe.shape.query)
        for name, recipe in recipes().items()
        if recipe.shape is not None and not name.endswith("-tiny")
    ]
    sizes, products = np.log(np.array(recipe_shapes, dtype=np.float64)).T
    slope, constant = np.polyfit(sizes, products, 1)
    residuals = products - (constant + slope * sizes)
    freedom = len(recipe_shapes) - 2
    sigma = math.sqrt(float(np.sum(residuals**2)) / freedom * (1 + 1 / len(recipe_shapes)))
    return float(slope), float(constant), sigma, freedom
