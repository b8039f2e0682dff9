"""The AMD cards that a process may use: visibility, dies, partitions, a missing library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from carbon_trainer.energy.sources.amd import discover_amd_gpus
from carbon_trainer.energy.sources.amd_devices import visible_indices
from tests.simulation.amdsmi import SimulatedAmd, SimulatedAmdSmi

A, B, C = "GPU-aaaa000000000001", "GPU-bbbb000000000002", "GPU-cccc000000000003"


def _only(monkeypatch: pytest.MonkeyPatch, *gpus: SimulatedAmd) -> list[str]:
    SimulatedAmdSmi(*gpus).install(monkeypatch)
    return [source.describe().device for source in discover_amd_gpus({})]


def _module(*, second_reports: bool = False) -> list[SimulatedAmd]:
    dies = [
        SimulatedAmd(serial=uuid[4:], bdf=bdf, device_id="0x7408", name="AMD Instinct MI250X")
        for uuid, bdf in ((A, "0000:c1:00.0"), (B, "0000:c6:00.0"))
    ]
    dies[0 if second_reports else 1].silent = True
    return dies


@pytest.mark.parametrize("second_reports", [False, True])
@pytest.mark.parametrize("listed", [None, "0", "1", "1,0"])
def test_a_module_of_two_dies_is_counted_once_whichever_die_is_used(
    second_reports: bool, listed: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = SimulatedAmdSmi(*_module(second_reports=second_reports)).install(monkeypatch)
    environ = {} if listed is None else {"ROCR_VISIBLE_DEVICES": listed}
    (source,) = discover_amd_gpus(environ, library.clock)
    source.open()
    assert source.read() is not None
    assert source.describe().device == (B if second_reports else A)
    assert "both dies" in source.describe().note


def test_a_silent_card_of_another_kind_is_not_taken_for_a_die(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = SimulatedAmd(serial=B[4:], bdf="0000:c6:00.0", silent=True)
    assert _only(monkeypatch, SimulatedAmd(), silent) == [A, B]


def test_a_card_in_partitions_is_counted_once_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [
        SimulatedAmd(bdf=f"0000:c1:00.{part}", power_key="socket_power" if part == 0 else None,
                     has_counter=part == 0)
        for part in range(4)
    ]  # fmt: skip
    SimulatedAmdSmi(*parts).install(monkeypatch)
    (source,) = discover_amd_gpus({"HIP_VISIBLE_DEVICES": "2,3"})
    assert source.describe().device == A
    assert "whole card" in source.describe().note


@pytest.mark.parametrize(
    ("rocr", "hip", "cuda", "indices"),
    [
        (None, None, None, [0, 1, 2]), ("", None, None, []), ("2,0", None, None, [2, 0]),
        ("2,1", "1", None, [1]), ("2,1", None, "0", [2]), (None, "1", "0", [1]),
        (None, "", "2", [2]), (None, None, "", [0, 1, 2]), (None, "-1", None, []),
        ("0,7,1", None, None, [0]), (B, None, None, [1]), (B.upper(), "0", None, [1]),
        ("1,2", C, None, [2]), ("1,2", A, None, []), ("0,0", None, None, [0]),
        ("GPU-", None, None, []), (f" {C} , 0", None, None, [2, 0]),
    ],
)  # fmt: skip
def test_visible_cards_are_those_that_hip_would_see(
    rocr: str | None, hip: str | None, cuda: str | None, indices: list[int]
) -> None:
    names = "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"
    pairs = zip(names, (rocr, hip, cuda), strict=True)
    environ = {name: value for name, value in pairs if value is not None}
    assert visible_indices(environ, [A, B, C]) == indices


def test_cards_are_in_the_kernels_order(monkeypatch: pytest.MonkeyPatch) -> None:
    late = SimulatedAmd(node_id=3)
    early = SimulatedAmd(node_id=2, serial=B[4:], bdf="0000:c6:00.0")
    assert _only(monkeypatch, late, early) == [B, A]


def test_without_the_library_there_are_no_cards_and_no_noise(tmp_path: Path) -> None:
    package = tmp_path / "amdsmi"
    package.mkdir()
    noisy = "print('Unable to find libamd_smi.so')\n{}['libamd_smi.so']\n"
    (package / "__init__.py").write_text(noisy)
    code = (
        "from carbon_trainer.energy.sources.amd import discover_amd_gpus as d\nassert d({}) == []"
    )
    for path in (tmp_path, tmp_path / "nothing"):
        program = f"import sys; sys.path.insert(0, {str(path)!r}); {code}"
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_a_library_of_another_version_is_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "amdsmi.py").write_text("raise AttributeError('undefined symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("carbon_trainer.energy.sources.amd_devices._library_loads", lambda _: True)
    assert discover_amd_gpus({}) == []
