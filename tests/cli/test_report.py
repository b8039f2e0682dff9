"""`report` in all its forms, and what `runs` and `ledger` do for whoever must answer for it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from carbon_trainer.reports.formats import FORMATS
from tests.cli.commands import CommandResult
from tests.ledger.test_codecarbon import ROW, emissions
from tests.reports import ledgers
from tests.reports.ledgers import RUN
from tests.reports.portfolio.many import many
from tests.reports.test_recompute import keys

Train = Callable[..., CommandResult]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a finished run."""
    monkeypatch.chdir(tmp_path)
    Path("carbon_runs").mkdir()
    ledgers.finished(Path("carbon_runs/ledger.sqlite")).close()
    return tmp_path


def test_every_format_is_written(carbon_train: Train, folder: Path) -> None:
    # PDF needs a library of the system: tests/real.
    names = [name for name in FORMATS if name != "pdf"]
    result = carbon_train("report", "last", "--format", ",".join(names))
    assert result.status == 0, result.err
    written = {path.name for path in (folder / "carbon_runs" / RUN).iterdir()}
    assert written == {FORMATS[name].file for name in names}


def test_help_lists_every_format(carbon_train: Train, folder: Path) -> None:
    document = carbon_train("report", "--help").out
    assert all(form.file in document for form in FORMATS.values())


@pytest.mark.slow
def test_many_runs_are_reported_together(
    carbon_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    many(tmp_path / "l.sqlite").close()
    flags = ("--ledger", "l.sqlite", "--out", "out", "--format", "html,xlsx,json,esrs,ghg")
    result = carbon_train("report", "--all", "--year", "2026", "--user", "ada", *flags)
    assert result.status == 0, result.err
    document = json.loads(Path("out/portfolio.json").read_text())
    assert [line["run"] for line in document["lines"]] == ["a-final", "d-over"]
    assert carbon_train("report", "--all", *flags).status == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "give either a RUN"), (("last", "--all"), "give either a RUN"),
        (("last", "--year", "2026"), "--year needs --all"),
        (("last", "--from", "2026-01-01"), "--from needs --all"),
        (("--all", "--card", "README.md"), "--card needs a RUN, not --all"),
        (("--all", "--format", "boamps"), "no report format 'boamps'"),
        (("last", "--format", "xslx"), "Did you mean xlsx"),
        (("--all", "--project", "none"), "has no run of project 'none'"),
        (("last", "--sign", "none.pem"), "openssl genpkey"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_status_2(
    carbon_train: Train, folder: Path, flags: tuple[str, ...], message: str
) -> None:
    result = carbon_train("report", *flags)
    assert result.status == 2
    assert message in result.err
    assert "Traceback" not in result.err


def test_a_model_card_is_updated_in_place(carbon_train: Train, folder: Path) -> None:
    Path("README.md").write_text("---\nlicense: mit # agreed\n---\n# Mine\n")
    assert carbon_train("report", "last", "--card", "README.md").status == 0
    text = Path("README.md").read_text()
    assert "license: mit # agreed" in text
    assert "co2_eq_emissions" in text
    assert "# Mine" in text


def test_a_signed_report_is_verified_with_every_figure(carbon_train: Train, folder: Path) -> None:
    _, public = keys(folder)
    assert carbon_train("report", "last", "--sign", "key.pem").status == 0
    result = carbon_train("runs", "verify", "--public-key", str(public))
    assert result.status == 0, result.out
    assert "figures of the report recomputed; signed by" in result.out
    page = folder / "carbon_runs" / RUN / "report.html"
    page.write_text(page.read_text().replace("nightly", "monthly"))
    result = carbon_train("runs", "verify")
    assert result.status == 1
    assert "is not the file that was signed" in result.out


@pytest.mark.slow
def test_a_manipulated_figure_is_found(carbon_train: Train, folder: Path) -> None:
    assert carbon_train("report", "last").status == 0
    path = folder / "carbon_runs" / RUN / "report.json"
    document = json.loads(path.read_text())
    document["figures"]["emissions"]["value"] /= 2
    path.write_text(json.dumps(document))
    result = carbon_train("runs", "verify")
    assert result.status == 1
    assert "emissions: the report says value" in result.out


def test_a_record_is_corrected_and_its_report_shows_it(carbon_train: Train, folder: Path) -> None:
    result = carbon_train(
        "runs", "correct", "last", "--record", "2", "--set", "pue=1.4",
        "--set", "vintage=2025", "--reason", "read again", "--by", "officer",
    )  # fmt: skip
    assert result.status == 0, result.err
    carbon_train("runs", "state", "last", "--operation", "cloud", "--provider", "aws", "--by", "x")
    text = carbon_train("runs", "show", "last").out
    assert "read again" in text
    assert "Scope 3, category 1" in text
    assert carbon_train("runs", "verify").status == 0


@pytest.mark.slow
def test_a_report_older_than_its_record_is_reported(carbon_train: Train, folder: Path) -> None:
    assert carbon_train("report", "last").status == 0
    assert "as of record" not in carbon_train("runs", "verify").out
    carbon_train("runs", "state", "last", "--operation", "own", "--by", "x")
    result = carbon_train("runs", "verify")
    assert result.status == 0
    assert "recomputed, as of record" in result.out


def test_an_instrument_is_recorded_from_a_file(carbon_train: Train, folder: Path) -> None:
    Path("go.yaml").write_text(
        "instrument: guarantee of origin\nregistry: AIB\nserial: 1\nvintage: 2026\nmarket: EU\n"
        "rate_gco2e_per_kwh: 0\nenergy_kwh: 0.01\nsource: wind\n"
    )
    assert carbon_train("runs", "instrument", "last", "go.yaml", "--by", "x").status == 0
    assert "guarantee of origin 1" in carbon_train("runs", "show", "last").out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("correct", "last", "--record", "2", "--set", "pue", "--reason", "x"), "FIELD=VALUE"),
        (("correct", "last", "--record", "2", "--set", "pue=9", "--reason", "x"), "from 1 to 5"),
        (("correct", "last", "--record", "8", "--set", "energy_mj=9", "--reason", "x"),
         "not corrected"),
        (("instrument", "last", "none.yaml"), "cannot read none.yaml"),
        (("instrument", "last", "bad.yaml"), "Did you mean registry"),
        (("import", "none.csv"), "cannot read none.csv"),
    ],
)  # fmt: skip
def test_invalid_amendments_are_refused(
    carbon_train: Train, folder: Path, command: tuple[str, ...], message: str
) -> None:
    Path("bad.yaml").write_text("registy: x\n")
    result = carbon_train("runs", *command)
    assert result.status == 2
    assert message in result.err


