"""One config, from YAML, flags or keyword arguments; what does not fit is said in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from carbon_trainer.config import COMMAND_LINE, RunConfig, read_yaml
from carbon_trainer.errors import InputError


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_later_sources_go_before_earlier_ones() -> None:
    config = RunConfig.from_sources(
        ("run.yaml", {"budget_kwh": 5, "seed": 7}), (COMMAND_LINE, {"budget_kwh": "0.5"})
    )
    assert (config.budget_kwh, config.seed) == (0.5, 7)


def test_a_printed_config_reads_back_as_the_same(tmp_path: Path) -> None:
    config = RunConfig(budget_kwh=3, zone="GB", data=["a.txt"], name="naïve: yes")
    again = RunConfig.from_sources(("f", read_yaml(_file(tmp_path, config.to_yaml()))))
    assert again == config


def test_an_unknown_key_names_file_line_and_nearest_setting(tmp_path: Path) -> None:
    path = _file(tmp_path, "seed: 3\nbudgt_kwh: 500\n")
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert str(caught.value) == (
        f"{path}, line 2: there is no setting 'budgt_kwh'. Did you mean budget_kwh?"
    )


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("budget_kwh", "-3", "greater than 0 (kWh)"),
        ("budget_kwh", "lots", "a valid number"),
        ("budget_kwh", "nan", "a finite number"),
        ("budget_kgco2e", "0", "greater than 0 (kgCO2e)"),
        ("budget_kwh", "inf", "a finite number"),
        ("pue", "0.8", "greater than or equal to 1"),
        ("seed", "1.5", "a valid integer"),
        ("precision", "fp7", "'auto'"),
        ("validation_fraction", "1", "less than 1"),
        ("communication_every", "5", "0 or at least 10 (steps)"),
    ],
)
def test_a_value_that_does_not_fit_is_named_as_its_flag(key: str, value: str, wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        RunConfig.from_sources((COMMAND_LINE, {key: value}))
    assert str(caught.value).startswith(f"--{key.replace('_', '-')} is {value!r}, but should be")
    assert wanted in str(caught.value)


def test_a_cost_budget_needs_a_price() -> None:
    with pytest.raises(InputError, match="needs price_per_kwh"):
        RunConfig.from_sources((COMMAND_LINE, {"budget_cost": 3}))
    assert RunConfig(budget_cost=3, price_per_kwh=0.3).has_budget


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "3\n"])
def test_yaml_that_is_no_list_of_settings_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="list of settings"):
        read_yaml(_file(tmp_path, text))


def test_broken_yaml_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.yaml is not YAML.*line \d"):
        read_yaml(_file(tmp_path, "a: 1\nb: [1,\n"))


def test_a_missing_or_binary_run_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run file"):
        read_yaml(tmp_path / "none.yaml")
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot read the run file"):
        read_yaml(path)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert RunConfig.from_sources(("f", read_yaml(_file(tmp_path, "# nothing\n")))) == RunConfig()


def test_every_setting_has_a_help_line() -> None:
    for name, field in RunConfig.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_the_config_is_json_for_the_ledger() -> None:
    assert yaml.safe_load(RunConfig(data=["x"]).to_yaml()) == RunConfig(data=["x"]).to_json()


def test_a_databases_password_is_neither_printed_nor_recorded() -> None:
    config = RunConfig(ledger="postgresql+psycopg://me:secret@host:5432/db")
    assert "secret" not in config.to_yaml()
    assert config.to_json()["ledger"] == "postgresql+psycopg://me:***@host:5432/db"
