"""`carbon-train data` as its user sees it: what is kept, why not, and what it says of that."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from carbon_trainer.curation import job
from carbon_trainer.curation.cleaning import Cleaner
from carbon_trainer.ledger.facts import CorpusDescribed, DatasetPrepared, RunClosed
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from tests.cli.commands import ROOT, CommandResult, Shell
from tests.curation.corpora import GERMAN, mixed_corpus, prose, write_rows
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml
from tests.simulation.power import Constant
from tests.warm import WarmProcess

GPU: dict[str, object] = {"uuid": "GPU-11112222-3333-4444-5555-666677778888", "power_w": 10_000.0}
QUICK = ["--no-host-metering", "--zone", "GB"]
ALL_STEPS = [
    "--licences", "MIT", "--remove", "remove.csv", "--languages", "en", "--explicit", "drop",
    "--blocklist", "words.txt", "--near-duplicates", "0.8", "--pii", "redact",
]  # fmt: skip

Command = Callable[..., CommandResult]


def _sheet(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "datasheet.json").read_text())


def _schema() -> dict[str, Any]:
    schemas = files("carbon_trainer.curation") / "schemas"
    return json.loads((schemas / "datasheet.schema.json").read_text())


def _data_bytes(folder: Path) -> dict[str, bytes]:
    """Return all files but the datasheet, which tells of the run too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.stem != "datasheet"
    }


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [
        row for part in sorted(folder.glob("part-*")) for row in pq.read_table(part).to_pylist()
    ]


def _ledger(shell: Shell) -> Ledger:
    return Ledger.open(shell.folder / "carbon_runs" / "ledger.sqlite", create=False)


@pytest.mark.slow
def test_every_step_removes_its_documents_and_counts_them(
    shell: Shell, carbon_train: Command
) -> None:
    mixed_corpus(shell.folder)
    result = carbon_train("data", "prepare", "mixed.jsonl", "--to", "out", *ALL_STEPS, *QUICK)
    assert result.status == 0, result.err
    out = shell.folder / "out"
    sheet = _sheet(out)
    assert sheet["sources"][0]["removed"] == {
        "exact duplicate": 1, "explicit content": 1, "licence not allowed": 2,
        "near duplicate": 1, "on the removal list": 1, "other language": 1,
    }  # fmt: skip
    rows = _rows(out)
    assert [row["id"] for row in rows] == [*(f"d{n}" for n in range(40)), "personal"]
    assert rows[-1]["text"].endswith(" Mail <EMAIL_ADDRESS>.")
    assert rows[0] == {
        "text": prose(0), "id": "d0", "source": "mixed.jsonl", "licence": "MIT", "language": "en",
    }  # fmt: skip
    assert sheet["personal_data"]["found"] == {"EMAIL_ADDRESS": 1}
    assert sheet["refused"]["licences"] == {"LicenseRef-closed": 1, "not stated": 1}
    assert "jane@example.com" not in (out / "datasheet.json").read_text()
    jsonschema.validate(sheet, _schema())
    page = (out / "datasheet.md").read_text()
    for heading in ("Motivation", "Composition", "Collection process", "Uses", "Maintenance"):
        assert f"\n## {heading}\n" in page
    assert "41 documents" in page
    assert "| mixed.jsonl | near duplicate | 1 |" in page
    assert "names of people and where they live are not found" in page


def test_only_enabled_steps_run(shell: Shell, carbon_train: Command) -> None:
    mixed_corpus(shell.folder)
    result = carbon_train("data", "prepare", "mixed.jsonl", "--to", "out", *QUICK)
    assert result.status == 0, result.err
    assert _sheet(shell.folder / "out")["sources"][0]["removed"] == {"exact duplicate": 1}
    assert len(_rows(shell.folder / "out")) == 47
    page = (shell.folder / "out" / "datasheet.md").read_text()
    assert "Personal data: not stated; it was not looked for." in page
    assert "| languages | not asked for |" in page


