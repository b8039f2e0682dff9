"""Small facts to fill ledgers with."""

from __future__ import annotations

from carbon_trainer.ledger.facts import Interval, Progress, RunOpened

S = 1_000_000_000


def opened(name: str = "a run") -> RunOpened:
    return RunOpened(name=name, project="p", config={"seed": 1}, software={"python": "3"})


def progress(step: int) -> Progress:
    return Progress(time_ns=step * S, step=step, tokens=step * 64, loss=1 / (1 + step))


def interval(second: int, energy_mj: int, device: str = "GPU-1") -> Interval:
    return Interval(
        device=device, component="gpu", start_ns=second * S, end_ns=(second + 1) * S,
        energy_mj=energy_mj, method="measured", sigma_mj=1, phase="train", steps=2, tokens=128,
    )  # fmt: skip
