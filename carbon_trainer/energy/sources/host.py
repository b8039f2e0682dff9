"""CPU and memory through CodeCarbon and its public output hook, measured on demand."""

from __future__ import annotations

import logging
import tempfile
import threading
from typing import TYPE_CHECKING, Any

from carbon_trainer.clock import NS_PER_S, Clock, SystemClock
from carbon_trainer.energy.sources.base import (
    Component,
    Method,
    Reading,
    SourceInfo,
    SourceLostError,
)
from carbon_trainer.units import mj_from_kwh

if TYPE_CHECKING:
    from codecarbon import OfflineEmissionsTracker

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
NEVER_S = 365 * 86_400.0
"""CodeCarbon's own timer would race with ``flush``, and hide the errors in it."""

RAPL_UNCERTAINTY = 0.05
MODEL_UNCERTAINTY = 0.5
"""Relative error, one sigma, assumed for load x rated power and for 5 W per memory module: a
comparison of tools found CodeCarbon at about twice the counters' figures (CCGrid 2023)."""

COUNTER_MODES = {"intel_rapl": "RAPL", "windows_emi": "EMI", "apple_powermetrics": "powermetrics"}
"""CodeCarbon's CPU modes that read a counter or sensor, with their names for people."""


class HostTracker:
    """The CodeCarbon tracker that the CPU's and the memory's source share.

    Args:
        clock: the time.
    """

    __slots__ = (
        "_clock", "_lock", "_measured_ns", "_readings", "_tracker", "_users", "cpu_mode",
        "cpu_model",
    )  # fmt: skip

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._tracker: OfflineEmissionsTracker | None = None
        self._users = 0
        self._readings: dict[Component, Reading] = {}
        self._measured_ns = 0
        self.cpu_mode = ""
        self.cpu_model = ""

    def acquire(self) -> None:
        """Start the tracker for its first user; takes a second or two.

        Raises:
            SourceLostError: if CodeCarbon does not start.
        """
        with self._lock:
            self._users += 1
            if self._tracker is None:
                try:
                    self._tracker = self._start()
                except Exception as error:
                    # CodeCarbon probes hardware in many ways, which fail with many exceptions.
                    self._users -= 1
                    raise SourceLostError(
                        f"CodeCarbon does not start: {type(error).__name__}: {error}"
                    ) from error

    def release(self) -> None:
        """Measure up to now, and stop the tracker with its last user."""
        with self._lock:
            if self._tracker is not None:
                # The end of a run is between two measurements, and its energy would be missing.
                self._measure(self._tracker)
            self._users = max(0, self._users - 1)
            tracker = self._tracker
            if self._users or tracker is None:
                return
            self._tracker = None
            tracker.stop()

    def reading(self, component: Component) -> Reading | None:
        """Return a component's newest reading, a fresh one each second; None once released.

        Raises:
            SourceLostError: if CodeCarbon returns nothing; it swallows its own errors.
        """
        with self._lock:
            previous = self._readings.get(component)
            now_ns = self._clock.now_ns()
            # One measurement gives both components, so the second source to ask finds it done.
            is_due = previous is None or now_ns - previous.time_ns >= INTERVAL_S * NS_PER_S
            if self._tracker is None or not is_due:
                return previous
            self._measure(self._tracker)
            reading = self._readings.get(component)
        if reading is None or reading is previous:
            raise SourceLostError("CodeCarbon returns no figures")
        return reading

    def add_emissions(self, data: Any) -> None:
        """Add CodeCarbon's cumulative energies, kWh."""
        for component, energy_kwh, power_w in (
            (Component.CPU, data.cpu_energy, data.cpu_power),
            (Component.RAM, data.ram_energy, data.ram_power),
        ):
            self._readings[component] = Reading(
                self._measured_ns, mj_from_kwh(float(energy_kwh)), round(float(power_w) * 1000)
            )

    def _measure(self, tracker: OfflineEmissionsTracker) -> None:
        """Have CodeCarbon measure; it does so at once, but may report it much later.

        Two readings dated by the reports could lie so close together that the energy between them
        would be a power of kilowatts.
        """
        self._measured_ns = self._clock.now_ns()
        tracker.flush()

    def _start(self) -> OfflineEmissionsTracker:
        from codecarbon import OfflineEmissionsTracker
        from codecarbon.output_methods.base_output import BaseOutput

        owner = self

        class Hook(BaseOutput):
            """Passes each measurement on."""

            def out(self, total: Any, delta: Any) -> None:
                owner.add_emissions(total)

        # Its messages stay off the terminal; its errors are reported as those of a source.
        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
        # Every output is set, so that no file or variable of the user's can turn one on.
        tracker = OfflineEmissionsTracker(
            country_iso_code="FRA",
            measure_power_secs=NEVER_S,
            api_call_interval=-1,
            output_dir=tempfile.gettempdir(),
            gpu_ids=[],
            output_methods=[],
            output_handlers=[Hook()],
            emissions_endpoint=None,
            # Not None: CodeCarbon would look for an older setting's token and go to the network.
            electricitymaps_api_token="",
            force_carbon_intensity_g_co2e_kwh=1.0,
            cloud_provider=None,
            region=None,
            tracking_mode="machine",
            log_level="critical",
            pue=1,
            wue=0,
            allow_multiple_runs=True,
        )
        self.cpu_mode, self.cpu_model = _cpu(tracker)
        tracker.start()
        return tracker


