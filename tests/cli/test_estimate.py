"""``carbon-train estimate``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.cli.commands import CommandResult, Shell

Train = Callable[..., CommandResult]
JOB = ("--params", "20e9", "--tokens", "400B", "--gpu", "A100", "--gpus", "96")


def test_a_training_is_estimated_with_intervals_factors_and_sources(carbon_train: Train) -> None:
    out = carbon_train("estimate", *JOB, "--zone", "DE", "--start", "2026-12-01").out
    assert "20 B parameters, 400 B tokens, 96 x A100" in out
    for label in ("GPU-hours", "Days", "Facility energy", "Emissions", "Embodied", "MFU"):
        assert label in out
    assert "80 % interval" in out
    assert "estimated" in out
    assert "measured" not in out
    assert "Germany" in out


def test_json_has_the_same_figures_with_method_and_interval(carbon_train: Train) -> None:
    document = json.loads(carbon_train("estimate", *JOB, "--price-per-kwh", "0.2", "--json").out)
    figures = document["figures"]
    assert {figure["method"] for figure in figures.values()} == {"estimated"}
    assert all(figure["low"] < figure["value"] < figure["high"] for figure in figures.values())
    assert figures["cost"]["value"] == pytest.approx(0.2 * figures["energy_kwh"]["value"])
    assert (document["parameters"], document["tokens"], document["accelerators"]) == (
        20e9,
        400e9,
        96,
    )
    assert document["intensity_method"] == document["embodied_kgco2e"]["method"] == "assumed"
    assert document["intensity_zone"] == "world"
    assert document["intensity_relative_sigma"] > 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--development", "2"), "6 x parameters x tokens x 2 (--development) = 9.6e+22 FLOP"),
        (("--mfu", "0.4"), "utilization 0.4 as given, power from published runs"),
        (("--price-per-kwh", "0.2"), "in the currency of --price-per-kwh"),
        (("--start", "2001-01-01"), "--start is in the past"),
        (("--start", "9999-12-31"), "would end after the year 9999"),
        (("--gpu", "B200"), "no calibration run used B200-180GB"),
        (("--gpu", "H200"), "utilization is assumed to be that of H100, H800."),
        (("--params", "1.8e12"), "extrapolated: the calibration runs have"),
    ],
)
def test_the_basis_of_an_estimate_is_printed(
    carbon_train: Train, flags: tuple[str, ...], message: str
) -> None:
    assert message in carbon_train("estimate", *JOB, *flags).out
    assert message not in carbon_train("estimate", *JOB).out


@pytest.mark.slow
def test_an_encoder_decoder_is_counted_whole(carbon_train: Train) -> None:
    out = carbon_train("estimate", "--recipe", "macaw-large", "--tokens", "1B").out
    assert "a token passes through one half of an encoder-decoder" in out


def test_commas_separate_thousands(carbon_train: Train) -> None:
    result = carbon_train("estimate", "--params", "7,000,000,000", "--tokens", "1,000B")
    assert "7 B parameters, 1 T tokens" in result.out


def test_a_run_of_the_rumoured_size_of_gpt_4_can_be_estimated(carbon_train: Train) -> None:
    result = carbon_train("estimate", "--params", "280e9", "--tokens", "13T", "--gpus", "25000")
    assert result.status == 0


@pytest.mark.slow
def test_a_recipe_brings_its_own_size_and_needs_no_torch(shell: Shell) -> None:
    result = shell.run("estimate", "--recipe", "llama-7b", "--tokens", "1T", "--json")
    assert result.status == 0
    by_parameters = shell.run("estimate", "--params", "6738415616", "--tokens", "1T", "--json")
    assert json.loads(result.out) == json.loads(by_parameters.out)
    code = (
        "import sys; sys.argv = ['carbon-train', 'estimate', '--recipe', 'llama-7b', '--tokens', "
        "'1T']\nfrom carbon_trainer.cli.main import main\ntry: main()\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr


def test_attention_over_a_long_sequence_is_printed_with_its_share(carbon_train: Train) -> None:
    flags = ("estimate", "--recipe", "llama-7b", "--tokens", "1T", "--sequence-length", "32768")
    out = carbon_train(*flags).out
    assert "Attention share of FLOPs" in out
    assert "32 layers of width 4,096" in out
    document = json.loads(carbon_train(*flags, "--json").out)
    added = 2 * 32 * 4096 * 32768 / 6738415616
    assert document["attention"]["value"] == pytest.approx(added / (1 + added))


def test_a_comparison_fits_80_columns(carbon_train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = carbon_train("estimate", "--params", "1B", "--tokens", "20B", "--compare", "1e9").out
    table = out[out.index("1 B queries") : out.index("- inference:")]
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 80
    for way in ("pre-training", "fine-tuning", "LoRA", "larger open model"):
        assert way in table
    assert "0.24 Wh, 240,000 kWh for 1 B queries" in out
    assert "1.14 gCO2e, 1.14 M kgCO2e for 1 B queries" in out
    assert "arXiv 2505.06371" in out
    assert "extrapolated" in out


def test_a_comparison_in_json_has_interval_unit_and_method_of_every_figure(
    carbon_train: Train,
) -> None:
    flags = ("--params", "8B", "--tokens", "1T", "--compare", "1M", "--open-params", "8B")
    document = json.loads(carbon_train("estimate", *flags, "--json").out)["compare"]
    assert set(document["ways"]) == {"pretrain", "fine_tune", "lora", "open_model"}
    for way in document["ways"].values():
        for key in ("query_kwh", "total_kwh", "total_kgco2e"):
            figure = way[key]
            assert figure["low"] < figure["value"] < figure["high"]
            assert figure["method"] == "estimated"
            assert figure["unit"]
        assert way["breaks_even"] is None
    assert all(figure["source"] and figure["boundary"] for figure in document["providers"])


def test_published_runs_are_listed_with_their_sources(carbon_train: Train) -> None:
    lines = carbon_train("estimate", "--list").out.splitlines()
    (pythia,) = [line for line in lines if line.startswith("Pythia 12B")]
    assert "72,300" in pythia
    (source,) = [line for line in lines if "arXiv 2304.01373" in line]
    assert source.split(".")[0] == pythia.split()[-1]
    assert any("OPT-175B: hours are assumed" in line for line in lines)
    published = json.loads(carbon_train("estimate", "--list", "--json").out)
    (pythia_run,) = [run for run in published if run["model"] == "Pythia 12B"]
    assert pythia_run["accelerator_hours"] == 72_300
    assert pythia_run["effective_mfu"] == pytest.approx(0.26, abs=0.005)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--params", "20e9"), "missing --params (or --recipe) and --tokens"),
        (("--params", "many", "--tokens", "1e9"), "(expected one such as 20e9 or 20B)"),
        (("--params", "1,5B", "--tokens", "1e9"), "invalid number '1,5B'"),
        ((*JOB, "--start", "soon"), "--start: invalid date 'soon'"),
        ((*JOB, "--mfu", "40"), "35 % is 0.35"),
        ((*JOB, "--gpu", "H10O"), "Did you mean"),
        ((*JOB, "--recipe", "llama-7b"), "--recipe cannot be combined with --params"),
        (("--recipe", "llama-7", "--tokens", "1e9"), "Did you mean llama-7b"),
        (("--recipe", "gpt-4", "--tokens", "1e9"), "not published"),
        ((*JOB, "--tokens-per-query", "400"), "--tokens-per-query needs --compare"),
        ((*JOB, "--compare", "0"), "--compare is 0, but should be more than 0"),
        ((*JOB, "--zone", "Germny"), "GERMNY"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    carbon_train: Train, flags: tuple[str, ...], message: str
) -> None:
    result = carbon_train("estimate", *flags)
    assert result.status == 2
    assert message in result.err
    assert "Traceback" not in result.err
