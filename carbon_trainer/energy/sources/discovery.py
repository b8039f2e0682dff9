"""What there is to meter on this machine: GPUs of each vendor, CPU and memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from carbon_trainer.clock import Clock
from carbon_trainer.energy.sources import amd, host, nvml
from carbon_trainer.energy.sources.base import PowerSource

log = logging.getLogger(__name__)


def discover_batches(
    environ: Mapping[str, str] | None,
    clock: Clock | None,
    *,
    include_host: bool,
    on_error: Callable[[str], None],
) -> Iterator[Sequence[PowerSource]]:
    """Yield the sources of one vendor after the other.

    A driver may take long to list its devices, or hang; those of the vendors before it can be
    metered meanwhile.

    Args:
        environ: variables that restrict the GPUs; by default the process's.
        clock: the time.
        include_host: whether to add CPU and memory.
        on_error: called with the reason where a vendor's devices cannot be listed.
    """
    includes_cpu = False
    for discover in (nvml.discover_gpus, amd.discover_amd_gpus):
        sources: Sequence[PowerSource] = []
        try:
            sources = discover(environ, clock)
        except Exception as error:
            # A vendor's library fails in ways of its own, and the other's GPUs are there still.
            log.debug("discovery", exc_info=True)
            on_error(f"{type(error).__name__}: {error}")
        includes_cpu |= any(source.describe().includes_cpu for source in sources)
        yield sources
    # A module's counter includes its CPU and memory: another source would count them twice.
    if include_host and not includes_cpu:
        yield host.host_sources(clock)


def discover_sources(clock: Clock | None = None) -> list[PowerSource]:
    """Return what a run would meter on this machine: its GPUs, its CPU and memory."""
    batches = discover_batches(
        None,
        clock,
        include_host=True,
        on_error=lambda reason: log.warning("GPUs could not be listed: %s", reason),
    )
    return [source for batch in batches for source in batch]
