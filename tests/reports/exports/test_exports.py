"""Every export fits its schema or form, and all of them say the same after conversion."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from codecarbon.output import EmissionsData
from hypothesis import given, settings
from hypothesis import strategies as st
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.amend import amend
from carbon_trainer.ledger.facts import BoundaryStated, Corrected, Interval
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.build import write_run_report
from carbon_trainer.reports.exports.codecarbon import COLUMNS
from carbon_trainer.reports.exports.latex import escape
from carbon_trainer.reports.exports.model_card import BEGIN, END, model_card
from carbon_trainer.reports.figures.run_figures import run_figures
from carbon_trainer.reports.formats import FORMATS
from carbon_trainer.reports.renderers import RENDERERS
from tests.reports import ledgers
from tests.reports.ledgers import GPU, RUN, S

EXPORTS = [name for name, form in FORMATS.items() if form.is_export]
FILES = sorted((Path(__file__).parent / "boamps").glob("*.json"))
SCHEMAS = {schema["title"]: schema for schema in (json.loads(f.read_text()) for f in FILES)}
REGISTRY = Registry().with_resources(
    (schema["id"], Resource.from_contents(schema, default_specification=DRAFT4))
    for schema in SCHEMAS.values()
)


def export(ledger: Ledger, name: str) -> str:
    made = RENDERERS[name](ledger, run_figures(ledger, RUN))
    return made if isinstance(made, str) else made.decode()


def check_boamps(text: str) -> dict[str, object]:
    document = json.loads(text)
    jsonschema.Draft4Validator(SCHEMAS["report"], registry=REGISTRY).validate(document)
    return document


@pytest.mark.parametrize("name", sorted(ledgers.ALL.keys() - {"empty"}))
def test_boamps_fits_its_schema(name, make):
    check_boamps(export(make(name), "boamps"))


def test_a_run_without_energy_has_no_boamps_report(make):
    with pytest.raises(InputError, match="no energy on record"):
        export(make("empty"), "boamps")


def test_the_boamps_schema_refuses_what_lacks_a_measure(make):
    document = json.loads(export(make("finished"), "boamps"))
    del document["measures"][0]["powerConsumption"]
    with pytest.raises(jsonschema.ValidationError):
        check_boamps(json.dumps(document))


@pytest.mark.parametrize(
    ("uncertainty", "grade"), [(0.02, "high"), (0.1, "medium"), (0.24, "low"), (0.4, None)]
)
def test_the_boamps_grade_follows_from_the_interval(uncertainty, grade, tmp_path):
    source = {**ledgers.SOURCES[0], "uncertainty": uncertainty}
    chain = ledgers.opened(tmp_path / "l.sqlite")
    chain.put(ledgers.GB, dataclasses.replace(ledgers.MACHINE, sources=[source]))
    chain.train(60, devices=("gpu",))
    chain.close()
    assert check_boamps(export(chain.ledger, "boamps")).get("quality") == grade


def test_a_corrected_run_is_a_corrective_report_and_an_open_one_a_draft(make):
    for name, status in (("amended", "corrective"), ("still_open", "draft"), ("finished", "final")):
        document = json.loads(export(make(name), "boamps"))
        assert document["header"]["reportStatus"] == status


@pytest.mark.parametrize(
    ("name", "form"),
    sorted({(name, form) for name in ledgers.ALL for form in EXPORTS} - {("empty", "boamps")}),
)
def test_the_same_ledger_gives_the_same_bytes(name, form, written, written_again):
    once, again = (
        export(Ledger.open(file(name), create=False), form) for file in (written, written_again)
    )
    assert once == again


def esrs_value(text: str, datapoint: str) -> float | None:
    rows = json.loads(text)["contributions"]
    return next(row["value"] for row in rows if row["datapoint"] == datapoint)


def agree(ledger: Ledger) -> None:
    """Hold every form's energy and emissions against the figures, in their units."""
    figures = run_figures(ledger, RUN)
    facility, kilograms = figures.facility_energy.value, figures.emissions.value
    market = figures.emissions_market.value
    about = pytest.approx
    boamps = check_boamps(export(ledger, "boamps"))
    assert sum(m["powerConsumption"] for m in boamps["measures"]) == about(figures.energy.value)
    card = yaml.safe_load(export(ledger, "modelcard").split("---")[1])["co2_eq_emissions"]
    assert card["emissions"] == about(1000 * kilograms)
    ghg = json.loads(export(ledger, "ghg"))
    assert ghg["scope_2"]["electricity"]["value"] == about(facility / 1000)
    assert ghg["scope_2"]["location_based"]["value"] == about(kilograms / 1000)
    assert ghg["scope_2"]["market_based"]["value"] == about(market / 1000)
    esrs = export(ledger, "esrs")
    assert esrs_value(esrs, "E1-5_01") == about(facility / 1000)
    assert esrs_value(esrs, "E1-6_09") == about(kilograms / 1000)
    assert esrs_value(esrs, "E1-6_10") == about(market / 1000)
    assert esrs_value(esrs, "E1-6_11") == 0.0
    (row,) = csv.DictReader(io.StringIO(export(ledger, "codecarbon")))
    assert float(row["energy_consumed"]) == about(facility)
    assert float(row["emissions"]) == about(kilograms)
    parts = sum(float(row[f"{name}_energy"] or 0) for name in ("cpu", "gpu", "ram"))
    assert parts == about(facility)
    act = {row["item"]: row["value"] for row in json.loads(export(ledger, "aiact"))["rows"]}
    assert float(act["Amount of energy used for training"]) == about(facility / 1000, rel=6e-3)
    sci = json.loads(export(ledger, "sci"))
    if sci["score"] is not None:
        assert sci["O_gco2e"] == about(1000 * kilograms)
        assert sci["score"]["gCO2e_per_token"] * sci["R_tokens"] == about(
            sci["O_gco2e"] + sci["M_gco2e"]["value"]
        )
        manifest = yaml.safe_load(export(ledger, "if"))
        (seen,) = manifest["tree"]["children"]["training"]["inputs"]
        score = (seen["energy"] * seen["grid/carbon-intensity"] + seen["carbon-embodied"]) / seen[
            "tokens"
        ]
        assert score == about(sci["score"]["gCO2e_per_token"])