def test_ledgers_are_merged_and_merging_again_changes_nothing(
    carbon_train: Train, folder: Path
) -> None:
    for name in ("resumed", "hostile"):
        (folder / name).mkdir()
        ledgers.ALL[name](folder / name / "l.sqlite").close()
    result = carbon_train("ledger", "merge", "resumed/l.sqlite", "--into", "all.sqlite")
    assert result.status == 0, result.err
    assert "1 runs, 1 added" in result.out
    again = carbon_train("ledger", "merge", "resumed/l.sqlite", "--into", "all.sqlite")
    assert "0 added or extended" in again.out
    result = carbon_train("ledger", "merge", "hostile/l.sqlite", "--into", "all.sqlite")
    assert result.status == 1
    assert "NOT MERGED: both ledgers have it with different facts, from record 1 on" in result.out
    assert carbon_train("ledger", "merge", "none.sqlite", "--into", "all.sqlite").status == 2


def test_emissions_of_codecarbon_are_imported(carbon_train: Train, folder: Path) -> None:
    emissions(folder / "emissions.csv", ROW)
    result = carbon_train("runs", "import", "emissions.csv", "--user", "ada")
    assert result.status == 0, result.err
    assert "imported 1 new runs from 1 rows of" in result.out
    assert carbon_train("report", "--all", "--user", "ada", "--format", "json").status == 0


def test_a_broken_chain_is_reported_before_anything_else(carbon_train: Train, folder: Path) -> None:
    assert carbon_train("report", "last").status == 0
    with sqlite3.connect("carbon_runs/ledger.sqlite") as connection:
        connection.execute(
            "UPDATE intervals SET energy_mj=1 WHERE seq=(SELECT min(seq) FROM intervals)"
        )
    result = carbon_train("runs", "verify")
    assert result.status == 1
    assert "BROKEN: record 6 (interval) is not what was written" in result.out


def test_published_figures_are_checked(carbon_train: Train, folder: Path) -> None:
    Path("card.yaml").write_text(
        "name: Llama 3.3 70B\ndevice_hours: 7.0e6\ntdp_w: 700\nintensity_gco2e_per_kwh: 390\n"
        "emissions_kgco2e: 12900\n"
    )
    result = carbon_train("check", "card.yaml")
    assert result.status == 1
    assert "hours, energy or emissions are wrong" in result.out
    Path("card.yaml").write_text("energy_kwh: 100\npue: 1.1\n")
    assert carbon_train("check", "card.yaml").status == 0
    Path("card.yaml").write_text("energy: 100\n")
    assert "Did you mean energy_kwh" in carbon_train("check", "card.yaml").err


def test_sums_that_differ_are_recomputed(carbon_train: Train, folder: Path) -> None:
    with sqlite3.connect("carbon_runs/ledger.sqlite") as connection:
        connection.execute("UPDATE sums SET energy_mj=1")
    result = carbon_train("runs", "verify")
    assert result.status == 1
    assert "but its intervals add up to" in result.out
    assert "recomputed: " in carbon_train("ledger", "rebuild-sums").out
    assert carbon_train("runs", "verify").status == 0
