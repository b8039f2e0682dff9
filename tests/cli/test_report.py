"""`report` in all its forms, and what `runs` and `ledger` do for whoever must answer for it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from carbon_trainer.reports.formats import FORMATS
from tests.cli.commands import Ended
from tests.ledger.test_codecarbon import ROW, emissions
from tests.reports import ledgers
from tests.reports.ledgers import RUN
from tests.reports.portfolio.many import many
from tests.reports.test_recompute import keys

Train = Callable[..., Ended]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a finished run."""
    monkeypatch.chdir(tmp_path)
    Path("carbon_runs").mkdir()
    ledgers.finished(Path("carbon_runs/ledger.sqlite")).close()
    return tmp_path


def test_every_form_is_written_by_its_name(carbon_train: Train, folder: Path) -> None:
    # PDF needs a library of the system: tests/real.
    names = [name for name in FORMATS if name != "pdf"]
    ended = carbon_train("report", "last", "--format", ",".join(names))
    assert ended.status == 0, ended.err
    written = {path.name for path in (folder / "carbon_runs" / RUN).iterdir()}
    assert written == {FORMATS[name].file for name in names}


def test_help_names_every_form(carbon_train: Train, folder: Path) -> None:
    told = carbon_train("report", "--help").out
    assert all(form.file in told for form in FORMATS.values())