def test_all_forms_agree_after_conversion(make):
    agree(make("amended"))


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from(["gpu", "cpu", "ram"]), st.integers(0, 10**9),
            st.sampled_from(["measured", "estimated"]), st.sampled_from(["train", "validation"]),
        ),
        min_size=1, max_size=12,
    ),
    pue=st.floats(1.0, 2.0), grams=st.floats(1.0, 900.0),
    corrected=st.none() | st.floats(1.0, 2.0),
)  # fmt: skip
def test_totals_of_every_form_agree_whatever_the_ledger_holds(
    parts, pue, grams, corrected, tmp_path_factory
):
    chain = ledgers.opened(tmp_path_factory.mktemp("fuzz") / "l.sqlite")
    factor = dataclasses.replace(ledgers.GB, pue=pue, intensity_gco2e_per_kwh=grams)
    chain.put(factor, ledgers.MACHINE, ledgers.MODEL)
    for component, energy_mj, method, phase in [("gpu", 10**6, "measured", "train"), *parts]:
        device = GPU if component == "gpu" else component
        chain.put(Interval(
            device=device, component=component, start_ns=chain.now_ns, end_ns=chain.now_ns + S,
            energy_mj=energy_mj, method=method, sigma_mj=1, phase=phase,
        ))  # fmt: skip
        chain.now_ns += S
    chain.step = 7
    chain.close()
    amend(chain.ledger, RUN, BoundaryStated(operation="own", by="x"), chain.now_ns)
    if corrected is not None:
        fact = Corrected(of_seq=2, changes={"pue": corrected}, reason="read again", by="x")
        amend(chain.ledger, RUN, fact, chain.now_ns)
    agree(chain.ledger)
    chain.ledger.close()


def test_a_cloud_run_is_scope_3_and_never_scope_2_too(make):
    ledger = make("finished")
    amend(ledger, RUN, BoundaryStated(operation="cloud", provider="aws", by="x"), 1)
    ghg = json.loads(export(ledger, "ghg"))
    assert ghg["scope_2"] is None
    emissions = ghg["scope_3"]["category_1_purchased_goods_and_services"]["emissions"]["value"]
    assert emissions == pytest.approx(run_figures(ledger, RUN).emissions.value / 1000)
    esrs = export(ledger, "esrs")
    assert esrs_value(esrs, "E1-6_11") == pytest.approx(emissions)
    assert esrs_value(esrs, "E1-5_01") == 0.0
    assert check_boamps(export(ledger, "boamps"))["infrastructure"]["infraType"] == "publicCloud"


def test_what_is_not_stated_is_in_no_scope_and_printed_as_missing(make):
    ledger = make("finished")
    ghg = json.loads(export(ledger, "ghg"))
    assert ghg["scope_2"] is None
    assert ghg["not_stated"]["emissions"]["value"] > 0
    assert esrs_value(export(ledger, "esrs"), "E1-6_09") is None
    assert esrs_value(export(ledger, "esrs"), "E1-6_11") is None


