"""``carbon-train doctor``: what can be measured here, what is estimated, what to do about it."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from carbon_trainer import machine
from carbon_trainer.cli.options import ledger_options
from carbon_trainer.config import RunConfig
from carbon_trainer.energy.host import host_sources
from carbon_trainer.energy.meter import DeviceEnergy, EnergyMeter
from carbon_trainer.energy.nvml import GpuDescription, NvmlDescription, describe_nvml
from carbon_trainer.energy.source import Component, Method
from carbon_trainer.errors import LedgerError
from carbon_trainer.ledger.store import Ledger, location_of

HOST_WAIT_S = 15.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's: what it looked at, how it is, what it found, what to do."""

    subject: str
    state: Literal["measured", "estimated", "missing", "ok", "problem"]
    found: str
    advice: str = ""


@click.command("doctor")
@ledger_options
def command(ledger: str | None, runs_dir: str | None) -> None:
    """Look at this machine's devices, permissions and ledger; nothing is changed.

    Exit status 1 if something must be mended before a run can be metered or recorded.
    """
    console = Console(highlight=False)
    console.print(
        f"{machine.host_name()}: {machine.operating_system()}, {machine.cpu_name()}, "
        f"{machine.cpu_cores()} cores, {machine.memory_bytes() / 2**30:.0f} GiB",
        soft_wrap=True,
    )
    folder = Path(runs_dir or RunConfig.model_fields["runs_dir"].default)
    findings = [*gpu_findings(describe_nvml()), *host_findings(), ledger_finding(ledger, folder)]
    table = Table(show_header=True)
    for heading in ("", "state", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(*(escape(text) for text in (
            finding.subject, finding.state, finding.found, finding.advice,
        )))  # fmt: skip
    console.print(table)
    if any(finding.state == "problem" for finding in findings):
        raise SystemExit(1)


def gpu_findings(nvml: NvmlDescription) -> list[Finding]:
    """Say of each GPU how it is metered."""
    if nvml.problem is not None:
        return [
            Finding(
                "NVIDIA GPUs", "missing", f"NVML: {nvml.problem}",
                "none needed without such a GPU; else install its driver, or pass the GPU into "
                "the container (--gpus all)",
            )
        ]  # fmt: skip
    if not nvml.gpus:
        return [Finding("NVIDIA GPUs", "missing", f"driver {nvml.driver}, no GPU", "")]
    return [_gpu_finding(index, gpu, nvml.driver) for index, gpu in enumerate(nvml.gpus)]


def _gpu_finding(index: int, gpu: GpuDescription, driver: str | None) -> Finding:
    subject = f"GPU {index}"
    facts = [f"{gpu.name}, {gpu.memory_bytes / 2**30:.0f} GiB, {gpu.uuid}, driver {driver}"]
    if gpu.power_limit_w is not None:
        limit = f"power limit {gpu.power_limit_w:.0f} W"
        if gpu.limit_range_w:
            limit += f" of {gpu.limit_range_w[0]:.0f} to {gpu.limit_range_w[1]:.0f} W"
        facts.append(limit)
    if not gpu.visible:
        facts.append("not visible to this process")
        return Finding(subject, "missing", "; ".join(facts), "see CUDA_VISIBLE_DEVICES")
    facts.append(f"a reading takes {gpu.read_cost_s * 1000:.2f} ms")
    if gpu.mig:
        facts.append("cut into MIG slices: the figure is the whole card's")
    if gpu.has_counter:
        return Finding(subject, "measured", "; ".join(["energy counter", *facts]))
    if gpu.has_power:
        return Finding(
            subject, "measured", "; ".join(["power only, integrated", *facts]),
            "short bursts of power are missed: prefer a GPU with an energy counter (Volta or "
            "newer, not a vGPU)",
        )  # fmt: skip
    return Finding(
        subject, "problem", "; ".join(["tells neither energy nor power", *facts]),
        "this GPU's energy stays unknown: run on the bare device",
    )  # fmt: skip


def host_findings() -> list[Finding]:
    """Say how CPU and memory are metered, by metering them for a moment."""
    meter = EnergyMeter(host_sources())
    meter.start()
    deadline_s = time.monotonic() + HOST_WAIT_S
    while time.monotonic() < deadline_s:
        rows = meter.summary().devices
        if all(row.energy_mj > 0 for row in rows):
            break
        time.sleep(0.1)
    summary = meter.stop()
    why = {event.device: event.why for event in meter.events() if event.lost}
    return [_host_finding(row, why.get(row.info.device)) for row in summary.devices]


def _host_finding(row: DeviceEnergy, lost: str | None) -> Finding:
    subject = "CPU" if row.info.component is Component.CPU else "memory"
    if lost is not None or row.energy_mj == 0:
        return Finding(
            subject, "missing", lost or "CodeCarbon told nothing",
            "its energy stays unknown; --no-host-metering leaves it out",
        )  # fmt: skip
    found = f"{row.info.name} ({row.info.label}), ± {row.info.uncertainty:.0%}"
    if row.info.method is Method.MEASURED:
        return Finding(subject, "measured", found)
    advice = "no counter exists for memory"
    if row.info.component is Component.CPU:
        advice = (
            "to measure it, let this user read /sys/class/powercap/intel-rapl*/*/energy_uj "
            "(chmod a+r); a virtual machine has none"
        )
    return Finding(subject, "estimated", found, advice)


def ledger_finding(ledger: str | None, runs_dir: Path) -> Finding:
    """Say whether the ledger can be used, without making one."""
    location = location_of(ledger, runs_dir)
    try:
        opened = Ledger.open(location, create=False)
    except LedgerError as error:
        if "://" in location or Path(location).exists():
            return Finding("ledger", "problem", str(error))
        return _no_ledger_yet(Path(location))
    count = len(opened.run_ids())
    opened.close()
    return Finding("ledger", "ok", f"{opened.name}: {count} runs")


def _no_ledger_yet(path: Path) -> Finding:
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("ledger", "ok", f"none yet at {path}; the first run makes it")
    except OSError as error:
        return Finding(
            "ledger", "problem", f"cannot write in {folder}: {error.strerror}",
            "choose another folder with --runs-dir, or --ledger",
        )  # fmt: skip