@pytest.mark.slow
def test_explicit_words_depend_on_the_language_of_each_document(
    shell: Shell, carbon_train: Command
) -> None:
    rows = [
        {"id": "plain", "text": prose(1)},
        {"id": "one", "text": prose(2) + " What the hell."},
        {"id": "two", "text": prose(3) + " What the hell, damn it."},
        {"id": "german", "text": GERMAN + " Es wurde hell."},
        {"id": "rude", "text": GERMAN + " Ein Arsch, und ein Idiot."},
        {"id": "chinese", "text": "今天早上的天气很好。我们一起去河边散步。然后回家吃饭。"},
    ]
    write_rows(shell.folder / "a.jsonl", rows)
    looked = ["data", "prepare", "a.jsonl", "--languages", "any", *QUICK]
    result = carbon_train(*looked, "--to", "out", "--explicit", "keep")
    assert result.status == 0, result.err
    sheet = _sheet(shell.folder / "out")
    jsonschema.validate(sheet, _schema())
    assert sheet["explicit_documents"] == 3
    document = sheet["explicit_words"]
    assert document["list"] == f"the lists of badwords-py {version('badwords-py')}"
    assert document["documents_by_words"] == {"1": 2, "2": 1}
    assert document["documents_without_list"] == {"zh": 1}
    assert sheet["software"]["badwords-py"] == version("badwords-py")
    page = (shell.folder / "out" / "datasheet.md").read_text()
    assert "3 documents had 1 or more different words of the lists of badwords-py" in page
    assert "since their language has none: 1 documents in zh." in page
    assert "https://arxiv.org/abs/2104.08758" in page
    flags = ["--to", "clean", "--explicit", "drop", "--explicit-words", "2"]
    assert carbon_train(*looked, *flags).status == 0
    ids = [row["id"] for row in _rows(shell.folder / "clean")]
    assert ids == ["plain", "one", "german", "rude", "chinese"]


def test_a_custom_word_list_replaces_the_built_in_ones(shell: Shell, carbon_train: Command) -> None:
    rows = [
        {"id": "hell", "text": prose(1) + " Hell."},
        {"id": "own", "text": prose(2) + " Fnord."},
    ]
    write_rows(shell.folder / "a.jsonl", rows)
    (shell.folder / "words.txt").write_text("fnord\n")
    flags = ["--to", "out", "--explicit", "drop", "--blocklist", "words.txt"]
    assert carbon_train("data", "prepare", "a.jsonl", *flags, *QUICK).status == 0
    assert [row["id"] for row in _rows(shell.folder / "out")] == ["hell"]
    document = _sheet(shell.folder / "out")["explicit_words"]
    assert document["list"] == "a list of the preparer's own"
    assert document["words"] == {"": 1}


def test_a_file_names_sources_with_licence_and_origin(shell: Shell, carbon_train: Command) -> None:
    write_rows(shell.folder / "a.jsonl", [{"text": prose(1)}, {"text": prose(2), "license": "mit"}])
    (shell.folder / "b.txt").write_text(prose(3))
    (shell.folder / "prepare.yaml").write_text(
        "to: out\nlicences: [CC0-1.0, MIT]\nsources:\n"
        "- {path: a.jsonl, name: letters, licence: cc0-1.0, origin: https://example.org/letters}\n"
        "- {path: b.txt, licence: CC-BY-4.0}\n"
        "datasheet: {motivation: To test.}\n"
    )
    result = carbon_train("data", "prepare", "prepare.yaml", *QUICK)
    assert result.status == 0, result.err
    sheet = _sheet(shell.folder / "out")
    assert sheet["licences"] == {"CC0-1.0": 1, "MIT": 1}
    assert [s["removed"] for s in sheet["sources"]] == [{}, {"licence not allowed": 1}]
    assert sheet["sources"][0]["origin"] == "https://example.org/letters"
    assert [row["id"] for row in _rows(shell.folder / "out")] == ["a.jsonl#1", "a.jsonl#2"]
    page = (shell.folder / "out" / "datasheet.md").read_text()
    assert "## Motivation\n\nTo test.\n" in page


