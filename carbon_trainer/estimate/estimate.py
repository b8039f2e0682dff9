"""From parameters, tokens and hardware to hours, energy, emissions and cost."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.estimate.attention import (
    REFERENCE_TOKENS,
    growth,
    share_of_all,
    size_of,
)
from carbon_trainer.estimate.efficiency import Spread, calibrated, goodput, spread_of
from carbon_trainer.estimate.published import FLOPS_PER_PARAMETER_AND_TOKEN, published_runs
from carbon_trainer.grid.intensity import Intensity
from carbon_trainer.grid.zones import ZoneFactors
from carbon_trainer.hardware.accelerators import (
    LONG_LIFE_YEARS,
    SECONDS_PER_YEAR,
    SHORT_LIFE_YEARS,
    Accelerator,
    accelerator_of,
    accelerators,
)

SPARSE_TOLERANCE = 0.03
"""Peaks with 2:4 sparsity are twice the dense ones, apart from rounding."""

MOST_OVER_DATASHEET = 1.25
"""How far a board's own peak may lie above its datasheet's."""

LEAST_OF_DATASHEET = 0.1
"""A seventh is a slice of a board (MIG); less is another unit."""

FEWEST_PARAMETERS = 1000

MOST_OF_ANYTHING = 1e30
"""No figure of a training is larger; beyond it, products would overflow."""

MAKERS = frozenset({"NVIDIA", "TESLA", "GEFORCE", "AMD", "INSTINCT"})
"""Words before a model's name that say nothing more about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A training to estimate.

    Attributes:
        parameters: the model's; of a mixture of experts those that a token passes through.
        tokens: to train on, repeated ones as often as they are repeated.
        gpu: the accelerator's name.
        gpus: how many.
        zone: the grid; None for the world's average.
        pue: of the building.
        price_per_kwh: of electricity; None where it is not given.
        mfu: utilisation while training, if it is known; None to take what published runs had.
        peak_tflops: the accelerator's dense 16-bit peak; None to take the datasheet's.
        development: all computing over that of the final run; 1 is the final run alone.
        start: when it begins; None where it does not matter.
        sequence_length: tokens of a sequence, to count attention over it; None to take what
            published runs had.
        layers: the model's; None to assume.
        width: of all its attention's heads together; None to assume.
        encoder_decoder: whether a token goes through one half of the model only, which is noted
            beside the figures but not computed with.
    """

    parameters: float
    tokens: float
    gpu: str
    gpus: int = 1
    zone: str | None = None
    pue: float = 1.0
    price_per_kwh: float | None = None
    mfu: float | None = None
    peak_tflops: float | None = None
    development: float = 1.0
    start: datetime | None = None
    sequence_length: int | None = None
    layers: int | None = None
    width: int | None = None
    encoder_decoder: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate of a job: every figure with its 80 % interval.

    Attributes:
        job: the training.
        board: the accelerator.
        flops: operations of training, attention's included where the sequence is given.
        attention: attention's share of those, and how the shape is known; None where the
            sequence is not given.
        effective_mfu: model FLOPs over the peak in all hours, downtime included.
        gpu_hours: accelerator-hours.
        days: from the first step to the last, on all accelerators.
        power_w: of one accelerator with its share of the host, before PUE.
        energy_kwh: what the building draws.
        emissions_kgco2e: by the zone's annual mean.
        cost: None where no price is given.
        embodied_kgco2e: the accelerators' share, least and most; None where no figure is known.
        intensity: the zone's.
    """

    job: Job
    board: Accelerator
    flops: float
    attention: tuple[Spread, str] | None
    effective_mfu: Spread
    gpu_hours: Spread
    days: Spread
    power_w: Spread
    energy_kwh: Spread
    emissions_kgco2e: Spread
    cost: Spread | None
    embodied_kgco2e: tuple[float, float] | None
    intensity: Intensity

    @property
    def ends(self) -> datetime | None:
        """When it would end; None without a start, or where that is beyond the year 9999."""
        if self.job.start is None:
            return None
        try:
            return self.job.start + timedelta(days=self.days.value)
        except OverflowError:
            return None