@pytest.mark.slow
def test_many_runs_are_reported_together(
    carbon_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    many(tmp_path / "l.sqlite").close()
    flags = ("--ledger", "l.sqlite", "--out", "out", "--format", "html,xlsx,json,esrs,ghg")
    ended = carbon_train("report", "--all", "--year", "2026", "--user", "ada", *flags)
    assert ended.status == 0, ended.err
    document = json.loads(Path("out/portfolio.json").read_text())
    assert [line["run"] for line in document["lines"]] == ["a-final", "d-over"]
    assert carbon_train("report", "--all", *flags).status == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "name one RUN"), (("last", "--all"), "name one RUN"),
        (("last", "--year", "2026"), "--year chooses among many runs: give --all"),
        (("last", "--from", "2026-01-01"), "--from chooses among many"),
        (("--all", "--card", "README.md"), "--card is for one run"),
        (("--all", "--format", "boamps"), "no report format 'boamps'"),
        (("last", "--format", "xslx"), "Did you mean xlsx"),
        (("--all", "--project", "none"), "has no run of project 'none'"),
        (("last", "--sign", "none.pem"), "openssl genpkey"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_status_2(
    carbon_train: Train, folder: Path, flags: tuple[str, ...], said: str
) -> None:
    ended = carbon_train("report", *flags)
    assert ended.status == 2
    assert said in ended.err
    assert "Traceback" not in ended.err


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
    ended = carbon_train("runs", "verify", "--public-key", str(public))
    assert ended.status == 0, ended.out
    assert "figures of the report recomputed; signed by" in ended.out
    page = folder / "carbon_runs" / RUN / "report.html"
    page.write_text(page.read_text().replace("nightly", "monthly"))
    ended = carbon_train("runs", "verify")
    assert ended.status == 1
    assert "is not the file that was signed" in ended.out


@pytest.mark.slow
def test_a_figure_that_was_made_nicer_is_found(carbon_train: Train, folder: Path) -> None:
    assert carbon_train("report", "last").status == 0
    path = folder / "carbon_runs" / RUN / "report.json"
    document = json.loads(path.read_text())
    document["figures"]["emissions"]["value"] /= 2
    path.write_text(json.dumps(document))
    ended = carbon_train("runs", "verify")
    assert ended.status == 1
    assert "emissions: the report says value" in ended.out


def test_a_record_is_corrected_and_its_report_says_so(carbon_train: Train, folder: Path) -> None:
    ended = carbon_train(
        "runs", "correct", "last", "--record", "2", "--set", "pue=1.4",
        "--set", "vintage=2025", "--reason", "read again", "--by", "officer",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    carbon_train("runs", "state", "last", "--operation", "cloud", "--provider", "aws", "--by", "x")
    text = carbon_train("runs", "show", "last").out
    assert "read again" in text
    assert "Scope 3, category 1" in text
    assert carbon_train("runs", "verify").status == 0


@pytest.mark.slow
def test_a_report_older_than_its_record_is_said_to_be(carbon_train: Train, folder: Path) -> None:
    assert carbon_train("report", "last").status == 0
    assert "as of record" not in carbon_train("runs", "verify").out
    carbon_train("runs", "state", "last", "--operation", "own", "--by", "x")
    ended = carbon_train("runs", "verify")
    assert ended.status == 0
    assert "recomputed, as of record" in ended.out


def test_an_instrument_is_booked_from_a_file(carbon_train: Train, folder: Path) -> None:
    Path("go.yaml").write_text(
        "instrument: guarantee of origin\nregistry: AIB\nserial: 1\nvintage: 2026\nmarket: EU\n"
        "rate_gco2e_per_kwh: 0\nenergy_kwh: 0.01\nsource: wind\n"
    )
    assert carbon_train("runs", "instrument", "last", "go.yaml", "--by", "x").status == 0
    assert "guarantee of origin 1" in carbon_train("runs", "show", "last").out


@pytest.mark.parametrize(
    ("command", "said"),
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
def test_what_cannot_be_said_is_refused(
    carbon_train: Train, folder: Path, command: tuple[str, ...], said: str
) -> None:
    Path("bad.yaml").write_text("registy: x\n")
    ended = carbon_train("runs", *command)
    assert ended.status == 2
    assert said in ended.err


def test_ledgers_are_merged_and_merging_again_is_harmless(
    carbon_train: Train, folder: Path
) -> None:
    for name in ("resumed", "hostile"):
        (folder / name).mkdir()
        ledgers.ALL[name](folder / name / "l.sqlite").close()
    ended = carbon_train("ledger", "merge", "resumed/l.sqlite", "--into", "all.sqlite")
    assert ended.status == 0, ended.err
    assert "1 runs, 1 of them" in ended.out
    assert (
        "0 of them"
        in carbon_train("ledger", "merge", "resumed/l.sqlite", "--into", "all.sqlite").out
    )
    ended = carbon_train("ledger", "merge", "hostile/l.sqlite", "--into", "all.sqlite")
    assert ended.status == 1
    assert "NOT MERGED: both ledgers have it with different facts, from record 1 on" in ended.out
    assert carbon_train("ledger", "merge", "none.sqlite", "--into", "all.sqlite").status == 2


def test_emissions_of_codecarbon_are_taken_in(carbon_train: Train, folder: Path) -> None:
    emissions(folder / "emissions.csv", ROW)
    ended = carbon_train("runs", "import", "emissions.csv", "--user", "ada")
    assert ended.status == 0, ended.err
    assert "1 of 1 rows" in ended.out
    assert carbon_train("report", "--all", "--user", "ada", "--format", "json").status == 0


def test_a_broken_chain_is_named_before_anything_else(carbon_train: Train, folder: Path) -> None:
    assert carbon_train("report", "last").status == 0
    with sqlite3.connect("carbon_runs/ledger.sqlite") as connection:
        connection.execute(
            "UPDATE intervals SET energy_mj=1 WHERE seq=(SELECT min(seq) FROM intervals)"
        )
    ended = carbon_train("runs", "verify")
    assert ended.status == 1
    assert "BROKEN: record 6 (interval) is not what was written" in ended.out


def test_published_figures_are_checked(carbon_train: Train, folder: Path) -> None:
    Path("card.yaml").write_text(
        "name: Llama 3.3 70B\ndevice_hours: 7.0e6\ntdp_w: 700\nintensity_gco2e_per_kwh: 390\n"
        "emissions_kgco2e: 12900\n"
    )
    ended = carbon_train("check", "card.yaml")
    assert ended.status == 1
    assert "hours, energy or emissions are wrong" in ended.out
    Path("card.yaml").write_text("energy_kwh: 100\npue: 1.1\n")
    assert carbon_train("check", "card.yaml").status == 0
    Path("card.yaml").write_text("energy: 100\n")
    assert "Did you mean energy_kwh" in carbon_train("check", "card.yaml").err


def test_sums_that_differ_are_found_and_made_anew(carbon_train: Train, folder: Path) -> None:
    with sqlite3.connect("carbon_runs/ledger.sqlite") as connection:
        connection.execute("UPDATE sums SET energy_mj=1")
    ended = carbon_train("runs", "verify")
    assert ended.status == 1
    assert "but its intervals add up to" in ended.out
    assert "made anew" in carbon_train("ledger", "rebuild-sums").out
    assert carbon_train("runs", "verify").status == 0