@pytest.mark.slow
def test_the_same_command_gives_the_same_bytes(shell: Shell, carbon_train: Command) -> None:
    mixed_corpus(shell.folder)
    for to in ("one", "two"):
        steps = ["--near-duplicates", "0.8", "--licences", "MIT"]
        assert (
            carbon_train("data", "prepare", "mixed.jsonl", "--to", to, *steps, *QUICK).status == 0
        )
    first, second = (_data_bytes(shell.folder / to) for to in ("one", "two"))
    assert first == second
    sheets = [_sheet(shell.folder / to) for to in ("one", "two")]
    for sheet in sheets:
        del sheet["preparation"], sheet["name"]
    assert sheets[0] == sheets[1]


KILLED = ["a.jsonl", "--near-duplicates", "0.8", "--shard-mb", "1", *QUICK]


def _rows_to_be_killed(folder: Path) -> None:
    write_rows(folder / "a.jsonl", [{"text": prose(n % 700, 16)} for n in range(1000)])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a preparation leaves that nothing has disturbed."""
    shell = Shell(tmp_path_factory.mktemp("uninterrupted"))
    _rows_to_be_killed(shell.folder)
    result = shell.run("data", "prepare", "--to", "uninterrupted", *KILLED)
    assert result.status == 0, result.err
    data = _data_bytes(shell.folder / "uninterrupted")
    assert len([name for name in data if name.startswith("part-")]) > 1
    return data


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "count"),
    [
        ("after-commit", 1), ("before-commit", 3), ("after-commit", 4), ("shard", 1), ("shard", 2),
        ("sheet", 1), ("end", 1),
    ],
)  # fmt: skip
def test_killed_anywhere_the_same_command_resumes_to_the_same_bytes(
    shell: Shell, carbon_train: Command, uninterrupted: dict[str, bytes], point: str, count: int
) -> None:
    _rows_to_be_killed(shell.folder)
    command = ["data", "prepare", "--to", "out", *KILLED]
    killed = WarmProcess(
        ["-m", "tests.curation.killed", point, str(count), *command],
        cwd=shell.folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    _, err = killed.communicate(timeout=240)
    assert killed.returncode == -signal.SIGKILL, err
    if point != "end":
        fit = carbon_train("fit", *shell.tiny[2:], "--data", "out")
        assert fit.status == 2
        assert "the preparation of out is not finished" in fit.err
    again = carbon_train(*command)
    assert again.status == 0, again.err
    assert _data_bytes(shell.folder / "out") == uninterrupted
    assert not (shell.folder / "out" / ".preparing").exists()
    run_id = _sheet(shell.folder / "out")["preparation"]["run_id"]
    assert verify(_ledger(shell), run_id).problem is None


@pytest.mark.slow
def test_a_document_that_takes_too_long_is_stopped_before_the_budget_is_exceeded(
    shell: Shell, carbon_train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(shell.folder / "a.jsonl", [{"text": prose(n, 30)} for n in range(600)])
    command = ["data", "prepare", "a.jsonl", *QUICK]
    process = Cleaner.process

    def never_ends(self: Cleaner, source: Any, name: str, document: Any) -> None:
        while document.row == 400:
            try:
                sum(range(1000))
            except Exception:  # noqa: BLE001 - as a library might
                continue
        process(self, source, name, document)

    with SimulatedNvml(SimulatedGpu(power=Constant(300.0), origin_ns=time.time_ns())).install():
        monkeypatch.setattr(Cleaner, "process", never_ends)
        stopped = carbon_train(*command, "--to", "out", "--budget-kwh", "0.0005")
        assert stopped.status == 3, stopped.err
        assert "the budget of 0.0005 kWh is used up" in stopped.out
        ledger = _ledger(shell)
        assert 0 < ledger.energy_mj(ledger.run_ids()[0]) <= 0.0005 * 3.6e9
        monkeypatch.undo()
        monkeypatch.chdir(shell.folder)
        assert carbon_train(*command, "--to", "out", "--budget-kwh", "1").status == 0
        assert carbon_train(*command, "--to", "uninterrupted").status == 0
    assert _data_bytes(shell.folder / "out") == _data_bytes(shell.folder / "uninterrupted")


@pytest.mark.slow
def test_a_budget_stops_it_and_a_larger_one_resumes_it(shell: Shell) -> None:
    write_rows(shell.folder / "a.jsonl", [{"text": prose(n, 30)} for n in range(2500)])
    command = ["data", "prepare", "a.jsonl", "--to", "out", "--near-duplicates", "0.8", *QUICK]
    # Closing down at 10 kW takes more than this, so a look finds no room; that work takes longer
    # than the time between two looks.
    stopped = shell.run(*command, "--budget-kwh", "0.003", gpu=GPU)
    assert stopped.status == 3, stopped.err
    assert "the budget of 0.003 kWh is used up" in stopped.out
    assert "resume with a larger budget" in stopped.out
    result = shell.run(*command, "--budget-kwh", "1", gpu=GPU)
    assert result.status == 0, result.err
    sheet = _sheet(shell.folder / "out")
    ledger = _ledger(shell)
    (run_id,) = ledger.run_ids()
    used_kwh = ledger.energy_mj(run_id) / 3.6e9
    assert sheet["preparation"]["energy_kwh"] == pytest.approx(used_kwh, rel=1e-9)
    assert sheet["preparation"]["method"] in ("measured", "estimated")
    assert sheet["data"]["documents"] == 2500
    assert sheet["preparation"]["segments"] == 2
    statuses = [fact.body["status"] for fact in ledger.facts(run_id, RunClosed)]
    assert statuses == ["budget", "finished"]
    report = (shell.folder / "carbon_runs" / run_id / "report.md").read_text()
    assert "Prepared dataset" in report
    assert "| data preparation |" in report


@pytest.mark.slow
def test_fit_trains_on_it_and_records_the_dataset(shell: Shell, carbon_train: Command) -> None:
    mixed_corpus(shell.folder)
    carbon_train("data", "prepare", "mixed.jsonl", "--to", "out", *QUICK)
    result = carbon_train("fit", *shell.tiny[2:], "--data", "out", "--max-steps", "2")
    assert result.status == 0, result.err
    sheet = _sheet(shell.folder / "out")
    ledger = _ledger(shell)
    (fact,) = [f for run in ledger.run_ids() for f in ledger.facts(run, CorpusDescribed)]
    (cited,) = fact.body["prepared"]
    assert cited["run_id"] == sheet["preparation"]["run_id"]
    assert cited["data_sha256"] == sheet["data"]["sha256"]
    assert fact.body["files"] == 1
    assert fact.body["licence"] == "LicenseRef-closed, MIT, not stated"
    run_id = next(run for run in ledger.run_ids() if run != cited["run_id"])
    report = (shell.folder / "carbon_runs" / run_id / "report.md").read_text()
    assert f"Prepared by run {cited['run_id']}" in report
    assert "that is not counted above" in report
    prepared = ledger.facts(cited["run_id"], DatasetPrepared)
    assert prepared[-1].body["data_sha256"] == cited["data_sha256"]


MACAW = [
    "--recipe", "macaw-tiny", "--vocab-size", "400", "--batch-size", "2", "--max-steps", "1",
    "--no-host-metering",
]  # fmt: skip


@pytest.mark.slow
def test_pairs_from_columns_of_a_dataset_cite_it_too(shell: Shell, carbon_train: Command) -> None:
    write_rows(shell.folder / "a.jsonl", [{"text": prose(n, 2)} for n in range(8)])
    (shell.folder / "b.txt").write_text(prose(9))
    carbon_train("data", "prepare", "a.jsonl", "b.txt", "--to", "out", *QUICK)
    slots = "question=text,answer=source"
    result = carbon_train("fit", *MACAW, "--data", "out", "--slots", slots)
    assert result.status == 0, result.err
    ledger = _ledger(shell)
    (fact,) = [f for run in ledger.run_ids() for f in ledger.facts(run, CorpusDescribed)]
    (cited,) = fact.body["prepared"]
    assert cited["run_id"] == _sheet(shell.folder / "out")["preparation"]["run_id"]
    assert fact.body["rows"] == 9


@pytest.mark.slow
def test_a_dataset_of_text_cannot_be_used_as_rows(shell: Shell, carbon_train: Command) -> None:
    mixed_corpus(shell.folder)
    carbon_train("data", "prepare", "mixed.jsonl", "--to", "out", *QUICK)
    result = carbon_train("fit", *MACAW, "--data", "out")
    assert result.status == 2
    assert result.err.count("\n") == 1
    assert (
        "out was made by `carbon-train data prepare`: it holds text, and macaw-tiny" in result.err
    )
    assert "its columns (text, id, source, licence, language) with --slots" in result.err


@pytest.mark.slow
def test_fit_refuses_a_changed_or_missing_shard(shell: Shell, carbon_train: Command) -> None:
    mixed_corpus(shell.folder)
    carbon_train("data", "prepare", "mixed.jsonl", "--to", "out", *QUICK)
    part = shell.folder / "out" / "part-00000.parquet"
    pq.write_table(pa.table({"text": ["other text"]}), part)
    result = carbon_train("fit", *shell.tiny[2:], "--data", "out")
    assert result.status == 2
    assert (
        "part-00000.parquet is not the file that datasheet.json beside it describes" in result.err
    )
    part.unlink()
    result = carbon_train("fit", *shell.tiny[2:], "--data", "out")
    assert result.status == 2
    assert "part-00000.parquet is missing" in result.err


@pytest.mark.slow
def test_datasets_and_runs_with_text_to_delete_are_found(
    shell: Shell, carbon_train: Command
) -> None:
    mixed_corpus(shell.folder)
    write_rows(shell.folder / "other.jsonl", [{"text": prose(n)} for n in range(900, 930)])
    flags = ["--near-duplicates", "0.8", *QUICK]
    for source, to in (("mixed.jsonl", "touched"), ("other.jsonl", "clean")):
        assert carbon_train("data", "prepare", source, "--to", to, *flags).status == 0
        fitted = carbon_train("fit", *shell.tiny[2:], "--data", to, "--max-steps", "1")
        assert fitted.status == 0, fitted.err
    (shell.folder / "list.csv").write_text(
        "kind,value\nid,copy\nid,near\nid,d3\nemail,jane@example.com\nid,nobody\n"
    )
    result = carbon_train("data", "affected", "--remove", "list.csv", "--json")
    assert result.status == 0, result.err
    findings = {finding["name"]: finding for finding in json.loads(result.out)}
    assert findings["touched"]["documents"] == {
        "email": 1, "id": 1, "id, by its exact duplicate": 1, "id, by its near duplicate": 1,
    }  # fmt: skip
    assert findings["clean"]["documents"] == {}
    ledger = _ledger(shell)
    trained = [run for run in ledger.run_ids() if ledger.facts(run, CorpusDescribed)]
    assert findings["touched"]["runs"] == trained[:1]
    shutil.move(shell.folder / "touched", shell.folder / "moved")
    message = carbon_train("data", "affected", "--remove", "list.csv").out
    assert "touched could not be searched (its folder is missing" in message
    assert trained[0] in message
    message = carbon_train("data", "affected", "--remove", "list.csv", "moved").out
    assert "contains listed documents: 1 by email; 1 by id; 1 by id, by its exact" in message
    assert "1 of 2 datasets are affected" in message


def test_a_dataset_prepared_again_with_the_removal_list_has_none_of_its_text(
    shell: Shell, carbon_train: Command
) -> None:
    mixed_corpus(shell.folder)
    (shell.folder / "list.csv").write_text("kind,value\nid,d0\nid,copy\nemail,jane@example.com\n")
    flags = ["--remove", "list.csv", *QUICK]
    assert carbon_train("data", "prepare", "mixed.jsonl", "--to", "out", *flags).status == 0
    assert _sheet(shell.folder / "out")["refused"]["removal_list"] == {"email": 1, "id": 2}
    message = carbon_train("data", "affected", "--remove", "list.csv").out
    assert "0 of 1 datasets are affected" in message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "say where the dataset is to be written, with --to"),
        (["--to", "out", "--languages", "xx"], "'xx' is not the ISO 639-1 code"),
        (["--to", "out", "--licences", "GPL"], "--licences: 'GPL' is not an SPDX licence"),
        (
            ["--to", "out", "--data-licence", "MIT2"],
            "is not an SPDX licence. Did you mean MIT",
        ),
        (["--to", "out", "--blocklist", "words.txt"], "blocklist needs explicit"),
        (["--to", "out", "--near-duplicates", "3"], "--near-duplicates is '3', but should be less"),
        (["--to", "out", "--pii", "hide"], "--pii is 'hide', but should be 'redact', 'drop'"),
        (["--to", "out", "--remove", "none.csv"], "there is no removal list none.csv"),
        (["--to", "out", "--zone", "ZZ"], "ZZ"),
        (["--to", "out", "nowhere"], "there is no file or folder nowhere to prepare"),
        (["--to", "out", "mixed.jsonl"], "two sources have the name 'mixed.jsonl'"),
        (["--to", "full"], "--to full is not empty (it holds thesis.txt)"),
        (["--to", "out", "--text-field", "body"], "line 1 has no field 'body'; its fields are"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_prepared(
    shell: Shell, carbon_train: Command, flags: list[str], message: str
) -> None:
    mixed_corpus(shell.folder)
    (shell.folder / "full").mkdir()
    (shell.folder / "full" / "thesis.txt").write_text("mine")
    result = carbon_train("data", "prepare", "mixed.jsonl", *flags, "--no-host-metering")
    assert result.status == 2
    assert message in result.err
    assert result.err.count("\n") == 1
    assert (shell.folder / "full" / "thesis.txt").read_text() == "mine"
    assert not (shell.folder / "out" / "datasheet.json").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"plain \xe9t\xe9 text", "a.txt is not UTF-8 text (byte 6)"),
        ("a.txt", b"Salted__\x8f\x00", "a.txt is encrypted with OpenSSL, not UTF-8 text: decrypt"),
        (
            "a.txt",
            b"words, then\x00\x8f",
            "a.txt is not text but binary: it holds zero bytes, the first at byte 11",
        ),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', "a.jsonl is not UTF-8 text (byte 24)"),
        ("a.parquet", b"PAR1 no", "a.parquet is not a readable Parquet file"),
        ("a.jsonl.gz", b"nope", "a.jsonl.gz is not a readable gzip file"),
    ],
)
def test_an_unreadable_corpus_is_reported_with_the_location(
    shell: Shell, carbon_train: Command, name: str, content: bytes, message: str
) -> None:
    (shell.folder / name).write_bytes(content)
    result = carbon_train("data", "prepare", name, "--to", "out", *QUICK)
    assert result.status == 2
    assert message in result.err


def test_parquet_without_the_text_column_lists_its_columns(
    shell: Shell, carbon_train: Command
) -> None:
    pq.write_table(pa.table({"body": ["x"], "id": ["1"]}), shell.folder / "a.parquet")
    result = carbon_train("data", "prepare", "a.parquet", "--to", "out", *QUICK)
    assert result.status == 2
    assert "has no column 'text'; its columns are 'body', 'id'" in result.err


def test_other_settings_neither_resume_nor_overwrite_a_dataset(
    shell: Shell, carbon_train: Command
) -> None:
    mixed_corpus(shell.folder)
    assert carbon_train("data", "prepare", "mixed.jsonl", "--to", "out", *QUICK).status == 0
    before = _data_bytes(shell.folder / "out")
    again = carbon_train("data", "prepare", "mixed.jsonl", "--to", "out", *QUICK)
    assert again.status == 0
    assert "out holds this dataset already" in again.out
    other = carbon_train(
        "data", "prepare", "mixed.jsonl", "--to", "out", "--licences", "MIT", *QUICK
    )
    assert other.status == 2
    assert "--to out holds another dataset" in other.err
    assert _data_bytes(shell.folder / "out") == before


def test_an_invalid_source_is_reported(shell: Shell, carbon_train: Command) -> None:
    (shell.folder / "p.yaml").write_text("to: out\nsources:\n- {licence: MIT}\n")
    result = carbon_train("data", "prepare", "p.yaml", *QUICK)
    assert result.status == 2
    assert "p.yaml: sources, entry 1, path: field required." in result.err


@pytest.mark.slow
def test_it_can_be_interrupted_and_resumed(
    shell: Shell, carbon_train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed_corpus(shell.folder)
    command = ["data", "prepare", "mixed.jsonl", "--to", "out", *QUICK]

    def press(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(job, "check_sources", press)
        early = carbon_train(*command)
    assert early.status == 130
    assert "Ctrl-C before the run was opened" in early.out
    begin = job.RunSession._begin

    def press_and_begin(*args: Any) -> None:
        press()
        begin(*args)

    with monkeypatch.context() as patched:
        patched.setattr(job.RunSession, "_begin", press_and_begin)
        opening = carbon_train(*command)
    assert opening.status == 130
    assert "interrupted: Ctrl-C." in opening.out
    real = job.find_sources

    def press_and_find(*args: Any) -> Any:
        press()
        return real(*args)

    with monkeypatch.context() as patched:
        patched.setattr(job, "find_sources", press_and_find)
        stopped = carbon_train(*command)
    assert stopped.status == 130
    assert "interrupted: Ctrl-C." in stopped.out
    assert carbon_train(*command).status == 0
    ledger = _ledger(shell)
    (run_id,) = ledger.run_ids()
    statuses = [fact.body["status"] for fact in ledger.facts(run_id, RunClosed)]
    assert statuses == ["interrupted", "interrupted", "finished"]


@pytest.mark.parametrize("in_the_way", [False, True])
def test_an_unexpected_error_is_one_sentence_and_can_be_resumed(
    shell: Shell, carbon_train: Command, monkeypatch: pytest.MonkeyPatch, in_the_way: bool
) -> None:
    mixed_corpus(shell.folder)
    command = ["data", "prepare", "mixed.jsonl", "--to", "out", *QUICK]

    def fails(*_: object) -> None:
        if in_the_way:
            (next((shell.folder / "carbon_runs").glob("2*")) / "traceback.txt").mkdir()
        raise RuntimeError("a bug\nof ours")

    with monkeypatch.context() as patched:
        patched.setattr(Cleaner, "process", fails)
        result = carbon_train(*command)
    assert result.status == 1
    assert "failed: RuntimeError: a bug of ours; " in result.out
    assert ("its traceback could not be written" in result.out) is in_the_way
    assert "Traceback" not in result.out + result.err
    assert carbon_train(*command).status == 0


def test_an_empty_result_is_reported_with_the_reasons(shell: Shell, carbon_train: Command) -> None:
    mixed_corpus(shell.folder)
    result = carbon_train(
        "data", "prepare", "mixed.jsonl", "--to", "out", "--licences", "CC0-1.0", *QUICK
    )
    assert result.status == 2
    assert "none of 48 documents is kept: 48 licence not allowed" in result.err


_PEAK = """
import sys
import time
from pathlib import Path
from carbon_trainer.cli.main import main
sys.argv = ["carbon-train", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
status = Path("/proc/self/status").read_text()  # getrusage would count the parent before exec
print("peak", status.split("VmHWM:")[1].split()[0])
"""


def _peak_mb(folder: Path, documents: int) -> float:
    source = write_rows(
        folder / f"{documents}.jsonl", [{"text": prose(n, 40)} for n in range(documents)]
    )
    result = subprocess.run(
        [sys.executable, "-c", _PEAK, "data", "prepare", source.name, "--to", f"of-{documents}",
         "--near-duplicates", "0.9", "--shard-mb", "2", *QUICK],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=240,
        capture_output=True, text=True,
    )  # fmt: skip
    return int(result.stdout.rsplit("peak", 1)[1]) / 1024


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    few, many = _peak_mb(tmp_path, 1500), _peak_mb(tmp_path, 10_000)
    corpus_mb = (tmp_path / "10000.jsonl").stat().st_size / 1e6
    assert corpus_mb > 35
    assert many - few < corpus_mb / 3