class HostSource:
    """CPU or memory, as CodeCarbon measures it.

    Args:
        tracker: shared by both.
        component: which of the two.
    """

    __slots__ = ("_component", "_open", "_tracker")

    def __init__(self, tracker: HostTracker, component: Component) -> None:
        self._tracker = tracker
        self._component = component
        self._open = False

    def open(self) -> None:
        """Start CodeCarbon if it is not running yet.

        Raises:
            SourceLostError: if it does not start.
        """
        self._tracker.acquire()
        self._open = True

    def read(self) -> Reading | None:
        """Return the newest reading; None before the first."""
        return self._tracker.reading(self._component)

    def sample_power(self) -> int | None:
        """Return None: CodeCarbon measures energies once a second."""
        return None

    def describe(self) -> SourceInfo:
        """Return how the figure is obtained."""
        if self._component is Component.RAM:
            return self._info("CodeCarbon, 5 W a memory module", Method.ESTIMATED, "memory")
        counter = COUNTER_MODES.get(self._tracker.cpu_mode)
        if counter:
            name = f"{counter}, through CodeCarbon"
            return self._info(name, Method.MEASURED, self._tracker.cpu_model or "CPU")
        return self._info(
            "CodeCarbon, load x rated power", Method.ESTIMATED, self._tracker.cpu_model or "CPU"
        )

    def close(self) -> None:
        """Release CodeCarbon, which stops with its last user."""
        if self._open:
            self._open = False
            self._tracker.release()

    def _info(self, name: str, method: Method, label: str) -> SourceInfo:
        measured = method is Method.MEASURED
        return SourceInfo(
            name=name,
            component=self._component,
            device=str(self._component),
            label=label,
            method=method,
            refresh_s=INTERVAL_S,
            uncertainty=RAPL_UNCERTAINTY if measured else MODEL_UNCERTAINTY,
        )


def host_sources(clock: Clock | None = None) -> list[HostSource]:
    """Return the sources of this machine's CPU and memory."""
    tracker = HostTracker(clock)
    return [HostSource(tracker, Component.CPU), HostSource(tracker, Component.RAM)]


def _cpu(tracker: Any) -> tuple[str, str]:
    """Return CodeCarbon's mode of the CPU, and the CPU's model."""
    # Private attributes, which another version may not have: the figure is right without them.
    for hardware in getattr(tracker, "_hardware", []):
        if type(hardware).__name__ in ("CPU", "AppleSiliconChip"):
            mode = "apple_powermetrics" if "Apple" in type(hardware).__name__ else ""
            model = getattr(hardware, "_model", "") or ""
            return mode or str(getattr(hardware, "_mode", "")), str(model)
    return "", ""
