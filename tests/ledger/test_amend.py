"""What is said of a run afterwards is a new record, checked before it is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.amend import amend
from carbon_trainer.ledger.facts import BoundaryStated, Corrected, InstrumentHeld
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from tests.reports import ledgers
from tests.reports.ledgers import RUN

FACTOR = 2
"""The number of the intensity_used record."""
WIND = InstrumentHeld(
    instrument="guarantee of origin", registry="AIB", serial="GO-1", vintage="2026", market="EU",
    rate_gco2e_per_kwh=0.0, energy_kwh=0.005, source="wind", by="an officer",
)  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return ledgers.finished(tmp_path / "l.sqlite")


def _correct(ledger: Ledger, seq: int = FACTOR, reason: str = "typo", **changes: object) -> None:
    amend(ledger, RUN, Corrected(of_seq=seq, changes=changes, reason=reason, by="me"), 1)


def test_a_correction_is_one_more_link_of_the_chain(ledger: Ledger) -> None:
    before = ledger.head(RUN)
    _correct(ledger, pue=1.4)
    assert ledger.head(RUN).seq == before.seq + 1
    assert ledger.sha256_at(RUN, before.seq) == before.sha256
    assert verify(ledger, RUN).ok


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pue": 0.8}, "pue is 0.8, but should be from 1 to 5"),
        ({"pue": "high"}, "pue is 'high', but should be a number"),
        ({"intensity": 3}, "Did you mean intensity_gco2e_per_kwh"),
        ({"intensity_gco2e_per_kwh": 475_000.0}, "from 0 to 3000"),
        ({"zone": 7}, "zone is 7, but should be a str"),
    ],
)
def test_what_cannot_be_is_refused(ledger: Ledger, changes: dict[str, object], said: str) -> None:
    before = ledger.head(RUN)
    with pytest.raises(InputError, match=said):
        _correct(ledger, **changes)
    assert ledger.head(RUN) == before


def test_metered_energy_is_not_corrected(ledger: Ledger) -> None:
    interval = int(ledger.intervals(RUN)["seq"].iloc[0])
    with pytest.raises(InputError, match="an interval, which is not corrected"):
        _correct(ledger, seq=interval, energy_mj=1)
    with pytest.raises(InputError, match="not there"):
        _correct(ledger, seq=99_999, energy_mj=1)
    with pytest.raises(InputError, match="machine_described, which is not corrected"):
        _correct(ledger, seq=3, cpu="another")


def test_a_reason_and_a_name_are_asked_for(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="--reason"):
        _correct(ledger, reason=" ", pue=1.3)
    with pytest.raises(InputError, match="--by"):
        amend(ledger, RUN, BoundaryStated(operation="own", by=""), 1)


def test_an_open_run_is_left_to_its_own_process(tmp_path: Path) -> None:
    ledger = ledgers.still_open(tmp_path / "open.sqlite")
    with pytest.raises(InputError, match="is open"):
        amend(ledger, RUN, BoundaryStated(operation="own", by="me"), 1)


@pytest.mark.parametrize("name", ["registry", "serial", "vintage", "market"])
def test_an_instrument_without_evidence_does_not_count(ledger: Ledger, name: str) -> None:
    fields = {**WIND.body(), name: ""}
    with pytest.raises(InputError, match=f"no {name}"):
        amend(ledger, RUN, InstrumentHeld(**fields), 1)


def test_an_instrument_with_evidence_counts(ledger: Ledger) -> None:
    amend(ledger, RUN, WIND, 1)
    assert ledger.facts(RUN, InstrumentHeld)[0].fact() == WIND


def test_an_unknown_operation_is_named(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="Did you mean cloud"):
        amend(ledger, RUN, BoundaryStated(operation="clowd", by="me"), 1)