def estimate(job: Job) -> Estimate:
    """Estimate a job.

    Energy is accelerator-hours x power x PUE; hours are operations over peak x effective MFU.

    Raises:
        InputError: if a figure is out of range, or the accelerator or zone is unknown.
    """
    _check(job)
    board = _with_peak(board_of(job.gpu), job.peak_tflops)
    intensity = ZoneFactors().intensity(job.zone)
    parameter_flops = FLOPS_PER_PARAMETER_AND_TOKEN * job.parameters * job.tokens * job.development
    attention = _attention(job)
    mfu = (
        calibrated().predict(job.parameters, board.name)
        if job.mfu is None
        else goodput().scaled(job.mfu)
    )
    # Hours at the peak, without any loss; attention adds what published hours do not include.
    peak_hours = attention.hours.scaled(parameter_flops / (3600 * board.peak_bf16_tflops * 1e12))
    hours = peak_hours.over(mfu)
    power = power_share().scaled(board.tdp_w)
    energy = hours.times(power).scaled(job.pue / 1000)
    grid = Spread(intensity.intensity_gco2e_per_kwh / 1000, intensity.uncertainty)
    return Estimate(
        job=job,
        board=board,
        flops=parameter_flops * attention.flops,
        attention=attention.share,
        effective_mfu=mfu,
        gpu_hours=hours,
        days=hours.scaled(1 / (24 * job.gpus)),
        power_w=power,
        energy_kwh=energy,
        emissions_kgco2e=energy.times(grid),
        cost=None if job.price_per_kwh is None else energy.scaled(job.price_per_kwh),
        embodied_kgco2e=_embodied(board, hours),
        intensity=intensity,
    )


@dataclass(frozen=True, slots=True)
class _Attention:
    """Attention's factors on 6 operations a parameter and token, and its share."""

    flops: float
    hours: Spread
    share: tuple[Spread, str] | None


def _attention(job: Job) -> _Attention:
    tokens = job.sequence_length
    if tokens is None:
        return _Attention(1.0, Spread(1.0, 0.0), None)
    size = size_of(job.parameters, job.layers, job.width)
    # The hours of published runs include their own attention; a utilisation that is given does not.
    reference_tokens = 0 if job.mfu is not None else REFERENCE_TOKENS
    return _Attention(
        growth(size, job.parameters, tokens, 0).value,
        growth(size, job.parameters, tokens, reference_tokens),
        (share_of_all(size.over_parameters(job.parameters, tokens)), size.basis),
    )


def power_share() -> Spread:
    """Return an accelerator's power, its share of the host included, over its board's limit.

    From the published runs whose system power was measured.
    """
    shares = [
        run.system_power_w / run.board_power_w
        for run in published_runs()
        if run.system_power_w is not None and run.board_power_w is not None
    ]
    return spread_of(shares)


def board_of(name: str) -> Accelerator:
    """Return the accelerator of a name: ``A100 80GB``, ``H100-SXM``, ``RTX 4090``.

    NVML's name works as well. Of several that fit, the first of the table: SXM boards before
    PCIe's.

    Raises:
        InputError: if there is none, with the nearest names.
    """
    boards = accelerators()
    board = next((board for board in boards if _matches(name, board)), None) or accelerator_of(name)
    if board is None:
        names = [board.name for board in boards]
        # People write short names, so a mistyped one is compared with those.
        short_names = [board.name for board in boards if _details(name, board) is not None]
        short_names = short_names or list(dict.fromkeys(name.partition("-")[0] for name in names))
        raise InputError(
            f"the accelerator {name!r} is unknown.{did_you_mean(name, short_names)} Known are "
            f"{', '.join(names)}."
        )
    return board


def _matches(name: str, board: Accelerator) -> bool:
    """Whether a name has a board's model, and no words that the board's name has not."""
    details = _details(name, board)
    if details is not None:
        board_words = _words(board.name)
        return all(any(word.startswith(detail) for word in board_words) for detail in details)
    joined_name, model = "".join(_words(name)), _model_of(board)
    return (
        joined_name.startswith(model)
        and joined_name[len(model) :][:1].isalpha()
        and "".join(_words(board.name)).startswith(joined_name)
    )


def _details(name: str, board: Accelerator) -> list[str] | None:
    """Return the words behind a board's model, such as ``80GB``; None if it is another model."""
    words, model = _words(name), _model_of(board)
    for count in range(1, len(words) + 1):
        if "".join(words[:count]) == model:
            return words[count:]
    return None


