"""Each provider's newest forecast and history of a zone, on disk for when it does not answer."""

from __future__ import annotations

import dataclasses
import logging
from datetime import datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import numpy as np
import platformdirs
from pydantic import TypeAdapter, ValidationError

from carbon_trainer.errors import InputError
from carbon_trainer.files import write_atomic
from carbon_trainer.grid.series import IntensitySeries, SeriesInfo

log = logging.getLogger(__name__)
Kind = Literal["forecast", "history"]


@dataclasses.dataclass(frozen=True, slots=True)
class _StoredSeries:
    info: SeriesInfo
    start_ns: int
    step_ns: int
    intensity_gco2e_per_kwh: list[float]
    basis: list[int]


class Store:
    """Keeps series in a folder.

    Args:
        folder: where; the user's cache folder by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or platformdirs.user_cache_path("carbon-trainer") / "grid" / "newest"
        self._adapter = TypeAdapter(_StoredSeries)

    def put(self, provider: str, zone: str, kind: Kind, series: IntensitySeries) -> None:
        """Keep a series; a disk that takes none is logged, as nothing depends on it."""
        document = _StoredSeries(
            series.info,
            series.start_ns,
            series.step_ns,
            series.intensity_gco2e_per_kwh.tolist(),
            series.basis.tolist(),
        )
        path = self._path(provider, zone, kind)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, self._adapter.dump_json(document))
        except OSError as error:
            log.warning("the %s of %s cannot be kept: %s", kind, zone, error.strerror)

    def newest(self, provider: str, zone: str, kind: Kind) -> IntensitySeries | None:
        """Return the series that was kept last; None where there is none that can be read."""
        try:
            document = self._adapter.validate_json(self._path(provider, zone, kind).read_bytes())
            return IntensitySeries(
                document.info,
                document.start_ns,
                document.step_ns,
                np.array(document.intensity_gco2e_per_kwh, float),
                np.array(document.basis, np.uint8),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, InputError) as error:
            log.warning("the kept %s of %s cannot be used: %s", kind, zone, type(error).__name__)
            return None

    def _path(self, provider: str, zone: str, kind: Kind) -> Path:
        return self._folder / f"{provider}-{quote(zone, safe='')}-{kind}.json"


def issued_note(series: IntensitySeries) -> str:
    """Return a note that says how old a forecast is that is used again."""
    when: datetime = series.info.issued_at or series.time(0)
    return f"the forecast of {when:%Y-%m-%d %H:%M} UTC is used until its horizon ends"
