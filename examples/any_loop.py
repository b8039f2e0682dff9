"""Any training loop: the energy of each step and phase, with its uncertainty and method."""

from __future__ import annotations

import argparse

import torch

from carbon_trainer import EnergyMeter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = torch.nn.Linear(1024, 1024).to(device)
    optimizer = torch.optim.AdamW(model.parameters())

    # On a GPU, CUDA events time a step on the GPU itself, without synchronizing with it.
    gpu_event = (lambda: torch.cuda.Event(enable_timing=True)) if device == "cuda" else None
    with EnergyMeter(gpu_event=gpu_event) as meter:
        for _ in range(args.steps):
            with meter.step():
                loss = model(torch.randn(256, 1024, device=device)).square().mean()
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        with meter.phase("validation"), torch.no_grad():
            model(torch.randn(256, 1024, device=device))

    # By device and by phase, each with method and uncertainty.
    print(meter.summary())
    for step in meter.steps()[-3:]:
        print(f"step: {step.energy_j:.3f} J ± {step.sigma_j:.3f} J, {step.method}")


if __name__ == "__main__":
    main()
