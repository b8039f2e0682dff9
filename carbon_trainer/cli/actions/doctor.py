"""What ``carbon-train doctor`` does: examines devices and ledger, and prints its findings."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from carbon_trainer.cli.actions.location import runs_folder
from carbon_trainer.energy.probe import (
    LISTING_TIMEOUT_S,
    DeviceProbe,
    call_with_timeout,
    probe_devices,
)
from carbon_trainer.energy.sources.base import Component, Method
from carbon_trainer.energy.sources.discovery import discover_sources
from carbon_trainer.energy.sources.host import host_sources
from carbon_trainer.energy.sources.nvml import GpuDescription, NvmlDescription, describe_nvml
from carbon_trainer.errors import InputError, LedgerError
from carbon_trainer.hardware import machine
from carbon_trainer.ledger.location import location_of
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.power.journal import orphans, put_back


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the doctor's table: subject, state, details, and advice on how to fix it."""

    subject: str
    state: Literal["measured", "estimated", "missing", "ok", "problem"]
    details: str
    advice: str = ""


def examine(ledger: str | None, runs_dir: str | None, restore: bool) -> None:
    """Print what can be measured here, or restore what dead runs have left changed."""
    if restore:
        _restore()
        return
    console = Console(highlight=False)
    console.print(
        f"{machine.host_name()}: {machine.operating_system()}, {machine.cpu_name()}, "
        f"{machine.cpu_cores()} cores, {machine.memory_bytes() / 2**30:.0f} GiB",
        soft_wrap=True,
    )
    folder = runs_folder(runs_dir)
    findings, rows = device_findings()
    findings.append(ledger_finding(ledger, folder))
    if rows:
        Console(highlight=False, soft_wrap=True).print(device_table(rows))
    table = Table(show_header=True)
    for heading in ("", "state", "details", "advice"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(*(escape(text) for text in (
            finding.subject, finding.state, finding.details, finding.advice,
        )))  # fmt: skip
    console.print(table)
    if any(finding.state == "problem" for finding in findings):
        raise SystemExit(1)


def _restore() -> None:
    """Restore power limits and clocks left behind by dead runs.

    Raises:
        InputError: if one could not be restored.
    """
    problems: list[str] = []
    journals = list(orphans())
    for journal in journals:
        messages, failures = put_back(journal)
        problems += failures
        for message in messages:
            click.echo(message)
    if not journals:
        click.echo("Nothing to restore: no dead run has left a power limit or a clock changed.")
    if problems:
        raise InputError("; ".join(problems) + ". Run as root.")


def device_findings() -> tuple[list[Finding], list[tuple[str, DeviceProbe]]]:
    """Watch every device, and find out how each is metered.

    Returns:
        The findings, and the watched devices with their display names.
    """
    nvml = call_with_timeout(LISTING_TIMEOUT_S, describe_nvml)
    sources = None if nvml is None else call_with_timeout(LISTING_TIMEOUT_S, discover_sources)
    if nvml is None or sources is None:
        silent = _silent_driver("NVML" if nvml is None else "a GPU's driver")
        devices = _named(probe_devices(host_sources()), NvmlDescription(None, ()))
        return [silent, *(_watched_finding(name, device) for name, device in devices)], devices
    devices = _named(probe_devices(sources), nvml)
    by_uuid = {device.info.device: device for _, device in devices}
    listed = {gpu.uuid for gpu in nvml.gpus}
    others = [
        _watched_finding(name, device)
        for name, device in devices
        if device.info.device not in listed
    ]
    return [*gpu_findings(nvml, by_uuid), *others], devices


def device_table(rows: list[tuple[str, DeviceProbe]]) -> Table:
    """Return a table of how each device is metered, and of its read latency."""
    table = Table(box=None, pad_edge=False)
    read_latency = "read latency,\nmedian / max"
    for heading in ("device", "method", "refresh", read_latency, "power", "±", "source"):
        right = heading in ("refresh", read_latency, "power", "±")
        # The source alone wraps in a narrow terminal, so that no figure is cut off.
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading != "source")
    for name, device in rows:
        table.add_row(*(escape(text) for text in (name, *_cells(device))))
    return table


def _cells(device: DeviceProbe) -> tuple[str, ...]:
    info = device.info
    source = "; ".join(text for text in (info.name, info.note) if text)
    if device.problem is not None and device.reads == 0:
        return "unknown", "", "", "", "", device.problem
    return (
        str(info.method) if device.problem is None else "unknown",
        _refresh(device),
        f"{_milliseconds(device.read_median_s)} / {_milliseconds(device.read_max_s)}",
        "" if device.power_w is None else f"{device.power_w:,.1f} W",
        f"{info.uncertainty:.0%}",
        source if device.problem is None else device.problem,
    )


