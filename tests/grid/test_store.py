from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from carbon_trainer.grid.series import SeriesInfo
from carbon_trainer.grid.store import Store
from tests.planning.problems import series


def test_a_series_is_read_back_as_it_was_kept(tmp_path: Path) -> None:
    store, stored = Store(tmp_path), series([100, 250.5], start_ns=5)
    store.put("gb-neso", "GB/1", "forecast", stored)
    read = store.newest("gb-neso", "GB/1", "forecast")
    assert read is not None
    assert read.info == stored.info
    assert (read.start_ns, read.step_ns) == (5, stored.step_ns)
    assert read.intensity_gco2e_per_kwh.tolist() == [100, 250.5]
    assert store.newest("gb-neso", "GB/1", "history") is None


def test_what_cannot_be_read_counts_as_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("p", "Z", "forecast", series([1, 2]))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:40])
    assert store.newest("p", "Z", "forecast") is None


def test_a_disk_that_takes_nothing_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = Store(tmp_path / "file" / "newest")
    store.put("p", "Z", "forecast", series([1, 2]))
    assert store.newest("p", "Z", "history") is None


def test_when_it_was_issued_is_kept(tmp_path: Path) -> None:
    import dataclasses

    issued_at = datetime(2026, 6, 1, tzinfo=UTC)
    info: SeriesInfo = dataclasses.replace(series([1]).info, issued_at=issued_at)
    Store(tmp_path).put("p", "Z", "forecast", dataclasses.replace(series([1]), info=info))
    read = Store(tmp_path).newest("p", "Z", "forecast")
    assert read is not None
    assert read.info.issued_at == issued_at
