"""``carbon-train estimate``: time, energy, emissions and cost of a training, beforehand."""

from __future__ import annotations

import re
from typing import Any

import click

from carbon_trainer.cli import complete

SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


class Amount(click.ParamType[float]):
    """A number such as ``20e9`` or ``20B``."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        text = str(value).strip().upper().replace("_", "")
        # Only thousands separators are removed: 1,5B must not be read as fifteen billion.
        text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
        factor = SUFFIXES.get(text[-1:], 1.0)
        try:
            return float(text[:-1] if factor > 1 else text) * factor
        except ValueError:
            self.fail(f"invalid number {value!r} (expected one such as 20e9 or 20B).", param, ctx)


@click.command("estimate")
@click.option(
    "--params", type=Amount(), help="Parameters; active parameters for a mixture of experts."
)
@click.option("--recipe", help="Take parameters, layers and hidden size from a recipe.")
@click.option("--tokens", type=Amount(), help="Training tokens: 400e9 or 400B.")
@click.option(
    "--gpu",
    default="H100",
    show_default=True,
    shell_complete=complete.boards,
    help="Accelerator: A100, H100, MI300X …",
)
@click.option("--gpus", default=1, show_default=True, help="Number of accelerators.")
@click.option(
    "--zone",
    shell_complete=complete.zones,
    help="Grid zone: GB, FR, US-CA.  [default: world average]",
)
@click.option("--start", help="Start date (2026-12-01), to estimate the end date.")
@click.option("--pue", default=1.0, show_default=True, help="Power usage effectiveness.")
@click.option("--price-per-kwh", type=float, help="Electricity price, in any currency.")
@click.option("--mfu", type=float, help="Model FLOPs utilization of the dense peak, 0 to 1.")
@click.option("--peak-tflops", type=float, help="Dense 16-bit peak, if it differs.")
@click.option("--development", default=1.0, show_default=True,
              help="Total compute over the final run's: trials, failures, ablations.")  # fmt: skip
@click.option("--sequence-length", type=int, help="Sequence length, to include attention FLOPs.")
@click.option("--layers", type=int, help="Layers, for attention; else derived from parameters.")
@click.option("--hidden", type=int, help="Hidden size, for attention; else derived likewise.")
@click.option("--compare", type=Amount(), metavar="QUERIES",
              help="Compare with fine-tuning and with using a larger open model.")  # fmt: skip
@click.option("--tokens-per-query", type=Amount(), help="Output tokens.  [default: 400]")
@click.option("--fine-tuning-tokens", type=Amount(),
              help="Fine-tuning tokens, all epochs.  [default: 11.25M]")  # fmt: skip
@click.option("--open-params", type=Amount(), help="Size of the larger model.  [default: 70B]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--list", "listed", is_flag=True, help="List the published runs used as data.")
def command(**flags: Any) -> None:
    """Estimate a training: GPU-hours, days, energy, emissions and cost.

    Estimates are calibrated on published runs and have an 80 % interval. --compare adds other
    ways to serve the same queries: fine-tuning, LoRA, a larger open model.
    """
    from carbon_trainer.cli.actions.estimate import show_estimate

    show_estimate(**flags)