def test_a_run_without_energy_is_missing_everywhere_and_breaks_nothing(make):
    ledger = make("empty")
    assert esrs_value(export(ledger, "esrs"), "E1-5_01") is None
    act = {row["item"]: row["value"] for row in json.loads(export(ledger, "aiact"))["rows"]}
    assert act["Amount of energy used for training"] == "N/A"
    assert json.loads(export(ledger, "sci"))["score"] is None
    assert (
        "emissions"
        not in yaml.safe_load(export(ledger, "modelcard").split("---")[1])["co2_eq_emissions"]
    )


def test_renewable_energy_is_that_of_instruments_only(make):
    esrs = export(make("amended"), "esrs")
    assert esrs_value(esrs, "E1-5_05") == pytest.approx(0.005 / 1000)
    assert esrs_value(esrs, "E1-5_02") is None


def test_codecarbons_columns_are_those_of_the_installed_one():
    assert [field.name for field in dataclasses.fields(EmissionsData)] == list(COLUMNS)


def test_the_ai_act_form_has_two_significant_digits(make):
    for name in ("finished", "amended", "planned"):
        rows = json.loads(export(make(name), "aiact"))["rows"]
        energy = next(r["value"] for r in rows if r["item"] == "Amount of energy used for training")
        digits = re.sub(r"e.*", "", energy).replace(".", "").lstrip("0")
        assert len(digits) >= 2
        words = next(r["value"] for r in rows if r["item"] == "Methodology for the energy").split()
        assert 60 <= len(words) <= 140


def test_the_ai_act_form_counts_accelerators_only_where_there_are_any(make):
    def unit(ledger: Ledger) -> str:
        rows = json.loads(export(ledger, "aiact"))["rows"]
        return next(r["unit"] for r in rows if r["item"] == "Training time, hardware")

    assert unit(make("finished")) == "accelerator-days"
    assert unit(make("empty")) == "machine-days, without accelerators"


def test_latex_shows_hostile_names_as_text(make):
    text = export(make("hostile"), "latex")
    assert r"\section*{Energy" in text
    assert r"\begin{tabular}" in text
    assert not re.search(r"(?<!\\)[#_](?![a-z]*\})", text.split(r"\begin{table}")[0])
    assert escape("50 % of a_b & {c} \\ ~") == (
        r"50 \% of a\_b \& \{c\} \textbackslash{} \textasciitilde{}"
    )


CARD = """---
# the licence was agreed with legal
license: apache-2.0   # keep
tags: [a, "b"]
co2_eq_emissions:
  emissions: 1
---
# My model

Text with `---` and | bars.
"""


def test_a_model_card_keeps_everything_else(make):
    figures = run_figures(make("finished"), RUN)
    text = model_card(figures, CARD)
    assert "# the licence was agreed with legal" in text
    assert "license: apache-2.0   # keep" in text
    assert "# My model\n\nText with `---` and | bars.\n" in text
    data = yaml.safe_load(text.split("---")[1])
    assert data["license"] == "apache-2.0"
    assert data["tags"] == ["a", "b"]
    assert data["co2_eq_emissions"]["hardware_used"] == "1 NVIDIA H100 80GB HBM3"
    assert data["co2_eq_emissions"]["training_type"] == "pre-training"


def test_writing_a_model_card_again_changes_nothing(make):
    figures = run_figures(make("finished"), RUN)
    once = model_card(figures, CARD)
    assert model_card(figures, once) == once
    assert once.count(BEGIN) == once.count(END) == 1


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("---\nlicense: [\n---\n", "not YAML"),
        ("---\nlicense: x\n", "has no end"),
        ("---\n- a\n---\n", "not a list of keys"),
        (f"text\n{BEGIN}\n", "only one of the lines"),
    ],
)
def test_a_broken_model_card_is_refused(card, said, make):
    with pytest.raises(InputError, match=said):
        model_card(run_figures(make("finished"), RUN), card)


def test_nothing_is_exported_whose_figures_cannot_be_right(tmp_path):
    chain = ledgers.described(tmp_path / "l.sqlite")
    chain.train(60, gpu_w=9000.0)
    chain.close()
    with pytest.raises(InputError, match=r"nothing is exported.* W for each accelerator"):
        write_run_report(chain.ledger, RUN, tmp_path / "out", ["esrs"])
    assert not (tmp_path / "out").exists()
    assert write_run_report(chain.ledger, RUN, tmp_path / "out", ["json"])