def _refresh(device: DeviceProbe) -> str:
    if device.refresh_s is None:
        return "unknown"
    # Without a counter the refresh is only known as the time between two polls of the power.
    return f"{'' if device.info.refresh_s else '~'}{_milliseconds(device.refresh_s)}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.3g} ms" if seconds < 0.9995 else f"{seconds * 1000:,.0f} ms"


def _named(devices: list[DeviceProbe], nvml: NvmlDescription) -> list[tuple[str, DeviceProbe]]:
    """Pair each device with its name: NVML's index of a GPU, else its index among the others."""
    names = {gpu.uuid: f"GPU {index}" for index, gpu in enumerate(nvml.gpus)}
    others = [
        device.info.device
        for device in devices
        if device.info.component is Component.GPU and device.info.device not in names
    ]
    names |= {uuid: f"other GPU {index}" for index, uuid in enumerate(others)}
    names |= {str(Component.CPU): "CPU", str(Component.RAM): "memory"}
    return [(names[device.info.device], device) for device in devices]


def gpu_findings(nvml: NvmlDescription, watched: Mapping[str, DeviceProbe]) -> list[Finding]:
    """Return how each NVIDIA GPU is metered.

    Args:
        nvml: the driver and its GPUs.
        watched: the devices that this process may use, by UUID.
    """
    if nvml.problem is not None:
        return [
            Finding(
                "NVIDIA GPUs", "missing", f"NVML: {nvml.problem}",
                "none if there is no such GPU; else install its driver, or pass the GPU into the "
                "container (--gpus all)",
            )
        ]  # fmt: skip
    if not nvml.gpus:
        return [Finding("NVIDIA GPUs", "missing", f"driver {nvml.driver}, no GPU", "")]
    return [
        _gpu_finding(index, gpu, nvml.driver, watched.get(gpu.uuid))
        for index, gpu in enumerate(nvml.gpus)
    ]


def _gpu_finding(
    index: int, gpu: GpuDescription, driver: str | None, watched: DeviceProbe | None
) -> Finding:
    subject = f"GPU {index}"
    facts = [f"{gpu.name}, {gpu.memory_bytes / 2**30:.0f} GiB, {gpu.uuid}, driver {driver}"]
    if gpu.power_limit_w is not None:
        limit = f"power limit {gpu.power_limit_w:.0f} W"
        if gpu.limit_range_w:
            limit += f" of {gpu.limit_range_w[0]:.0f} to {gpu.limit_range_w[1]:.0f} W"
        facts.append(limit)
    if gpu.mig:
        facts.append("MIG is enabled: the reading is the whole card's")
    if watched is None:
        facts.append("not visible to this process")
        return Finding(subject, "missing", "; ".join(facts), "see CUDA_VISIBLE_DEVICES")
    return _watched_finding(subject, watched, facts)


def _watched_finding(
    subject: str, device: DeviceProbe, facts: Sequence[str] | None = None
) -> Finding:
    info = device.info
    if info.component is not Component.GPU:
        return _host_finding(subject, device)
    facts = [info.label, info.device] if facts is None else facts
    if device.problem is not None:
        return Finding(
            subject, "problem", "; ".join([device.problem, *facts]),
            "this GPU's energy stays unknown: check the driver's log (dmesg), reset the GPU, or "
            "use the physical GPU instead of a virtual one",
        )  # fmt: skip
    if info.stepped:
        return Finding(subject, "measured", "; ".join(["energy counter", *facts]))
    return Finding(
        subject, "measured", "; ".join(["power only, integrated", *facts]),
        "short bursts of power are missed: prefer a GPU with an energy counter (Volta or newer, "
        "not a vGPU)",
    )  # fmt: skip


def _silent_driver(name: str) -> Finding:
    return Finding(
        "GPUs", "problem", f"{name} did not answer within {LISTING_TIMEOUT_S:.0f} s",
        "runs would hang as well: check the driver's log (dmesg), or restart the machine",
    )  # fmt: skip


def _host_finding(subject: str, device: DeviceProbe) -> Finding:
    info = device.info
    if device.problem is not None:
        return Finding(
            subject, "missing", device.problem,
            "its energy stays unknown; --no-host-metering leaves it out",
        )  # fmt: skip
    details = f"{info.name} ({info.label}), ± {info.uncertainty:.0%}"
    if info.method is Method.MEASURED:
        return Finding(subject, "measured", details)
    advice = "memory has no energy counter"
    if info.component is Component.CPU:
        advice = (
            "to measure it, let this user read /sys/class/powercap/intel-rapl*/*/energy_uj "
            "(chmod a+r); virtual machines have none"
        )
    return Finding(subject, "estimated", details, advice)


def ledger_finding(ledger: str | None, runs_dir: Path) -> Finding:
    """Return whether the ledger can be used, without creating it."""
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
            return Finding("ledger", "ok", f"none yet at {path}; the first run creates it")
    except OSError as error:
        return Finding(
            "ledger", "problem", f"cannot write in {folder}: {error.strerror}",
            "choose another folder with --runs-dir, or another --ledger",
        )  # fmt: skip
