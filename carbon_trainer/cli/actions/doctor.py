"""What ``carbon-train doctor`` does: looks at devices and ledger, and prints what it found."""

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
    """One line of the doctor's: what it looked at, how it is, what it found, what to do."""

    subject: str
    state: Literal["measured", "estimated", "missing", "ok", "problem"]
    found: str
    advice: str = ""


def examine(ledger: str | None, runs_dir: str | None, restore: bool) -> None:
    """Print what can be measured here, or put back what dead runs have left."""
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
    for heading in ("", "state", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(*(escape(text) for text in (
            finding.subject, finding.state, finding.found, finding.advice,
        )))  # fmt: skip
    console.print(table)
    if any(finding.state == "problem" for finding in findings):
        raise SystemExit(1)


def _restore() -> None:
    """Put back what dead runs have left turned.

    Raises:
        InputError: if something could not be put back.
    """
    failures: list[str] = []
    found = list(orphans())
    for journal in found:
        told, failed = put_back(journal)
        failures += failed
        for sentence in told:
            click.echo(sentence)
    if not found:
        click.echo("No run that is gone has left a power limit or a clock behind.")
    if failures:
        raise InputError("; ".join(failures) + ". Run it as root.")


def device_findings() -> tuple[list[Finding], list[tuple[str, DeviceProbe]]]:
    """Watch every device, and say how each is metered.

    Returns:
        What was found, and the devices that were watched with their names for people.
    """
    nvml = call_with_timeout(LISTING_TIMEOUT_S, describe_nvml)
    sources = None if nvml is None else call_with_timeout(LISTING_TIMEOUT_S, discover_sources)
    if nvml is None or sources is None:
        silent = _silent_driver("NVML" if nvml is None else "a GPU's driver")
        named = _named(probe_devices(host_sources()), NvmlDescription(None, ()))
        return [silent, *(_watched_finding(name, one) for name, one in named)], named
    named = _named(probe_devices(sources), nvml)
    by_uuid = {one.info.device: (name, one) for name, one in named}
    listed = {gpu.uuid for gpu in nvml.gpus}
    findings = gpu_findings(nvml, {uuid: one for uuid, (_, one) in by_uuid.items()})
    others = [(name, one) for uuid, (name, one) in by_uuid.items() if uuid not in listed]
    return [*findings, *(_watched_finding(name, one) for name, one in others)], named


def device_table(rows: list[tuple[str, DeviceProbe]]) -> Table:
    """Lay out how each device is metered and what that costs, as aligned text."""
    table = Table(box=None, pad_edge=False)
    for heading in ("device", "method", "refresh", "a read", "at most", "power", "±", "figure"):
        right = heading in ("refresh", "a read", "at most", "power", "±")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for name, one in rows:
        table.add_row(*(escape(text) for text in (name, *_cells(one))))
    return table


def _cells(one: DeviceProbe) -> tuple[str, ...]:
    info = one.info
    figure = "; ".join(text for text in (info.name, info.note) if text)
    if one.problem is not None and one.reads == 0:
        return "unknown", "", "", "", "", "", one.problem
    return (
        str(info.method) if one.problem is None else "unknown",
        _refresh(one),
        _milliseconds(one.read_median_s),
        _milliseconds(one.read_max_s),
        "" if one.power_w is None else f"{one.power_w:,.1f} W",
        f"{info.uncertainty:.0%}",
        figure if one.problem is None else one.problem,
    )


def _refresh(one: DeviceProbe) -> str:
    if one.refresh_s is None:
        return "not learnt"
    # What the meter has not learnt itself was seen between two looks at the power.
    return f"{'' if one.info.refresh_s else '~'}{_milliseconds(one.refresh_s)}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.3g} ms" if seconds < 0.9995 else f"{seconds * 1000:,.0f} ms"


def _named(seen: list[DeviceProbe], nvml: NvmlDescription) -> list[tuple[str, DeviceProbe]]:
    """Give each device its name: a GPU NVML's index, another its place among the others."""
    names = {gpu.uuid: f"GPU {index}" for index, gpu in enumerate(nvml.gpus)}
    others = [
        one.info.device
        for one in seen
        if one.info.component is Component.GPU and one.info.device not in names
    ]
    names |= {device: f"other GPU {index}" for index, device in enumerate(others)}
    names |= {str(Component.CPU): "CPU", str(Component.RAM): "memory"}
    return [(names[one.info.device], one) for one in seen]


def gpu_findings(nvml: NvmlDescription, watched: Mapping[str, DeviceProbe]) -> list[Finding]:
    """Say of each NVIDIA GPU how it is metered.

    Args:
        nvml: what there is.
        watched: what was seen of those that this process may use, by UUID.
    """
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
        facts.append("cut into MIG slices: the figure is the whole card's")
    if watched is None:
        facts.append("not visible to this process")
        return Finding(subject, "missing", "; ".join(facts), "see CUDA_VISIBLE_DEVICES")
    return _watched_finding(subject, watched, facts)


def _watched_finding(subject: str, one: DeviceProbe, facts: Sequence[str] | None = None) -> Finding:
    info = one.info
    if info.component is not Component.GPU:
        return _host_finding(subject, one)
    facts = [info.label, info.device] if facts is None else facts
    if one.problem is not None:
        return Finding(
            subject, "problem", "; ".join([one.problem, *facts]),
            "this GPU's energy stays unknown: look at the driver's log (dmesg), reset the GPU, or "
            "run on the bare device instead of a virtual one",
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
        "GPUs", "problem", f"{name} has not answered for {LISTING_TIMEOUT_S:.0f} s",
        "runs would hang as well: look at the driver's log (dmesg), or restart the machine",
    )  # fmt: skip


def _host_finding(subject: str, one: DeviceProbe) -> Finding:
    info = one.info
    if one.problem is not None:
        return Finding(
            subject, "missing", one.problem,
            "its energy stays unknown; --no-host-metering leaves it out",
        )  # fmt: skip
    found = f"{info.name} ({info.label}), ± {info.uncertainty:.0%}"
    if info.method is Method.MEASURED:
        return Finding(subject, "measured", found)
    advice = "no counter exists for memory"
    if info.component is Component.CPU:
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