def _model_of(board: Accelerator) -> str:
    return "".join(_words(re.split(r"[-(]", board.name)[0]))


def _words(name: str) -> list[str]:
    words = re.findall(r"[0-9A-Z]+", name.upper())
    return [word for word in words if word not in MAKERS]


def _with_peak(board: Accelerator, peak_tflops: float | None) -> Accelerator:
    if peak_tflops is None:
        return board
    dense = board.peak_bf16_tflops
    if abs(peak_tflops / dense - 2) < SPARSE_TOLERANCE:
        raise InputError(
            f"--peak-tflops {peak_tflops:g} is the sparse peak of {board.name}: training is dense, "
            f"which is {dense:g}."
        )
    if peak_tflops < LEAST_OF_DATASHEET * dense:
        raise InputError(
            f"--peak-tflops {peak_tflops:g} is {peak_tflops / dense:.2g} times the dense 16-bit "
            f"peak of {board.name}, {dense:g}: give it in TFLOP/s, so 1 PFLOP/s is 1000."
        )
    if peak_tflops > MOST_OVER_DATASHEET * dense:
        raise InputError(
            f"--peak-tflops {peak_tflops:g} is {peak_tflops / dense:.3g} times the dense 16-bit "
            f"peak of {board.name}, {dense:g}: training reaches neither sparse nor 8-bit peaks."
        )
    return dataclasses.replace(board, peak_bf16_tflops=peak_tflops)


def check_positive(figures: Mapping[str, float]) -> None:
    """Refuse figures that are not numbers above 0.

    Args:
        figures: by the flag that gave them.

    Raises:
        InputError: for the first of them.
    """
    _check_not_endless(figures)
    for flag, value in figures.items():
        if not value > 0:
            raise InputError(f"{flag} is {value:g}, but should be more than 0.")


def _check_not_endless(figures: Mapping[str, float]) -> None:
    for flag, value in figures.items():
        if value > MOST_OF_ANYTHING:
            raise InputError(
                f"{flag} is more than {MOST_OF_ANYTHING:g}: give a number that a training can have."
            )


def _check(job: Job) -> None:
    positive = {
        "--params": job.parameters, "--tokens": job.tokens, "--gpus": job.gpus,
        "--pue": job.pue, "--development": job.development,
    }  # fmt: skip
    optional = {"--price-per-kwh": job.price_per_kwh, "--peak-tflops": job.peak_tflops}
    positive |= {flag: value for flag, value in optional.items() if value is not None}
    check_positive(positive)
    integers = {
        "--sequence-length": job.sequence_length, "--layers": job.layers, "--hidden": job.width,
    }  # fmt: skip
    _check_not_endless({flag: value for flag, value in integers.items() if value is not None})
    if job.parameters < FEWEST_PARAMETERS:
        raise InputError(
            f"--params is {job.parameters:g}, but is a number of parameters: write 7e9 or 7B for "
            "seven billion."
        )
    if job.sequence_length is not None and job.sequence_length < 1:
        raise InputError(f"--sequence-length is {job.sequence_length}, but should be 1 or more.")
    if job.sequence_length is None and (job.layers is not None or job.width is not None):
        raise InputError(
            "--layers and --hidden count attention over a sequence: give --sequence-length too."
        )
    for flag, value in (("--pue", job.pue), ("--development", job.development)):
        if value < 1:
            raise InputError(f"{flag} is {value:g}, but cannot be less than 1.")
    if job.mfu is not None and not 0 < job.mfu <= 1:
        raise InputError(
            f"--mfu is {job.mfu:g}, but is a share of the dense peak, more than 0 and at most 1: "
            "35 % is 0.35. A figure over the sparse peak has to be doubled."
        )


def _embodied(board: Accelerator, hours: Spread) -> tuple[float, float] | None:
    """SCI (ISO/IEC 21031): embodied x time reserved / lifetime, from least to most."""
    if board.embodied_kgco2e is None:
        return None
    low, high = hours.interval
    low, high = board.embodied_kgco2e
    # Least: the shortest estimate, the longest life, the lowest figure; most: the other way round.
    years = [3600 * reserved_h / SECONDS_PER_YEAR for reserved_h in (low, high)]
    return low * years[0] / LONG_LIFE_YEARS, high * years[1] / SHORT_LIFE_YEARS
