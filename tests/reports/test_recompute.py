"""A published report is computed again from raw records, and a signature tells of any change."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.amend import amend
from carbon_trainer.ledger.facts import Corrected
from carbon_trainer.reports.build import render_run, write_run_report
from carbon_trainer.reports.recompute import recompute
from carbon_trainer.reports.signature import FILE, check_signature, signed
from tests.reports import ledgers
from tests.reports.ledgers import RUN


def published(ledger) -> dict[str, object]:
    return json.loads(render_run(ledger, RUN, "json"))


@pytest.mark.parametrize("name", sorted(ledgers.ALL))
def test_an_untouched_report_is_what_the_records_give(name, make):
    ledger = make(name)
    assert recompute(ledger, RUN, published(ledger)) == []


@pytest.mark.slow
@pytest.mark.parametrize("field", ["value", "sigma"])
@pytest.mark.parametrize("key", ["energy", "emissions", "tokens-per-kwh", "energy-gpu"])
def test_any_changed_figure_is_named(key, field, make):
    ledger = make("resumed")
    document = published(ledger)
    document["figures"][key][field] *= 1.0001
    (problem, *_) = recompute(ledger, RUN, document)
    assert problem.startswith(f"{key}: the report says {field}")


def test_a_nicer_method_unit_or_table_is_named(make):
    ledger = make("finished")
    document = published(ledger)
    document["figures"]["energy-cpu"]["method"] = "measured"
    document["segments"][0]["energy_mj"] += 1
    problems = " ".join(recompute(ledger, RUN, document))
    assert "energy-cpu: the report says method 'measured', the records 'estimated'" in problems
    assert "'segments' is not what the records give" in problems


def test_a_figure_more_or_less_is_named(make):
    ledger = make("finished")
    document = published(ledger)
    document["figures"]["green"] = document["figures"].pop("emissions")
    problems = " ".join(recompute(ledger, RUN, document))
    assert "lacks the figure 'emissions'" in problems
    assert "a figure 'green' that the records do not give" in problems


def test_a_report_stays_right_when_the_record_is_amended_later(make):
    ledger = make("finished")
    document = published(ledger)
    amend(ledger, RUN, Corrected(of_seq=2, changes={"pue": 1.4}, reason="read", by="x"), 1)
    assert recompute(ledger, RUN, document) == []
    assert recompute(ledger, RUN, published(ledger)) == []


def test_a_changed_interval_is_seen_even_where_only_the_report_is_asked(make, tmp_path):
    ledger = make("finished")
    document = published(ledger)
    with sqlite3.connect(tmp_path / "finished.sqlite") as connection:
        connection.execute("UPDATE intervals SET energy_mj=energy_mj*2 WHERE seq=10")
    problems = recompute(ledger, RUN, document)
    assert any(problem.startswith("energy: the report says value") for problem in problems)


def test_a_report_of_another_run_or_schema_is_refused(make):
    ledger = make("finished")
    document = published(ledger)
    assert "of run x" in recompute(ledger, RUN, {**document, "run": {"id": "x"}})[0]
    assert "write it again" in recompute(ledger, RUN, {**document, "schema_version": 1})[0]


def keys(folder: Path, name: str = "key") -> tuple[Path, Path]:
    private = Ed25519PrivateKey.generate()
    secret, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    secret.write_bytes(private.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    ))  # fmt: skip
    public.write_bytes(private.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    ))  # fmt: skip
    return secret, public


@pytest.fixture
def signed_report(make, tmp_path: Path) -> tuple[Path, Path]:
    """A folder with a signed report, and the public key."""
    ledger, folder = make("finished"), tmp_path / "report"
    paths = write_run_report(ledger, RUN, folder)
    secret, public = keys(tmp_path)
    (folder / FILE).write_text(signed(RUN, ledger.head(RUN), paths, secret))
    return folder, public


@pytest.mark.slow
def test_a_signature_holds(signed_report):
    folder, public = signed_report
    problems, signer = check_signature(folder, public)
    assert problems == []
    assert len(signer) == 64
    assert check_signature(folder, None) == ([], signer)


@pytest.mark.slow
def test_one_changed_byte_of_a_file_is_found(signed_report):
    folder, public = signed_report
    path = folder / "report.md"
    path.write_text(path.read_text() + " ")
    assert check_signature(folder, public)[0] == [f"{path} is not the file that was signed"]
    path.unlink()
    assert check_signature(folder, public)[0] == [f"{path} was signed, and is missing"]


@pytest.mark.slow
def test_a_changed_claim_is_found(signed_report):
    folder, public = signed_report
    document = json.loads((folder / FILE).read_text())
    document["chain"]["seq"] += 1
    (folder / FILE).write_text(json.dumps(document))
    assert "it was changed" in check_signature(folder, public)[0][0]


@pytest.mark.slow
def test_another_signer_is_found(signed_report, tmp_path):
    folder, _ = signed_report
    _, other = keys(tmp_path, "other")
    assert "signed with another key" in check_signature(folder, other)[0][0]


@pytest.mark.slow
def test_a_key_that_cannot_sign_is_refused(signed_report, tmp_path, make):
    folder, _ = signed_report
    path = tmp_path / "rsa.pem"
    path.write_bytes(generate_private_key(65537, 2048).private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    ))  # fmt: skip
    head = make("resumed").head(RUN)
    with pytest.raises(InputError, match="not an Ed25519 key"):
        signed(RUN, head, {}, path)
    with pytest.raises(InputError, match="openssl genpkey"):
        signed(RUN, head, {}, tmp_path / "none.pem")
    (folder / FILE).write_text("{}")
    with pytest.raises(InputError, match="is not a signature"):
        check_signature(folder, None)


@pytest.mark.slow
def test_missing_records_are_told_up_front_and_nothing_is_exported(make, tmp_path):
    ledger = make("finished")
    with sqlite3.connect(tmp_path / "finished.sqlite") as connection:
        connection.execute("DELETE FROM facts WHERE kind='progress' AND seq < 100")
    html = render_run(ledger, RUN, "html")
    assert "records are missing" in html[: html.index('class="tiles"')]
    with pytest.raises(InputError, match=r"nothing is exported, as the record of run .* is broken"):
        write_run_report(ledger, RUN, tmp_path / "out", ["esrs"])
